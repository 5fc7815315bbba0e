/// Queued slots, grouped by batch key. Links live in the slots: nothing here allocates, and finding a slot's
/// group takes constant time for as many keys as are usually alive at once. Not thread-safe.
#pragma once

#include <array>
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

/// Fails the slot with this error, unless it has failed already. Without memory for the sentence it is kept
/// without.
void set_error(Slot& slot, Error const& error) noexcept;
void set_error(Slot& slot, Code code, Reason reason, std::string_view sentence,
               Duration retry_after = Duration{}) noexcept;

/// Groups are in the order of their oldest slot; slots of one key are in the order of entering. A slot that
/// is `alone` is a group of its own.
class SlotQueue {
 public:
  SlotQueue() = default;
  SlotQueue(SlotQueue const&) = delete;
  SlotQueue& operator=(SlotQueue const&) = delete;

  /// Appends to its key's group.
  void add(Slot& slot) noexcept;
  /// Takes out a slot that is queued or part_taken. Its state is then the caller's to set.
  void remove(Slot& slot) noexcept;
  /// Marks the next `count` items of a group's first slot as taken; removes the slot when these were its
  /// last. Returns the first slot of the group after that, null when the group is empty.
  Slot* take(Slot& first, std::uint32_t count) noexcept;

  /// The first slot of the oldest group; null when nothing is queued.
  Slot* oldest() const noexcept { return groups_; }
  static Slot* next_group(Slot const& first) noexcept { return first.group.next_group; }
  /// The earliest deadline in the group of `first`.
  static TimePoint earliest_deadline(Slot& first) noexcept;

  std::uint64_t items() const noexcept { return items_; }
  std::uint64_t requests() const noexcept { return requests_; }
  std::int64_t cost() const noexcept { return cost_; }

 private:
  static constexpr std::size_t bucket_count = 64;
  Slot*& bucket(std::uint64_t key) noexcept;
  Slot* find_group(std::uint64_t key) noexcept;
  void unlink_key(Slot& first) noexcept;
  void link_group_before(Slot& first, Slot* next) noexcept;
  void unlink_group(Slot& first) noexcept;
  void promote(Slot& from, Slot& to) noexcept;
  void count_out(Slot& first, std::uint32_t items, std::int64_t cost) noexcept;

  std::array<Slot*, bucket_count> buckets_{};
  Slot* groups_ = nullptr;
  Slot* last_group_ = nullptr;
  std::uint64_t items_ = 0;
  std::uint64_t requests_ = 0;
  std::int64_t cost_ = 0;
  std::uint64_t next_sequence_ = 0;
};

}  // namespace athanor::inline v1::batching
