/// What a call is to the batching room, what a batch is made of, and what the room asks of its surroundings.
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <limits>
#include <span>

#include <athanor/batching/detail/pairing_heap.hpp>
#include <athanor/core/error.hpp>
#include <athanor/core/time.hpp>

namespace athanor::inline v1::batching {

struct Slot;

/// Queued slots of one key, oldest first. Kept in the group's first slot, so that grouping allocates nothing.
struct SlotGroup {
  Slot* last = nullptr;
  std::array<Slot*, 2> branches{};  // of the tree of keys
  Slot* deadlines = nullptr;        // heap of the slots that have a deadline
  std::uint64_t items = 0;          // not yet in batches
  std::int64_t cost = 0;            // of these items
  std::uint32_t requests = 0;
  std::uint32_t continued = 0;  // of these, those that were put back
  std::uint64_t batches = 0;    // into which the policy dispatches it, while it is not held
  bool held = false;            // by the policy
  TimePoint until{};            // the time of that
};

/// Where a slot is in its life. Guarded by the lane's mutex; a batch that a caller runs without entering the
/// queue leaves it alone.
enum class SlotState : std::uint8_t { outside, queued, partly_queued, in_batches };

/// Base of a call. The caller fills the first group and may read `entered`; the rest belongs to the lane
/// between `enter` and the end of the call. A slot that was finished or withdrawn may be entered again.
struct Slot {
  std::uint64_t batch_key = 0;    ///< only slots of equal keys share a batch
  std::uint32_t batch_items = 1;  ///< size in items; at least 1
  /// Size in assembly cost (bytes, edges); at least 0, of all queued below 2^63.
  std::int64_t batch_cost = 1;
  /// Never executed after this time. The client must answer on time by calling `withdraw`.
  TimePoint batch_deadline = no_deadline;
  bool alone = false;  ///< never shares a batch

  TimePoint entered{};  ///< when `enter` was called
  /// The instance that ran it last, of any lane. A caller that lends its thread tries this one first, so that
  /// threads that reuse their slots do not contend for one instance while others are idle.
  std::uint32_t last_instance = 0;

  SlotState state = SlotState::outside;
  bool batch_failed = false;
  bool continues = false;       // it was put back after a batch
  std::uint32_t batched = 0;    // items in batches, of [0, items)
  std::uint32_t completed = 0;  // items that came out of batches, or never will be in one
  std::uint64_t sequence = 0;
  Slot* next = nullptr;  // in its group; in a list of slots to finish
  Slot* previous = nullptr;
  HeapLinks<Slot> by_deadline;  // in its group's heap
  HeapLinks<Slot> in_groups;    // only of a group's first slot, as the group
  SlotGroup group;
  Error batch_error;  // the first one; only when batch_failed
};

/// Items `first .. first + count` of a slot, as a batch holds them.
struct Part {
  Slot* slot = nullptr;
  std::uint32_t first = 0;
  std::uint32_t count = 0;

  /// All of its slot; otherwise other parts may be in other batches at the same time.
  bool whole() const noexcept { return count == slot->batch_items; }
};

/// What executes at once. Borrowed by functions of the client for the time of their call.
struct Batch {
  std::span<Part const> parts;
  std::uint32_t items = 0;
  std::int64_t cost = 0;
  std::uint32_t instance = 0;  ///< 0 .. instances - 1; no two batches of one instance overlap
  TimePoint formed{};          ///< when its execution began
  bool on_caller = false;      ///< runs on the thread of its only call, inside `enter`
};

/// How a batch ended as a whole.
enum class Verdict : std::uint8_t {
  success,   ///< every part succeeded at the first attempt
  isolated,  ///< it failed; run again in pieces, at least one part succeeded
  failed,    ///< no part succeeded
};

/// Whether a slot is finished, or is to be put back for another batch.
enum class Finished : std::uint8_t { done, again };

/// Whether a blocking caller lends its thread: only to batches that are known to end before its deadline, or
/// readily, to all that are not known to end after it.
enum class LendThread : std::uint8_t { no, yes, readily };

/// What a lane needs from outside. Duties, beyond the syntax:
///
/// | expression | duty |
/// |---|---|
/// | `h.wanted(slot)` | false if no caller waits for the slot any more: it is then finished as cancelled without being executed. Called on the executing thread just before its batch begins |
/// | `h.begin(batch)` | permission for the batch (a breaker's lease). An error finishes all its slots with that error, and `end` is not called |
/// | `h.execute(batch)` | gathers, runs and scatters exactly these parts. Called again with some of the parts when a batch of several parts failed |
/// | `h.end(batch, verdict, now)` | once for every batch whose `begin` succeeded, after its last attempt and before its slots are finished. Of a batch that failed on the thread of a caller with company, the caller's own slots may be missing among the parts, and finished before |
/// | `h.finish(slot, error, now)` | exactly once per slot that was entered and not withdrawn; null on success. Its instance has been given back, or has its next batch. The lane does not touch the slot afterwards. What may take long, such as a user's function, is deferred or posted: the next slots and an executor thread's next batch come after it. It may return `Finished` in place of nothing: `again`, only for a success of a slot that was entered without a thread lent, puts the slot back, as if it had not left the queue |
///
/// All are called without any lock held, from callers' and executor threads, for different instances at once.
/// They may enter slots into the same lane. They must not destroy it.
template <class H>
concept LaneClient =
    requires(H& client, Slot& slot, Batch const& batch, Verdict verdict, Error const* error, TimePoint now) {
      { client.wanted(slot) } noexcept -> std::same_as<bool>;
      { client.begin(batch) } noexcept -> std::same_as<Result<void>>;
      { client.execute(batch) } noexcept -> std::same_as<Result<void>>;
      { client.end(batch, verdict, now) } noexcept;
      { client.finish(slot, error, now) } noexcept;
    };

}  // namespace athanor::inline v1::batching
