/// What a circuit breaker is told.
#pragma once

#include <cstdint>

#include <athanor/core/error.hpp>
#include <athanor/core/time.hpp>

namespace athanor::inline v1 {

/// When a breaker opens, for how long, and what closes it.
struct CircuitBreakerOptions {
  /// A failure opens it when at least this share of the last `window` executions failed, once there were
  /// `min_calls`. In (0, 1].
  double failure_rate = 0.5;
  std::uint32_t window = 100;  ///< executions, 1 to `breaking::longest_window`
  std::uint32_t min_calls = 20;
  /// Open also after this many failures in a row; 0 turns that rule off.
  std::uint32_t consecutive = 5;
  /// How long it stays open the first time; doubled each time it reopens from half-open, up to `open_cap`.
  /// The exponent falls by one with every full window executed without opening.
  Duration open_for = std::chrono::seconds(1);
  Duration open_cap = std::chrono::seconds(60);
  /// Share of the open time that is random, so that many breakers do not probe at once: 0.5 waits half to all
  /// of it.
  double jitter = 0.5;
  /// Executions let through at a time while half-open; all others are refused at once.
  std::uint32_t probes = 3;
  /// Successes while half-open that close it, however many `probes` bring them. One failure reopens.
  std::uint32_t successes_to_close = 5;
  /// A probe that is not settled so long after its execution began counts as failed, and gives its place back.
  Duration probe_lease = std::chrono::seconds(30);
  /// False: everything is admitted and nothing counted, unless `force_open` says otherwise.
  bool enabled = true;
};

namespace breaking {

/// A breaker remembers the outcome of each execution in its window: a bit each.
inline constexpr std::uint32_t longest_window = 1U << 20U;

/// invalid_argument (Reason::option) naming the option, its value and what it may be.
Result<void> validate(CircuitBreakerOptions const& options);

}  // namespace breaking

}  // namespace athanor::inline v1
