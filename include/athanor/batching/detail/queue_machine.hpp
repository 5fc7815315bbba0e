/// Decides what runs when: takes events and the time, returns batches and plans. No clock, lock, thread or
/// allocation.
#pragma once

#include <cstdint>
#include <span>

#include <athanor/batching/cost_model.hpp>
#include <athanor/batching/detail/predictions.hpp>
#include <athanor/batching/detail/slot.hpp>
#include <athanor/batching/detail/slot_queue.hpp>
#include <athanor/batching/policy.hpp>

namespace athanor::inline v1::batching {

/// The lane around the queue at the time of an event.
struct Surroundings {
  TimePoint now{};
  std::uint32_t idle_instances = 0;
  CostModel const& cost;
};

/// How many batches there are to run now, and when the machine wants to be asked again.
struct Plan {
  std::uint64_t batches = 0;
  TimePoint wake_at = no_deadline;
};

/// A batch that was formed from the queue; no parts when there was nothing to form it of.
struct FormedBatch {
  std::size_t parts = 0;
  std::uint32_t items = 0;
  std::int64_t cost = 0;
};

/// The slots that one call of `enter` or `enter_all` brought, by their places in the order of entering.
struct Brought {
  std::uint64_t first = 0;
  std::uint64_t end = 0;
  std::uint64_t items = 0;  // of all of them
  bool together = false;    // by enter_all
  bool readily = false;     // their caller runs what is not known to end late, too
  bool holds(Slot const& slot) const noexcept { return slot.sequence >= first && slot.sequence < end; }
};

/// A batch is formed when an instance is about to execute it, not when a thread is summoned to do so:
/// requests that enter in between still share it.
///
/// The policy is asked about a group whenever a request enters or leaves it, when the time that it named has
/// come, and again when a batch is formed. Only groups that changed or are due are looked at.
///
/// Invariants: a slot is in the queue or in batches or both, until all of its items are completed; no batch
/// exceeds BatchLimits.
template <BatchingPolicy Policy>
class QueueMachine {
 public:
  /// So many batches a caller may run ahead of an older one that no worker has come for yet.
  static constexpr std::uint32_t most_overtakes = 16;

  QueueMachine(BatchLimits const& limits, Policy policy) : limits_(limits), policy_(std::move(policy)) {}

  /// Queues the slot, or, when its deadline has passed, appends it to `finished` with that error.
  void add(Slot& slot, Surroundings const& around, SlotList& finished) noexcept;
  /// The same for a slot that came out of a batch and goes on: its place is that of its age, and the policy
  /// does not hold it, nor what shares its batch.
  void put_back(Slot& slot, Surroundings const& around, SlotList& finished) noexcept;
  /// True when the slot was wholly queued and now is outside.
  bool withdraw(Slot& slot, Surroundings const& around) noexcept;
  /// Everything queued fails with `error`; slots of which nothing is in a batch are appended to `finished`.
  void refuse(Error const& error, SlotList& finished) noexcept;

  Plan plan(Surroundings const& around) noexcept;
  /// No timer can be armed for a hold: until the queue has been empty, what the policy would hold for some
  /// time is dispatched.
  void hold_nothing(Surroundings const& around) noexcept;
  /// Forms the next batch. Slots whose deadline has passed are appended to `finished` instead.
  FormedBatch take(Surroundings const& around, std::span<Part> buffer, SlotList& finished) noexcept;
  /// Forms the next batch of the group of `first`, for the caller that brought the slots in `own`: if it
  /// holds any of them, the policy dispatches it, and it will, as far as is known, end well before
  /// `deadline`; if its caller lends its thread readily, also if nothing is known.
  FormedBatch take_for_caller(Slot* first, Brought const& own, TimePoint deadline, Surroundings const& around,
                              std::span<Part> buffer, SlotList& finished) noexcept;

  /// The part, and with it its slot, failed: nothing more of the slot is taken.
  void fail(Slot& slot, Error const& error, Surroundings const& around) noexcept;
  /// The part came out of its batch. True when the slot is complete and to be finished.
  bool complete_part(Part const& part) noexcept;

  SlotQueue& queue() noexcept { return queue_; }
  SlotQueue const& queue() const noexcept { return queue_; }
  std::uint64_t expired() const noexcept { return expired_; }

 private:
  BatchDecision decide(Slot const& first, Surroundings const& around,
                       std::uint64_t skipped_items = 0) const noexcept;
  std::uint64_t batches_of(Slot const& first, std::uint64_t batch_items,
                           Surroundings const& around) const noexcept;
  void ask(Slot* first, Surroundings const& around) noexcept;
  void ask_due(Surroundings const& around) noexcept;
  bool batch_holds(Slot const& first, Brought const& own, std::uint32_t max_items,
                   std::size_t max_parts) const noexcept;
  FormedBatch fill(Slot* first, std::uint32_t max_items, Surroundings const& around, std::span<Part> buffer,
                   SlotList& finished) noexcept;
  std::uint32_t fitting(Slot const& slot, FormedBatch const& formed, std::uint32_t max_items) const noexcept;
  void expire(Slot& slot, SlotList& finished) noexcept;
  void drop_rest(Slot& slot) noexcept;

  BatchLimits limits_;
  [[no_unique_address]] Policy policy_;
  SlotQueue queue_;
  std::uint64_t expired_ = 0;
  std::uint32_t overtakes_ = 0;  // since the oldest group had a batch
  bool may_hold_ = true;         // for a time that the policy names
};

/// What a policy answers, made good: a wait for what has passed is a dispatch (it would wake for ever), and a
/// batch has at least one item and at most the lane's limit.
template <BatchingPolicy Policy>
BatchDecision checked_decision(Policy const& policy, QueueSnapshot const& snapshot) noexcept;

}  // namespace athanor::inline v1::batching

#include <athanor/batching/detail/queue_machine.ipp>
