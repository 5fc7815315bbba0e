/// Queued slots, grouped by batch key. Links live in the slots: nothing here allocates, and no operation but
/// `put_back` takes more than logarithmic time, however many keys are queued. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <athanor/batching/detail/slot.hpp>

namespace athanor::inline v1::batching {

/// A singly linked list of slots through `Slot::next`, in the order of appending.
class SlotList {
 public:
  void append(Slot& slot) noexcept;
  bool empty() const noexcept { return first_ == nullptr; }
  /// The first slot, removed; null when there is none.
  Slot* pop() noexcept;

 private:
  Slot* first_ = nullptr;
  Slot* last_ = nullptr;
};

/// The cost of items `first .. first + count` of a slot: its cost in equal shares, the remainder on its first
/// items.
std::int64_t part_cost(Slot const& slot, std::uint32_t first, std::uint32_t count) noexcept;

/// Fails the slot with this error, unless it has failed already. The message is dropped if it cannot be
/// allocated.
void set_error(Slot& slot, Error const& error) noexcept;
void set_error(Slot& slot, Code code, Reason reason, std::string_view sentence,
               Duration retry_after = Duration{}) noexcept;

/// Slots of one key are a group, in the order of entering; a slot that is `alone` is a group of its own. What
/// a policy decided about a group stands with it: dispatched groups are found by age, held ones by the time
/// until which they are held. A new group is dispatched into no batches.
class SlotQueue {
 public:
  SlotQueue() = default;
  SlotQueue(SlotQueue const&) = delete;
  SlotQueue& operator=(SlotQueue const&) = delete;

  /// Appends to its key's group, whose first slot is returned.
  Slot& add(Slot& slot) noexcept;
  /// Queues a slot again that was in batches, in the place that its age gives it. Walks over those of its
  /// group between that place and the nearer end: what was put back from the same batch, as a rule.
  Slot& put_back(Slot& slot) noexcept;
  /// Takes out a slot that is queued or partly_queued. Its state is then the caller's to set. Returns the
  /// first slot of what is left of the group; null when it is empty.
  Slot* remove(Slot& slot) noexcept;
  /// Moves the next `count` items of a group's first slot into a batch, and the slot out of the queue with
  /// its last ones. Returns the first slot of the group after that; null when it is empty.
  Slot* take(Slot& first, std::uint32_t count) noexcept;

  /// What the policy decided about the group of `first`.
  void dispatch(Slot& first, std::uint64_t batches) noexcept;
  void hold(Slot& first, TimePoint until) noexcept;

  /// The first slot of the oldest dispatched group, of the group that is held for the shortest time, and of
  /// the group that `slot` is queued in; null when there is none.
  Slot* oldest() const noexcept { return open_; }
  Slot* first_held() const noexcept { return held_; }
  Slot& first_of(Slot& slot) noexcept;
  /// The earliest deadline in the group of `first`.
  static TimePoint earliest_deadline(Slot const& first) noexcept {
    return first.group.deadlines != nullptr ? first.group.deadlines->batch_deadline : no_deadline;
  }

  std::uint64_t items() const noexcept { return items_; }
  std::uint64_t requests() const noexcept { return requests_; }
  std::int64_t cost() const noexcept { return cost_; }
  /// Batches of all dispatched groups.
  std::uint64_t dispatched_batches() const noexcept { return dispatched_batches_; }

 private:
  Slot** find(std::uint64_t key) noexcept;
  void erase_key(Slot& first) noexcept;
  void place(Slot& first) noexcept;
  void displace(Slot& first) noexcept;
  void promote(Slot& from, Slot& to) noexcept;
  Slot& open_group(Slot& slot) noexcept;
  Slot& count_in(Slot& first, Slot& slot) noexcept;
  void count_out(Slot& first, std::uint32_t items, std::int64_t cost) noexcept;

  Slot* keys_ = nullptr;  // digital search tree of the groups' keys, at most 64 deep
  Slot* open_ = nullptr;  // heap of the dispatched groups, by age
  Slot* held_ = nullptr;  // heap of the held groups, by time
  std::uint64_t items_ = 0;
  std::uint64_t requests_ = 0;
  std::int64_t cost_ = 0;
  std::uint64_t dispatched_batches_ = 0;
  std::uint64_t next_sequence_ = 0;
};

}  // namespace athanor::inline v1::batching
