/// The health snapshot, for readiness probes and for the person on call.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace athanor::inline v1 {

/// The state of one model.
struct ModelHealth {
  /// `name@version`.
  std::string id;
  /// unloaded, loading, warming, ready, draining or failed.
  std::string state;
  /// The model is loaded and its circuit breaker is not open.
  bool ready = false;
  /// Why the model is not ready; empty when it is.
  std::string reason;
  /// What the dry run of the last load that succeeded could not verify, one sentence or several; empty if
  /// nothing was left out.
  std::string note;
  /// State of the circuit breaker: closed, open or half_open.
  std::string breaker;
  /// Memory that the model holds or reserves.
  std::uint64_t bytes = 0;
  /// Items that wait for a batch.
  std::int64_t queued_items = 0;
};

/// The state of an engine and of its models.
struct Health {
  /// True, except in a child of a fork, which has none of the engine's threads.
  bool live = true;
  /// The engine is not stopping, has a model, and no model failed to load or has its circuit breaker open. A
  /// model that has not been used yet is loaded by its first call and does not count against readiness.
  bool ready = false;
  /// Why the engine is not ready; empty when it is.
  std::string reason;
  /// Ordered by id.
  std::vector<ModelHealth> models;
};

/// The snapshot as a JSON object whose keys are the members above. Bytes that are not UTF-8 are replaced by
/// U+FFFD.
std::string to_json(Health const& health);

/// One more member for a JSON object: `json` is a JSON value as text.
struct JsonMember {
  /// The member's key.
  std::string name;
  /// Must be valid JSON.
  std::string json;
};

}  // namespace athanor::inline v1
