#include <athanor/batching/detail/predictions.hpp>

namespace athanor::inline v1::batching {

namespace {

std::uint32_t size_of_batch(BatchLimits const& limits, Work const& work) noexcept {
  return learned_size(limits, work, std::min<std::uint64_t>(work.items, limits.max_items));
}

/// How many batches one after the other, when all instances share the work.
std::int64_t rounds(BatchLimits const& limits, Work const& work) noexcept {
  std::uint64_t const batches = (work.items - 1) / limits.max_items + 1;
  return static_cast<std::int64_t>((batches - 1) / limits.instances + 1);
}

}  // namespace

std::uint32_t largest_size(BatchLimits const& limits) noexcept {
  std::int64_t cost = 0;
  if (__builtin_mul_overflow(limits.dearest_item, std::int64_t{limits.max_items}, &cost))
    cost = std::numeric_limits<std::int64_t>::max();
  return learned_size(limits,
                      {limits.max_items, std::min(cost, std::max(limits.max_cost, limits.dearest_item))});
}

Duration predicted_run(CostModel const& cost, BatchLimits const& limits, Work const& work) noexcept {
  std::uint32_t const size = size_of_batch(limits, work);
  return cost.trusts(size) ? saturating_product(cost.predicted_p50(size), rounds(limits, work)) : Duration{};
}

bool ends_in_time(CostModel const& cost, BatchLimits const& limits, Work const& work, TimePoint deadline,
                  TimePoint now) noexcept {
  if (deadline == no_deadline) return true;
  std::uint32_t const size = size_of_batch(limits, work);
  Duration const needed = saturating_product(cost.time_to_allow(size), rounds(limits, work));
  return cost.trusts(size) && after(now, needed) < deadline;
}

bool may_end_in_time(CostModel const& cost, BatchLimits const& limits, Work const& work, TimePoint deadline,
                     TimePoint now) noexcept {
  return cost.trusts(size_of_batch(limits, work)) ? ends_in_time(cost, limits, work, deadline, now)
                                                  : now < deadline;
}

}  // namespace athanor::inline v1::batching
