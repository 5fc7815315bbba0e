/// What one model counts.
#pragma once

#include <cstddef>
#include <tuple>

#include <athanor/core/error.hpp>
#include <athanor/core/metrics.hpp>
#include <athanor/serving/statistics.hpp>

namespace athanor::inline v1::serving {

/// Recording is lock-free. The names are those of ModelStatistics.
struct ModelMetrics {
  static constexpr std::size_t outcomes = std::tuple_size_v<decltype(ModelStatistics::requests)>;
  /// The index of each count; that of requests with an outcome is the number of its code.
  enum Count : std::size_t {
    cache_hits = outcomes,
    cache_joined,
    batch_failures,
    degraded,
    positions,
    padding,
    count_count
  };

  void count_request(Code outcome) noexcept { counts.add(static_cast<std::size_t>(outcome) % outcomes); }

  Counters<count_count> counts;
  Histogram batch_items;  ///< of every batch
  Histogram latency;
  Histogram queue;
  Histogram compute;
};

}  // namespace athanor::inline v1::serving
