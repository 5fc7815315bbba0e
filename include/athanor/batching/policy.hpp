/// Batching policies: when does what is queued become a batch?
#pragma once

#include <concepts>
#include <cstdint>

#include <athanor/batching/cost_model.hpp>
#include <athanor/core/time.hpp>

namespace athanor::inline v1::batching {

/// What a policy sees: the queued items of one batch key, and the lane around them. Valid during `decide`.
struct QueueSnapshot {
  TimePoint now{};
  TimePoint oldest_entered{};                 ///< of the oldest request of this key
  TimePoint earliest_deadline = no_deadline;  ///< of the requests of this key
  std::uint64_t queued_items = 0;             ///< of this key, not in a batch yet; at least 1
  std::uint32_t queued_requests = 0;          ///< that these belong to
  std::int64_t queued_cost = 0;
  std::uint32_t max_items = 1;  ///< the lane's limit on one batch
  std::uint32_t idle_instances = 0;
  std::uint32_t instances = 1;
  CostModel const* cost = nullptr;  ///< what batches took so far; null when nothing is known
};

/// What a policy answers.
struct BatchDecision {
  enum class Kind : std::uint8_t { dispatch, wait, idle };
  Kind kind = Kind::idle;
  std::uint64_t items = 0;  ///< of `dispatch`: at most so many; the lane's limits apply besides
  TimePoint until{};        ///< of `wait`

  /// Run a batch of `items` now, ask again at `until`, or wait for the next event.
  static constexpr BatchDecision dispatch(std::uint64_t items) noexcept {
    return {Kind::dispatch, items, {}};
  }
  static constexpr BatchDecision wait_until(TimePoint until) noexcept { return {Kind::wait, 0, until}; }
  static constexpr BatchDecision idle() noexcept { return {}; }
  bool operator==(BatchDecision const&) const = default;
};

/// A batching policy is a value. Duties, beyond the syntax:
///
/// - stateless and idempotent: equal snapshots get equal decisions;
///   no clock, lock, thread, log or allocation;
/// - constant time: it is asked under the lane's mutex, for every key that is held;
/// - it never starves: for a snapshot that stays as it is while time passes,
///   it answers `dispatch` after finitely many `wait_until`, each later than its `now`
///   (an earlier one is taken as `dispatch`), and never `idle`, which says
///   that only a change of the queue can matter.
///
/// It is asked only when an instance is idle.
template <class P>
concept BatchingPolicy = std::copyable<P> && requires(P const& policy, QueueSnapshot const& snapshot) {
  { policy.decide(snapshot) } noexcept -> std::same_as<BatchDecision>;
};

/// Says in one sentence what a type lacks that wants to be a BatchingPolicy.
template <class P>
consteval bool check_batching_policy() {
  static_assert(std::copyable<P>, "a batching policy is a copyable value");
  static_assert(
      requires(P const& policy, QueueSnapshot const& snapshot) {
        { policy.decide(snapshot) } noexcept -> std::same_as<BatchDecision>;
      }, "a batching policy has `BatchDecision decide(QueueSnapshot const&) const noexcept`");
  return BatchingPolicy<P>;
}

/// Never waits: an idle instance takes whatever is there. Batches form while instances are busy. The least
/// latency for callers who do not answer each other, and the right choice when in doubt.
struct Immediate {
  constexpr BatchDecision decide(QueueSnapshot const& queue) const noexcept {
    return queue.queued_items == 0 ? BatchDecision::idle() : BatchDecision::dispatch(queue.max_items);
  }
};

/// Holds a batch until it has `max_items`, or until `max_delay` after the oldest request of it came. For
/// steady open traffic on a model whose batches cost little more than single items. A lone caller waits the
/// whole delay, also one whose deadline is earlier, and who is not served then.
struct SizeOrDelay {
  std::uint32_t max_items = 32;  ///< full at so many, 0 as at 1; the lane's limit applies besides
  Duration max_delay = std::chrono::milliseconds(1);  ///< zero behaves like Immediate

  /// Dispatches a full batch at once, a smaller one when its oldest item has waited `max_delay`.
  constexpr BatchDecision decide(QueueSnapshot const& queue) const noexcept {
    if (queue.queued_items == 0) return BatchDecision::idle();
    auto const full = max_items < queue.max_items ? max_items : queue.max_items;
    TimePoint const due = after(queue.oldest_entered, max_delay);
    if (queue.queued_items >= full || queue.now >= due) return BatchDecision::dispatch(full);
    return BatchDecision::wait_until(due);
  }
};

static_assert(BatchingPolicy<Immediate> && BatchingPolicy<SizeOrDelay>);

}  // namespace athanor::inline v1::batching
