/// A lane's predictions, from the run times of past batches.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include <athanor/batching/cost_model.hpp>

namespace athanor::inline v1::batching {

/// What one batch, and one lane, may hold.
struct BatchLimits {
  std::uint32_t instances = 1;   ///< batches that may run at once
  std::uint32_t max_items = 32;  ///< items of one batch
  /// Assembly cost of one batch. A single item above it runs alone.
  std::int64_t max_cost = std::numeric_limits<std::int64_t>::max();
  /// Cost of the dearest item, where run times are learned by the cost of batches; 0: they are learned by
  /// items.
  std::int64_t dearest_item = 0;
};

/// What is to be run: items, and what they cost together, which counts only where run times are learned by
/// it.
struct Work {
  constexpr Work(std::uint64_t count, std::int64_t together = 0) noexcept : items(count), cost(together) {}
  std::uint64_t items;
  std::int64_t cost;
};

/// So many items of what is there, which cost the same.
constexpr Work share_of(Work const& work, std::uint64_t items) noexcept {
  return {items, work.cost / static_cast<std::int64_t>(work.items) * static_cast<std::int64_t>(items)};
}
/// The size by which the run time of a batch is learned: its items or its cost, at least 1. The batch holds
/// all of the work, or that many of its items.
constexpr std::uint32_t learned_size(BatchLimits const& limits, Work const& work) noexcept {
  constexpr std::uint32_t most = std::numeric_limits<std::uint32_t>::max();
  if (limits.dearest_item == 0) return static_cast<std::uint32_t>(work.items);
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(work.cost, 1, most));
}
constexpr std::uint32_t learned_size(BatchLimits const& limits, Work const& work,
                                     std::uint64_t items) noexcept {
  return limits.dearest_item == 0 ? static_cast<std::uint32_t>(items)
                                  : learned_size(limits, share_of(work, items));
}
/// The size of the largest batch that there may be.
std::uint32_t largest_size(BatchLimits const& limits) noexcept;

/// Median of the time that the work takes, in as many batches as it needs; zero until batches of that
/// size are known well enough to refuse work by it.
Duration predicted_run(CostModel const& cost, BatchLimits const& limits, Work const& work) noexcept;
/// The work, begun now, ends well before the deadline, as far as is known.
bool ends_in_time(CostModel const& cost, BatchLimits const& limits, Work const& work, TimePoint deadline,
                  TimePoint now) noexcept;
/// The same, or the time they take is unknown and the deadline is still to come.
bool may_end_in_time(CostModel const& cost, BatchLimits const& limits, Work const& work, TimePoint deadline,
                     TimePoint now) noexcept;

}  // namespace athanor::inline v1::batching
