/// Decides what runs when: events and `now` in, batches and plans out. No clock, lock, thread or allocation.
#pragma once

#include <cstdint>
#include <limits>
#include <span>

#include <athanor/batching/cost_model.hpp>
#include <athanor/batching/detail/slot.hpp>
#include <athanor/batching/detail/slot_queue.hpp>
#include <athanor/batching/policy.hpp>

namespace athanor::inline v1::batching {

/// What one batch, and one lane, may hold.
struct BatchLimits {
  std::uint32_t instances = 1;   ///< batches that may run at once
  std::uint32_t max_items = 32;  ///< items of one batch
  /// Assembly cost of one batch. A single item above it runs alone.
  std::int64_t max_cost = std::numeric_limits<std::int64_t>::max();
};

/// What shall happen besides: so many idle instances are to be started, and the machine wants to be asked
/// again then.
struct Plan {
  std::uint32_t start = 0;
  TimePoint wake_at = no_deadline;
};

/// A batch that was taken from the queue; no parts when there was nothing to take.
struct FormedBatch {
  std::size_t parts = 0;
  std::uint32_t items = 0;
  std::int64_t cost = 0;
};

/// Instances are idle, starting (its task is posted and will take a batch) or running. A batch is formed
/// when an instance is there to execute it, not when it is started: what enters meanwhile still shares it.
///
/// Invariants: a slot is in the queue or in batches or both, until all of its items are completed; no batch
/// exceeds BatchLimits; running + starting <= instances.
template <BatchingPolicy Policy>
class QueueMachine {
 public:
  QueueMachine(BatchLimits const& limits, Policy policy) : limits_(limits), policy_(std::move(policy)) {}

  /// Queues the slot, or, when its deadline has passed, appends it to `finished` with that error.
  void add(Slot& slot, TimePoint now, SlotList& finished) noexcept;
  /// True when the slot was wholly queued and now is outside.
  bool withdraw(Slot& slot) noexcept;
  /// Everything queued fails with `error`; slots of which nothing is in a batch are appended to `finished`.
  void refuse(Error const& error, SlotList& finished) noexcept;

  /// Starts idle instances for what the policy dispatches now, beyond those on their way.
  Plan plan(TimePoint now) noexcept;
  /// A started instance has a thread; it may take.
  void mark_started() noexcept { --starting_; }
  /// Takes a batch for an instance that has arrived, or that ran one and was not released, unless its
  /// predicted time exceeds `budget`. Slots whose deadline has passed are appended to `finished` instead.
  FormedBatch take(TimePoint now, std::span<Part> buffer, Duration budget, SlotList& finished) noexcept;
  /// Takes a batch of exactly `slot` for an instance of its caller's, if this is the only slot in sight, an
  /// instance is idle, the policy dispatches, and it will, as far as is known, end well before the slot's
  /// deadline.
  FormedBatch take_for_caller(Slot& slot, TimePoint now, std::span<Part> buffer) noexcept;
  /// Takes a batch, whatever it holds, for an idle instance of somebody who brought several slots.
  FormedBatch take_for_group(TimePoint now, std::span<Part> buffer, SlotList& finished) noexcept;
  /// The instance is idle again.
  void mark_idle() noexcept { --busy_; }

  /// The part, and with it its slot, failed: nothing more of the slot is taken.
  void fail(Slot& slot, Error const& error) noexcept;
  /// The part came out of its batch. True when the slot is complete and to be finished.
  bool complete_part(Part const& part) noexcept;

  void record(std::uint32_t items, Duration run_time) noexcept { cost_model_.record(items, run_time); }
  CostModel const& cost_model() const noexcept { return cost_model_; }
  /// Median of the time that so many items take, in as many batches as they need; zero until batches of that
  /// size are known well enough to refuse work by it.
  Duration predicted_run(std::uint64_t items) const noexcept;
  /// So many items, begun now, end well before the deadline, as far as is known.
  bool ends_in_time(std::uint64_t items, TimePoint deadline, TimePoint now) const noexcept;
  /// How long something that enters now waits until its batch begins, by what batches took so far.
  Duration predicted_wait() const noexcept;

  SlotQueue const& queue() const noexcept { return queue_; }
  std::uint32_t busy_instances() const noexcept { return busy_; }
  std::uint32_t idle_instances() const noexcept { return limits_.instances - busy_; }
  std::uint64_t expired() const noexcept { return expired_; }

 private:
  std::int64_t rounds(std::uint64_t items) const noexcept;
  QueueSnapshot look(Slot& first, std::uint64_t skipped_items, TimePoint now) const noexcept;
  BatchDecision decide(Slot& first, std::uint64_t skipped_items, TimePoint now) const noexcept;
  FormedBatch fill(Slot* first, std::uint32_t max_items, TimePoint now, std::span<Part> buffer,
                   SlotList& finished) noexcept;
  std::uint32_t fitting(Slot const& slot, FormedBatch const& taken, std::uint32_t max_items) const noexcept;
  void expire(Slot& slot, SlotList& finished) noexcept;
  void drop_rest(Slot& slot) noexcept;

  BatchLimits limits_;
  [[no_unique_address]] Policy policy_;
  SlotQueue queue_;
  CostModel cost_model_;
  std::uint32_t busy_ = 0;      // starting or running
  std::uint32_t starting_ = 0;  // of these
  std::uint64_t expired_ = 0;
};

}  // namespace athanor::inline v1::batching

#include <athanor/batching/detail/queue_machine.ipp>
