/// The health snapshot: what a readiness probe and the person on call ask.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace athanor::inline v1 {

struct ModelHealth {
  std::string id;
  std::string state;    ///< unloaded, loading, warming, ready, draining or failed
  bool ready = false;   ///< loaded, and its breaker is not open
  std::string reason;   ///< why not, when it is not ready
  std::string breaker;  ///< closed, open or half_open
  std::uint64_t bytes = 0;
  std::int64_t queued_items = 0;
};

struct Health {
  bool live = true;    ///< the engine answers
  bool ready = false;  ///< it is not stopping, knows a model, and none failed to load or has its breaker open
  std::string reason;  ///< why not, when it is not ready
  std::vector<ModelHealth> models;
};

}  // namespace athanor::inline v1
