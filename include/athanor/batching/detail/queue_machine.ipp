#pragma once

#include <algorithm>
#include <cassert>
#include <utility>

#include <athanor/batching/detail/queue_machine.hpp>

namespace athanor::inline v1::batching {

template <BatchingPolicy Policy>
void QueueMachine<Policy>::add(Slot& slot, TimePoint now, SlotList& finished) noexcept {
  if (slot.batch_deadline <= now) {
    expire(slot, finished);
  } else {
    queue_.add(slot);
  }
}

template <BatchingPolicy Policy>
bool QueueMachine<Policy>::withdraw(Slot& slot) noexcept {
  if (slot.state != SlotState::queued) return false;
  queue_.remove(slot);
  slot.state = SlotState::outside;
  return true;
}

template <BatchingPolicy Policy>
void QueueMachine<Policy>::refuse(Error const& error, SlotList& finished) noexcept {
  while (Slot* slot = queue_.oldest()) {
    fail(*slot, error);
    if (slot->completed == slot->batch_items) finished.append(*slot);
  }
}

template <BatchingPolicy Policy>
void QueueMachine<Policy>::drop_rest(Slot& slot) noexcept {
  slot.completed += slot.batch_items - slot.taken;
  slot.taken = slot.batch_items;
  slot.state = SlotState::taken;
}

template <BatchingPolicy Policy>
void QueueMachine<Policy>::fail(Slot& slot, Error const& error) noexcept {
  set_error(slot, error);
  if (slot.state != SlotState::queued && slot.state != SlotState::part_taken) return;
  queue_.remove(slot);
  drop_rest(slot);
}

/// The slot is outside the queue already. What of it is in batches still comes back and settles.
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
QueueSnapshot QueueMachine<Policy>::look(Slot& first, std::uint64_t skipped_items,
                                         TimePoint now) const noexcept {
  QueueSnapshot snapshot;
  snapshot.now = now;
  snapshot.oldest_entered = first.entered;
  snapshot.earliest_deadline = SlotQueue::earliest_deadline(first);
  snapshot.queued_items = first.group.items - skipped_items;
  snapshot.queued_requests = first.group.requests;
  snapshot.queued_cost = first.group.cost;
  snapshot.max_items = limits_.max_items;
  snapshot.idle_instances = idle_instances();
  snapshot.instances = limits_.instances;
  snapshot.cost = &cost_model_;
  return snapshot;
}

template <BatchingPolicy Policy>
BatchDecision QueueMachine<Policy>::decide(Slot& first, std::uint64_t skipped_items,
                                           TimePoint now) const noexcept {
  auto decision = policy_.decide(look(first, skipped_items, now));
  // Waiting for what has passed would wake for ever.
  if (decision.kind == BatchDecision::Kind::wait && decision.until <= now)
    decision = BatchDecision::dispatch(limits_.max_items);
  if (decision.kind == BatchDecision::Kind::dispatch)
    decision.items = std::clamp<std::uint64_t>(decision.items, 1, limits_.max_items);
  return decision;
}

template <BatchingPolicy Policy>
Plan QueueMachine<Policy>::plan(TimePoint now) noexcept {
  Plan plan;
  std::uint32_t on_the_way = starting_;
  for (Slot* first = queue_.oldest(); first != nullptr; first = SlotQueue::next_group(*first)) {
    for (std::uint64_t seen = 0; seen < first->group.items;) {
      // Without an idle instance there is nothing to decide: whoever frees one asks again.
      if (busy_ == limits_.instances) return {plan.start, no_deadline};
      auto const decision = decide(*first, seen, now);
      if (decision.kind == BatchDecision::Kind::wait) plan.wake_at = std::min(plan.wake_at, decision.until);
      if (decision.kind != BatchDecision::Kind::dispatch) break;
      seen += std::min(decision.items, first->group.items - seen);
      if (on_the_way > 0) {
        --on_the_way;
      } else {
        ++busy_;
        ++starting_;
        ++plan.start;
      }
    }
  }
  return plan;
}

template <BatchingPolicy Policy>
FormedBatch QueueMachine<Policy>::take(TimePoint now, std::span<Part> buffer, Duration budget,
                                       SlotList& finished) noexcept {
  Slot* first = queue_.oldest();
  while (first != nullptr) {
    auto const decision = decide(*first, 0, now);
    if (decision.kind != BatchDecision::Kind::dispatch) {
      first = SlotQueue::next_group(*first);
      continue;
    }
    if (budget != Duration::max()) {
      auto const expected =
          static_cast<std::uint32_t>(std::min<std::uint64_t>(decision.items, first->group.items));
      Duration const predicted = cost_model_.predicted_p95(expected);
      if (predicted == Duration{} || predicted > budget) return {};
    }
    FormedBatch const taken = fill(first, static_cast<std::uint32_t>(decision.items), now, buffer, finished);
    if (taken.parts > 0) return taken;
    first = queue_.oldest();  // everything looked at had expired and is gone
  }
  return {};
}

/// Parts from one group, oldest first, until a limit is reached. Nothing is skipped to find something that
/// fits: who came first goes first.
template <BatchingPolicy Policy>
FormedBatch QueueMachine<Policy>::fill(Slot* first, std::uint32_t max_items, TimePoint now,
                                       std::span<Part> buffer, SlotList& finished) noexcept {
  FormedBatch taken;
  while (first != nullptr && taken.parts < buffer.size()) {
    Slot& slot = *first;
    if (slot.batch_deadline <= now) {
      first = slot.next;
      queue_.remove(slot);
      expire(slot, finished);
      continue;
    }
    std::uint32_t const count = fitting(slot, taken, max_items);
    if (count == 0) break;
    buffer[taken.parts++] = Part{&slot, slot.taken, count};
    taken.items += count;
    taken.cost += part_cost(slot, slot.taken, count);
    first = queue_.take(slot, count);
    if (first == &slot) break;
  }
  return taken;
}

/// How many of the slot's next items the batch may take up; 0 when it is full for it. Only what exceeds a
/// whole batch is ever split.
template <BatchingPolicy Policy>
std::uint32_t QueueMachine<Policy>::fitting(Slot const& slot, FormedBatch const& taken,
                                            std::uint32_t max_items) const noexcept {
  bool const empty = taken.parts == 0;
  std::uint32_t const left = slot.batch_items - slot.taken;
  bool const splits =
      slot.batch_items > 1 && (slot.batch_items > limits_.max_items || slot.batch_cost > limits_.max_cost);
  // A policy may ask for fewer items than the first request has; it still goes as a whole.
  std::uint32_t const most = std::max(max_items, empty && !splits ? left : 1U);
  if (taken.items >= most) return 0;
  std::uint32_t count = std::min(left, most - taken.items);
  if (count < left && !splits) return 0;
  std::int64_t const cost_left = limits_.max_cost - taken.cost;
  if (part_cost(slot, slot.taken, count) <= cost_left) return count;
  if (!splits) return empty ? count : 0;
  std::int64_t const dearest = slot.batch_cost / slot.batch_items + 1;
  count = static_cast<std::uint32_t>(std::clamp<std::int64_t>(cost_left / dearest, 0, count));
  return count == 0 && empty ? 1 : count;
}

template <BatchingPolicy Policy>
bool QueueMachine<Policy>::ends_in_time(std::uint64_t items, TimePoint deadline,
                                        TimePoint now) const noexcept {
  if (deadline == no_deadline) return true;
  auto const in_batch = static_cast<std::uint32_t>(std::min<std::uint64_t>(items, limits_.max_items));
  if (!cost_model_.trusts(in_batch)) return false;
  Duration const predicted = saturating_product(cost_model_.predicted_p95(in_batch), rounds(items));
  Duration const margin = predicted / 10 + std::chrono::microseconds(50);
  return after(now, saturating_sum(predicted, margin)) < deadline;
}

template <BatchingPolicy Policy>
FormedBatch QueueMachine<Policy>::take_for_caller(Slot& slot, TimePoint now,
                                                  std::span<Part> buffer) noexcept {
  bool const fits =
      slot.batch_items <= limits_.max_items && (slot.batch_items == 1 || slot.batch_cost <= limits_.max_cost);
  if (slot.state != SlotState::queued || queue_.requests() != 1 || busy_ == limits_.instances || !fits ||
      !ends_in_time(slot.batch_items, slot.batch_deadline, now) ||
      decide(slot, 0, now).kind != BatchDecision::Kind::dispatch)
    return {};
  ++busy_;
  buffer[0] = Part{&slot, 0, slot.batch_items};
  queue_.take(slot, slot.batch_items);
  return {1, slot.batch_items, slot.batch_cost};
}

template <BatchingPolicy Policy>
FormedBatch QueueMachine<Policy>::take_for_group(TimePoint now, std::span<Part> buffer,
                                                 SlotList& finished) noexcept {
  if (busy_ == limits_.instances) return {};
  FormedBatch const taken = take(now, buffer, Duration::max(), finished);
  if (taken.parts > 0) ++busy_;
  return taken;
}

template <BatchingPolicy Policy>
Duration QueueMachine<Policy>::predicted_run(std::uint64_t items) const noexcept {
  auto const in_batch = static_cast<std::uint32_t>(std::min<std::uint64_t>(items, limits_.max_items));
  return cost_model_.trusts(in_batch) ? saturating_product(cost_model_.predicted_p50(in_batch), rounds(items))
                                      : Duration{};
}

/// How many batches one after the other, when all instances share the work.
template <BatchingPolicy Policy>
std::int64_t QueueMachine<Policy>::rounds(std::uint64_t items) const noexcept {
  std::uint64_t const batches = (items - 1) / limits_.max_items + 1;
  return static_cast<std::int64_t>((batches - 1) / limits_.instances + 1);
}

template <BatchingPolicy Policy>
Duration QueueMachine<Policy>::predicted_wait() const noexcept {
  if (queue_.items() == 0 && busy_ < limits_.instances) return Duration{};
  auto const batch =
      static_cast<std::uint32_t>(std::clamp<std::uint64_t>(queue_.items(), 1, limits_.max_items));
  std::uint64_t const queued_batches = (queue_.items() + limits_.max_items - 1) / limits_.max_items;
  auto const ahead = static_cast<std::int64_t>(queued_batches + busy_);
  return saturating_product(cost_model_.predicted_p50(batch), ahead) / limits_.instances;
}

}  // namespace athanor::inline v1::batching
