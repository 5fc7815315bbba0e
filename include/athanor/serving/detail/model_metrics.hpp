/// What one model counts.
#pragma once

#include <array>
#include <cstddef>
#include <tuple>

#include <athanor/core/metrics.hpp>
#include <athanor/serving/statistics.hpp>

namespace athanor::inline v1::serving {

/// Recording is lock-free. The fields are those of ModelStatistics.
struct ModelMetrics {
  static constexpr std::size_t outcomes = std::tuple_size_v<decltype(ModelStatistics::requests)>;
  std::array<Counter, outcomes> requests;
  Counter cache_hits;
  Counter cache_joined;
  Counter batches;
  Counter batch_failures;
  Counter degraded;
  Histogram batch_items;
  Histogram latency;
  Histogram compute;
};

}  // namespace athanor::inline v1::serving
