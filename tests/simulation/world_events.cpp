// The events of a script that are no calls.
#include <algorithm>
#include <new>
#include <span>

#include <simulation/world.hpp>

namespace athanor_tests {

void World::conduct() {
  for (SimulatedEvent const& event : script_.events) {
    if (event.gap > Duration{0}) simulation_.sleep(event.gap);
    simulation_.spawn([this, &event] { perform(event); });
  }
}

void World::perform(SimulatedEvent const& event) {
  switch (event.kind) {
    case Kind::infer: return infer(event);
    case Kind::infer_into: return infer_into(event);
    case Kind::infer_many: return infer_many(event);
    case Kind::submit: return submit(event);
    case Kind::job: return submit_job(event);
    case Kind::cancel_call: return cancel_call(event.target);
    case Kind::cancel_token: return cancel_token(event.target % 2);
    case Kind::load: return load(event);
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
    case Kind::leap: judge_.clock_leaps(event.time); return simulation_.advance(event.time);
    case Kind::end_hangs:
      hangs_end_.store(1);
      hangs_end_.wake_all();
      hangs_end_.store(0);
      return;
    case Kind::threads: judge_.threads_refused(); return simulation_.refuse_threads(event.borrows);
    case Kind::fork: return fork(event.model);
    case Kind::reset_sequence: return sequences_.reset(event);
    case Kind::close_sequence: return sequences_.close(event);
    case Kind::wait_job: return jobs_.wait(event);
    case Kind::look_at_job: return jobs_.look(event);
    case Kind::cancel_job: return jobs_.cancel(event);
    case Kind::forget_job: return jobs_.forget(event);
    case Kind::drop_jobs: return jobs_.drop();
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
  judge_.notice_memory();
}

void World::load(SimulatedEvent const& event) {
  Handle const handle = model(event.model);
  judge_.load_begins(event.model, simulation_.now());
  without_memory(event, [&] { static_cast<void>(handle.load()); });
  judge_.load_ends(event.model);
}

/// Others use the old handle meanwhile; the model that it was ends with the last of them.
void World::replace(SimulatedEvent const& event) {
  Scope const scope(replacing_);
  if (replacing_ > 1) judge_.counts_are_lost(event.model);  // it may be the other's model that is removed
  auto old = served_.at(event.model);
  judge_.model_is_removed(event.model);
  static_cast<void>(state_->remove(old->description().id));
  auto added = state_->add(folders_.folder(event.model));
  if (!added) {
    if (added.error().reason != Reason::stopping || !stopped_)
      wrong("a model was refused: " + to_string(added.error()));
    return;
  }
  if (*added == old) return;
  ++replacements_;
  judge_.model_is_replaced(event.model);
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
  auto const jobs = jobs_.open();
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
  if (!jobs_.refuses_child(jobs, handle, request)) wrong("a table of jobs works in the child of a fork");
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
    judge_.judge_rows(caller.record, given(answer));
  }
}

/// A stop lets no exception out.
void World::stop(SimulatedEvent const& event) {
  judge_.stop_called();
  bool const first = !std::exchange(stopped_, true);
  std::size_t const abandoned = [&] {
    FailingMemory const failing(event.memory);
    return state_->stop(event.time);
  }();
  judge_.notice_memory();
  // A thread that is interrupted may be anywhere.
  bool const exact = !judge_.clock_has_leapt() && script_.turns.order == Turns::Order::random &&
                     script_.turns.switch_one_in == 0;
  if (inside_completion > 0 && abandoned != 0) wrong("a stop inside a completion waited");
  if (exact && first && abandoned != 0 && backends_empty() && calling_ == 0)
    wrong("threads abandoned inside backends that are empty");
}

}  // namespace athanor_tests
