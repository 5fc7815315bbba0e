/// Monotonic time in nanoseconds, and arithmetic that saturates instead of overflowing.
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <limits>

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

/// `left + right`, or the largest number if that would overflow. Precondition: neither is negative.
template <std::integral T>
constexpr T saturating_sum(T left, T right) noexcept {
  return right > std::numeric_limits<T>::max() - left ? std::numeric_limits<T>::max() : left + right;
}

/// The same for spans of time.
constexpr Duration saturating_sum(Duration left, Duration right) noexcept {
  return Duration{saturating_sum(left.count(), right.count())};
}

/// `span * count`, or the longest span if that would overflow. Precondition: neither is negative.
constexpr Duration saturating_product(Duration span, std::int64_t count) noexcept {
  return count > 0 && span > Duration::max() / count ? Duration::max() : span * count;
}

}  // namespace athanor::inline v1
