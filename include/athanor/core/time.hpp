/// Monotonic time as every room uses it: nanoseconds, and deadlines that saturate instead of wrapping.
#pragma once

#include <chrono>
#include <cstdint>

namespace athanor::inline v1 {

/// A span of monotonic time.
using Duration = std::chrono::nanoseconds;
/// A moment of the monotonic clock. Wall-clock time is used nowhere.
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;

/// No deadline; compares later than every other time point.
inline constexpr TimePoint no_deadline = TimePoint::max();

/// `now + wait`, or `no_deadline` where that would overflow.
constexpr TimePoint after(TimePoint now, Duration wait) noexcept {
  return wait >= no_deadline - now ? no_deadline : now + wait;
}

/// `left + right`, neither negative, or the longest span where that would overflow.
constexpr Duration saturating_sum(Duration left, Duration right) noexcept {
  return right > Duration::max() - left ? Duration::max() : left + right;
}

/// `span * count`, neither negative, or the longest span where that would overflow.
constexpr Duration saturating_product(Duration span, std::int64_t count) noexcept {
  return count > 0 && span > Duration::max() / count ? Duration::max() : span * count;
}

}  // namespace athanor::inline v1
