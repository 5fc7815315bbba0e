#pragma once

#include <algorithm>

#include <athanor/serving/detail/engine_state.hpp>
#include <athanor/serving/detail/outputs.hpp>

namespace athanor::inline v1::serving {

// The caller's side of a call: waiting, deadlines, cancellation and the answer.

template <class T>
void EngineState<T>::wait(CallType& call) noexcept {
  for (int spins = 0; spins < spins_before_parking_; ++spins) {
    if ((call.word.load() & call_bits::answered) != 0) return;
    Env::relax();
  }
  CallerScope const scope;
  for (;;) {
    std::uint32_t const seen = call.word.fetch_or(call_bits::parked) | call_bits::parked;
    if ((seen & call_bits::answered) != 0) return;
    if ((seen & call_bits::revoked) != 0 && (seen & call_bits::claimed) == 0) {
      abandon(call, taken_back(call));
    } else if (!call.word.wait_until(seen, call.deadline)) {
      abandon(call, late(call));
      // The thread that claimed it is about to answer.
      while ((call.word.load() & call_bits::answered) == 0)
        call.word.wait_until(call.word.load(), after(Env::now(), std::chrono::milliseconds(1)));
    }
  }
}

template <class T>
void EngineState<T>::start_group(std::span<CallType* const> calls) noexcept {
  CallType& leader = *calls.front();
  leader.unanswered.store(calls.size());
  for (CallType* call : calls) call->leader = &leader;
  for (CallType* call : calls) call->word.store(0);  // last: from here on a stop may answer them
  CallerScope const scope;
  for (CallType* call : calls) advance(*call, CallerKind::group, call->began);
  bool const here = options_.caller_runs == CallerRuns::when_idle;
  leader.model->lane().enter_all(leader.held, here ? batching::LendThread::yes : batching::LendThread::no,
                                 leader.began);
}

template <class T>
void EngineState<T>::run_group(std::span<CallType* const> calls, Cancellation* cancellation) noexcept {
  struct Hook : CancelHook {
    CallType& leader;
    explicit Hook(CallType& of) noexcept : leader(of) {}
  };
  CallType& leader = *calls.front();
  Hook hook(leader);
  hook.cancelled = [](CancelHook& self) noexcept { revoke(static_cast<Hook&>(self).leader); };
  start_group(calls);
  if (cancellation != nullptr && !cancellation->link(hook)) revoke(leader);
  wait_for_group(calls);
  if (cancellation != nullptr) cancellation->unlink(hook);
}

/// Like wait, with one park for all of them.
template <class T>
void EngineState<T>::wait_for_group(std::span<CallType* const> calls) noexcept {
  CallType& leader = *calls.front();
  CallerScope const scope;
  bool over = false;  // then the thread that claimed a call is about to answer it
  for (;;) {
    std::uint32_t const seen = leader.word.fetch_or(call_bits::parked) | call_bits::parked;
    if ((seen & call_bits::gathered) != 0) return;
    bool const revoked = !over && (seen & call_bits::revoked) != 0;
    if (!revoked && leader.word.wait_until(seen, over ? no_deadline : leader.deadline)) continue;
    over = true;
    for (CallType* call : calls)
      if ((call->word.load() & call_bits::claimed) == 0)
        abandon(*call, revoked ? taken_back(*call) : late(*call));
  }
}

/// From here on the call can be cancelled, and an asynchronous one ends at its deadline. It may have been
/// answered already: the second of `watch` and `answer` removes the watch.
template <class T>
void EngineState<T>::watch(CallType& call) noexcept {
  if (call.asynchronous()) {
    call.owners.fetch_add(1, std::memory_order_relaxed);  // the timer's
    call.Timer::fire = &EngineState::on_timer;
    executor_.arm(call, call.deadline);
  }
  if (call.cancellation != nullptr) {
    call.CancelHook::cancelled = &EngineState::on_cancelled;
    if (!call.cancellation->link(call)) on_cancelled(call);
  }
  if (call.watch.exchange(DeadlineWatch::on) == DeadlineWatch::ended) unwatch(call);
}

template <class T>
void EngineState<T>::unwatch(CallType& call) noexcept {
  if (call.cancellation != nullptr) call.cancellation->unlink(call);
  if (call.asynchronous() && executor_.disarm(call)) call.unref();
}

/// The deadline, or a cancellation that brought it forward.
template <class T>
void EngineState<T>::on_timer(Timer& timer) noexcept {
  auto& call = static_cast<CallType&>(timer);
  auto& engine = *call.engine;
  if (Env::now() >= call.deadline) {
    engine.abandon(call, late(call));
  } else {
    engine.abandon(call, taken_back(call));
  }
  call.unref();
}

// Runs under the Cancellation's mutex, so it only signals the waiting thread or a worker. A timer that cannot
// be disarmed has fired, and the call is being answered.
template <class T>
void EngineState<T>::on_cancelled(CancelHook& hook) noexcept {
  auto& call = static_cast<CallType&>(hook);
  if (call.asynchronous()) {
    if (call.engine->executor_.disarm(call)) call.engine->executor_.arm(call, Env::now());
  } else {
    revoke(call);
  }
}

template <class T>
void EngineState<T>::revoke(CallType& call) noexcept {
  if ((call.word.fetch_or(call_bits::revoked) & call_bits::parked) != 0) call.word.wake_all();
}

template <class T>
bool EngineState<T>::is_needed(CallType& call) noexcept {
  return (call.word.load() & call_bits::claimed) == 0 || others_wait(call);
}

/// True for the owner of a flight that others joined. When false, no other call will join it.
template <class T>
bool EngineState<T>::others_wait(CallType& call) noexcept {
  return !cache_.cancel_owner(call);
}

/// The caller of an abandoned call takes its inputs back: work that others wait for goes on with a copy.
template <class T>
void EngineState<T>::detach_inputs(CallType& call, bool needed) noexcept {
  if (!call.inputs.borrowed()) return;
  CallLock<T> const lock(call);
  call.inputs.detach(needed);
}

template <class T>
void EngineState<T>::abandon(CallType& call, Error error) noexcept {
  if (!claim(call)) return;
  call.answer_end = {true, std::move(error)};
  bool mine = false;  // the call was withdrawn from a room: its route ends here
  if (call.role() == caching::Join::waiter) {
    mine = cache_.cancel_wait(call);
    if (!mine) detach_inputs(call, false);
  } else {
    bool const needed = is_needed(call);
    mine = !needed && (call.model->lane().withdraw(call) || loader_.withdraw(call));
    if (!mine) detach_inputs(call, needed);
  }
  if (mine) {
    end_route(call, make_error(Code::cancelled, Reason::cancelled, "the call was abandoned"));
    finish_step(call, CallerKind::worker, Env::now());
  }
  answer(call, Env::now());
}

template <class T>
bool EngineState<T>::claim(CallType& call) noexcept {
  return (call.word.fetch_or(call_bits::claimed) & call_bits::claimed) == 0;
}

/// Hands the answer to the caller. Precondition: claim(call) returned true on this thread.
template <class T>
void EngineState<T>::answer(CallType& call, TimePoint now) noexcept {
  call.report.total = now - call.began;
  record_answer(call.model->metrics(), call.model->description(), call.answer_end, call.report);
  if (call.watch.exchange(DeadlineWatch::ended) == DeadlineWatch::on) unwatch(call);
  if (call.asynchronous() && !call.refused) {
    call.owners.fetch_add(1, std::memory_order_relaxed);  // the delivery's
    if (CallerScope::depth == 0 || !executor_.post(static_cast<Delivery&>(call)))
      on_delivery(static_cast<Delivery&>(call));
    return;
  }
  if (call.leader == nullptr) {
    if ((call.word.fetch_or(call_bits::answered) & call_bits::parked) != 0) call.word.wake_all();
  } else if (CallType& leader = *call.leader; leader.unanswered.fetch_sub(1) == 1) {
    if ((leader.word.fetch_or(call_bits::gathered) & call_bits::parked) != 0) leader.word.wake_all();
  }
}

template <class T>
void EngineState<T>::on_delivery(Task& task) noexcept {
  auto& call = static_cast<CallType&>(static_cast<Delivery&>(task));
  call.completion.function(call.completion.context, call.engine->collect(call));
  call.unref();
}

template <class T>
Result<Answer> EngineState<T>::collect(CallType& call) noexcept {
  Result<Answer> result = [&]() -> Result<Answer> {
    if (call.answer_end.failed) return tl::unexpected(std::move(call.answer_end.error));
    return Answer{Outputs(std::move(call.outputs)), call.report};
  }();
  if (!call.asynchronous()) call.unref();
  return result;
}

template <class T>
Error EngineState<T>::taken_back(CallType const& call) {
  return cancelled_by_caller(call.model->description());
}

template <class T>
Error EngineState<T>::late(CallType const& call) {
  return deadline_passed(call.model->description(), call.deadline - call.began,
                         call.running.load(std::memory_order_relaxed));
}

}  // namespace athanor::inline v1::serving
