#pragma once

#include <algorithm>
#include <optional>
#include <utility>

#include <athanor/core/detail/inside.hpp>
#include <athanor/serving/detail/engine_state.hpp>
#include <athanor/serving/detail/outputs.hpp>

namespace athanor::inline v1::serving {

// The caller's side of a call: waiting, deadlines, cancellation and the answer.

template <class T>
void EngineState<T>::start(CallType& call) noexcept {
  {
    CallerScope<Env> const scope;
    advance(call, CallerKind::caller, call.began);
  }
  // After that no thread reads `starting`.
  if (call.ended_here || (call.word.load() & call_bits::answered) != 0) return;
  listen(call);
  come_out(call);
}

/// Links a blocking call to its cancellation, if there is one, once. On its caller's thread.
template <class T>
void EngineState<T>::listen(CallType& call) noexcept {
  if (call.cancellation == nullptr || std::exchange(call.listens, true)) return;
  call.CancelHook::cancelled = &EngineState::on_cancelled;
  if (!call.cancellation->link(call)) revoke(call);
}

/// Clears `starting`: from now on other threads may act on a blocking call.
template <class T>
void EngineState<T>::come_out(CallType& call) noexcept {
  auto const seen = call.word.fetch_and(~call_bits::starting);
  if ((seen & (call_bits::stopped | call_bits::claimed)) == call_bits::stopped) abandon(call, stop_error());
}

template <class T>
void EngineState<T>::wait(CallType& call) noexcept {
  if (call.ended_here) return;
  for (int spins = 0; spins < spins_before_parking_; ++spins) {
    if ((call.word.load() & call_bits::answered) != 0) return;
    Env::relax();
  }
  CallerScope<Env> const scope;
  for (;;) {
    std::uint32_t const seen = call.word.fetch_or(call_bits::parked) | call_bits::parked;
    if ((seen & call_bits::answered) != 0) return;
    if ((seen & call_bits::revoked) != 0 && (seen & call_bits::claimed) == 0) {
      abandon(call, taken_back(call));
    } else if (!call.word.wait_until(seen, call.deadline)) {
      abandon(call, late(call));
      wait_for(call, call_bits::answered);  // the thread that claimed it is about to answer
    }
  }
}

/// Parks until one of `bits` is set. Only for what another thread is about to do.
template <class T>
void EngineState<T>::wait_for(CallType& call, std::uint32_t bits) noexcept {
  for (;;) {
    std::uint32_t const seen = call.word.fetch_or(call_bits::parked) | call_bits::parked;
    if ((seen & bits) != 0) return;
    call.word.wait_until(seen, no_deadline);
  }
}

template <class T>
void EngineState<T>::start_group(std::span<CallType* const> calls) noexcept {
  CallType& leader = *calls.front();
  leader.unanswered.store(calls.size());
  for (CallType* call : calls) call->leader = &leader;
  {
    CallerScope<Env> const scope;
    TimePoint const now = Env::now();  // a call that waited for room has begun before
    for (CallType* call : calls) advance(*call, CallerKind::group, now);
    auto lend = batching::LendThread::no;
    if (options_.caller_runs == CallerRuns::when_idle && !leader.model->description().steps)
      lend = leader.own_deadline ? batching::LendThread::yes : batching::LendThread::readily;
    leader.model->lane().enter_all(leader.held, lend);  // now: the keys of large inputs take their time
  }
  for (CallType* call : calls) come_out(*call);
}

template <class T>
void EngineState<T>::run_group(std::span<CallType* const> calls, AnyCancellation* cancellation) noexcept {
  struct Hook : CancelHook {
    std::span<CallType* const> calls;
    explicit Hook(std::span<CallType* const> of) noexcept : calls(of) {}
    void revoke_all() const noexcept {
      for (CallType* call : calls) revoke(*call);
    }
  };
  Hook hook(calls);
  hook.cancelled = [](CancelHook& self) noexcept { static_cast<Hook&>(self).revoke_all(); };
  // First: this thread may run their batches.
  if (cancellation != nullptr && !cancellation->link(hook)) hook.revoke_all();
  start_group(calls);
  wait_for_group(calls);
  if (cancellation != nullptr) cancellation->unlink(hook);
}

/// Like wait, with one park for all of them.
template <class T>
void EngineState<T>::wait_for_group(std::span<CallType* const> calls) noexcept {
  CallType& leader = *calls.front();
  CallerScope<Env> const scope;
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

/// Starts the timer and the cancellation of an asynchronous call, while it is still starting. From here on
/// the thread that fires or suspends the timer owns the timer's reference. False if the timer cannot be
/// armed.
template <class T>
bool EngineState<T>::watch(CallType& call) noexcept {
  if (!executor_.arm(call, call.deadline)) return false;
  if (call.cancellation == nullptr) return true;
  call.CancelHook::cancelled = &EngineState::on_cancelled;
  if (!call.cancellation->link(call)) call.word.fetch_or(call_bits::revoked);
  return true;
}

/// Undoes watch(). Returns the references that this thread must give back: the timer's, unless it fires.
template <class T>
std::uint32_t EngineState<T>::unwatch(CallType& call) noexcept {
  if (call.cancellation != nullptr) call.cancellation->unlink(call);
  return executor_.suspend(call) ? 1 : 0;
}

/// The deadline, or a cancellation that brought it forward. An answer that still waits for a worker while
/// none is idle is delivered from here: no thread may be free until long after the deadline.
template <class T>
void EngineState<T>::on_timer(Timer& timer) noexcept {
  auto& call = static_cast<CallType&>(timer);
  auto& engine = *call.engine;
  auto const seen = call.word.fetch_or(call_bits::revoked);
  std::uint32_t references = 1;
  if ((seen & call_bits::starting) == 0) {
    if ((seen & call_bits::claimed) == 0) {
      if (!engine.hand_over(call)) engine.abandon(call, end_of_wait(call));
    } else if ((seen & call_bits::answered) != 0 && engine.runs_completions_here()) {
      references += engine.complete(call);
    }
  }
  call.unref(references);
}

/// Leaves the answer of a call whose deadline has passed to a worker, if one is idle and the call has to take
/// its inputs back: that may make a copy, or wait for one. False if the inputs are its own.
template <class T>
bool EngineState<T>::hand_over(CallType& call) noexcept {
  if (!call.inputs.lent()) return false;
  std::uint32_t seen = call.word.load();
  do {
    if ((seen & call_bits::claimed) != 0) return true;
  } while (!call.word.compare_exchange(seen, seen | call_bits::handed));
  if (!leave_delivery(call)) on_delivery(static_cast<Delivery&>(call));
  return true;
}

// Runs under the Cancellation's mutex, so it only signals the waiting thread or brings the timer forward. A
// timer that cannot be suspended has fired, and the call is being answered.
template <class T>
void EngineState<T>::on_cancelled(CancelHook& hook) noexcept {
  auto& call = static_cast<CallType&>(hook);
  if (call.asynchronous()) {
    auto& executor = call.engine->executor_;
    if (executor.suspend(call) && !executor.arm(call, Env::now())) call.unref();  // stopping: it is answered
  } else {
    revoke(call);
  }
}

template <class T>
void EngineState<T>::revoke(CallType& call) noexcept {
  if ((call.word.fetch_or(call_bits::revoked) & call_bits::parked) != 0) call.word.wake_all();
}

template <class T>
bool EngineState<T>::is_needed(CallType& call, std::uint32_t left) noexcept {
  return (call.word.load() & left) == 0 || others_wait(call);
}

/// True for the owner of a flight that others joined. When false, no other call will join it.
template <class T>
bool EngineState<T>::others_wait(CallType& call) noexcept {
  return !cache_.cancel_owner(call);
}

/// The caller of an abandoned call takes its inputs back: work that others wait for continues with a copy.
template <class T>
void EngineState<T>::detach_inputs(CallType& call, bool needed) noexcept {
  if (!call.inputs.borrowed()) return;
  // Copied without the lock: a batch that reads them meanwhile does not wait, and nobody else changes them.
  auto copy = needed ? call.inputs.copy() : std::nullopt;
  CallLock<T> const lock(call);
  call.inputs.detach(std::move(copy));
}

/// On the caller's thread, or after the call has started.
template <class T>
void EngineState<T>::abandon(CallType& call, Error error) noexcept {
  if (!claim(call)) return;
  LeftDeliveries<Env> const left;  // until this call is answered
  call.answer_end = {true, std::move(error)};
  bool mine = false;  // the call was withdrawn from a room: its route ends here
  if (call.role() == caching::Join::waiter) {
    mine = cache_.cancel_wait(call);
    if (!mine) detach_inputs(call, false);
  } else {
    bool const needed = is_needed(call);
    {
      // What else the lane ends then is for workers: this call is not answered yet.
      CallerScope<Env> const scope;
      mine = !needed && (call.model->lane().withdraw(call) || loader_.withdraw(call));
    }
    if (!mine) detach_inputs(call, needed);
  }
  if (!mine && !call.asynchronous()) call.handle = handle_of(*call.model);
  if (mine) {
    end_route(call, make_error(Code::cancelled, Reason::cancelled, "the call was abandoned"));
    finish_step(call, CallerKind::worker, Env::now());
  }
  if (auto const references = answer(call, Env::now()); references != 0) call.unref(references);
}

template <class T>
bool EngineState<T>::claim(CallType& call) noexcept {
  return (call.word.fetch_or(call_bits::claimed) & call_bits::claimed) == 0;
}

/// Hands the answer to the caller. Precondition: claim(call) returned true on this thread. Returns how many
/// references are this thread's to give back.
template <class T>
std::uint32_t EngineState<T>::answer(CallType& call, TimePoint now) noexcept {
  call.report.total = now - call.began;
  if (call.leader != nullptr) {
    CallType& leader = *call.leader;
    if (leader.unanswered.fetch_sub(1) == 1 &&
        (leader.word.fetch_or(call_bits::gathered) & call_bits::parked) != 0)
      leader.word.wake_all();
    return 0;
  }
  bool const delivers = call.asynchronous() && !call.refused;
  auto const seen = call.word.fetch_or(call_bits::answered);
  if ((seen & call_bits::parked) != 0) call.word.wake_all();
  if (!delivers || (seen & (call_bits::starting | call_bits::handed)) != 0) return 0;
  if (leave_delivery(call)) return 0;
  return 1 + complete(call);
}

/// Leaves the completion to a worker where it may not run, and where time is kept if one is idle.
template <class T>
bool EngineState<T>::leave_delivery(CallType& call) noexcept {
  auto& delivery = static_cast<Delivery&>(call);
  if (CallerScope<Env>::depth() > 0) return executor_.post(delivery) || LeftDeliveries<Env>::take(delivery);
  return Env::Executor::on_timer_thread() && executor_.post_if_idle(delivery);
}

/// Claims, answers and delivers the call of a route that ended with a value, all at once. False, and nothing
/// is done, if another thread takes part in the call. Otherwise its completion has run, and `references` are
/// this thread's to give back.
template <class T>
bool EngineState<T>::answer_at_once(CallType& call, TimePoint now, std::uint32_t& references) noexcept {
  constexpr std::uint32_t others =
      call_bits::claimed | call_bits::starting | call_bits::stopped | call_bits::revoked | call_bits::parked;
  constexpr std::uint32_t all = call_bits::claimed | call_bits::answered | call_bits::delivered;
  std::uint32_t seen = call.word.load();
  if ((seen & others) != 0 || !call.asynchronous() || !runs_completions_here() ||
      !call.word.compare_exchange(seen, seen | all))
    return false;
  call.report.total = now - call.began;
  references += 1 + run_completion(call);
  return true;
}

/// False inside `submit` or `infer`, and where time is kept while a worker is idle.
template <class T>
bool EngineState<T>::runs_completions_here() const noexcept {
  return CallerScope<Env>::depth() == 0 && !(Env::Executor::on_timer_thread() && executor_.idle());
}

template <class T>
void EngineState<T>::on_delivery(Task& task) noexcept {
  auto& call = static_cast<CallType&>(static_cast<Delivery&>(task));
  auto& engine = *call.engine;
  if ((call.word.load() & call_bits::handed) != 0) {
    engine.abandon(call, end_of_wait(call));
    engine.wait_for(call, call_bits::answered);  // another thread that claimed it is about to answer
  }
  call.unref(1 + engine.complete(call));
}

/// Runs the completion of an answered call, unless another thread does or did. Returns how many references
/// are this thread's to give back then.
template <class T>
std::uint32_t EngineState<T>::complete(CallType& call) noexcept {
  if ((call.word.fetch_or(call_bits::delivered) & call_bits::delivered) != 0) return 0;
  return run_completion(call);
}

/// Precondition: this thread set `delivered`. Returns as `complete`.
template <class T>
std::uint32_t EngineState<T>::run_completion(CallType& call) noexcept {
  std::uint32_t const references = unwatch(call);
  {
    Inside<EngineState, Env> const here(this);
    call.completion.function(call.completion.context, collect(call));
  }
  note_completed(call);
  if (stopping()) end_left_close();
  return references;
}

/// The completion has returned.
template <class T>
void EngineState<T>::note_completed(CallType& call) noexcept {
  if ((call.word.fetch_or(call_bits::completed) & call_bits::parked) != 0) call.word.wake_all();
}

template <class T>
void EngineState<T>::require_room(CallType& call, std::span<Tensor const> room) noexcept {
  if (call.answer_end.failed) return;
  if (auto fits = check_room(*call.outputs, room); !fits) call.answer_end = {true, std::move(fits.error())};
}

/// What the caller gets, as of now: the last thing before its function returns or its completion begins. Of a
/// group each call counts as delivered when its own answer was ready: one that was late costs the others
/// nothing.
template <class T>
Result<Answer> EngineState<T>::collect(CallType& call) noexcept {
  if (!call.asynchronous() && call.cancellation != nullptr && !call.ended_here)
    call.cancellation->unlink(call);
  // Nothing that takes long has come between the end of a batch with its checks, or of a hit, and this
  // moment.
  bool const just_ended = call.ended_here && call.role() != caching::Join::owner;
  TimePoint const now = just_ended || call.leader != nullptr ? call.began + call.report.total : Env::now();
  if (!call.answer_end.failed && now > call.deadline) call.answer_end = {true, late(call)};
  record_answer(call.model->metrics(), call.model->description(), call.answer_end, call.report);
  Result<Answer> result = [&]() -> Result<Answer> {
    if (call.answer_end.failed) return tl::unexpected(std::move(call.answer_end.error));
    call.report.delivered = now - call.began;
    return Answer{Outputs(std::move(call.outputs)), call.report};
  }();
  if (call.ticket.number != 0) leave_sequence(call, result.has_value(), now);
  if (call.ended_here) {
    end_of_route(call, CallType::engine_reference + 1);
  } else if (!call.asynchronous()) {
    call.unref();
  }
  return result;
}

template <class T>
bool EngineState<T>::lacked_room(CallType const& call) noexcept {
  return call.model->description().preprocesses && call.answer_end.failed &&
         call.answer_end.error.reason == Reason::memory_full && !call.running.load(std::memory_order_relaxed);
}

template <class T>
void EngineState<T>::forgo(CallType& call) noexcept {
  if (call.ticket.number != 0) leave_sequence(call, false, Env::now());
  call.unref();
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

/// Why a revoked or stopped call is abandoned.
template <class T>
Error EngineState<T>::end_of_wait(CallType const& call) {
  if ((call.word.load() & call_bits::stopped) != 0) return stop_error();
  return Env::now() >= call.deadline ? late(call) : taken_back(call);
}

template <class T>
Error EngineState<T>::child_error() {
  return make_error(
      Code::failed_precondition, Reason::none,
      "the engine was created before a fork and cannot be used in the child; create an engine there");
}

template <class T>
Error EngineState<T>::stop_error() {
  return make_error(Code::unavailable, Reason::stopping, "the engine is stopping");
}

}  // namespace athanor::inline v1::serving
