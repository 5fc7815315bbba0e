/// A lane's predictions, from the run times of past batches.
#pragma once

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
};

/// Median of the time that so many items take, in as many batches as they need; zero until batches of that
/// size are known well enough to refuse work by it.
Duration predicted_run(CostModel const& cost, BatchLimits const& limits, std::uint64_t items) noexcept;
/// So many items, begun now, end well before the deadline, as far as is known.
bool ends_in_time(CostModel const& cost, BatchLimits const& limits, std::uint64_t items, TimePoint deadline,
                  TimePoint now) noexcept;
/// The same, or nobody knows how long they take and the deadline is still to come.
bool may_end_in_time(CostModel const& cost, BatchLimits const& limits, std::uint64_t items,
                     TimePoint deadline, TimePoint now) noexcept;

}  // namespace athanor::inline v1::batching
