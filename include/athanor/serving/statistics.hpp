/// What a model has done since it was added to its engine, and what it holds now, as plain numbers.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <athanor/core/error.hpp>

namespace athanor::inline v1 {

/// Recorded values in brief; all zero when nothing was recorded.
struct ValueSummary {
  /// How many values were recorded.
  std::uint64_t count = 0;
  /// Their sum.
  std::uint64_t sum = 0;
  /// Their mean, exact.
  double mean = 0;
  /// Median: never below the exact one and at most 6.25 % above it.
  std::uint64_t p50 = 0;
  /// 99th percentile, with the same error as the median.
  std::uint64_t p99 = 0;
};

/// Counts since the model was added, and its present state. Each field is read on its own: while calls are in
/// flight, fields may be mutually inconsistent.
struct ModelStatistics {
  /// Calls answered or rejected, by the number of their Code.
  std::array<std::uint64_t, 16> requests{};
  /// Calls answered from the response cache.
  std::uint64_t cache_hits = 0;
  /// Calls answered by an equal call in flight.
  std::uint64_t cache_joined = 0;
  /// Calls answered by fewer than all members of an ensemble.
  std::uint64_t degraded = 0;
  /// Batches executed.
  std::uint64_t batches = 0;
  /// Batches in which no call succeeded.
  std::uint64_t batch_failures = 0;
  /// Items per batch.
  ValueSummary batch_items;
  /// From a call to its answer, in nanoseconds; calls rejected before anything was done for them are left
  /// out.
  ValueSummary latency;
  /// From entering the queue to the start of the batch, in nanoseconds; calls that ran at once are left out.
  ValueSummary queue;
  /// Run time of a batch, in nanoseconds.
  ValueSummary compute;
  /// Positions along padded axes, such as the tokens of a text, that the items of executed batches had; the
  /// items themselves for a model that takes certain batch sizes only and has no such axes. 0 for a model
  /// whose batches hold no padding.
  std::uint64_t positions = 0;
  /// Positions of padding in those batches: `padding / (positions + padding)` of the model's work is wasted.
  std::uint64_t padding = 0;
  /// Items that wait for a batch now.
  std::uint64_t queued_items = 0;
  /// Instances that run a batch now.
  std::uint32_t busy_instances = 0;
  /// Bytes that the model holds or reserves now.
  std::uint64_t bytes = 0;
  /// How often the circuit breaker opened.
  std::uint64_t breaker_opened = 0;
  /// Calls and batches that the circuit breaker rejected.
  std::uint64_t breaker_refused = 0;
  /// Sequences that are open now, of a model with state.
  std::uint64_t sequences = 0;

  /// Calls with that outcome.
  std::uint64_t requests_with(Code code) const noexcept { return requests[static_cast<std::size_t>(code)]; }
};

}  // namespace athanor::inline v1
