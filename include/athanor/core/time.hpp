/// Monotonic time as every room uses it: nanoseconds, and deadlines that saturate instead of wrapping.
#pragma once

#include <chrono>

namespace athanor::inline v1 {

/// A span of monotonic time.
using Duration = std::chrono::nanoseconds;
/// A moment of the monotonic clock. Wall-clock time is used nowhere.
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;

/// The deadline of who has none.
inline constexpr TimePoint no_deadline = TimePoint::max();

/// `now + wait`, or `no_deadline` where that would overflow.
constexpr TimePoint after(TimePoint now, Duration wait) noexcept {
  return wait >= no_deadline - now ? no_deadline : now + wait;
}

}  // namespace athanor::inline v1
