#pragma once

#include <algorithm>
#include <span>

#include <athanor/core/detail/inside.hpp>
#include <athanor/core/detail/noexcept_error.hpp>
#include <athanor/serving/detail/engine_state.hpp>
#include <athanor/serving/detail/outputs.hpp>
#include <athanor/serving/detail/part_queue.hpp>

namespace athanor::inline v1::serving {

// Calls that the engine steps: each is a sequence of its own, whose parts go to a stream if there is one.

/// Of a model with state, which is asked for only by the calls of its sequences, or stepped by the engine.
template <class T>
Result<Call<T>*> EngineState<T>::try_stepped_call(ModelType& model, Request const& request,
                                                  CallOptions const& options, TimePoint now,
                                                  TimePoint deadline) {
  ModelDescription const& description = model.description();
  if (!description.steps)
    return fail(Code::invalid_argument, Reason::missing_input,
                "{}: the model keeps state: expected a call of a sequence; see open_sequence",
                description.id);
  PaddedLengths lengths{};
  auto const checked = check_request(description, request, lengths);
  if (!checked) return tl::unexpected(named(model, checked.error()));
  return make_checked_call(model, request, *checked, lengths, options, now, deadline, nullptr)
      .and_then([&](CallType* made) { return begin_steps(*made, now); });
}

/// With a slot for its state, or given back.
template <class T>
Result<Call<T>*> EngineState<T>::begin_steps(CallType& call, TimePoint now) noexcept {
  auto ticket = [&]() -> Result<SequenceTicket> {
    if (auto const items = call.inputs.checked().items; items != 1)
      return fail(Code::invalid_argument, Reason::shape,
                  "a call that the engine steps: expected 1 item, got {}", items);
    return call.model->sequences()->with([&](auto& places) { return places.begin_steps(now); });
  }();
  if (!ticket) {
    Error error = named(*call.model, ticket.error());
    if (error.reason == Reason::sequences_full)
      error.retry_after = std::max<Duration>(call.model->lane().predicted(1), std::chrono::milliseconds(1));
    give_back(call);
    return tl::unexpected(std::move(error));
  }
  call.ticket = *ticket;
  call.steps_left = call.model->description().steps->most_of(call.parameters.values());
  call.last_step = false;
  return &call;
}

/// Whether the next step is better made by the reader, once it comes for the part: it would be made alone, in
/// less time than it takes to wake a thread.
template <class T>
bool EngineState<T>::suits_reader(CallType const& call) noexcept {
  constexpr Duration waking = std::chrono::microseconds(50);
  return call.report.batch_items == 1 && call.report.compute < waking &&
         call.model->lane().options().caller_runs;
}

/// Its state is what the step has left, whoever reads the parts: a stream whose reader is late keeps its
/// place.
template <class T>
batching::Finished EngineState<T>::step_ended(CallType& call, TimePoint now) noexcept {
  bool const over =
      call.last_step || --call.steps_left <= 0 || call.incomplete.load(std::memory_order_relaxed);
  if (over || !call.model->sequences()->with([&](auto& places) { return places.step(call.ticket); })) {
    batched(call, nullptr, now, CallerKind::worker);
    return batching::Finished::done;
  }
  call.alone = false;
  if (call.stream == nullptr) return batching::Finished::again;
  auto part = take_part(call);
  if (!part) {
    end_route(call, std::move(part.error()));
    finish_step(call, CallerKind::worker, now);
    return batching::Finished::done;
  }
  auto const queue = call.stream;  // once the call is parked, it may end
  switch (queue->put(std::move(*part), call, suits_reader(call))) {
    case PartQueue<T>::Put::taken: return batching::Finished::again;
    case PartQueue<T>::Put::parked: return batching::Finished::done;
    case PartQueue<T>::Put::ended: break;
  }
  end_route(call, make_error(Code::cancelled, Reason::cancelled, "the call was given up between two steps"));
  finish_step(call, CallerKind::worker, now);
  return batching::Finished::done;
}

/// What the step gave; the call gets other outputs for the next one.
template <class T>
Result<Outputs> EngineState<T>::take_part(CallType& call) noexcept {
  ModelDescription const& description = call.model->description();
  if (!description.postprocesses)
    if (auto finite = check_finite(description, call.outputs->computed()); !finite)
      return tl::unexpected(std::move(finite.error()));
  try {
    OutputSetPointer next = call.model->outputs().take();
    next->chosen = call.outputs->chosen;
    next->chosen_count = call.outputs->chosen_count;
    return Outputs(std::exchange(call.outputs, std::move(next)));
  } catch (...) {
    return tl::unexpected(
        detail::caught(Code::resource_exhausted, Reason::out_of_memory, "a part of a stream"));
  }
}

/// Makes the next step on this thread if it is lent and the lane has nothing else to do, otherwise on a
/// worker.
template <class T>
void EngineState<T>::resume_steps(CallType& call, batching::LendThread lend) noexcept {
  CallerScope<Env> const scope;
  call.model->lane().put_back(call, lend, Env::now());
}

template <class T>
Result<void> EngineState<T>::finish_part(CallType& call, Outputs& part) noexcept {
  ModelDescription const& description = call.model->description();
  if (!description.postprocesses) return {};
  auto const computed = part.set_->computed();
  try {
    // The reader is inside `next`: what it lent stays where it is.
    auto const inputs = processor_inputs(call, CallerKind::caller);
    if (!inputs) return tl::unexpected(end_of_wait(call));  // whoever gave the call up has taken them back
    auto const is_cut_off = [](void const* asked) -> std::int32_t {
      auto const& streamed = *static_cast<CallType const*>(asked);
      return streamed.stream->is_cut_off() || reader_gave_up(streamed) ? 1 : 0;
    };
    Inside<EngineState, Env> const here(this);
    auto made = postprocess_item(description, *inputs, {call.parameters.values(), is_cut_off, &call},
                                 call.made.empty() ? nullptr : call.made.data(),
                                 computed.subspan(description.signature.outputs.size()), call.longest, 0, 0);
    if (!made && is_cut_off(&call) != 0) return tl::unexpected(end_of_wait(call));
    if (!made) return tl::unexpected(std::move(made.error()));
    return put_postprocessed(description, std::span(&*made, 1), computed).and_then([&] {
      return check_finite(description, computed);
    });
  } catch (...) {
    return tl::unexpected(detail::caught(Code::resource_exhausted, Reason::out_of_memory, description.id));
  }
}

}  // namespace athanor::inline v1::serving
