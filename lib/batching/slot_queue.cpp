#include <athanor/batching/detail/slot_queue.hpp>

#include <algorithm>
#include <cassert>

#include <athanor/core/detail/noexcept_error.hpp>

namespace athanor::inline v1::batching {

void SlotList::append(Slot& slot) noexcept {
  slot.next = nullptr;
  (last_ != nullptr ? last_->next : first_) = &slot;
  last_ = &slot;
}

Slot* SlotList::pop() noexcept {
  Slot* slot = first_;
  if (slot != nullptr) {
    first_ = slot->next;
    if (first_ == nullptr) last_ = nullptr;
    slot->next = nullptr;
  }
  return slot;
}

std::int64_t part_cost(Slot const& slot, std::uint32_t first, std::uint32_t count) noexcept {
  std::int64_t const share = slot.batch_cost / slot.batch_items;
  std::int64_t const remainder = slot.batch_cost % slot.batch_items;
  return share * count + std::clamp<std::int64_t>(remainder - first, 0, count);
}

void set_error(Slot& slot, Error const& error) noexcept {
  set_error(slot, error.code, error.reason, error.message, error.retry_after);
}

void set_error(Slot& slot, Code code, Reason reason, std::string_view message,
               Duration retry_after) noexcept {
  if (slot.batch_failed) return;
  slot.batch_failed = true;
  athanor::detail::set_error(slot.batch_error, code, reason, message, retry_after);
}

Slot*& SlotQueue::bucket(std::uint64_t key) noexcept {
  return buckets_[(key * 0x9e3779b97f4a7c15ULL) >> 58];  // the six highest bits of the product
}

Slot* SlotQueue::find_group(std::uint64_t key) noexcept {
  Slot* first = bucket(key);
  while (first != nullptr && first->batch_key != key) first = first->group.next_in_bucket;
  return first;
}

void SlotQueue::unlink_key(Slot& first) noexcept {
  if (first.alone) return;
  Slot** link = &bucket(first.batch_key);
  while (*link != &first) link = &(*link)->group.next_in_bucket;
  *link = first.group.next_in_bucket;
}

void SlotQueue::link_group_before(Slot& first, Slot* next) noexcept {
  Slot* const previous = next != nullptr ? next->group.previous_group : last_group_;
  first.group.next_group = next;
  first.group.previous_group = previous;
  (next != nullptr ? next->group.previous_group : last_group_) = &first;
  (previous != nullptr ? previous->group.next_group : groups_) = &first;
}

void SlotQueue::unlink_group(Slot& first) noexcept {
  auto const& group = first.group;
  (group.next_group != nullptr ? group.next_group->group.previous_group : last_group_) = group.previous_group;
  (group.previous_group != nullptr ? group.previous_group->group.next_group : groups_) = group.next_group;
}

void SlotQueue::add(Slot& slot) noexcept {
  slot.next = nullptr;
  slot.sequence = next_sequence_++;
  slot.state = SlotState::queued;
  Slot* first = slot.alone ? nullptr : find_group(slot.batch_key);
  if (first == nullptr) {
    first = &slot;
    slot.previous = nullptr;
    slot.group = SlotGroup{};
    if (!slot.alone) {
      slot.group.next_in_bucket = bucket(slot.batch_key);
      bucket(slot.batch_key) = &slot;
    }
    link_group_before(slot, nullptr);
  } else {
    slot.previous = first->group.last;
    slot.previous->next = &slot;
  }
  auto& group = first->group;
  group.last = &slot;
  group.items += slot.batch_items;
  group.cost += slot.batch_cost;
  ++group.requests;
  group.earliest_deadline = std::min(group.earliest_deadline, slot.batch_deadline);
  items_ += slot.batch_items;
  cost_ += slot.batch_cost;
  ++requests_;
}

/// `to` leads the group in place of `from`. Being younger, it may belong behind groups that follow.
void SlotQueue::promote(Slot& from, Slot& to) noexcept {
  unlink_key(from);
  Slot* next = from.group.next_group;
  unlink_group(from);
  to.group = from.group;
  to.previous = nullptr;
  to.group.next_in_bucket = bucket(to.batch_key);
  bucket(to.batch_key) = &to;
  while (next != nullptr && next->sequence < to.sequence) next = next->group.next_group;
  link_group_before(to, next);
}

void SlotQueue::count_out(Slot& first, std::uint32_t items, std::int64_t cost) noexcept {
  first.group.items -= items;
  first.group.cost -= cost;
  items_ -= items;
  cost_ -= cost;
}

void SlotQueue::remove(Slot& slot) noexcept {
  assert(slot.state == SlotState::queued || slot.state == SlotState::part_taken);
  Slot& first = slot.previous == nullptr ? slot : *find_group(slot.batch_key);
  std::uint32_t const left = slot.batch_items - slot.taken;
  count_out(first, left, part_cost(slot, slot.taken, left));
  --first.group.requests;
  --requests_;
  if (slot.batch_deadline != no_deadline && slot.batch_deadline == first.group.earliest_deadline)
    first.group.deadline_stale = true;
  if (&first != &slot) {
    slot.previous->next = slot.next;
    (slot.next != nullptr ? slot.next->previous : first.group.last) = slot.previous;
  } else if (slot.next != nullptr) {
    promote(slot, *slot.next);
  } else {
    unlink_key(slot);
    unlink_group(slot);
  }
  slot.next = nullptr;
  slot.previous = nullptr;
}

Slot* SlotQueue::take(Slot& first, std::uint32_t count) noexcept {
  assert(count > 0 && count <= first.batch_items - first.taken);
  if (count == first.batch_items - first.taken) {
    Slot* const next = first.next;
    remove(first);
    first.taken = first.batch_items;
    first.state = SlotState::taken;
    return next;
  }
  count_out(first, count, part_cost(first, first.taken, count));
  first.taken += count;
  first.state = SlotState::part_taken;
  return &first;
}

TimePoint SlotQueue::earliest_deadline(Slot& first) noexcept {
  auto& group = first.group;
  if (group.deadline_stale) {
    group.earliest_deadline = no_deadline;
    for (Slot const* slot = &first; slot != nullptr; slot = slot->next)
      group.earliest_deadline = std::min(group.earliest_deadline, slot->batch_deadline);
    group.deadline_stale = false;
  }
  return group.earliest_deadline;
}

}  // namespace athanor::inline v1::batching
