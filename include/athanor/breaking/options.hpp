/// Options of a circuit breaker.
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
  /// The breaker also opens after this many consecutive failures; 0 turns this rule off.
  std::uint32_t consecutive = 5;
  /// How long it stays open the first time; doubled each time it reopens from half-open, up to `open_cap`.
  /// The exponent falls by one with every full window executed without opening.
  Duration open_for = std::chrono::seconds(1);
  Duration open_cap = std::chrono::seconds(60);
  /// Share of the open time that is random, so that many breakers do not probe simultaneously: with 0.5 the
  /// breaker stays open for half to all of the open time.
  double jitter = 0.5;
  /// Executions let through at a time while half-open; all others are rejected at once.
  std::uint32_t probes = 3;
  /// Successes while half-open that close the breaker, over any number of probes. One failure reopens it.
  std::uint32_t successes_to_close = 5;
  /// A probe that is not settled within this time after its execution began counts as failed and frees its
  /// place.
  Duration probe_lease = std::chrono::seconds(30);
  /// False: everything is admitted and nothing counted, except after `force_open`.
  bool enabled = true;
};

namespace breaking {

/// The longest window; a breaker stores one bit for each execution in it.
inline constexpr std::uint32_t longest_window = 1U << 20U;

/// invalid_argument (Reason::option) naming the option, its value and what it may be.
Result<void> validate(CircuitBreakerOptions const& options);

}  // namespace breaking

}  // namespace athanor::inline v1
