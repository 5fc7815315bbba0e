#include <athanor/batching/detail/slot_queue.hpp>

#include <algorithm>
#include <cassert>
#include <utility>

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

namespace {

struct Older {
  bool operator()(Slot const& left, Slot const& right) const noexcept {
    return left.sequence < right.sequence;
  }
};
struct HeldShorter {
  bool operator()(Slot const& left, Slot const& right) const noexcept {
    return left.group.until != right.group.until ? left.group.until < right.group.until
                                                 : left.sequence < right.sequence;
  }
};
struct Earlier {
  bool operator()(Slot const& left, Slot const& right) const noexcept {
    return left.batch_deadline < right.batch_deadline;
  }
};
using OpenHeap = PairingHeap<Slot, &Slot::in_groups, Older>;
using HeldHeap = PairingHeap<Slot, &Slot::in_groups, HeldShorter>;
using DeadlineHeap = PairingHeap<Slot, &Slot::by_deadline, Earlier>;

}  // namespace

/// The link at which the key's group is, or would be. The way down is the key's own bits, mixed, which is
/// different for different keys.
Slot** SlotQueue::find(std::uint64_t key) noexcept {
  std::uint64_t way = (key ^ (key >> 32)) * 0x9e3779b97f4a7c15ULL;
  Slot** link = &keys_;
  for (; *link != nullptr && (*link)->batch_key != key; way <<= 1) link = &(*link)->group.branches[way >> 63];
  return link;
}

/// Any leaf below may stand in its place: all of them share the way down to it.
void SlotQueue::erase_key(Slot& first) noexcept {
  if (first.alone) return;
  Slot** const link = find(first.batch_key);
  Slot** leaf = link;
  for (Slot** next = leaf; next != nullptr;) {
    leaf = next;
    auto& branches = (*leaf)->group.branches;
    next = branches[0] != nullptr ? &branches[0] : branches[1] != nullptr ? &branches[1] : nullptr;
  }
  Slot* const heir = std::exchange(*leaf, nullptr);
  if (heir == &first) return;
  heir->group.branches = first.group.branches;
  *link = heir;
}

Slot& SlotQueue::first_of(Slot& slot) noexcept {
  return slot.previous == nullptr ? slot : **find(slot.batch_key);
}

void SlotQueue::place(Slot& first) noexcept {
  first.group.held ? HeldHeap::add(held_, first) : OpenHeap::add(open_, first);
}

void SlotQueue::displace(Slot& first) noexcept {
  first.group.held ? HeldHeap::remove(held_, first) : OpenHeap::remove(open_, first);
}

void SlotQueue::dispatch(Slot& first, std::uint64_t batches) noexcept {
  auto& group = first.group;
  dispatched_batches_ += batches - group.batches;
  group.batches = batches;
  if (!group.held) return;
  displace(first);
  group.held = false;
  place(first);
}

void SlotQueue::hold(Slot& first, TimePoint until) noexcept {
  auto& group = first.group;
  dispatched_batches_ -= group.batches;
  group.batches = 0;
  if (group.held && group.until == until) return;
  displace(first);
  group.held = true;
  group.until = until;
  place(first);
}

Slot& SlotQueue::add(Slot& slot) noexcept {
  slot.sequence = next_sequence_++;
  Slot& first = open_group(slot);
  if (&first != &slot) {
    slot.previous = first.group.last;
    slot.previous->next = &slot;
    first.group.last = &slot;
  }
  return count_in(first, slot);
}

/// Most of a group are younger than a slot that comes from a batch, and one that waited for its reader may be
/// younger than most: the walk begins at the end that is nearer by age.
Slot& SlotQueue::put_back(Slot& slot) noexcept {
  Slot* first = &open_group(slot);
  if (slot.sequence < first->sequence) {
    promote(*first, slot);
    slot.next = std::exchange(first, &slot);
    slot.next->previous = &slot;
  } else if (first != &slot) {
    Slot* before = first;
    Slot* const last = first->group.last;
    if (last->sequence < slot.sequence || last->sequence - slot.sequence < slot.sequence - first->sequence) {
      for (before = last; before->sequence > slot.sequence;) before = before->previous;
    } else {
      while (before->next->sequence < slot.sequence) before = before->next;
    }
    slot.previous = before;
    slot.next = std::exchange(before->next, &slot);
    (slot.next != nullptr ? slot.next->previous : first->group.last) = &slot;
  }
  ++first->group.continued;
  return count_in(*first, slot);
}

/// The first slot of the group that `slot` is to join; the slot itself, if it begins one.
Slot& SlotQueue::open_group(Slot& slot) noexcept {
  slot.next = nullptr;
  slot.previous = nullptr;
  slot.state = SlotState::queued;
  Slot** const link = slot.alone ? nullptr : find(slot.batch_key);
  if (link != nullptr && *link != nullptr) return **link;
  slot.group = SlotGroup{};
  slot.group.last = &slot;
  if (link != nullptr) *link = &slot;
  place(slot);
  return slot;
}

Slot& SlotQueue::count_in(Slot& first, Slot& slot) noexcept {
  auto& group = first.group;
  group.items += slot.batch_items;
  group.cost += slot.batch_cost;
  ++group.requests;
  if (slot.batch_deadline != no_deadline) DeadlineHeap::add(group.deadlines, slot);
  items_ += slot.batch_items;
  cost_ += slot.batch_cost;
  ++requests_;
  return first;
}

/// `to` leads the group in place of `from`: the group is as old as its first slot.
void SlotQueue::promote(Slot& from, Slot& to) noexcept {
  displace(from);
  *find(from.batch_key) = &to;
  to.group = from.group;
  to.previous = nullptr;
  place(to);
}

void SlotQueue::count_out(Slot& first, std::uint32_t items, std::int64_t cost) noexcept {
  first.group.items -= items;
  first.group.cost -= cost;
  items_ -= items;
  cost_ -= cost;
}

Slot* SlotQueue::remove(Slot& slot) noexcept {
  assert(slot.state == SlotState::queued || slot.state == SlotState::partly_queued);
  Slot* first = &first_of(slot);
  std::uint32_t const left = slot.batch_items - slot.batched;
  count_out(*first, left, part_cost(slot, slot.batched, left));
  --first->group.requests;
  if (slot.continues) --first->group.continued;
  --requests_;
  if (slot.batch_deadline != no_deadline) DeadlineHeap::remove(first->group.deadlines, slot);
  if (first != &slot) {
    slot.previous->next = slot.next;
    (slot.next != nullptr ? slot.next->previous : first->group.last) = slot.previous;
  } else if (slot.next != nullptr) {
    promote(slot, *slot.next);
    first = slot.next;
  } else {
    dispatched_batches_ -= slot.group.batches;
    displace(slot);
    erase_key(slot);
    first = nullptr;
  }
  slot.next = nullptr;
  slot.previous = nullptr;
  return first;
}

Slot* SlotQueue::take(Slot& first, std::uint32_t count) noexcept {
  assert(count > 0 && count <= first.batch_items - first.batched);
  if (count == first.batch_items - first.batched) {
    Slot* const next = remove(first);
    first.batched = first.batch_items;
    first.state = SlotState::in_batches;
    return next;
  }
  count_out(first, count, part_cost(first, first.batched, count));
  first.batched += count;
  first.state = SlotState::partly_queued;
  return &first;
}

}  // namespace athanor::inline v1::batching
