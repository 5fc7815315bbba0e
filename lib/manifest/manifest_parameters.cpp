#include "manifest_parameters.hpp"

#include <algorithm>

namespace athanor::inline v1::manifest {

namespace {

using json::Node;

constexpr std::size_t most_choices = 256;

ParameterType read_type(Node const& node) {
  std::string const text = node.text();
  for (auto const type :
       {ParameterType::boolean, ParameterType::i64, ParameterType::f64, ParameterType::text})
    if (to_string(type) == text) return type;
  node.reader().refuse(node.path(), "expected bool, i64, f64 or text, got '{}'", text);
  return ParameterType::f64;
}

/// A value of that type, whatever its range.
ParameterValue read_any(ParameterType type, Node const& node) {
  switch (type) {
    case ParameterType::boolean: return node.flag();
    case ParameterType::i64: return node.integer(INT64_MIN, INT64_MAX);
    case ParameterType::f64: return node.number() + 0.0;  // -0.0 becomes 0.0
    case ParameterType::text: return node.text();
  }
  return false;
}

/// A value that `spec` allows.
std::optional<ParameterValue> read_allowed(ParameterSpec const& spec, Node const& node) {
  if (!node.present()) return std::nullopt;
  ParameterValue value = read_any(spec.type, node);
  if (node.reader().failed()) return std::nullopt;
  auto const allowed = check(spec, view_of(value));
  if (!allowed) node.reader().refuse(node.path(), "{}", allowed.error().message);
  return value;
}

void read_range(Node const& node, ParameterSpec& spec) {
  bool const ordered = spec.type == ParameterType::i64 || spec.type == ParameterType::f64;
  for (auto const* key : {"min", "max"}) {
    Node const bound = node[key];
    if (!bound.present()) continue;
    if (!ordered)
      node.reader().refuse(bound.path(), "expected no value except for i64 and f64, got one for {}",
                           to_string(spec.type));
    (key[1] == 'i' ? spec.least : spec.most) = read_any(spec.type, bound);
  }
  if (spec.least && spec.most && *spec.most < *spec.least)
    node.reader().refuse(node["max"].path(), "expected at least min, which is {}, got {}",
                         to_string(*spec.least), to_string(*spec.most));
}

void read_choices(Node const& node, ParameterSpec& spec) {
  if (!node.present()) return;
  if (spec.type != ParameterType::i64 && spec.type != ParameterType::text)
    node.reader().refuse(node.path(), "expected no value except for i64 and text, got one for {}",
                         to_string(spec.type));
  std::vector<ParameterValue> choices;
  for (Node const& entry : node.list(1, most_choices)) {
    auto choice = read_allowed(spec, entry);
    if (!choice || node.reader().failed()) return;
    if (std::ranges::find(choices, *choice) != choices.end())
      node.reader().refuse(entry.path(), "expected different choices, got {} twice", to_string(*choice));
    choices.push_back(std::move(*choice));
  }
  spec.choices = std::move(choices);
}

}  // namespace

ParameterSpec read_parameter(Node const& node) {
  ParameterSpec spec;
  if (!node.object({"name", "type", "default", "min", "max", "choices", "seed"})) return spec;
  spec.name = node["name"].name();
  spec.type = read_type(node["type"]);
  if (node.reader().failed()) return spec;
  read_range(node, spec);
  if (!node.reader().failed()) read_choices(node["choices"], spec);
  if (!node.reader().failed()) spec.initial = read_allowed(spec, node["default"]);
  if (node["seed"].present()) spec.seed = node["seed"].flag();
  if (spec.seed && (spec.type != ParameterType::i64 || !spec.initial))
    node.reader().refuse(node["seed"].path(),
                         "expected an i64 with a default, as a request may leave a seed out; got {} {}",
                         to_string(spec.type), spec.initial ? "with a default" : "without one");
  return spec;
}

std::optional<Tensor> read_parameter_value(ParameterSpec const& spec, Node const& node) {
  auto const value = read_allowed(spec, node);
  if (!value) return std::nullopt;
  auto copy = view_of(*value).clone();
  if (copy) return std::move(*copy);
  node.reader().refuse(node.path(), "{}", copy.error().message);
  return std::nullopt;
}

void take_from_parameter(ModelInput& input, Node const& node) {
  constexpr std::string_view prefix = "parameter:";
  std::string const from = node["from"].text();
  input.parameter = from.starts_with(prefix) ? from.substr(prefix.size()) : std::string();
  if (input.parameter.empty())
    node.reader().refuse(node["from"].path(), "expected parameter:NAME or state:NAME, got '{}'", from);
  for (auto const* key : {"make", "index_of", "pad", "axis"})
    if (node[key].present())
      node.reader().refuse(node[key].path(), "expected nothing beside 'from', got a value");
  auto const& dims = input.spec.dims;
  bool const stacks = input.spec.stacks();
  bool const single = dims.empty() || (dims.size() == 1 && (stacks || dims[0] == Dim::fixed(1))) ||
                      (dims.size() == 2 && stacks && dims[1] == Dim::fixed(1));
  if (!single)
    node.reader().refuse(node["shape"].path(),
                         "expected [items], [items, 1], [] or [1] for a parameter, got {}",
                         to_string(input.spec));
  input.assemble = stacks ? Assemble::repeat : Assemble::share;
}

}  // namespace athanor::inline v1::manifest
