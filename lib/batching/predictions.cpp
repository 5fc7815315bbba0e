#include <athanor/batching/detail/predictions.hpp>

#include <algorithm>

namespace athanor::inline v1::batching {

namespace {

std::uint32_t items_in_batch(BatchLimits const& limits, std::uint64_t items) noexcept {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(items, limits.max_items));
}

/// How many batches one after the other, when all instances share the work.
std::int64_t rounds(BatchLimits const& limits, std::uint64_t items) noexcept {
  std::uint64_t const batches = (items - 1) / limits.max_items + 1;
  return static_cast<std::int64_t>((batches - 1) / limits.instances + 1);
}

}  // namespace

Duration predicted_run(CostModel const& cost, BatchLimits const& limits, std::uint64_t items) noexcept {
  std::uint32_t const in_batch = items_in_batch(limits, items);
  return cost.trusts(in_batch) ? saturating_product(cost.predicted_p50(in_batch), rounds(limits, items))
                               : Duration{};
}

bool ends_in_time(CostModel const& cost, BatchLimits const& limits, std::uint64_t items, TimePoint deadline,
                  TimePoint now) noexcept {
  if (deadline == no_deadline) return true;
  std::uint32_t const in_batch = items_in_batch(limits, items);
  Duration const needed = saturating_product(cost.time_to_allow(in_batch), rounds(limits, items));
  return cost.trusts(in_batch) && after(now, needed) < deadline;
}

bool may_end_in_time(CostModel const& cost, BatchLimits const& limits, std::uint64_t items,
                     TimePoint deadline, TimePoint now) noexcept {
  return cost.trusts(items_in_batch(limits, items)) ? ends_in_time(cost, limits, items, deadline, now)
                                                    : now < deadline;
}

}  // namespace athanor::inline v1::batching
