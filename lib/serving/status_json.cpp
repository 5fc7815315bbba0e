#include <athanor/serving/detail/status_json.hpp>

#include <nlohmann/json.hpp>

#include <athanor/core/version.hpp>

namespace athanor::inline v1 {

namespace {

nlohmann::ordered_json models_json(Health const& health) {
  auto rows = nlohmann::ordered_json::array();
  for (ModelHealth const& model : health.models)
    rows.push_back({{"id", model.id},
                    {"state", model.state},
                    {"ready", model.ready},
                    {"reason", model.reason},
                    {"breaker", model.breaker},
                    {"bytes", model.bytes},
                    {"queued_items", model.queued_items}});
  return rows;
}

nlohmann::ordered_json options_json(EngineOptions const& options) {
  auto const milliseconds = [](Duration time) { return static_cast<double>(time.count()) / 1e6; };
  return {{"threads", options.threads},
          {"caller_runs", options.caller_runs == CallerRuns::when_idle ? "when_idle" : "never"},
          {"default_deadline_ms", milliseconds(options.default_deadline)},
          {"max_items", options.max_items},
          {"max_bytes", options.max_bytes},
          {"cache_bytes", options.cache_bytes},
          {"cache_ttl_ms", milliseconds(options.cache_ttl)},
          {"model_bytes", options.model_bytes ? nlohmann::ordered_json(*options.model_bytes) : nullptr},
          {"load_deadline_ms", milliseconds(options.load_deadline)},
          {"load_threads", options.load_threads},
          {"breaker", options.breaker}};
}

std::string text_of(nlohmann::ordered_json const& json) {
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace

std::string to_json(Health const& health) {
  nlohmann::ordered_json json;
  json["live"] = health.live;
  json["ready"] = health.ready;
  json["reason"] = health.reason;
  json["models"] = models_json(health);
  return text_of(json);
}

namespace serving {

std::string describe(EngineOptions const& options, Tables const& tables, Health const& health,
                     std::span<JsonMember const> more) {
  nlohmann::ordered_json json;
  json["athanor"] = version_text;
  json["ready"] = health.ready;
  json["reason"] = health.reason;
  json["options"] = options_json(options);
  json["backends"] = tables.backend_names();
  json["processors"] = tables.processor_names();
  json["models"] = models_json(health);
  for (JsonMember const& member : more) json[member.name] = nlohmann::ordered_json::parse(member.json);
  return text_of(json);
}

}  // namespace serving

}  // namespace athanor::inline v1
