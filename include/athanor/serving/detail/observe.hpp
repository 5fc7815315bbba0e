/// Metrics, health and statistics, written from facts that the engine has collected.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <athanor/admission/gate.hpp>
#include <athanor/batching/detail/lane.hpp>
#include <athanor/breaking/machine.hpp>
#include <athanor/caching/options.hpp>
#include <athanor/loading/model_loader.hpp>
#include <athanor/manifest/manifest.hpp>
#include <athanor/serving/detail/model_metrics.hpp>
#include <athanor/serving/health.hpp>
#include <athanor/serving/statistics.hpp>

namespace athanor::inline v1::serving {

/// What the rooms report about one model.
struct ModelFacts {
  Manifest const& manifest;
  ModelMetrics const& metrics;
  batching::LaneSnapshot lane;
  ModelStatus load;
  std::string load_note;
  breaking::BreakerStatistics breaker;
  std::uint64_t sequences = 0;                ///< open
  std::shared_ptr<void const> keeps_model{};  ///< and with it what the references refer to
};

/// What the rooms report about an engine; models are ordered by id.
struct EngineFacts {
  bool stopping = false;
  std::vector<ModelFacts> models;
  GateStatistics gate;
  caching::CacheStatistics cache;
};

ModelStatistics statistics_of(ModelFacts const& facts);
Health health_of(EngineFacts const& facts);
/// All metrics in the Prometheus text format.
std::string metrics_text(EngineFacts const& facts);

}  // namespace athanor::inline v1::serving
