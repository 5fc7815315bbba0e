#include <simulation/script.hpp>

#include <algorithm>

namespace athanor_tests {

namespace {

using Kind = SimulatedEvent::Kind;

// Draws from a stream of its own: the run has another.
class Draw {
 public:
  explicit Draw(std::uint64_t seed) : bits_(seed * 0x9e3779b97f4a7c15ULL + 1) {}
  std::uint64_t below(std::uint64_t bound) {
    bits_ ^= bits_ << 13;
    bits_ ^= bits_ >> 7;
    bits_ ^= bits_ << 17;
    return (bits_ >> 11) % bound;
  }
  bool one_in(std::uint64_t bound) { return below(bound) == 0; }
  Duration up_to(Duration most) { return Duration(below(static_cast<std::uint64_t>(most.count()))); }

 private:
  std::uint64_t bits_;
};

using namespace std::chrono_literals;

Turns draw_turns(Draw& draw, Scope const& scope) {
  Turns turns{.order = Turns::Order::random};
  if (scope.interrupts_one_in == 0 || !draw.one_in(scope.interrupts_one_in)) return turns;
  if (draw.one_in(3)) {
    turns.order = Turns::Order::priorities;
    turns.changes = static_cast<std::uint32_t>(draw.below(6));
    turns.length = 500U << draw.below(5);
    return turns;
  }
  turns.switch_one_in = 2U << (2 * draw.below(4));
  return turns;
}

EngineOptions draw_options(Draw& draw, std::size_t models) {
  EngineOptions options;
  options.threads = 1 + draw.below(3);
  options.max_items = 4 + static_cast<std::int64_t>(draw.below(40));
  if (draw.one_in(8)) options.max_bytes = 256;
  std::size_t const caches[] = {0, 8192, std::size_t{1} << 20, std::size_t{1} << 20};
  options.cache_bytes = caches[draw.below(4)];
  options.breaker = !draw.one_in(3);
  options.caller_runs = draw.one_in(3) ? CallerRuns::never : CallerRuns::when_idle;
  // One model at a time; or none but the ensemble, which is a little smaller.
  if (models > 1 && draw.one_in(3)) options.model_bytes = draw.one_in(8) ? 999 : 1500;
  options.load_deadline = 50ms;
  return options;
}

JobOptions draw_jobs(Draw& draw) {
  Duration const retentions[] = {500us, 5ms, 1h};
  return {.retention = retentions[draw.below(3)],
          .max_jobs = draw.one_in(4) ? static_cast<std::size_t>(1 + draw.below(3)) : std::size_t{1000}};
}

Faults draw_faults(Draw& draw) {
  Faults faults;
  faults.slow = !draw.one_in(3);
  faults.memory = draw.one_in(5);
  faults.no_threads = draw.one_in(24);
  if (draw.one_in(6)) faults.first_runs = 5 + static_cast<std::uint32_t>(draw.below(8));
  if (draw.one_in(3)) return faults;
  faults.error = draw.one_in(2);
  faults.throws = draw.one_in(3);
  faults.no_memory = draw.one_in(3);
  faults.short_rows = draw.one_in(4);
  faults.long_rows = draw.one_in(4);
  faults.hang = draw.one_in(8);
  faults.load_fails = draw.one_in(6);
  faults.load_stalls = draw.one_in(6);
  faults.rare = draw.one_in(4) ? 2 : 12;
  return faults;
}

Kind draw_kind(Draw& draw) {
  std::uint64_t const at = draw.below(76);
  if (at < 20) return Kind::infer;
  if (at < 40) return Kind::submit;
  if (at < 45) return Kind::infer_many;
  if (at < 50) return Kind::cancel_call;
  if (at < 53) return Kind::cancel_token;
  if (at < 55) return Kind::load;
  if (at < 57) return Kind::unload;
  if (at < 58) return Kind::forget;
  if (at < 59) return draw.one_in(3) ? Kind::replace : draw.one_in(2) ? Kind::threads : Kind::fork;
  if (at < 60) return Kind::drop_answers;
  if (at < 62) return Kind::end_hangs;
  if (at < 64) return Kind::leap;
  if (at < 67) return Kind::infer_into;
  if (at < 71) return Kind::job;
  if (at < 73) return Kind::wait_job;
  if (at < 75) return draw.one_in(2) ? Kind::cancel_job : Kind::look_at_job;
  return draw.one_in(3) ? Kind::drop_jobs : Kind::forget_job;
}

// What a completion does: nothing that waits.
Kind draw_inside(Draw& draw) {
  Kind const kinds[] = {Kind::submit, Kind::submit,       Kind::job,       Kind::cancel_call,
                        Kind::unload, Kind::forget,       Kind::replace,   Kind::cancel_job,
                        Kind::forget, Kind::drop_answers, Kind::drop_jobs, Kind::cancel_token};
  return draw.one_in(24) ? Kind::stop : kinds[draw.below(std::size(kinds))];
}

std::uint32_t draw_value(Draw& draw, std::uint32_t& unique) {
  if (!draw.one_in(3)) return static_cast<std::uint32_t>(draw.below(shared_values));
  unique += 16;
  if (draw.one_in(6)) return unique + 15;
  if (draw.one_in(6)) return unique + 14;
  return unique + static_cast<std::uint32_t>(draw.below(14));
}

// What happens to a model with state: its calls have one item.
void draw_sequence(Draw& draw, SimulatedEvent& event) {
  std::uint32_t const content = content_of(event.value);
  event.value += (content % 8 == 7 ? 15 : content % 6) - content;
  event.target %= 4;
  if (event.kind == Kind::infer_many || event.kind == Kind::infer_into) event.kind = Kind::infer;
  if (event.kind == Kind::job) event.kind = Kind::submit;
  if (event.inside == Kind::job) event.inside = Kind::close_sequence;
  if (event.inside == Kind::forget) event.inside = Kind::reset_sequence;
  if (event.kind == Kind::forget || event.kind == Kind::drop_answers || draw.one_in(12))
    event.kind = draw.one_in(2) ? Kind::reset_sequence : Kind::close_sequence;
}

Duration draw_leap(Draw& draw) {
  Duration const leaps[] = {1ms, 20ms, 900ms, 5s, 70s};
  return draw.up_to(leaps[draw.below(5)]);
}

}  // namespace

std::uint32_t items_of(std::uint32_t value) noexcept {
  value = content_of(value);
  if (value < shared_values) return value < 6 ? 1 : value == 6 ? 2 : 7;
  return value / 16 % 4 == 0 ? 1 + value / 64 % 9 : 1;
}

Script make_script(std::uint64_t seed, Scope const& scope) {
  Draw draw(seed);
  for (int i = 0; i < 4; ++i) draw.below(2);
  Script script;
  script.seed = seed;
  script.turns = draw_turns(draw, scope);
  std::uint64_t const models = draw.below(10) < 6 ? 1 : 1 + draw.below(3);
  for (std::uint64_t i = 0; i < models; ++i) {
    auto const kind = static_cast<ModelKind>(draw.below(model_kinds));
    if (std::ranges::find(script.models, kind) == script.models.end()) script.models.push_back(kind);
  }
  script.options = draw_options(draw, script.models.size());
  script.jobs = draw_jobs(draw);
  script.faults = draw_faults(draw);
  bool const bursts = draw.one_in(3);
  std::uint32_t unique = 64;
  std::uint64_t const events = 8 + draw.below(24);
  std::uint64_t const stop_at = draw.one_in(3) ? draw.below(events) : events;
  for (std::uint64_t i = 0; i < events; ++i) {
    SimulatedEvent event;
    event.kind = draw_kind(draw);
    event.gap = bursts ? (draw.one_in(8) ? draw.up_to(20ms) : 0ms) : draw.up_to(1ms);
    event.model = script.models[draw.below(script.models.size())];
    event.value = draw_value(draw, unique);
    if (has_shift(event.model) && draw.one_in(2))
      event.value += contents * static_cast<std::uint32_t>(draw.below(3));
    if (!draw.one_in(3)) event.deadline = draw.up_to(draw.one_in(4) ? 200us : 4ms);
    if (draw.one_in(4)) event.cache = static_cast<CacheMode>(draw.below(4));
    if (draw.one_in(4))
      event.token = draw.one_in(3) ? SimulatedEvent::own_token : static_cast<int>(draw.below(2));
    event.borrows = draw.one_in(2);
    event.keeps_answer = draw.one_in(4);
    event.target = static_cast<std::uint32_t>(draw.below(32));
    event.handles = static_cast<SimulatedEvent::Handles>(draw.below(3));
    if (draw.one_in(5)) event.inside = draw_inside(draw);
    if (event.kind == Kind::infer_many) {
      event.count = 1 + static_cast<std::uint32_t>(draw.below(6));
      if (event.token == SimulatedEvent::own_token) event.token = -1;
    }
    if (keeps_state(event.model)) draw_sequence(draw, event);
    event.time = draw_leap(draw);
    if (script.faults.memory && draw.one_in(4)) event.memory = 1 + static_cast<std::uint32_t>(draw.below(24));
    if (script.faults.first_runs > 0 && draw.one_in(8)) {
      event.kind = Kind::leap;
      event.time = std::chrono::seconds(1) + draw.up_to(1s);
    }
    if (i == stop_at || (i > stop_at && draw.one_in(12))) {
      event.kind = Kind::stop;
      Duration const graces[] = {0ms, 1ms, 3ms, 100ms, 60s};
      event.time = draw.up_to(graces[draw.below(5)] + 1ns);
    }
    script.events.push_back(event);
  }
  return script;
}

std::string to_string(Script const& script) {
  static constexpr char const* kinds[] = {
      "infer",       "infer_into",     "infer_many",     "submit",    "job",
      "cancel_call", "cancel_token",   "load",           "unload",    "forget",
      "replace",     "drop_answers",   "leap",           "end_hangs", "threads",
      "fork",        "reset_sequence", "close_sequence", "wait_job",  "look_at_job",
      "cancel_job",  "forget_job",     "drop_jobs",      "stop"};
  static_assert(std::size(kinds) == static_cast<std::size_t>(Kind::stop) + 1);
  static constexpr char const* models[] = {"plain",  "texts",  "made",    "ensemble", "single",
                                           "padded", "ragged", "carried", "held",     "graph"};
  static_assert(std::size(models) == model_kinds);
  static constexpr char const* orders[] = {"steps", "random", "priorities"};
  auto const us = [](Duration time) { return std::to_string(time.count() / 1000) + "us"; };
  EngineOptions const& options = script.options;
  Faults const& faults = script.faults;
  std::string text = "turns " + std::string(orders[static_cast<int>(script.turns.order)]) + " 1/" +
                     std::to_string(script.turns.switch_one_in) + ", threads " +
                     std::to_string(options.threads) + ", max_items " + std::to_string(options.max_items) +
                     ", max_bytes " + std::to_string(options.max_bytes) + ", cache " +
                     std::to_string(options.cache_bytes) + (options.breaker ? ", breaker" : "") +
                     (options.caller_runs == CallerRuns::never ? ", caller never runs" : "") +
                     (options.model_bytes ? ", budget " + std::to_string(*options.model_bytes) : "") +
                     ", jobs " + std::to_string(script.jobs.max_jobs) + " for " + us(script.jobs.retention) +
                     ", faults: first " + std::to_string(faults.first_runs) + (faults.error ? " error" : "") +
                     (faults.throws ? " throw" : "") + (faults.no_memory ? " no_memory" : "") +
                     (faults.short_rows ? " short" : "") + (faults.long_rows ? " long" : "") +
                     (faults.slow ? " slow" : "") + (faults.hang ? " hang" : "") +
                     (faults.load_fails ? " load_fails" : "") + (faults.load_stalls ? " load_stalls" : "") +
                     (faults.memory ? " memory" : "") + (faults.no_threads ? " no_threads" : "") + "\n";
  for (SimulatedEvent const& event : script.events) {
    text += "  +" + us(event.gap) + " " + kinds[static_cast<int>(event.kind)];
    if (event.kind <= Kind::job) {
      text += " " + std::string(models[static_cast<int>(event.model)]) + " value " +
              std::to_string(content_of(event.value)) + "+" + std::to_string(shift_of(event.value)) + " (" +
              std::to_string(items_of(event.value)) + " items)" +
              (event.kind == Kind::infer_many ? " x" + std::to_string(event.count) : "") +
              (keeps_state(event.model) ? " sequence " + std::to_string(event.target) : "");
      if (event.deadline.count() >= 0) text += " deadline " + us(event.deadline);
      if (event.cache != CacheMode::use) text += " cache " + std::to_string(static_cast<int>(event.cache));
      if (event.token >= 0) text += " token " + std::to_string(event.token);
      if (event.kind == Kind::submit && event.borrows) text += " borrows";
      if (event.kind == Kind::submit && event.handles != SimulatedEvent::Handles::kept)
        text += event.handles == SimulatedEvent::Handles::dropped_at_once ? " drops handles"
                                                                          : " drops handles inside";
      if (event.kind == Kind::submit && event.inside)
        text += " and inside " + std::string(kinds[static_cast<int>(*event.inside)]) + " " +
                std::to_string(event.target);
      if (event.kind == Kind::job) text += " key " + std::to_string(event.target % job_keys);
    } else if (event.kind == Kind::cancel_call || event.kind == Kind::cancel_token) {
      text += " " + std::to_string(event.target);
    } else if (event.kind >= Kind::wait_job && event.kind < Kind::stop) {
      text += " " + std::to_string(event.target % job_keys) + " " + us(event.time);
    } else if (event.kind == Kind::leap || event.kind == Kind::stop) {
      text += " " + us(event.time);
    } else if (event.kind == Kind::reset_sequence || event.kind == Kind::close_sequence) {
      text += " " + std::string(models[static_cast<int>(event.model)]) + " " + std::to_string(event.target);
    } else if (event.kind <= Kind::replace) {
      text += " " + std::string(models[static_cast<int>(event.model)]);
    }
    if (event.memory != 0) text += " allocation " + std::to_string(event.memory) + " fails";
    text += "\n";
  }
  return text;
}

Script shrink(Script script, std::function<bool(Script const&)> const& fails) {
  for (std::size_t chunk = script.events.size(); chunk > 0; chunk /= 2) {
    for (std::size_t at = 0; at < script.events.size();) {
      Script smaller = script;
      auto const first = smaller.events.begin() + static_cast<std::ptrdiff_t>(at);
      smaller.events.erase(first,
                           first + static_cast<std::ptrdiff_t>(std::min(chunk, script.events.size() - at)));
      if (fails(smaller)) {
        script = std::move(smaller);
      } else {
        at += chunk;
      }
    }
  }
  return script;
}

}  // namespace athanor_tests
