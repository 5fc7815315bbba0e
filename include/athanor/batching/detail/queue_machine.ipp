#pragma once

#include <algorithm>
#include <cassert>
#include <utility>

#include <athanor/batching/detail/queue_machine.hpp>

namespace athanor::inline v1::batching {

template <BatchingPolicy Policy>
BatchDecision checked_decision(Policy const& policy, QueueSnapshot const& snapshot) noexcept {
  BatchDecision decision = policy.decide(snapshot);
  if (decision.kind == BatchDecision::Kind::wait && decision.until <= snapshot.now)
    decision = BatchDecision::dispatch(snapshot.max_items);
  if (decision.kind == BatchDecision::Kind::dispatch)
    decision.items = std::clamp<std::uint64_t>(decision.items, 1, snapshot.max_items);
  return decision;
}

template <BatchingPolicy Policy>
void QueueMachine<Policy>::add(Slot& slot, Surroundings const& around, SlotList& finished) noexcept {
  if (queue_.requests() == 0) may_hold_ = true;
  if (slot.batch_deadline <= around.now) {
    expire(slot, finished);
  } else {
    ask(&queue_.add(slot), around);
  }
}

template <BatchingPolicy Policy>
void QueueMachine<Policy>::put_back(Slot& slot, Surroundings const& around, SlotList& finished) noexcept {
  if (queue_.requests() == 0) may_hold_ = true;
  slot.continues = true;
  slot.batched = 0;
  slot.completed = 0;
  if (slot.batch_deadline <= around.now) {
    expire(slot, finished);
  } else {
    ask(&queue_.put_back(slot), around);
  }
}

template <BatchingPolicy Policy>
bool QueueMachine<Policy>::withdraw(Slot& slot, Surroundings const& around) noexcept {
  if (slot.state != SlotState::queued) return false;
  ask(queue_.remove(slot), around);
  slot.state = SlotState::outside;
  return true;
}

template <BatchingPolicy Policy>
void QueueMachine<Policy>::refuse(Error const& error, SlotList& finished) noexcept {
  for (;;) {
    Slot* const slot = queue_.oldest() != nullptr ? queue_.oldest() : queue_.first_held();
    if (slot == nullptr) return;
    set_error(*slot, error);
    queue_.remove(*slot);
    drop_rest(*slot);
    if (slot->completed == slot->batch_items) finished.append(*slot);
  }
}

template <BatchingPolicy Policy>
void QueueMachine<Policy>::drop_rest(Slot& slot) noexcept {
  slot.completed += slot.batch_items - slot.batched;
  slot.batched = slot.batch_items;
  slot.state = SlotState::in_batches;
}

template <BatchingPolicy Policy>
void QueueMachine<Policy>::fail(Slot& slot, Error const& error, Surroundings const& around) noexcept {
  set_error(slot, error);
  if (slot.state != SlotState::queued && slot.state != SlotState::partly_queued) return;
  ask(queue_.remove(slot), around);
  drop_rest(slot);
}

/// The slot is outside the queue already. What of it is in batches still comes back.
template <BatchingPolicy Policy>
void QueueMachine<Policy>::expire(Slot& slot, SlotList& finished) noexcept {
  set_error(slot, Code::deadline_exceeded, Reason::deadline_waiting,
            "the deadline passed while the request waited for its batch");
  drop_rest(slot);
  ++expired_;
  if (slot.completed == slot.batch_items) finished.append(slot);
}

template <BatchingPolicy Policy>
bool QueueMachine<Policy>::complete_part(Part const& part) noexcept {
  part.slot->completed += part.count;
  return part.slot->completed == part.slot->batch_items;
}

template <BatchingPolicy Policy>
BatchDecision QueueMachine<Policy>::decide(Slot const& first, Surroundings const& around,
                                           std::uint64_t skipped_items) const noexcept {
  auto const decision = checked_decision(
      policy_, {.now = around.now,
                .oldest_entered = first.entered,
                .earliest_deadline = SlotQueue::earliest_deadline(first),
                .queued_items = first.group.items - skipped_items,
                .queued_requests = first.group.requests,
                .queued_cost = first.group.cost,
                .max_items = limits_.max_items,
                .idle_instances = around.idle_instances,
                .instances = limits_.instances,
                .cost = &around.cost,
                .item_size = learned_size(limits_, {first.group.items, first.group.cost}, 1)});
  bool const holds = decision.kind != BatchDecision::Kind::dispatch;
  bool const goes_at_once =
      holds && (first.group.continued > 0 || (decision.kind == BatchDecision::Kind::wait && !may_hold_));
  return goes_at_once ? BatchDecision::dispatch(limits_.max_items) : decision;
}

/// Into how many batches the policy dispatches the group now: full ones, and the rest if it does not hold
/// that.
template <BatchingPolicy Policy>
std::uint64_t QueueMachine<Policy>::batches_of(Slot const& first, std::uint64_t batch_items,
                                               Surroundings const& around) const noexcept {
  std::uint64_t const full = first.group.items / batch_items;
  std::uint64_t const in_full = full * batch_items;
  if (full == 0) return 1;
  bool const rest =
      in_full < first.group.items && decide(first, around, in_full).kind == BatchDecision::Kind::dispatch;
  return full + (rest ? 1 : 0);
}

template <BatchingPolicy Policy>
void QueueMachine<Policy>::ask(Slot* first, Surroundings const& around) noexcept {
  if (first == nullptr) return;
  auto const decision = decide(*first, around);
  switch (decision.kind) {
    case BatchDecision::Kind::dispatch:
      return queue_.dispatch(*first, batches_of(*first, decision.items, around));
    case BatchDecision::Kind::wait: return queue_.hold(*first, decision.until);
    case BatchDecision::Kind::idle: return queue_.hold(*first, no_deadline);
  }
}

template <BatchingPolicy Policy>
void QueueMachine<Policy>::ask_due(Surroundings const& around) noexcept {
  while (Slot* const first = queue_.first_held()) {
    if (first->group.until > around.now) return;
    ask(first, around);
  }
}

template <BatchingPolicy Policy>
void QueueMachine<Policy>::hold_nothing(Surroundings const& around) noexcept {
  may_hold_ = false;
  for (Slot* first = queue_.first_held(); first != nullptr && first->group.until != no_deadline;
       first = queue_.first_held())
    ask(first, around);
}

template <BatchingPolicy Policy>
Plan QueueMachine<Policy>::plan(Surroundings const& around) noexcept {
  ask_due(around);
  Slot const* const held = queue_.first_held();
  return {queue_.dispatched_batches(), held != nullptr ? held->group.until : no_deadline};
}

template <BatchingPolicy Policy>
FormedBatch QueueMachine<Policy>::take(Surroundings const& around, std::span<Part> buffer,
                                       SlotList& finished) noexcept {
  ask_due(around);
  while (Slot* const first = queue_.oldest()) {
    auto const decision = decide(*first, around);
    if (decision.kind != BatchDecision::Kind::dispatch) {
      ask(first, around);
      continue;
    }
    overtakes_ = 0;
    auto const formed = fill(first, static_cast<std::uint32_t>(decision.items), around, buffer, finished);
    if (formed.parts > 0) return formed;
  }
  return {};
}

template <BatchingPolicy Policy>
FormedBatch QueueMachine<Policy>::take_for_caller(Slot* first, Brought const& own, TimePoint deadline,
                                                  Surroundings const& around, std::span<Part> buffer,
                                                  SlotList& finished) noexcept {
  if (first == nullptr) return {};
  bool const overtakes = first != queue_.oldest();
  if (overtakes && overtakes_ == most_overtakes) return {};
  auto const decision = decide(*first, around);
  auto const max_items = static_cast<std::uint32_t>(decision.items);
  auto const in_time = own.readily ? may_end_in_time : ends_in_time;
  if (decision.kind != BatchDecision::Kind::dispatch || !batch_holds(*first, own, max_items, buffer.size()) ||
      !in_time(around.cost, limits_,
               share_of({first->group.items, first->group.cost},
                        std::min<std::uint64_t>(first->group.items, max_items)),
               deadline, around.now))
    return {};
  overtakes_ = overtakes ? overtakes_ + 1 : 0;
  return fill(first, max_items, around, buffer, finished);
}

/// Whether the group's next batch holds any of `own`.
template <BatchingPolicy Policy>
bool QueueMachine<Policy>::batch_holds(Slot const& first, Brought const& own, std::uint32_t max_items,
                                       std::size_t max_parts) const noexcept {
  FormedBatch formed;
  for (Slot const* slot = &first; slot != nullptr && formed.parts < max_parts; slot = slot->next) {
    std::uint32_t const count = fitting(*slot, formed, max_items);
    if (count == 0) return false;
    if (own.holds(*slot)) return true;
    ++formed.parts;
    formed.items += count;
    formed.cost += part_cost(*slot, slot->batched, count);
  }
  return false;
}

/// Parts from one group, oldest first, until a limit is reached. Strictly first in, first out: nothing is
/// skipped to find a part that fits.
template <BatchingPolicy Policy>
FormedBatch QueueMachine<Policy>::fill(Slot* first, std::uint32_t max_items, Surroundings const& around,
                                       std::span<Part> buffer, SlotList& finished) noexcept {
  FormedBatch formed;
  while (first != nullptr && formed.parts < buffer.size()) {
    Slot& slot = *first;
    if (slot.batch_deadline <= around.now) {
      first = queue_.remove(slot);
      expire(slot, finished);
      continue;
    }
    std::uint32_t const count = fitting(slot, formed, max_items);
    if (count == 0) break;
    buffer[formed.parts++] = Part{&slot, slot.batched, count};
    formed.items += count;
    formed.cost += part_cost(slot, slot.batched, count);
    first = queue_.take(slot, count);
    if (first == &slot) break;
  }
  ask(first, around);
  return formed;
}

/// How many of the slot's next items the batch may take up; 0 when it is full for it. Only what exceeds a
/// whole batch is ever split.
template <BatchingPolicy Policy>
std::uint32_t QueueMachine<Policy>::fitting(Slot const& slot, FormedBatch const& formed,
                                            std::uint32_t max_items) const noexcept {
  bool const empty = formed.parts == 0;
  std::uint32_t const left = slot.batch_items - slot.batched;
  bool const splits =
      slot.batch_items > 1 && (slot.batch_items > limits_.max_items || slot.batch_cost > limits_.max_cost);
  // A policy may ask for fewer items than the first request has; it still goes as a whole.
  std::uint32_t const most = std::max(max_items, empty && !splits ? left : 1U);
  if (formed.items >= most) return 0;
  std::uint32_t count = std::min(left, most - formed.items);
  if (count < left && !splits) return 0;
  std::int64_t const cost_left = limits_.max_cost - formed.cost;
  if (part_cost(slot, slot.batched, count) <= cost_left) return count;
  if (!splits) return empty ? count : 0;
  std::int64_t const dearest = slot.batch_cost / slot.batch_items + 1;
  count = static_cast<std::uint32_t>(std::clamp<std::int64_t>(cost_left / dearest, 0, count));
  return count == 0 && empty ? 1 : count;
}

}  // namespace athanor::inline v1::batching
