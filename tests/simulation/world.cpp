#include <simulation/world.hpp>

namespace athanor_tests {

namespace {
constexpr std::uint64_t most_steps = 300'000;
}  // namespace

void World::open() {
  failing_runs_ = script_.faults.first_runs;
  state_ = std::make_shared<State>(script_.options);
  state_->executor().keep_alive_with(state_);
  if (!state_->add_backend(backend_table_) || !state_->add_processor(processor_table_) ||
      !state_->add_processor(grapher_table_))
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
    jobs_.look_at_all();
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
  jobs_.look_at_all();
  for (auto const& caller : callers_)
    if (!caller->record.returned) wrong("an accepted call without an answer");
  sequences_.close_all();
  check_rest();
  for (auto const& caller : callers_) {
    caller->submission.reset();
    caller->model.reset();
  }
  jobs_.drop();
  served_.clear();
  replaced_.clear();
  state_.reset();
  run_until_idle();
  for (auto const& caller : callers_) {
    if (caller->kept) judge_.judge_rows(caller->record, given(*caller->kept));
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

RunResult run_script(Script const& script, ModelFolders const& folders) {
  auto world = std::make_unique<World>(script, folders);
  RunResult result = world->run();
  if (world->stuck()) static_cast<void>(world.release());
  return result;
}

}  // namespace athanor_tests
