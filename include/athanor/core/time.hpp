/// Monotonic time in nanoseconds, and arithmetic on deadlines that saturates instead of overflowing.
#pragma once

#include <chrono>
#include <cstdint>

namespace athanor::inline v1 {

/// A span of monotonic time.
using Duration = std::chrono::nanoseconds;
/// A point on the monotonic clock. The library never uses wall-clock time.
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;

/// No deadline; compares later than every other time point.
inline constexpr TimePoint no_deadline = TimePoint::max();

/// `now + wait`, or `no_deadline` if that would overflow.
constexpr TimePoint after(TimePoint now, Duration wait) noexcept {
  return wait >= no_deadline - now ? no_deadline : now + wait;
}

/// `left + right`, or the longest span if that would overflow. Precondition: neither is negative.
constexpr Duration saturating_sum(Duration left, Duration right) noexcept {
  return right > Duration::max() - left ? Duration::max() : left + right;
}

/// `span * count`, or the longest span if that would overflow. Precondition: neither is negative.
constexpr Duration saturating_product(Duration span, std::int64_t count) noexcept {
  return count > 0 && span > Duration::max() / count ? Duration::max() : span * count;
}

}  // namespace athanor::inline v1
