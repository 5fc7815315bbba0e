#include <simulation/world.hpp>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include <athanor/core/cancellation.hpp>
#include <athanor/core/simulation.hpp>
#include <athanor/serving/engine.hpp>
#include <simulation/judge.hpp>

namespace athanor_tests {

namespace {

struct SimulatedServing : DefaultServing {
  using Env = SimulatedEnv;
};

using State = serving::EngineState<SimulatedServing>;
using Served = serving::ServedModel<SimulatedServing>;
using Handle = Model<SimulatedServing>;
using Kind = SimulatedEvent::Kind;

// Of the calling actor.
thread_local int inside_call = 0;  // infer, infer_many or submit
thread_local int inside_completion = 0;

constexpr std::uint64_t most_steps = 300'000;

class World final : public Stage {
 public:
  World(Script const& script, ModelFolders const& folders)
      : script_(script), folders_(folders), simulation_(script.seed, script.turns), judge_(script) {
    simulation_.give_each_actor(inside_call);
    simulation_.give_each_actor(inside_completion);
    simulation_.give_each_actor(serving::CallerScope::depth);
    simulation_.give_each_actor(Inside<Served>::innermost);
    simulation_.give_each_actor(Inside<State>::innermost);
  }

  RunResult run() {
    open();
    simulation_.spawn([this] { conduct(); });
    run_until_idle();
    finish();
    return {judge_.verdict(), tally()};
  }
  // An actor that never ends keeps all this in use.
  bool stuck() const noexcept { return simulation_.actors() != 0; }

  // What the backend and the processor ask.
  Result<void> load(ModelKind kind, std::uint32_t member) override;
  void unload() override { ++unloads_; }
  RunEnd run(ModelKind kind, std::uint32_t member, std::vector<SeenRow> const& rows) override;
  Result<void> preprocess(std::uint32_t value) override;
  void wrong(std::string text) override { judge_.wrong(std::move(text)); }

 private:
  // A call, and what its caller holds meanwhile.
  struct Caller {
    World& world;
    SimulatedEvent event;
    CallRecord record{};
    InputMemory memory{};
    std::unique_ptr<Cancellation> token{};
    std::optional<Submission<SimulatedServing>> submission{};
    std::optional<Answer> kept{};

    Caller(World& of, SimulatedEvent const& what) : world(of), event(what) {}
    void on_answer(Result<Answer> answer) noexcept { world.complete(*this, std::move(answer)); }
  };
  struct Scope {
    int& depth;
    explicit Scope(int& of) : depth(of) { ++depth; }
    ~Scope() { --depth; }
    Scope(Scope const&) = delete;
    Scope& operator=(Scope const&) = delete;
  };

  void open();
  void run_until_idle();
  void finish();
  void check_rest();
  Tally tally() const;

  // Actors.
  void conduct();
  void perform(SimulatedEvent const& event);
  void drop_answers();
  Caller& new_caller(SimulatedEvent const& event, std::uint32_t value);
  CallOptions options_of(Caller& caller);
  void infer(SimulatedEvent const& event);
  void infer_many(SimulatedEvent const& event);
  void submit(SimulatedEvent const& event);
  void cancel_call(std::uint32_t target);
  void cancel_token(std::size_t target);
  void stop(Duration grace);
  void complete(Caller& caller, Result<Answer> answer) noexcept;
  void end(Caller& caller, Result<Answer> answer);

  Handle model(ModelKind kind) { return Handle(state_, *served_.at(kind)); }
  bool happens(bool fault) { return fault && simulation_.below(script_.faults.rare) == 0; }
  bool backends_empty() const { return inside_ == 0; }

  Script const& script_;
  ModelFolders const& folders_;
  Simulation simulation_;
  Judge judge_;
  StageBackend backend_{*this};
  StageProcessor processor_{*this};
  ath_backend_table backend_table_ = make_table(backend_);
  ath_processor_table processor_table_ = make_table(processor_);
  std::vector<std::unique_ptr<Caller>> callers_;
  std::array<Cancellation, 2> tokens_;
  SimulatedWord hangs_end_{};
  std::uint64_t loads_ = 0;
  std::uint64_t unloads_ = 0;
  int inside_ = 0;  // threads in a backend or a processor
  int inside_of_[model_kinds]{};
  bool stopped_ = false;
  std::uint32_t failing_runs_ = 0;
  std::uint64_t half_open_ = 0;
  std::uint64_t degraded_ = 0;
  std::shared_ptr<State> state_;
  std::map<ModelKind, Served*> served_;
};

// The stage.

Result<void> World::load(ModelKind kind, std::uint32_t) {
  Scope const scope(inside_);
  if (script_.faults.slow) simulation_.sleep(Duration(simulation_.below(3'000'000)));
  if (happens(script_.faults.load_stalls)) {
    judge_.load_failed(kind);
    simulation_.sleep(std::chrono::milliseconds(20 + simulation_.below(80)));
  }
  if (happens(script_.faults.load_fails)) {
    judge_.load_failed(kind);
    return fail(Code::internal, Reason::model_load, "a load that fails");
  }
  ++loads_;
  return {};
}

RunEnd World::run(ModelKind kind, std::uint32_t member, std::vector<SeenRow> const& rows) {
  auto const index = static_cast<std::size_t>(kind);
  ModelTraits const& traits = traits_of(kind);
  Execution execution{kind, member, {}, simulation_.now(), judge_.tick()};
  for (SeenRow const& row : rows)
    if (std::ranges::find(execution.values, row.value) == execution.values.end())
      execution.values.push_back(row.value);
  if (rows.size() > static_cast<std::size_t>(traits.max_items)) wrong("a batch above its limit");
  ++inside_;
  if (++inside_of_[index] > static_cast<int>(traits.instances)) wrong("more batches at once than instances");
  if (script_.faults.slow && simulation_.below(2) == 0)
    simulation_.sleep(Duration(simulation_.below(1'500'000)));
  if (happens(script_.faults.hang)) hangs_end_.wait_until(0, no_deadline);
  RunEnd end;
  Faults const& faults = script_.faults;
  bool const poisoned = std::ranges::any_of(execution.values, is_poison);
  if (poisoned) {
    end.result = fail(Code::internal, Reason::backend_failure, "poison");
  } else if (happens(faults.error) || failing_runs_ > 0) {
    failing_runs_ -= std::min(failing_runs_, 1U);
    end.result = fail(Code::internal, Reason::backend_failure, "a passing failure");
  } else if (happens(faults.no_memory)) {
    end.result = fail(Code::resource_exhausted, Reason::out_of_memory, "no memory");
  } else if (happens(faults.throws)) {
    end.throws = true;
    execution.error = Error{Code::internal, Reason::backend_failure, "thrown", {}};
  } else if (happens(faults.short_rows) || happens(faults.long_rows)) {
    end.rows_too_many = faults.short_rows ? -1 : 1;
    execution.error = Error{Code::internal, Reason::backend_contract, "rows", {}};
  }
  if (!end.result) execution.error = end.result.error();
  --inside_of_[index];
  --inside_;
  execution.ended = simulation_.now();
  execution.until = judge_.tick();
  judge_.run_ends(execution);
  return end;
}

Result<void> World::preprocess(std::uint32_t value) {
  ++inside_;
  if (script_.faults.slow && simulation_.below(4) == 0)
    simulation_.sleep(Duration(simulation_.below(400'000)));
  --inside_;
  if (is_refused_by_processor(value))
    return fail(Code::invalid_argument, Reason::syntax, "not for this processor");
  return {};
}

// The run.

void World::open() {
  failing_runs_ = script_.faults.first_runs;
  state_ = std::make_shared<State>(script_.options);
  state_->executor().keep_alive_with(state_);
  if (!state_->add_backend(backend_table_) || !state_->add_processor(processor_table_))
    wrong("a table was refused");
  for (ModelKind const kind : script_.models) {
    auto added = state_->add(folders_.folder(kind));
    if (!added) return wrong("a model was refused: " + to_string(added.error()));
    served_[kind] = &**added;
  }
}

void World::run_until_idle() {
  while (simulation_.steps() < most_steps) {
    while (simulation_.step_now())
      if (simulation_.steps() > most_steps) return wrong("the run does not end");
    judge_.idle(simulation_.now(), backends_empty(), state_ != nullptr && state_->executor().timers() != 0);
    if (!simulation_.step()) {
      if (!stuck() || hangs_end_.load() != 0) return;
      hangs_end_.store(1);
      hangs_end_.wake_all();
    }
  }
}

void World::finish() {
  simulation_.spawn([this] { stop(std::chrono::milliseconds(5)); });
  run_until_idle();
  if (stuck()) return wrong("an actor waits for what never comes");
  for (auto const& caller : callers_)
    if (!caller->record.returned) wrong("an accepted call without an answer");
  check_rest();
  for (auto const& caller : callers_) caller->submission.reset();
  served_.clear();
  state_.reset();
  run_until_idle();
  for (auto const& caller : callers_) {
    if (caller->kept) judge_.judge_rows(caller->record, *caller->kept);
    caller->kept.reset();
  }
  if (loads_ != unloads_) wrong("models were loaded and not freed");
}

void World::check_rest() {
  if (state_->routes() != 0) wrong("calls are still on their way");
  auto const gate = state_->gate().statistics();
  if (gate.held_items != 0 || gate.held_bytes != 0) wrong("the gate still holds something");
  auto const cached = state_->cache().statistics();
  if (cached.flights != 0 || cached.waiters != 0) wrong("the cache still has flights");
  state_->cache().clear();
  if (state_->cache().statistics().bytes != 0) wrong("the cache's budget does not add up");
  // What a lane armed, it disarms when it goes.
  if (state_->executor().timers() > served_.size()) wrong("timers are still armed");
  for (auto const& [kind, served] : served_) {
    if (state_->loader().status(served->load_record()).pins != 0) wrong("a model is still pinned");
    if (served->breaker().statistics().probes_out != 0) wrong("a breaker still has probes out");
    if (served->breaker().statistics().opened != 0 && served->breaker().statistics().generation > 1)
      ++half_open_;
    auto const statistics = state_->statistics(*served);
    judge_.compare(kind, statistics, served->lane().snapshot().reruns);
    degraded_ += statistics.degraded;
  }
}

Tally World::tally() const {
  return {1,          judge_.calls(), judge_.values(),    judge_.errors(), judge_.trace(),
          half_open_, degraded_,      simulation_.steps()};
}

// Actors.

void World::conduct() {
  for (SimulatedEvent const& event : script_.events) {
    if (event.gap > Duration{0}) simulation_.sleep(event.gap);
    simulation_.spawn([this, &event] { perform(event); });
  }
}

void World::perform(SimulatedEvent const& event) {
  switch (event.kind) {
    case Kind::infer: return infer(event);
    case Kind::infer_many: return infer_many(event);
    case Kind::submit: return submit(event);
    case Kind::cancel_call: return cancel_call(event.target);
    case Kind::cancel_token: return cancel_token(event.target % 2);
    case Kind::load:
      judge_.load_asked(event.model, simulation_.now());
      static_cast<void>(model(event.model).load());
      return;
    case Kind::unload:
      judge_.unload_begins(event.model);
      static_cast<void>(model(event.model).unload());
      return judge_.unload_ends(event.model);
    case Kind::forget: {
      auto const from = judge_.forget_begins(event.model);
      model(event.model).forget_answers();
      return judge_.forget_ends(event.model, from);
    }
    case Kind::drop_answers: return drop_answers();
    case Kind::leap: judge_.clock_leaps(); return simulation_.advance(event.time);
    case Kind::end_hangs:
      hangs_end_.store(1);
      hangs_end_.wake_all();
      hangs_end_.store(0);
      return;
    case Kind::stop: return stop(event.time);
  }
}

/// Giving an answer back may let others act, who add callers.
void World::drop_answers() {
  for (std::size_t i = 0; i < callers_.size(); ++i) {
    Caller& caller = *callers_[i];
    if (!caller.kept) continue;
    Answer const answer = std::move(*std::exchange(caller.kept, std::nullopt));
    judge_.judge_rows(caller.record, answer);
  }
}

World::Caller& World::new_caller(SimulatedEvent const& event, std::uint32_t value) {
  Caller& caller = *callers_.emplace_back(std::make_unique<Caller>(*this, event));
  CallRecord& record = caller.record;
  record.model = event.model;
  record.value = value;
  record.items = items_of(value);
  record.cache = event.cache;
  record.began = simulation_.now();
  Duration const wait = event.deadline.count() < 0 ? script_.options.default_deadline : event.deadline;
  record.deadline = after(record.began, wait);
  caller.memory.fill(event.model, value);
  record.bytes =
      static_cast<std::int64_t>(caller.memory.numbers.size() * sizeof(float) + caller.memory.text.size());
  if (event.token == SimulatedEvent::own_token) caller.token = std::make_unique<Cancellation>();
  if (event.token == 0 || event.token == 1)
    record.cancel_asked = tokens_[static_cast<std::size_t>(event.token)].is_cancelled();
  judge_.call_begins(record);
  return caller;
}

CallOptions World::options_of(Caller& caller) {
  SimulatedEvent const& event = caller.event;
  CallOptions options;
  if (event.deadline.count() >= 0) options.deadline = event.deadline;
  options.cache = event.cache;
  if (event.token == SimulatedEvent::own_token) {
    options.cancellation = caller.token.get();
  } else if (event.token >= 0) {
    options.cancellation = &tokens_[static_cast<std::size_t>(event.token)];
  }
  return options;
}

void World::infer(SimulatedEvent const& event) {
  Caller& caller = new_caller(event, event.value);
  Request const request = caller.memory.borrow(event.model, event.value);
  auto answer = [&] {
    Scope const scope(inside_call);
    return model(event.model).infer(request, options_of(caller));
  }();
  end(caller, std::move(answer));
}

void World::infer_many(SimulatedEvent const& event) {
  std::vector<Caller*> callers;
  std::vector<Request> requests;
  for (std::uint32_t i = 0; i < event.count; ++i) {
    callers.push_back(&new_caller(event, event.value + i));
    requests.push_back(callers.back()->memory.borrow(event.model, event.value + i));
  }
  auto answers = [&] {
    Scope const scope(inside_call);
    return model(event.model).infer_many(requests, options_of(*callers.front()));
  }();
  if (answers.size() != callers.size()) return wrong("infer_many gave another number of results");
  for (std::size_t i = 0; i < callers.size(); ++i) end(*callers[i], std::move(answers[i]));
}

void World::submit(SimulatedEvent const& event) {
  Caller& caller = new_caller(event, event.value);
  Request request = event.borrows ? caller.memory.borrow(event.model, event.value)
                                  : caller.memory.copy(event.model, event.value);
  auto submission = [&] {
    Scope const scope(inside_call);
    return model(event.model)
        .submit(std::move(request), options_of(caller), callback<&Caller::on_answer>(&caller));
  }();
  if (submission) {
    caller.submission.emplace(std::move(*submission));
  } else {
    end(caller, tl::unexpected(std::move(submission.error())));
  }
}

void World::complete(Caller& caller, Result<Answer> answer) noexcept {
  if (inside_call > 0) wrong("a completion inside a call of its thread");
  Scope const scope(inside_completion);
  end(caller, std::move(answer));
}

/// The call is over: its caller takes its memory back at once.
void World::end(Caller& caller, Result<Answer> answer) {
  caller.memory.overwrite();
  caller.memory = {};
  caller.token.reset();
  judge_.call_ends(caller.record, answer, simulation_.now());
  if (answer && caller.event.keeps_answer) caller.kept.emplace(std::move(*answer));
}

void World::cancel_call(std::uint32_t target) {
  if (callers_.empty()) return;
  Caller& caller = *callers_[target % callers_.size()];
  caller.record.cancel_asked = true;
  if (caller.submission) {
    caller.submission->cancel();
  } else if (caller.token != nullptr) {
    Simulation::Uninterrupted const whole(simulation_);
    caller.token->cancel();
  } else {
    caller.record.cancel_asked = caller.event.token >= 0 && caller.record.cancel_asked;
  }
}

void World::cancel_token(std::size_t target) {
  for (auto const& caller : callers_)
    if (caller->event.token == static_cast<int>(target)) caller->record.cancel_asked = true;
  Simulation::Uninterrupted const whole(simulation_);
  tokens_[target].cancel();
}

void World::stop(Duration grace) {
  judge_.stop_called();
  bool const first = !std::exchange(stopped_, true);
  std::size_t const abandoned = state_->stop(grace);
  // A thread that is interrupted may be anywhere.
  bool const exact = script_.turns.order == Turns::Order::random && script_.turns.switch_one_in == 0;
  if (exact && first && abandoned != 0 && backends_empty())
    wrong("threads abandoned inside backends that are empty");
}

}  // namespace

RunResult run_script(Script const& script, ModelFolders const& folders) {
  auto world = std::make_unique<World>(script, folders);
  RunResult result = world->run();
  if (world->stuck()) static_cast<void>(world.release());
  return result;
}

}  // namespace athanor_tests
