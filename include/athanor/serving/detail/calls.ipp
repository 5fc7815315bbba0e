#pragma once

#include <algorithm>

#include <athanor/serving/detail/engine_state.hpp>
#include <athanor/serving/detail/outputs.hpp>

namespace athanor::inline v1::serving {

// From a request to a call.

template <class T>
typename EngineState<T>::CallType& EngineState<T>::take_call() {
  std::size_t const home = Env::thread_number();
  if (CallType* const kept = pool_.take()) {
    if (kept->home != home) kept->home = home;
    return *kept;
  }
  auto made = std::make_unique<CallType>();
  CallType& call = *made;
  call.engine = this;
  call.home = home;
  call.Continuation::run = &EngineState::on_task;
  call.Delivery::run = &EngineState::on_delivery;
  call.Timer::fire = &EngineState::on_timer;
  detail::Lock const lock(mutex_);
  call.number = calls_.size();
  calls_.push_back(std::move(made));
  return call;
}

/// Returns the call to the pool, or frees it when that is full. The call may hold the last handle of its
/// model.
template <class T>
void EngineState<T>::recycle(CallType& call) noexcept {
  auto const handle = std::move(call.handle);
  call.outputs.reset();
  call.inputs.clear();
  call.made.clear();
  if (!call.ragged_parts.empty()) call.ragged_parts.clear();
  if (!call.parameters.values().empty()) call.parameters.clear();
  call.flight_value.reset();
  if (call.stream != nullptr) call.stream.reset();
  if (!pool_.keep(call, call.home)) free_call(call);
}

template <class T>
void EngineState<T>::free_call(CallType& call) noexcept {
  if (in_child()) return;  // a thread that is not here may hold the lock
  executor_.disarm(call);
  std::unique_ptr<CallType> freed;
  detail::Lock const lock(mutex_);
  auto& place = calls_[call.number];
  calls_.back()->number = call.number;
  freed = std::move(place);
  if (&place != &calls_.back()) place = std::move(calls_.back());
  calls_.pop_back();
}

template <class T>
Result<Call<T>*> EngineState<T>::make_call(ModelType& model, Request const& request,
                                           CallOptions const& options, TimePoint now) {
  auto call = try_call(model, request, options, now,
                       after(now, options.deadline.value_or(options_.default_deadline)));
  if (!call) return model.refused(std::move(call.error()));
  return call;
}

/// A request that is hashed is read when it is.
template <class T>
LargeInputs EngineState<T>::large_inputs(ModelType const& model, CallOptions const& options) const noexcept {
  bool const hashed =
      options_.cache_bytes != 0 && model.description().manifest.cache && options.cache != CacheMode::skip;
  return hashed ? LargeInputs::leave : LargeInputs::read;
}

template <class T>
inline Result<Call<T>*> EngineState<T>::try_call(ModelType& model, Request const& request,
                                                 CallOptions const& options, TimePoint now,
                                                 TimePoint deadline) {
  if (in_child()) return tl::unexpected(child_error());
  if (stopping()) return tl::unexpected(stop_error());
  if (model.sequences() != nullptr) return try_stepped_call(model, request, options, now, deadline);
  PaddedLengths lengths{};
  auto const checked = check_request(model.description(), request, lengths, large_inputs(model, options));
  if (!checked) return tl::unexpected(named(model, checked.error()));
  return make_checked_call(model, request, *checked, lengths, options, now, deadline, nullptr);
}

template <class T>
Result<Call<T>*> EngineState<T>::make_sequence_call(ModelType& model, Request const& request,
                                                    CallOptions const& options, TimePoint now,
                                                    SequenceId sequence) {
  auto call = [&]() -> Result<CallType*> {
    if (in_child()) return tl::unexpected(child_error());
    if (stopping()) return tl::unexpected(stop_error());
    PaddedLengths lengths{};
    auto const checked = check_request(model.description(), request, lengths);
    if (!checked) return tl::unexpected(named(model, checked.error()));
    if (checked->items != 1)
      return fail(Code::invalid_argument, Reason::shape, "{}: a call of a sequence: expected 1 item, got {}",
                  model.description().id, checked->items);
    auto const deadline = after(now, options.deadline.value_or(options_.default_deadline));
    return make_checked_call(model, request, *checked, lengths, options, now, deadline, nullptr)
        .and_then([&](CallType* made) { return join_sequence(*made, sequence, now); });
  }();
  if (!call) return model.refused(std::move(call.error()));
  return call;
}

template <class T>
Result<Call<T>*> EngineState<T>::await_call(ModelType& model, Request const& request,
                                            CallOptions const& options, TimePoint began, TimePoint deadline) {
  struct Hook : CancelHook {
    RoomPlace<Env>& place;
    explicit Hook(RoomPlace<Env>& of) noexcept : place(of) {}
  };
  // A hint that was missed costs no more than this.
  constexpr Duration longest_nap = std::chrono::milliseconds(10);
  PaddedLengths lengths{};
  auto const checked = check_request(model.description(), request, lengths, large_inputs(model, options));
  if (!checked) return tl::unexpected(named(model, checked.error()));
  RoomPlace<Env> place(room_line_, checked->items,
                       held_bytes(model.description(), request, *checked, lengths));
  Hook hook(place);
  hook.cancelled = [](CancelHook& self) noexcept { static_cast<Hook&>(self).place.wake(); };
  bool const cancellable = options.cancellation != nullptr;
  bool wanted = !cancellable || options.cancellation->link(hook);
  TimePoint now = Env::now();
  while (wanted && !stopping() && now < deadline && !room_line_.look(place)) {
    place.word.wait_until(0, std::min(after(now, longest_nap), deadline));
    wanted = !cancellable || !options.cancellation->is_cancelled();
    now = Env::now();
  }
  if (cancellable) options.cancellation->unlink(hook);
  if (wanted && now >= deadline)
    return tl::unexpected(deadline_passed(model.description(), now - began, false));
  auto call = make_checked_call(model, request, *checked, lengths, options, now, deadline, &place);
  if (!call) return call;
  (*call)->began = began;
  if (model.sequences() == nullptr) return call;
  return begin_steps(**call, now);
}

/// With the ticket, or given back.
template <class T>
Result<Call<T>*> EngineState<T>::join_sequence(CallType& call, SequenceId sequence, TimePoint now) noexcept {
  auto ticket = call.model->sequences()->with([&](auto& places) { return places.begin(sequence, now); });
  if (ticket) {
    call.ticket = *ticket;
    return &call;
  }
  Error error = named(*call.model, ticket.error());
  give_back(call);
  return tl::unexpected(std::move(error));
}

/// The caller of a call of a sequence has its answer: another one may begin.
template <class T>
void EngineState<T>::leave_sequence(CallType& call, bool answered, TimePoint now) noexcept {
  bool const stepped = call.model->description().steps.has_value();
  call.model->sequences()->with([&](auto& places) {
    stepped ? places.end_steps(call.ticket) : places.settle(call.ticket, answered, now);
  });
}

template <class T>
Error EngineState<T>::named(ModelType const& model, Error const& error) noexcept {
  // One for whose message there was no memory stays without: who reads it is told its reason.
  if (error.message.empty()) return detail::copy_of(error);
  Error named = make_error(error.code, error.reason, "{}: {}", model.description().id, error.message);
  named.retry_after = error.retry_after;
  return named;
}

/// With a `place` in the line that is served, the call takes over what that holds.
template <class T>
Result<Call<T>*> EngineState<T>::make_checked_call(ModelType& model, Request const& request,
                                                   CheckedRequest const& checked,
                                                   PaddedLengths const& lengths, CallOptions const& options,
                                                   TimePoint now, TimePoint deadline, RoomPlace<Env>* place) {
  if (stopping()) return tl::unexpected(stop_error());
  if (options.cancellation != nullptr && options.cancellation->is_cancelled())
    return tl::unexpected(cancelled_by_caller(model.description()));
  OutputSetPointer outputs = model.outputs().take();
  CallType& call = take_call();
  call.outputs = std::move(outputs);
  call.reset(model, request, checked, options);
  UnstartedCall unstarted(call);
  call.began = now;
  call.deadline = deadline;
  if (Signature const& signature = model.description().signature; !signature.parameters.empty())
    call.parameters.assign(signature, request, checked);
  call.longest = lengths;
  Result<void> admitted = choose_outputs(*call.outputs, model.description(), options.outputs);
  // Checked again: if a stop did not see this call, this thread sees the stop here.
  if (admitted && stopping()) admitted = tl::unexpected(stop_error());
  if (admitted && call.deadline <= now)
    admitted = fail(Code::deadline_exceeded, Reason::deadline_waiting,
                    "{}: deadline already passed on arrival", model.description().id);
  if (admitted && place != nullptr && place->served()) {
    Gate<Env>::move(*place, call, place->held_items, place->held_bytes);
  } else if (admitted) {
    admitted = gate_.admit_caller(call, checked.items,
                                  held_bytes(model.description(), request, checked, lengths), now);
    if (!admitted) admitted = tl::unexpected(named(model, admitted.error()));
  }
  if (admitted && checked.incomplete) call.inputs.complete(model.description().signature);
  if (admitted) return unstarted.release();
  return tl::unexpected(std::move(admitted.error()));
}

/// Gives back a call that was made and has not started, with all that it holds.
template <class T>
void EngineState<T>::give_back(CallType& call) noexcept {
  room_line_.give_back(call);
  if (call.ticket.number != 0) leave_sequence(call, false, call.began);
  end_of_route(call, CallType::engine_reference + 1);
}

template <class T>
Result<Call<T>*> EngineState<T>::submit(ModelPointer const& model, Request&& request,
                                        CallOptions const& options, Completion completion,
                                        SequenceId sequence) {
  if (completion.function == nullptr)
    return model->refused(make_error(Code::invalid_argument, Reason::option,
                                     "{}: submit: expected a completion, got null", model->description().id));
  TimePoint const now = Env::now();
  auto call = sequence.number == 0 ? make_call(*model, request, options, now)
                                   : make_sequence_call(*model, request, options, now, sequence);
  if (!call) return call;
  (*call)->handle = model;
  (*call)->inputs.own(std::move(request));
  return launch(**call, completion);
}

template <class T>
Result<Call<T>*> EngineState<T>::launch(CallType& call, Completion completion) noexcept {
  call.completion = completion;
  call.owners.fetch_add(2, std::memory_order_relaxed);  // its timer's and its delivery's
  {
    CallerScope<Env> const scope;
    advance(call, CallerKind::submitter, call.began);
  }
  if (call.refused) {
    call.unref(2);
    return refusal_of(call);
  }
  bool const over = (call.word.load() & call_bits::answered) != 0;
  bool const watched = !over && watch(call);
  if (!watched) call.unref();
  bool const timed = over || watched;
  std::uint32_t seen = call.word.load();
  do {
    bool const unwanted = !timed || (seen & (call_bits::revoked | call_bits::stopped)) != 0;
    if (!unwanted || (seen & call_bits::claimed) != 0) continue;
    CallerScope<Env> const scope;
    abandon(call, timed ? end_of_wait(call) : no_worker());
    seen = call.word.load();
  } while (!call.word.compare_exchange(seen, seen & ~call_bits::starting));
  if ((seen & call_bits::answered) == 0) return &call;
  // It was answered while it started: this thread sees to its completion.
  if (executor_.post(static_cast<Delivery&>(call))) return &call;
  bool const delivered = (call.word.fetch_or(call_bits::delivered) & call_bits::delivered) != 0;
  call.unref(1 + (delivered ? 0 : unwatch(call)));
  if (delivered) return &call;
  note_completed(call);
  if (!call.answer_end.failed) call.answer_end = {true, no_worker()};
  // It may wait for a reader, who gets no stream: nobody else takes it out of there.
  if (call.stream != nullptr)
    completion.function(completion.context, tl::unexpected(detail::copy_of(call.answer_end.error)));
  return refusal_of(call);
}

/// Ends a call that `submit` does not accept.
template <class T>
tl::unexpected<Error> EngineState<T>::refusal_of(CallType& call) noexcept {
  record_answer(call.model->metrics(), call.model->description(), call.answer_end, call.report);
  if (call.ticket.number != 0) leave_sequence(call, false, Env::now());
  Error error = std::move(call.answer_end.error);
  call.unref();
  return tl::unexpected(std::move(error));
}

/// Why the executor takes no task or timer.
template <class T>
Error EngineState<T>::no_worker() {
  if (stopping()) return stop_error();
  return make_error(Code::resource_exhausted, Reason::none,
                    "no thread can be started for an asynchronous call");
}

}  // namespace athanor::inline v1::serving
