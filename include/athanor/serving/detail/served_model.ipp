#pragma once

#include <algorithm>
#include <cstring>

#include <athanor/core/detail/inside.hpp>
#include <athanor/serving/detail/engine_state.hpp>

namespace athanor::inline v1::serving {

template <class T>
ServedModel<T>::ServedModel(EngineState<T>& engine, ModelDescription description, LoadRecord& load_record)
    : engine_(engine),
      description_(std::move(description)),
      load_record_(load_record),
      instances_(static_cast<std::size_t>(description_.manifest.batching.instances.value_or(1))),
      breaker_(detail::Validated{}, CircuitBreakerOptions{.enabled = engine.options().breaker}),
      leases_(instances_),
      outcomes_(instances_),
      lane_(lane_options(), policy(), *this, engine.executor()) {}

template <class T>
batching::LaneOptions ServedModel<T>::lane_options() const {
  auto const& batching = description_.manifest.batching;
  batching::LaneOptions options;
  options.max_items = static_cast<std::uint32_t>(batching.max_items.value_or(32));
  options.max_cost = batching.max_cost.value_or(options.max_cost);
  options.instances = static_cast<std::uint32_t>(instances_);
  options.caller_runs = engine_.options().caller_runs == CallerRuns::when_idle &&
                        description_.backend->runs_on == ATH_RUNS_ON_ANY_THREAD;
  return options;
}

template <class T>
typename T::Batching ServedModel<T>::policy() const {
  auto const& batching = description_.manifest.batching;
  typename T::Batching policy{};
  if constexpr (requires { policy.max_delay; }) {
    bool const holds = batching.policy == manifest::BatchingSection::Policy::size_or_delay;
    policy.max_delay =
        holds ? Duration(std::chrono::microseconds(batching.max_delay_us.value_or(1000))) : Duration{0};
  }
  if constexpr (requires { policy.max_items; }) policy.max_items = lane_options().max_items;
  return policy;
}

template <class T>
bool ServedModel<T>::is_running_here() const noexcept {
  return Inside<ServedModel>::holds(this);
}

template <class T>
bool ServedModel<T>::allow_trial(TimePoint now, Duration predicted) noexcept {
  TimePoint at = next_trial_.load();
  return at <= now && next_trial_.compare_exchange_strong(at, after(now, predicted));
}

template <class T>
std::uint64_t ServedModel<T>::shape_key(CallType const& call) const {
  std::array<TensorView, max_tensors> tensors;
  fill_piece(description_, *call.request, call.checked, call.made, 0, 1, tensors);
  return serving::shape_key(description_.plan.inputs, tensors);
}

template <class T>
Result<void> ServedModel<T>::check_answer(CallType const& call) const {
  auto const& specs = description_.signature.outputs;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].non_finite == NonFinite::allow) continue;
    if (auto const at = first_non_finite(call.computed[i]); at >= 0)
      return fail(Code::internal, Reason::non_finite,
                  "{}: output {}: element {}: expected a finite value, the model gave NaN or infinity",
                  description_.id, specs[i].name, at);
  }
  return {};
}

template <class T>
void ServedModel<T>::record(CallType const& call) noexcept {
  auto const code = call.answer_failed ? call.answer_error.code : Code::ok;
  metrics_.requests[static_cast<std::size_t>(code) % ModelMetrics::outcomes].add();
  metrics_.latency.record(static_cast<std::uint64_t>(std::max<std::int64_t>(call.report.total.count(), 0)));
  // The report of a failed call may still be written: its caller may have abandoned work that runs.
  if (call.answer_failed) return;
  if (call.report.cache == CacheState::hit) metrics_.cache_hits.add();
  if (call.report.cache == CacheState::joined) metrics_.cache_joined.add();
  if (call.report.members != 0 && call.report.members < description_.plan.members.size())
    metrics_.degraded.add();
}

template <class T>
void ServedModel<T>::record_refusal(Error const& error) noexcept {
  metrics_.requests[static_cast<std::size_t>(error.code) % ModelMetrics::outcomes].add();
}

template <class T>
bool ServedModel<T>::wanted(batching::Slot& slot) noexcept {
  return engine_.is_needed(static_cast<CallType&>(slot));
}

/// A probe call holds its lease, which its first part takes; every other batch takes one now.
template <class T>
Result<void> ServedModel<T>::begin(batching::Batch const& batch) noexcept {
  auto& first = static_cast<CallType&>(*batch.parts[0].slot);
  if (first.alone) {
    leases_[batch.instance] = batch.parts[0].first == 0 ? std::exchange(first.lease, {}) : breaking::Lease{};
    return {};
  }
  auto lease = breaker_.acquire(batch.formed);
  if (!lease) return tl::unexpected(std::move(lease.error()));
  leases_[batch.instance] = *lease;
  return {};
}

template <class T>
Result<void> ServedModel<T>::execute(batching::Batch const& batch) noexcept {
  auto& model = *static_cast<CallType&>(*batch.parts[0].slot).loading::template Slot<LoadedModel>::payload;
  Worker& worker = model.worker(batch.instance);
  auto result = gather(batch, worker);
  if (result) {
    if (CallerScope::depth > 0) engine_.caller_enters_backend();
    auto members = [&] {
      Inside<ServedModel> const here(this);
      return worker.ensemble.run(worker.assembler.inputs(), batch.items);
    }();
    if (CallerScope::depth > 0) engine_.caller_leaves_backend();
    if (members) {
      result = scatter(batch, worker, *members);
    } else {
      result = tl::unexpected(std::move(members.error()));
    }
  }
  outcomes_[batch.instance] = result ? breaking::Outcome::success : breaking::outcome_of(result.error());
  return result;
}

/// The one copy on the way in. Inputs are locked while they are read, so that abandoning a call waits for
/// it.
template <class T>
Result<void> ServedModel<T>::gather(batching::Batch const& batch, Worker& worker) noexcept {
  worker.pieces.clear();
  bool gone = false;
  bool owned = true;
  for (auto const& part : batch.parts) {
    auto& call = static_cast<CallType&>(*part.slot);
    if (!batch.on_caller) call.lock_inputs();
    owned = owned && !call.borrowed;
    ++call.report.attempts;
    call.running.store(true, std::memory_order_relaxed);
    if (call.inputs_gone) {
      gone = true;
      continue;
    }
    append_pieces(description_, *call.request, call.checked, call.made, part.first, part.count,
                  worker.pieces);
  }
  Result<void> result;
  if (gone) {
    result = fail(Code::aborted, Reason::cancelled, "the inputs of an abandoned call in this batch are gone");
  } else {
    result = worker.assembler.gather(worker.pieces, batch.on_caller || owned);
  }
  if (!batch.on_caller)
    for (auto const& part : batch.parts) static_cast<CallType&>(*part.slot).unlock_inputs();
  return result;
}

/// The one copy on the way out: rows of the batch into each call's own outputs.
template <class T>
Result<void> ServedModel<T>::scatter(batching::Batch const& batch, Worker& worker,
                                     std::uint32_t members) noexcept {
  auto const outputs = worker.ensemble.outputs();
  std::size_t row = 0;
  for (auto const& part : batch.parts) {
    auto& call = static_cast<CallType&>(*part.slot);
    if (auto made = make_outputs(part, outputs); !made) return made;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (description_.plan.outputs[i].from == OutputPlan::From::processor) continue;
      std::size_t const width = outputs[i].size_bytes / static_cast<std::size_t>(batch.items);
      if (width * call.batch_items != call.computed[i].size_bytes())
        return fail(
            Code::internal, Reason::backend_contract,
            "{}: output {}: rows of {} bytes in one batch and of another size in the next of the same call",
            description_.id, description_.plan.outputs[i].spec.name, width);
      std::memcpy(call.computed[i].mutable_data() + width * part.first,
                  static_cast<std::byte const*>(outputs[i].data) + width * row, width * part.count);
    }
    row += part.count;
    write_report(part, [&](Report& report) {
      report.batch_items = batch.items;
      report.on_caller = batch.on_caller;
      report.queue = batch.formed - call.entered;
      report.members = description_.plan.members.size() > 1 ? members : 0;
    });
  }
  return {};
}

/// Allocates outputs for all items of the call, shaped like the batch's. One part of an oversize call does it
/// for all.
template <class T>
Result<void> ServedModel<T>::make_outputs(batching::Part const& part,
                                          std::span<TensorView const> outputs) noexcept {
  auto& call = static_cast<CallType&>(*part.slot);
  bool const shared = !part.whole();
  std::uint32_t none = 0;
  if (shared && !call.outputs_state.compare_exchange_strong(none, 1)) {
    while (call.outputs_state.load() == 1) Env::relax();
    return {};
  }
  call.computed.resize(outputs.size());
  Result<void> result;
  for (std::size_t i = 0; i < outputs.size() && result; ++i) {
    OutputPlan const& plan = description_.plan.outputs[i];
    if (plan.from == OutputPlan::From::processor) {
      result = put_made(call, i);
      continue;
    }
    Shape shape(std::span<std::int64_t const>(outputs[i].shape, static_cast<std::size_t>(outputs[i].ndim)));
    shape[0] = call.checked.items;
    result = make_output(call.computed[i], plan.spec.dtype, shape);
  }
  if (shared) call.outputs_state.store(result ? 2U : 0U);
  return result;
}

/// An output of the processor: one row of each item.
template <class T>
Result<void> ServedModel<T>::put_made(CallType& call, std::size_t output) noexcept {
  OutputPlan const& plan = description_.plan.outputs[output];
  TensorView const& like = call.made[0].tensor(plan.index);
  Shape shape(std::span<std::int64_t const>(like.shape, static_cast<std::size_t>(like.ndim)));
  for (auto const& made : call.made) {
    TensorView const& row = made.tensor(plan.index);
    if (!is_row_of(plan.spec, row) || row.size_bytes != like.size_bytes)
      return fail(Code::internal, Reason::backend_contract,
                  "{}: output {}: expected one row of {} for every item, of equal size, from the processor",
                  description_.id, plan.spec.name, to_string(plan.spec));
  }
  shape[0] = call.checked.items;
  if (auto made = make_output(call.computed[output], plan.spec.dtype, shape); !made) return made;
  std::byte* to = call.computed[output].mutable_data();
  for (auto const& made : call.made) {
    std::memcpy(to, made.tensor(plan.index).data, like.size_bytes);
    to += like.size_bytes;
  }
  return {};
}

/// Locks the report for parts of an oversize call: they may end on several instances at once.
template <class T>
template <class Write>
void ServedModel<T>::write_report(batching::Part const& part, Write write) noexcept {
  auto& call = static_cast<CallType&>(*part.slot);
  bool const shared = !part.whole();
  if (shared) call.lock_inputs();
  write(call.report);
  if (shared) call.unlock_inputs();
}

template <class T>
void ServedModel<T>::end(batching::Batch const& batch, batching::Verdict verdict, TimePoint now) noexcept {
  Duration const run_time = now - batch.formed;
  for (auto const& part : batch.parts) write_report(part, [&](Report& report) { report.compute = run_time; });
  metrics_.batches.add();
  metrics_.batch_items.record(batch.items);
  metrics_.compute.record(static_cast<std::uint64_t>(std::max<std::int64_t>(run_time.count(), 0)));
  if (verdict == batching::Verdict::failed) metrics_.batch_failures.add();
  auto const outcome =
      verdict == batching::Verdict::failed ? outcomes_[batch.instance] : breaking::Outcome::success;
  auto const before = breaker_.state();
  breaker_.record(leases_[batch.instance], outcome, now);
  auto const after = breaker_.state();
  if (after == before || after == breaking::State::half_open) return;
  emit(engine_.options().sink,
       Event{after == breaking::State::open ? EventKind::breaker_opened : EventKind::breaker_closed,
             description_.manifest.name,
             description_.manifest.version,
             {}});
}

template <class T>
void ServedModel<T>::finish(batching::Slot& slot, Error const* error, TimePoint now) noexcept {
  engine_.batched(static_cast<CallType&>(slot), error, now);
}

}  // namespace athanor::inline v1::serving
