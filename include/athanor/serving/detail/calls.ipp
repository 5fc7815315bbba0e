#pragma once

#include <algorithm>

#include <athanor/serving/detail/engine_state.hpp>
#include <athanor/serving/detail/outputs.hpp>

namespace athanor::inline v1::serving {

// From a request to a call.

template <class T>
typename EngineState<T>::CallType* EngineState<T>::take_call() {
  CallType* call = nullptr;
  if (pool_.pop(call)) return call;
  auto made = std::make_unique<CallType>();
  call = made.get();
  call->AnswerHolder::recycle = &EngineState::recycle;
  call->Continuation::run = &EngineState::on_task;
  call->Delivery::run = &EngineState::on_delivery;
  call->computed.reserve(max_tensors);
  call->word.store(call_bits::claimed);
  detail::Lock const lock(mutex_);
  calls_.push_back(std::move(made));
  pool_.reserve(1);
  return call;
}

/// Returns the call to the pool. The call may hold the last reference to the engine.
template <class T>
void EngineState<T>::recycle(AnswerHolder& holder) noexcept {
  auto& call = static_cast<CallType&>(holder);
  auto const engine = std::move(call.engine);
  call.inputs.clear();
  call.made.clear();
  call.stored.reset();
  call.flight_value.reset();
  engine->pool_.push(&call);
}

template <class T>
Result<Call<T>*> EngineState<T>::make_call(ModelType& model, Request const& request,
                                           CallOptions const& options, TimePoint now) {
  if (stopping()) return fail(Code::unavailable, Reason::stopping, "the engine is stopping");
  auto checked = check(model.description().signature, request);
  if (!checked) {
    model.record_refusal(checked.error());
    return tl::unexpected(std::move(checked.error()));
  }
  CallType& call = *take_call();
  routes_.fetch_add(1);
  call.reset(this->shared_from_this(), model, request, *checked, options);
  call.began = now;
  call.deadline = after(now, options.deadline.value_or(options_.default_deadline));
  Result<void> admitted = choose_outputs(call, model.description(), options.outputs);
  if (admitted && call.deadline <= now)
    admitted = fail(Code::deadline_exceeded, Reason::deadline_waiting,
                    "{}: deadline already passed on arrival", model.description().id);
  if (admitted) admitted = gate_.admit_caller(call, checked->items, checked->bytes, now);
  if (admitted && call.cancellation != nullptr && call.cancellation->is_cancelled())
    admitted = tl::unexpected(taken_back(call));
  if (admitted) return &call;  // its word stays claimed until it starts: a stop skips it
  gate_.release_quota(call);
  end_of_route();
  model.record_refusal(admitted.error());
  call.unref();
  call.unref();
  return tl::unexpected(std::move(admitted.error()));
}

template <class T>
Result<Call<T>*> EngineState<T>::submit(ModelType& model, Request const& request, CallOptions const& options,
                                        Completion completion) {
  auto call = make_call(model, request, options, Env::now());
  if (!call) return call;
  return launch(**call, completion);
}

template <class T>
Result<Call<T>*> EngineState<T>::submit(ModelType& model, Request&& request, CallOptions const& options,
                                        Completion completion) {
  auto call = make_call(model, request, options, Env::now());
  if (!call) return call;
  (*call)->inputs.own(std::move(request));
  return launch(**call, completion);
}

template <class T>
Result<Call<T>*> EngineState<T>::launch(CallType& call, Completion completion) noexcept {
  call.completion = completion;
  call.word.store(0);
  CallerScope const scope;
  advance(call, CallerKind::submitter, call.began);
  if (!call.refused) {
    watch(call);
    return &call;
  }
  Error error = std::move(call.answer_end.error);
  call.unref();
  return tl::unexpected(std::move(error));
}

}  // namespace athanor::inline v1::serving
