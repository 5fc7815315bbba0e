#include <athanor/serving/detail/status_json.hpp>

#include <variant>

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
                    {"note", model.note},
                    {"breaker", model.breaker},
                    {"bytes", model.bytes},
                    {"queued_items", model.queued_items}});
  return rows;
}

nlohmann::ordered_json dims_json(TensorSpec const& spec) {
  auto dims = nlohmann::ordered_json::array();
  for (Dim const& dim : spec.dims) {
    switch (dim.kind) {
      case Dim::Kind::fixed: dims.push_back(dim.length); break;
      case Dim::Kind::named: dims.push_back(dim.name); break;
      case Dim::Kind::any: dims.push_back(nullptr); break;
    }
  }
  return dims;
}

nlohmann::ordered_json tensor_json(TensorSpec const& spec) {
  return {{"name", spec.name}, {"dtype", to_string(spec.dtype)}, {"shape", dims_json(spec)}};
}

nlohmann::ordered_json value_json(ParameterValue const& value) {
  return std::visit([](auto const& each) { return nlohmann::ordered_json(each); }, value);
}

nlohmann::ordered_json parameter_json(ParameterSpec const& spec) {
  nlohmann::ordered_json json{{"name", spec.name}, {"type", to_string(spec.type)}};
  if (spec.initial) json["default"] = value_json(*spec.initial);
  if (spec.least) json["min"] = value_json(*spec.least);
  if (spec.most) json["max"] = value_json(*spec.most);
  for (ParameterValue const& choice : spec.choices) json["choices"].push_back(value_json(choice));
  if (spec.seed) json["seed"] = true;
  return json;
}

/// Adds what a request may hold and what an answer holds, in the words of a manifest.
void add_signature(nlohmann::ordered_json& model, Signature const& signature) {
  for (char const* const key : {"inputs", "outputs", "parameters"})
    model[key] = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < signature.inputs.size(); ++i) {
    TensorSpec const& input = signature.inputs[i];
    auto json = tensor_json(input);
    json["optional"] = signature.is_optional(i);
    json["shared"] = input.shared;
    if (input.dtype == DType::bytes) json["encoding"] = input.encoding == Encoding::any ? "any" : "utf8";
    model["inputs"].push_back(std::move(json));
  }
  for (TensorSpec const& output : signature.outputs) model["outputs"].push_back(tensor_json(output));
  for (ParameterSpec const& parameter : signature.parameters)
    model["parameters"].push_back(parameter_json(parameter));
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
                     std::span<ModelFacts const> models, std::span<JsonMember const> more) {
  nlohmann::ordered_json json;
  json["athanor"] = version_text;
  json["ready"] = health.ready;
  json["reason"] = health.reason;
  json["options"] = options_json(options);
  json["backends"] = tables.backend_names();
  json["processors"] = tables.processor_names();
  auto& rows = json["models"] = models_json(health);
  for (std::size_t i = 0; i < models.size(); ++i) add_signature(rows[i], models[i].manifest.signature());
  for (JsonMember const& member : more) json[member.name] = nlohmann::ordered_json::parse(member.json);
  return text_of(json);
}

}  // namespace serving

}  // namespace athanor::inline v1
