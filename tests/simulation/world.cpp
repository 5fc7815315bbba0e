#include <simulation/world.hpp>

#include <algorithm>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <vector>

#include <athanor/core/cancellation.hpp>
#include <athanor/core/simulation.hpp>
#include <athanor/serving/engine.hpp>
#include <simulation/judge.hpp>
#include <simulation/sequence_desk.hpp>

namespace athanor_tests {

namespace {

struct SimulatedServing : DefaultServing {
  using Env = SimulatedEnv;
};

using State = serving::EngineState<SimulatedServing>;
using Served = serving::ServedModel<SimulatedServing>;
using Handle = Model<SimulatedServing>;
using Token = BasicCancellation<SimulatedEnv>;
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
    simulation_.give_each_actor(thread_memory().fails_at);
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
  void postprocess() override { dawdle(); }
  void wrong(std::string text) override { judge_.wrong(std::move(text)); }

 private:
  void dawdle();

  // A call, and what its caller holds meanwhile.
  struct Caller {
    World& world;
    SimulatedEvent event;
    CallRecord record{};
    InputMemory memory{};
    std::shared_ptr<Token> token{};
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
  void replace(SimulatedEvent const& event);
  void fork(ModelKind kind);
  Caller& new_caller(SimulatedEvent const& event, std::uint32_t value, SequenceFacts* sequence = nullptr);
  CallOptions options_of(Caller& caller);
  // Its caller's thread lacks memory if the event says so.
  template <class Body>
  void without_memory(SimulatedEvent const& event, Body body);
  void load(SimulatedEvent const& event);
  void infer(SimulatedEvent const& event);
  void infer_many(SimulatedEvent const& event);
  void submit(SimulatedEvent const& event);
  void cancel_call(std::uint32_t target);
  void cancel_token(std::size_t target);
  void stop(SimulatedEvent const& event);
  void complete(Caller& caller, Result<Answer> answer) noexcept;
  void end(Caller& caller, Result<Answer> answer);
  void end_with_exception(Caller& caller);
  void take_back(Caller& caller);

  Handle model(ModelKind kind) { return Handle(served_.at(kind)); }
  void notice_memory() {
    if (std::exchange(thread_memory().failed, false)) judge_.memory_fails();
  }
  // Which allocation fails after something that the world did on a thread.
  std::size_t next_failure() { return happens(script_.faults.memory) ? 1 + simulation_.below(24) : 0; }
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
  std::array<Token, 2> tokens_;
  std::array<bool, 2> cancel_begun_{};
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
  std::map<ModelKind, std::shared_ptr<Served>> served_;
  std::vector<std::pair<ModelKind, std::shared_ptr<Served>>> replaced_;
  SequenceDesk<SimulatedServing> sequences_{simulation_, judge_,
                                            [this](ModelKind kind) { return model(kind); }};
  int replacing_ = 0;
  int replacements_ = 0;
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
  if (++inside_of_[index] > static_cast<int>(traits.instances) * (1 + replacements_))
    wrong("more batches at once than instances");
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
  notice_memory();
  judge_.run_ends(execution);
  end.memory = next_failure();
  return end;
}

// The time that a processor takes.
void World::dawdle() {
  ++inside_;
  if (script_.faults.slow && simulation_.below(4) == 0)
    simulation_.sleep(Duration(simulation_.below(400'000)));
  --inside_;
}

Result<void> World::preprocess(std::uint32_t value) {
  dawdle();
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
    served_[kind] = *added;
  }
  if (!script_.faults.no_threads) return;
  judge_.threads_refused();
  simulation_.refuse_threads(true);
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
  simulation_.spawn([this] { stop({.kind = Kind::stop, .time = std::chrono::milliseconds(5)}); });
  run_until_idle();
  if (stuck()) return wrong("an actor waits for what never comes");
  for (auto const& caller : callers_)
    if (!caller->record.returned) wrong("an accepted call without an answer");
  sequences_.close_all();
  check_rest();
  for (auto const& caller : callers_) caller->submission.reset();
  served_.clear();
  replaced_.clear();
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
  if (state_->executor().timers() > served_.size() + static_cast<std::size_t>(replacements_))
    wrong("timers are still armed");
  std::map<ModelKind, ModelStatistics> sums;
  std::map<ModelKind, std::uint64_t> reruns;
  for (auto const& [kind, served] : served_) replaced_.emplace_back(kind, served);
  for (auto const& [kind, served] : replaced_) {
    if (state_->loader().status(served->load_record()).pins != 0) wrong("a model is still pinned");
    if (served->open_sequences() != 0) wrong("a sequence still has a place");
    if (served->breaker().statistics().probes_out != 0) wrong("a breaker still has probes out");
    if (served->breaker().statistics().opened != 0 && served->breaker().statistics().generation > 1)
      ++half_open_;
    add(sums[kind], state_->statistics(*served).value());
    reruns[kind] += served->lane().snapshot().reruns;
  }
  for (auto const& [kind, sum] : sums) {
    judge_.compare(kind, sum, reruns[kind]);
    degraded_ += sum.degraded;
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
    case Kind::load: judge_.load_asked(event.model, simulation_.now()); return load(event);
    case Kind::unload: {
      Handle const handle = model(event.model);
      judge_.unload_begins(event.model);
      without_memory(event, [&] { static_cast<void>(handle.unload()); });
      return judge_.unload_ends(event.model);
    }
    case Kind::forget: {
      Handle const handle = model(event.model);
      auto const from = judge_.forget_begins(event.model);
      without_memory(event, [&] { handle.forget_answers(); });
      return judge_.forget_ends(event.model, from);
    }
    case Kind::replace: return replace(event);
    case Kind::drop_answers: return drop_answers();
    case Kind::leap: judge_.clock_leaps(); return simulation_.advance(event.time);
    case Kind::end_hangs:
      hangs_end_.store(1);
      hangs_end_.wake_all();
      hangs_end_.store(0);
      return;
    case Kind::threads: judge_.threads_refused(); return simulation_.refuse_threads(event.borrows);
    case Kind::fork: return fork(event.model);
    case Kind::reset_sequence: return sequences_.reset(event);
    case Kind::close_sequence: return sequences_.close(event);
    case Kind::stop: return stop(event);
  }
}

template <class Body>
void World::without_memory(SimulatedEvent const& event, Body body) {
  try {
    FailingMemory const failing(event.memory);
    body();
  } catch (std::bad_alloc const&) {
  }
  notice_memory();
}

void World::load(SimulatedEvent const& event) {
  Handle const handle = model(event.model);
  without_memory(event, [&] { static_cast<void>(handle.load()); });
}

/// Others use the old handle meanwhile; the model that it was ends with the last of them.
void World::replace(SimulatedEvent const& event) {
  Scope const scope(replacing_);
  if (replacing_ > 1) judge_.counts_are_lost(event.model);  // it may be the other's model that is removed
  auto old = served_.at(event.model);
  static_cast<void>(state_->remove(old->description().id));
  auto added = state_->add(folders_.folder(event.model));
  if (!added) {
    if (added.error().reason != Reason::stopping || !stopped_)
      wrong("a model was refused: " + to_string(added.error()));
    return;
  }
  if (*added == old) return;
  ++replacements_;
  if (std::ranges::find(replaced_, *added, [](auto const& one) { return one.second; }) == replaced_.end())
    served_[event.model] = std::move(*added);
  if (event.keeps_answer) return replaced_.emplace_back(event.model, std::move(old)), void();
  judge_.counts_are_lost(event.model);
}

/// A child has this thread alone, and what the others held at that moment is held for ever.
void World::fork(ModelKind kind) {
  Handle const handle = model(kind);
  InputMemory memory;
  memory.fill(kind, 0);
  Request const request = memory.borrow(kind, 0);
  std::string const folder = folders_.folder(kind);
  auto const refused = [&](auto const& result, bool counted) {
    judge_.refused_in_child(kind, result ? nullptr : &result.error(), counted);
  };
  Simulation::Child const child(simulation_);
  refused(handle.infer(request), true);
  refused(handle.submit(request, {}, callback<&Judge::never>(&judge_)), true);
  refused(handle.infer_many(std::span(&request, 1)).front(), true);
  refused(handle.load(), false);
  if (keeps_state(kind)) refused(handle.open_sequence(), false);
  refused(handle.unload(), false);
  refused(state_->add(folder), false);
  refused(state_->find(traits_of(kind).name), false);
  refused(state_->remove(handle.id()), false);
  refused(handle.statistics(), false);
  handle.forget_answers();
  if (state_->health().live) wrong("an engine is live in the child of a fork");
  if (state_->stop(std::chrono::seconds(1)) != 0) wrong("a stop found threads in the child of a fork");
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

World::Caller& World::new_caller(SimulatedEvent const& event, std::uint32_t value, SequenceFacts* sequence) {
  Caller& caller = *callers_.emplace_back(std::make_unique<Caller>(*this, event));
  CallRecord& record = caller.record;
  record.model = event.model;
  record.value = value;
  record.items = items_of(value);
  record.cache = event.cache;
  record.sequence = sequence;
  record.of_many = event.kind == Kind::infer_many;
  record.began = simulation_.now();
  Duration const wait = event.deadline.count() < 0 ? script_.options.default_deadline : event.deadline;
  record.deadline = after(record.began, wait);
  caller.memory.fill(event.model, value);
  record.bytes = caller.memory.bytes(event.model, value);
  if (event.token == SimulatedEvent::own_token) caller.token = std::make_shared<Token>();
  if (event.token == 0 || event.token == 1)
    record.cancel_asked = cancel_begun_[static_cast<std::size_t>(event.token)];
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
  auto const sequence = sequences_.take(event);
  if (keeps_state(event.model) && sequence.handle == nullptr) return;
  Caller& caller = new_caller(event, event.value, sequence.facts);
  Request const request = caller.memory.borrow(event.model, event.value);
  try {
    auto answer = [&] {
      Scope const scope(inside_call);
      FailingMemory const failing(event.memory);
      if (sequence.handle != nullptr) return sequence.handle->infer(request, options_of(caller));
      return model(event.model).infer(request, options_of(caller));
    }();
    end(caller, std::move(answer));
  } catch (std::bad_alloc const&) {
    end_with_exception(caller);
  }
}

void World::infer_many(SimulatedEvent const& event) {
  std::vector<Caller*> callers;
  std::vector<Request> requests;
  for (std::uint32_t i = 0; i < event.count; ++i) {
    callers.push_back(&new_caller(event, event.value + i));
    requests.push_back(callers.back()->memory.borrow(event.model, event.value + i));
  }
  try {
    auto answers = [&] {
      Scope const scope(inside_call);
      FailingMemory const failing(event.memory);
      return model(event.model).infer_many(requests, options_of(*callers.front()));
    }();
    if (answers.size() != callers.size()) return wrong("infer_many gave another number of results");
    for (std::size_t i = 0; i < callers.size(); ++i) end(*callers[i], std::move(answers[i]));
  } catch (std::bad_alloc const&) {
    judge_.counts_are_lost(event.model);  // of the calls that had ended before
    for (Caller* const caller : callers) end_with_exception(*caller);
  }
}

void World::submit(SimulatedEvent const& event) {
  auto const sequence = sequences_.take(event);
  if (keeps_state(event.model) && sequence.handle == nullptr) return;
  Caller& caller = new_caller(event, event.value, sequence.facts);
  Request request = event.borrows ? caller.memory.borrow(event.model, event.value)
                                  : caller.memory.copy(event.model, event.value);
  try {
    auto submission = [&] {
      Scope const scope(inside_call);
      FailingMemory const failing(event.memory);
      auto const completion = callback<&Caller::on_answer>(&caller);
      if (sequence.handle != nullptr)
        return sequence.handle->submit(std::move(request), options_of(caller), completion);
      return model(event.model).submit(std::move(request), options_of(caller), completion);
    }();
    if (submission) {
      caller.submission.emplace(std::move(*submission));
    } else {
      end(caller, tl::unexpected(std::move(submission.error())));
    }
  } catch (std::bad_alloc const&) {
    end_with_exception(caller);
  }
}

void World::complete(Caller& caller, Result<Answer> answer) noexcept {
  SparedMemory const spared;
  // Where no thread can be started, nobody else could run it.
  if (inside_call > 0 && !judge_.refused_threads()) wrong("a completion inside a call of its thread");
  Scope const scope(inside_completion);
  end(caller, std::move(answer));
}

/// The call is over: its caller takes its memory back at once.
void World::end(Caller& caller, Result<Answer> answer) {
  take_back(caller);
  judge_.call_ends(caller.record, answer, simulation_.now());
  if (answer && caller.event.keeps_answer) caller.kept.emplace(std::move(*answer));
}

void World::end_with_exception(Caller& caller) {
  take_back(caller);
  judge_.call_throws(caller.record);
}

void World::take_back(Caller& caller) {
  notice_memory();
  caller.memory.overwrite();
  caller.memory = {};
  caller.token.reset();
}

void World::cancel_call(std::uint32_t target) {
  if (callers_.empty()) return;
  Caller& caller = *callers_[target % callers_.size()];
  caller.record.cancel_asked = true;
  if (caller.submission) {
    caller.submission->cancel();
  } else if (auto const token = caller.token; token != nullptr) {
    token->cancel();  // which may go on when the call is over
  } else {
    caller.record.cancel_asked = caller.event.token >= 0 && caller.record.cancel_asked;
  }
}

void World::cancel_token(std::size_t target) {
  cancel_begun_[target] = true;
  for (auto const& caller : callers_)
    if (caller->event.token == static_cast<int>(target)) caller->record.cancel_asked = true;
  tokens_[target].cancel();
}

/// A stop lets no exception out.
void World::stop(SimulatedEvent const& event) {
  judge_.stop_called();
  bool const first = !std::exchange(stopped_, true);
  std::size_t const abandoned = [&] {
    FailingMemory const failing(event.memory);
    return state_->stop(event.time);
  }();
  notice_memory();
  // A thread that is interrupted may be anywhere.
  bool const exact = !judge_.clock_has_leapt() && script_.turns.order == Turns::Order::random &&
                     script_.turns.switch_one_in == 0;
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
