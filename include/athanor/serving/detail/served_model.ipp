#pragma once

#include <algorithm>

#include <athanor/core/detail/inside.hpp>
#include <athanor/core/detail/noexcept_error.hpp>
#include <athanor/serving/detail/engine_state.hpp>
#include <athanor/serving/detail/outputs.hpp>

namespace athanor::inline v1::serving {

template <class T>
ServedModel<T>::ServedModel(EngineState<T>& engine, std::shared_ptr<LoadContext<Env>> context,
                            typename T::Batching policy, LoadRecord& load_record)
    : engine_(engine),
      context_(std::move(context)),
      description_(context_->description),
      load_record_(load_record),
      outputs_(new OutputPool<Env>(description_.id, output_specs(description_.plan))),
      sequences_(make_sequences()),
      breaker_(detail::Validated{}, CircuitBreakerOptions{.enabled = engine.options().breaker}),
      instances_(std::make_unique<InstanceState[]>(context_->instances())),
      lane_(lane_options(), std::move(policy), *this, engine.executor()) {}

template <class T>
std::unique_ptr<Sequences<typename T::Env>> ServedModel<T>::make_sequences() const {
  auto const& section = description_.manifest.sequences;
  if (!section) return nullptr;
  return std::make_unique<Sequences<Env>>(SequencePlaces(
      static_cast<std::size_t>(section->max), std::chrono::milliseconds(section->idle_ms), section->held));
}

template <class T>
batching::LaneOptions ServedModel<T>::lane_options() const {
  auto const& batching = description_.manifest.batching;
  batching::LaneOptions options;
  options.max_items = policy_settings(batching).max_items;
  options.max_cost = batching.max_cost.value_or(options.max_cost);
  if (Padding const& padding = description_.plan.padding; !padding.empty())
    options.dearest_item = padding.most_positions();
  options.instances = static_cast<std::uint32_t>(context_->instances());
  options.caller_runs =
      engine_.options().caller_runs == CallerRuns::when_idle && description_.runs_on_any_thread;
  if (sequences_ != nullptr && sequences_->held()) options.rework_limit = 0;  // what has run cannot run again
  return options;
}

template <class T>
Result<typename T::Batching> ServedModel<T>::configure_policy(ModelDescription const& description) {
  return T::Batching::configure(policy_settings(description.manifest.batching)).map_error([&](Error error) {
    error.message = detail::format("{}: batching: {}", description.id, error.message);
    return error;
  });
}

template <class T>
bool ServedModel<T>::would_wait_for_itself() const noexcept {
  bool const in_backend = Inside<ServedModel, Env>::any(
      [this](ServedModel const& inside) noexcept { return &inside.engine_ == &engine_; });
  return in_backend && lane_.snapshot().idle_instances == 0;
}

template <class T>
bool ServedModel<T>::allow_trial(TimePoint now, Duration predicted) noexcept {
  TimePoint at = next_trial_.load();
  return at <= now && next_trial_.compare_exchange_strong(at, after(now, predicted));
}

template <class T>
std::uint64_t ServedModel<T>::shape_key(CallType const& call, std::uint32_t item) const {
  std::array<TensorView, max_tensors> tensors;
  fill_piece(description_, source_of(call), item, 1, tensors);
  if (Padding const& padding = description_.plan.padding; !padding.empty())
    padding.widen(tensors, padding.buckets_of(call.longest));
  return serving::shape_key(description_.plan.inputs, tensors);
}

template <class T>
std::uint64_t ServedModel<T>::batch_key(CallType const& call) const {
  std::uint64_t const shapes = shape_key(call);
  if (!description_.has_common) return shapes;
  std::array<TensorView, max_tensors> tensors;
  fill_piece(description_, source_of(call), 0, 1, tensors);
  return shapes ^ content_key(description_.plan.inputs, tensors);
}

template <class T>
std::size_t ServedModel<T>::callers_inside() const noexcept {
  std::size_t inside = 0;
  for (std::size_t i = 0; i < context_->instances(); ++i)
    if (instances_[i].caller_inside.load(std::memory_order_acquire)) ++inside;
  return inside;
}

template <class T>
tl::unexpected<Error> ServedModel<T>::refused(Error error) noexcept {
  metrics_.count_request(error.code);
  return tl::unexpected(std::move(error));
}

template <class T>
bool ServedModel<T>::wanted(batching::Slot& slot) noexcept {
  return engine_.is_needed(static_cast<CallType&>(slot), call_bits::claimed | call_bits::revoked);
}

/// A probe call holds a place, which its first part uses; every other batch takes a lease now.
template <class T>
Result<void> ServedModel<T>::begin(batching::Batch const& batch) noexcept {
  auto& first = static_cast<CallType&>(*batch.parts[0].slot);
  instances_[batch.instance].lease = {};
  instances_[batch.instance].failure.reset();
  if (first.alone && batch.parts[0].first != 0) return {};
  auto lease = first.alone ? breaker_.begin(std::exchange(first.lease, {}), Env::now())
                           : breaker_.acquire(batch.formed);
  // What has begun goes on while the breaker tries others.
  if (!lease && description_.steps && first.report.attempts > 0 &&
      breaker_.state() == breaking::State::half_open)
    return {};
  if (!lease) return tl::unexpected(engine_.named(*this, lease.error()));
  instances_[batch.instance].lease = *lease;
  return {};
}

template <class T>
Result<void> ServedModel<T>::execute(batching::Batch const& batch) noexcept {
  InstanceState& instance = instances_[batch.instance];
  auto result = [&]() -> Result<void> {
    try {
      return run(batch, instance);
    } catch (...) {
      return tl::unexpected(detail::caught(Code::resource_exhausted, Reason::out_of_memory, description_.id));
    }
  }();
  if (!result && !instance.taken_back) instance.failure = breaking::outcome_of(result.error());
  return result;
}

/// Throws std::bad_alloc.
template <class T>
inline Result<void> ServedModel<T>::run(batching::Batch const& batch, InstanceState& instance) {
  auto& model = *static_cast<CallType&>(*batch.parts[0].slot).loading::template Slot<LoadedModel>::payload;
  Worker& worker = model.worker(batch.instance);
  instance.taken_back = false;
  if (auto gathered = gather(batch, worker); !gathered) {
    instance.taken_back = gathered.error().reason == Reason::cancelled;
    return tl::unexpected(engine_.named(*this, gathered.error()));
  }
  if (description_.manifest.pads()) count_positions(worker);
  if (sequences_ != nullptr) take_slots(worker);
  Asking const asking{engine_, batch};
  auto members = [&] {
    Inside<ServedModel, Env> const here(this);
    CallerInside const caller(instance);
    return worker.ensemble.run(worker.assembler.inputs(), worker.assembler.items(), worker.assembler.widths(),
                               worker.assembler.starts(), asking.work());
  }();
  if (members) return scatter(batch, worker, *members);
  // A backend that was told so may end with any error. Any other has failed, whoever is still there.
  instance.taken_back = asking.told.load();
  if (instance.taken_back)
    return fail(Code::cancelled, Reason::cancelled, "the batch was given up, because nobody waits for it");
  return tl::unexpected(engine_.named(*this, members.error()));
}

template <class T>
bool ServedModel<T>::Asking::nobody_waits() const noexcept {
  auto const caller = batch.on_caller ? CallerKind::caller : CallerKind::worker;
  return std::ranges::all_of(batch.parts, [&](batching::Part const& part) {
    return engine.is_given_up(static_cast<CallType&>(*part.slot), caller);
  });
}

template <class T>
BatchWork ServedModel<T>::Asking::work() const noexcept {
  auto const is_cancelled = [](void const* asked) noexcept -> std::int32_t {
    auto const& asking = *static_cast<Asking const*>(asked);
    if (!asking.nobody_waits()) return 0;
    asking.told.store(true);
    return 1;
  };
  return {is_cancelled, this};
}

/// The one copy on the way in; a lone part of a model that reads requests as they are needs none. A part
/// whose inputs are gone by now is left out of the batch; no caller waits for it. The inputs of a batch on
/// its caller need no lock: until the caller returns no other thread releases them. A step on the thread of a
/// stream's reader has no such caller.
template <class T>
Result<void> ServedModel<T>::gather(batching::Batch const& batch, Worker& worker) {
  bool owned = true;
  for (auto const& part : batch.parts) {
    auto& call = static_cast<CallType&>(*part.slot);
    owned = owned && !call.inputs.lent();
    write_report(part, [](Report& report) { ++report.attempts; });
    call.running.store(true, std::memory_order_relaxed);
  }
  bool const stay = owned || (batch.on_caller && !description_.steps);
  if (stay && batch.parts.size() == 1 && description_.shows_requests) {
    auto const& part = batch.parts[0];
    worker.parts.assign(1, part);
    fill_piece(description_, source_of(static_cast<CallType&>(*part.slot)), part.first, part.count,
               worker.assembler.borrow(part.count));
    return {};
  }
  for (;;) {
    collect_pieces(batch, worker, stay);
    if (worker.parts.empty())
      return fail(Code::cancelled, Reason::cancelled,
                  "the batch was not executed: all its callers have left");
    Gathering gathering{*this, worker};
    PieceAccess access;
    if (!stay && (!description_.preprocesses || description_.has_common))
      access = {&gathering, &Gathering::begin, &Gathering::end};
    auto gathered = worker.assembler.gather(worker.pieces, stay, access);
    if (!gathering.lost) return gathered;
  }
}

/// The pieces of the parts that are still there.
template <class T>
void ServedModel<T>::collect_pieces(batching::Batch const& batch, Worker& worker, bool stay) {
  worker.pieces.clear();
  worker.parts.clear();
  for (auto const& part : batch.parts) {
    auto& call = static_cast<CallType&>(*part.slot);
    auto const lock = stay || !call.inputs.lent() ? CallLock<T>() : CallLock<T>(call);
    bool const needed =
        sequences_ == nullptr || sequences_->with([&](auto& places) { return places.take(call.ticket); });
    if (call.inputs.gone() || !needed) {
      call.incomplete.store(true, std::memory_order_relaxed);
      continue;
    }
    append_pieces(description_, source_of(call, &worker.state), part.first, part.count, worker.pieces);
    worker.pieces.widen(call.longest);
    worker.parts.push_back(part);
  }
  worker.pieces.fill_up(description_.manifest.batching.sizes);
}

/// The slot of every item; those of whoever begins are cleared first.
template <class T>
void ServedModel<T>::take_slots(Worker& worker) {
  auto& slots = worker.ensemble.slots();
  slots.clear();
  for (auto const& part : worker.parts) {
    SequenceTicket const& ticket = static_cast<CallType&>(*part.slot).ticket;
    slots.push_back(ticket.slot);
    if (ticket.fresh && sequences_->held()) worker.ensemble.clear_slot(ticket.slot);
  }
}

/// The next value stands beside the present one until the caller has been answered: a batch may run again.
template <class T>
void ServedModel<T>::keep_state(CallType const& call, Worker& worker, std::size_t row) noexcept {
  auto const& states = description_.plan.states;
  for (std::size_t state = 0; state < states.size(); ++state)
    worker.state.keep_next(state, call.ticket, worker.ensemble.model_output(states[state].output), row);
}

template <class T>
void ServedModel<T>::note_last_step(CallType& call, Worker const& worker, std::size_t row) noexcept {
  std::size_t const until = description_.steps->until;
  call.last_step = until != StepsPlan::none &&
                   static_cast<std::uint8_t const*>(worker.ensemble.model_output(until).data)[row] != 0;
}

/// Without a processor a part is one piece, with one it has a piece for each item; pieces that fill up are
/// the last item of the last part.
template <class T>
batching::Part ServedModel<T>::Gathering::items_of(std::size_t piece) const noexcept {
  bool const single = model.description_.preprocesses;
  for (auto const& part : worker.parts) {
    std::size_t const pieces = single ? part.count : 1;
    if (piece < pieces)
      return single ? batching::Part{part.slot, part.first + static_cast<std::uint32_t>(piece), 1} : part;
    piece -= pieces;
  }
  auto const& last = worker.parts.back();
  return {last.slot, last.first + last.count - 1, 1};
}

/// Locks its call while the piece is read, so that a caller that detaches its inputs waits for at most one
/// tensor of its own part.
template <class T>
bool ServedModel<T>::Gathering::begin(void* context, std::size_t piece) noexcept {
  auto& self = *static_cast<Gathering*>(context);
  auto const items = self.items_of(piece);
  auto& call = static_cast<CallType&>(*items.slot);
  if (!call.inputs.lent()) return true;
  call.lock();
  self.lost = call.inputs.gone();
  if (self.lost) {
    call.unlock();
  } else {
    fill_piece(self.model.description_, source_of(call, &self.worker.state), items.first, items.count,
               self.worker.pieces.tensors(piece));
  }
  return !self.lost;
}

template <class T>
void ServedModel<T>::Gathering::end(void* context, std::size_t piece) noexcept {
  auto& call = static_cast<CallType&>(*static_cast<Gathering*>(context)->items_of(piece).slot);
  if (call.inputs.lent()) call.unlock();
}

/// The one copy on the way out: rows of the batch into each call's own outputs.
template <class T>
Result<void> ServedModel<T>::scatter(batching::Batch const& batch, Worker& worker, std::uint32_t members) {
  auto const outputs = worker.ensemble.outputs();
  std::int64_t const items = worker.assembler.items();
  auto const filling = static_cast<std::uint32_t>(worker.pieces.filling());
  std::size_t row = 0;
  std::size_t piece = 0;
  for (auto const& part : worker.parts) {
    auto& call = static_cast<CallType&>(*part.slot);
    if (auto made = make_outputs(part, outputs); !made) return made;
    copy_rows(description_, outputs, items, row, part.first, part.count, call.outputs->computed());
    if (!description_.plan.padding.empty())
      if (auto cut = cut_part(part, worker, row, piece); !cut) return cut;
    if (description_.has_ragged_outputs)
      if (auto copied = copy_ragged_part(part, worker, row); !copied) return copied;
    if (sequences_ != nullptr) keep_state(call, worker, row);
    if (description_.steps) note_last_step(call, worker, row);
    row += part.count;
    write_report(part, [&](Report& report) {
      report.batch_items = static_cast<std::uint32_t>(items) - filling;
      report.on_caller = batch.on_caller;
      report.queue = batch.formed - call.entered;
      if (report.queue > Duration{0}) metrics_.queue.record(static_cast<std::uint64_t>(report.queue.count()));
      // An oversize call is as degraded as the worst of its parts.
      if (description_.plan.members.size() > 1)
        report.members = report.members == 0 ? members : std::min(report.members, members);
    });
  }
  return {};
}

/// Copies the outputs along padded axes of a part, whose first row and piece of the batch those are; its
/// pieces are passed.
template <class T>
Result<void> ServedModel<T>::cut_part(batching::Part const& part, Worker const& worker, std::size_t row,
                                      std::size_t& piece) {
  auto& call = static_cast<CallType&>(*part.slot);
  for (std::uint32_t done = 0; done < part.count; ++piece) {
    std::uint32_t const items = worker.pieces.items(piece);
    auto cut = cut_rows(description_, worker.ensemble.outputs(), row + done, part.first + done, items,
                        worker.assembler.lengths(piece), call.outputs->computed());
    if (!cut) return cut;
    done += items;
  }
  return {};
}

/// Copies the outputs with ragged rows of a part, whose first row of the batch that is. Parts of an oversize
/// call wait for each other: where their rows go is known with the last of them.
template <class T>
Result<void> ServedModel<T>::copy_ragged_part(batching::Part const& part, Worker const& worker,
                                              std::size_t row) {
  auto& call = static_cast<CallType&>(*part.slot);
  auto const computed = call.outputs->computed();
  if (part.whole()) return copy_ragged(description_, worker.ensemble, row, part.count, computed);
  RaggedPart kept{part.first, part.count, std::vector<Tensor>(computed.size())};
  if (auto copied = copy_ragged(description_, worker.ensemble, row, part.count, kept.rows); !copied)
    return copied;
  CallLock<T> const lock(call);
  return keep_part(description_, std::move(kept), call.batch_items, call.ragged_parts, computed);
}

/// How much of a batch is items, and how much is padding.
template <class T>
void ServedModel<T>::count_positions(Worker const& worker) noexcept {
  Padding const& padding = description_.plan.padding;
  std::int64_t real = 0;
  for (std::size_t piece = 0; piece < worker.pieces.size() - worker.pieces.filling(); ++piece)
    real += worker.pieces.items(piece) *
            (padding.empty() ? 1 : padding.positions_of(worker.assembler.lengths(piece)));
  std::int64_t const all = worker.assembler.items() * padding.positions_of(worker.assembler.widths());
  metrics_.counts.add(ModelMetrics::positions, static_cast<std::uint64_t>(real));
  metrics_.counts.add(ModelMetrics::padding, static_cast<std::uint64_t>(all - real));
}

/// Allocates outputs for all items of the call, shaped like the batch's. One part of a call in parts does it
/// for all.
template <class T>
inline Result<void> ServedModel<T>::make_outputs(batching::Part const& part,
                                                 std::span<TensorView const> outputs) {
  auto& call = static_cast<CallType&>(*part.slot);
  bool const shared = !part.whole();
  auto const lock = shared ? CallLock<T>(call) : CallLock<T>();
  if (shared && call.outputs_made) return check_rows(description_, outputs, call.outputs->computed());
  auto result = serving::make_outputs(description_, outputs, call.made, call.inputs.checked().items,
                                      call.longest, call.outputs->computed());
  call.outputs_made = result.has_value();
  return result;
}

/// Locks the report for parts of an oversize call: they may end on several instances at once.
template <class T>
template <class Write>
void ServedModel<T>::write_report(batching::Part const& part, Write write) noexcept {
  auto& call = static_cast<CallType&>(*part.slot);
  auto const lock = part.whole() ? CallLock<T>() : CallLock<T>(call);
  write(call.report);
}

template <class T>
void ServedModel<T>::end(batching::Batch const& batch, batching::Verdict verdict, TimePoint now) noexcept {
  Duration const run_time = now - batch.formed;
  for (auto const& part : batch.parts) write_report(part, [&](Report& report) { report.compute = run_time; });
  metrics_.batch_items.record(batch.items);
  metrics_.compute.record(static_cast<std::uint64_t>(std::max<std::int64_t>(run_time.count(), 0)));
  InstanceState const& instance = instances_[batch.instance];
  bool const failed = verdict == batching::Verdict::failed;
  if (failed && instance.failure) metrics_.counts.add(ModelMetrics::batch_failures);
  auto const outcome =
      failed ? instance.failure.value_or(breaking::Outcome::ignored) : breaking::Outcome::success;
  auto const before = breaker_.state();
  breaker_.record(instance.lease, outcome, now);
  auto const after = breaker_.state();
  if (after == before || after == breaking::State::half_open) return;
  emit(engine_.options().sink,
       Event{after == breaking::State::open ? EventKind::breaker_opened : EventKind::breaker_closed,
             description_.manifest.name,
             description_.manifest.version,
             {}});
}

template <class T>
batching::Finished ServedModel<T>::finish(batching::Slot& slot, Error const* error, TimePoint now) noexcept {
  auto& call = static_cast<CallType&>(slot);
  // It left its batch before that ended.
  if (error == nullptr && call.report.compute == Duration{})
    call.report.compute = now - call.entered - call.report.queue;
  if (description_.steps && error == nullptr) return engine_.step_ended(call, now);
  engine_.batched(call, error, now, CallerKind::worker);
  return batching::Finished::done;
}

}  // namespace athanor::inline v1::serving
