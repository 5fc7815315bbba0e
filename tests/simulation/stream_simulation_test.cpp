// Streams of calls that the engine steps, under seeded schedules: readers that read, dawdle, leave and cancel, over a
// backend that fails and takes its time, while the model is unloaded and the engine stops.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <athanor/core/simulation.hpp>
#include <athanor/serving/engine.hpp>
#include <athanor/serving/stream.hpp>
#include <support/counting_backend.hpp>
#include <support/puppet.hpp>

using namespace athanor;
using namespace athanor_tests;
using namespace std::chrono_literals;

namespace {

struct SimulatedServing : DefaultServing {
  using Env = SimulatedEnv;
};
using State = serving::EngineState<SimulatedServing>;
using Parts = Stream<SimulatedServing>;

#if !defined(__OPTIMIZE__) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::uint64_t usual_schedules = 1'000;
#else
constexpr std::uint64_t usual_schedules = 200'000;
#endif

constexpr int most_steps = 12;  // of one call, by the manifest

std::uint64_t from_environment(char const* name, std::uint64_t otherwise) {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nobody sets variables here
  char const* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

// What is drawn beforehand, apart from the turns.
class Draw {
 public:
  explicit Draw(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15ULL + 1) {}
  std::uint64_t below(std::uint64_t bound) {
    state_ ^= state_ << 13U;
    state_ ^= state_ >> 7U;
    state_ ^= state_ << 17U;
    return state_ % bound;
  }
  bool one_in(std::uint64_t count) { return below(count) == 0; }

 private:
  std::uint64_t state_;
};

Turns turns_of(Draw& draw) {
  if (draw.one_in(3)) return {.order = Turns::Order::priorities, .changes = 3, .length = 1500};
  return {.order = Turns::Order::random, .switch_one_in = draw.one_in(2) ? 0U : 3U};
}

EngineOptions options_of(Draw& draw) {
  EngineOptions options;
  options.threads = 1 + draw.below(3);
  options.default_deadline = 200ms;
  options.breaker = draw.one_in(4);
  return options;
}

// One call as its caller knows it.
struct CallFacts {
  float mark = 0;
  int wanted = 1;
  TimePoint began{};
  Duration deadline{};
  int made = 0;  // steps that the backend has computed
  int read = 0;
  int ends = 0;
  bool cancel_asked = false;
  bool streamed = true;
  // Of one that is read by callbacks.
  std::optional<Result<Report>> outcome{};
};

struct Totals {
  std::uint64_t calls = 0;
  std::uint64_t whole = 0;
  std::uint64_t parts = 0;
  std::uint64_t shared = 0;  // batches of several calls
};

class StreamWorld {
 public:
  StreamWorld(std::uint64_t seed, ModelFolder const& carried, ModelFolder const& held)
      : draw_(seed), world_(seed, turns_of(draw_)) {
    held_ = draw_.one_in(3);
    fails_one_in_ = draw_.one_in(2) ? 0 : 4 + draw_.below(20);
    slow_one_in_ = draw_.one_in(2) ? 0 : 2 + draw_.below(6);
    state_ = std::make_shared<State>(options_of(draw_));
    require(state_->add_backend(table_).has_value(), "the backend is added");
    auto added = state_->add((held_ ? held : carried).path());
    require(added.has_value(), "the model is added");
    model_.emplace(*added);
    backend_.on_run = [this](ath_batch const& batch) { return run(batch); };
  }
  ~StreamWorld() { state_->stop(0ms); }
  StreamWorld(StreamWorld const&) = delete;
  StreamWorld& operator=(StreamWorld const&) = delete;

  // What was wrong; empty when nothing was.
  std::string play(Totals& totals) {
    std::size_t const readers = 2 + draw_.below(4);
    for (std::size_t i = 0; i < readers; ++i) world_.spawn([this] { read_some(); });
    if (draw_.one_in(3)) world_.spawn([this] { unload_some(); });
    bool const stops = draw_.one_in(4);
    if (stops) world_.spawn([this] { stop(); });
    world_.run_until_idle();
    if (world_.actors() != 0) return "an actor waits for ever";
    if (state_->routes() != 0) require(false, "every call has come to its end");
    for (CallFacts const& call : calls_) {
      require(call.ends == 1, "every call ends once");
      totals.parts += static_cast<std::uint64_t>(call.read);
      totals.whole += call.read == call.wanted ? 1U : 0U;
    }
    totals.calls += calls_.size();
    for (auto const& run : backend_.marks) totals.shared += run.size() > 1 ? 1U : 0U;
    require(!backend_.twice, "no slot is twice in a batch");
    if (!stops) require(model_->statistics()->sequences == 0, "every slot has been given back");
    return wrong_;
  }

 private:
  void require(bool holds, char const* what) {
    if (!holds && wrong_.empty()) wrong_ = std::string("expected: ") + what;
  }

  Result<void> run(ath_batch const& batch) {
    for (std::int64_t i = 0; i < batch.items; ++i) {
      CallFacts& call = *by_mark_.at(static_cast<float const*>(batch.inputs[0].data)[2 * i + 1]);
      // A reader that has taken a part may not have noted it yet; a batch may run again.
      if (call.streamed)
        require(call.made - call.read <= 4 + 1 || call.ends != 0, "at most four parts wait for the reader");
    }
    if (slow_one_in_ != 0 && world_.below(slow_one_in_) == 0)
      world_.sleep(std::chrono::milliseconds(1 + world_.below(10)));
    if (fails_one_in_ != 0 && world_.below(fails_one_in_) == 0)
      return fail(Code::internal, Reason::backend_failure, "a fault");
    for (std::int64_t i = 0; i < batch.items; ++i)
      ++by_mark_.at(static_cast<float const*>(batch.inputs[0].data)[2 * i + 1])->made;
    return {};
  }

  CallFacts& new_call() {
    CallFacts& call = calls_.emplace_back();
    call.mark = static_cast<float>(calls_.size());
    call.wanted = static_cast<int>(1 + world_.below(most_steps));
    call.began = world_.now();
    call.deadline = world_.below(3) == 0 ? std::chrono::milliseconds(1 + world_.below(30)) : 200ms;
    by_mark_[call.mark] = &call;
    return call;
  }
  CallOptions options_for(CallFacts const& call) const {
    CallOptions options;
    if (call.deadline != 200ms) options.deadline = call.deadline;
    return options;
  }

  void dawdle() {
    if (world_.below(3) == 0) world_.sleep(std::chrono::milliseconds(world_.below(12)));
  }

  void part_comes(CallFacts& call, Outputs const& part) {
    ++call.read;
    auto const y = part["y"].as<float>();
    require(call.ends == 0, "no part comes after the end");
    require(y[0] == static_cast<float>(call.read), "parts come in order, and each once");
    require(y[1] == static_cast<float>(call.read) * call.mark,
            "a call steps a state of its own, once for each part");
    require(call.read <= call.wanted, "a call ends with the step that is its last");
  }
  void stream_ends(CallFacts& call, Result<Report> const& outcome) {
    ++call.ends;
    if (outcome) return require(call.read == call.wanted, "a stream that ends well has given every part");
    judge(call, outcome.error());
  }
  void judge(CallFacts const& call, Error const& error) {
    bool const faults = fails_one_in_ != 0;
    bool explained = false;
    switch (error.code) {
      case Code::deadline_exceeded: explained = world_.now() - call.began >= call.deadline; break;
      case Code::cancelled: explained = call.cancel_asked; break;
      case Code::internal: explained = faults && !held_; break;
      case Code::aborted: explained = faults && held_ && error.reason == Reason::sequence_lost; break;
      case Code::resource_exhausted: explained = error.reason == Reason::expected_wait; break;
      case Code::unavailable:
        explained =
            error.reason == Reason::stopping ? stopping_ : faults && error.reason == Reason::breaker_open;
        break;
      default: break;
    }
    // A load that an unload gave up cancels the calls that wait for it, and while the model is unloaded none begins.
    explained =
        explained || (unloads_ != 0 && (error.code == Code::cancelled ||
                                        (error.code == Code::unavailable && error.retry_after > 0ms)));
    // What is predicted to be late is refused at once.
    explained = explained || error.reason == Reason::expected_wait;
    if (!explained && wrong_.empty()) wrong_ = "an error that nothing explains: " + to_string(error);
  }

  void read_some() {
    std::uint64_t const calls = 1 + world_.below(3);
    for (std::uint64_t i = 0; i < calls; ++i) {
      dawdle();
      CallFacts& call = new_call();
      switch (world_.below(4)) {
        case 0: infer(call); break;
        case 1: call_back(call); break;
        default: read(call); break;
      }
    }
  }

  void refused(CallFacts& call, Error const& error) {
    ++call.ends;
    if (error.reason == Reason::sequences_full) return;
    judge(call, error);
  }

  void infer(CallFacts& call) {
    call.streamed = false;
    auto const answer = model_->infer(row(static_cast<float>(call.wanted), call.mark), options_for(call));
    if (!answer) return refused(call, answer.error());
    ++call.ends;
    call.read = call.wanted;
    auto const y = answer->outputs["y"].as<float>();
    require(y[0] == static_cast<float>(call.wanted), "an answer is that of the last step");
    require(y[1] == static_cast<float>(call.wanted) * call.mark, "an answer is of the call's own state");
  }

  void read(CallFacts& call) {
    auto opened = model_->stream(row(static_cast<float>(call.wanted), call.mark), options_for(call));
    if (!opened) return refused(call, opened.error());
    auto const stream = std::make_shared<Parts>(std::move(*opened));
    auto const leaves_after = world_.below(4) == 0 ? static_cast<int>(world_.below(5)) : most_steps + 1;
    bool const cancels = world_.below(5) == 0;
    if (cancels)
      world_.spawn([this, stream, &call] {
        dawdle();
        call.cancel_asked = true;
        stream->cancel();
      });
    while (call.read < leaves_after) {
      auto const part = stream->next();
      if (!part) break;
      part_comes(call, *part);
      dawdle();
    }
    if (call.read >= leaves_after) {
      ++call.ends;
      call.cancel_asked = true;
      stream->cancel();
      return;
    }
    require(!stream->next(), "a stream that has ended gives nothing");
    stream_ends(call, stream->outcome());
  }

  struct Reader {
    StreamWorld& world;
    CallFacts& call;
    void part(Outputs part) noexcept {
      world.part_comes(call, part);
      world.dawdle();
    }
    void end(Result<Report> outcome) noexcept { world.stream_ends(call, outcome); }
  };
  void call_back(CallFacts& call) {
    Reader& reader = readers_.emplace_back(Reader{*this, call});
    auto submission = model_->stream(row(static_cast<float>(call.wanted), call.mark), options_for(call),
                                     stream_callbacks<&Reader::part, &Reader::end>(&reader));
    if (!submission) return refused(call, submission.error());
    if (world_.below(3) != 0) return;
    dawdle();
    call.cancel_asked = true;
    submission->cancel();
  }

  void unload_some() {
    for (int i = 0; i < 3; ++i) {
      world_.sleep(std::chrono::milliseconds(world_.below(20)));
      ++unloads_;
      require(model_->unload().has_value(), "a model can be unloaded");
    }
  }
  void stop() {
    world_.sleep(std::chrono::milliseconds(world_.below(40)));
    stopping_ = true;
    static_cast<void>(state_->stop(std::chrono::milliseconds(world_.below(30))));
  }

  Draw draw_;
  Simulation world_;
  CountingBackend backend_;
  ath_backend_table table_ = make_table(backend_);
  std::deque<CallFacts> calls_;
  std::map<float, CallFacts*> by_mark_;
  std::deque<Reader> readers_;
  std::shared_ptr<State> state_;
  std::optional<Model<SimulatedServing>> model_;
  bool held_ = false;
  std::uint64_t fails_one_in_ = 0;
  std::uint64_t slow_one_in_ = 0;
  int unloads_ = 0;
  bool stopping_ = false;
  std::string wrong_;
};

}  // namespace

// ATHANOR_SEED runs one seed alone, ATHANOR_SCHEDULES changes how many run, ATHANOR_FIRST_SEED where they begin.
// mutant: a call goes on although its reader has not read
// mutant: a part comes after the end of its stream
// mutant: a step leaves its state where it was
TEST_CASE("every stream of every seeded schedule gives its parts in order, each once, and ends once") {
  std::string const steps = R"({"until": "done", "max": )" + std::to_string(most_steps) + "}";
  std::string const batching = R"("batching": {"max_items": 3},)";
  ModelFolder const carried(batching, "carried", "1.0.0", counting_tensors(false, steps, "", R"("max": 4)"));
  ModelFolder const held(batching, "held", "1.0.0", counting_tensors(true, steps, "", R"("max": 4)"));
  std::uint64_t const only = from_environment("ATHANOR_SEED", 0);
  std::uint64_t const schedules = only != 0 ? 1 : from_environment("ATHANOR_SCHEDULES", usual_schedules);
  std::uint64_t const first = only != 0 ? only : from_environment("ATHANOR_FIRST_SEED", 1);
  Totals totals;
  int failures = 0;
  for (std::uint64_t seed = first; failures < 3 && seed < first + schedules; ++seed) {
    StreamWorld world(seed, carried, held);
    if (auto const wrong = world.play(totals); !wrong.empty()) {
      ++failures;
      FAIL_CHECK(wrong << "; replay with ATHANOR_SEED=" << seed);
    }
  }
  if (only == 0) {
    CHECK(totals.whole > totals.calls / 4);
    CHECK(totals.shared > totals.calls / 4);
  }
  MESSAGE(schedules, " schedules: ", totals.calls, " calls, ", totals.whole, " whole, ", totals.parts,
          " parts, ", totals.shared, " shared batches");
}
