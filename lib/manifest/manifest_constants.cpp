#include "manifest_constants.hpp"

#include <algorithm>
#include <span>
#include <vector>

#include "tensor_convert.hpp"

namespace athanor::inline v1::manifest {

using json::Node;
using json::Reader;

namespace {

/// The value under `key`: one row if `spec` begins with `items`, otherwise the whole tensor. Nothing after a
/// mistake.
std::optional<Tensor> read_value_of(TensorSpec const& spec, Node const& node, char const* key) {
  bool const stacks = spec.stacks();
  TensorSpec value = spec;
  if (stacks) value.dims.erase(value.dims.begin());
  if (!std::ranges::all_of(value.dims, [](Dim const& dim) { return dim.kind == Dim::Kind::fixed; }))
    node.reader().refuse(node["shape"].path(),
                         "expected fixed lengths, alone or after 'items', for a {}; got {}", key,
                         to_string(spec));
  if (node.reader().failed()) return std::nullopt;
  auto tensor = convert_tensor(*node[key].json(), value);
  if (!tensor) {
    node.reader().refuse(node[key].path(), "{}", tensor.error().message);
    return std::nullopt;
  }
  std::vector<std::int64_t> lengths(stacks ? 1 : 0, 1);
  for (Dim const& dim : value.dims) lengths.push_back(dim.length);
  return tensor->reshaped(Shape(std::span<std::int64_t const>(lengths)));
}

}  // namespace

std::optional<Tensor> read_default(TensorSpec const& spec, Node const& node) {
  if (!node["default"].present() || node.reader().failed()) return std::nullopt;
  if (node["default"].json()->is_null()) {
    if ((!spec.stacks() && !spec.shared) || spec.dtype == DType::bytes) {
      node.reader().refuse(
          node["default"].path(),
          "expected null only for numbers whose shape begins with 'items' or that are shared, got it for {}",
          to_string(spec));
      return std::nullopt;
    }
    return none_of(spec);
  }
  if (!spec.stacks())
    node.reader().refuse(node["shape"].path(),
                         "expected 'items' as the first dimension of an input with a default, got {}",
                         to_string(spec));
  auto row = read_value_of(spec, node, "default");
  if (!row) return std::nullopt;
  auto const allowed = check(Signature{{spec}, {}}, Request{{spec.name, *row}});
  if (!allowed) node.reader().refuse(node["default"].path(), "{}", allowed.error().message);
  return row;
}

bool take_none(Node const& node, Manifest& manifest) {
  bool const none = node.json()->is_object() && node["constant"].present() &&
                    node["constant"].json()->is_null() && !node["dtype"].present();
  if (none && node.object({"name", "constant"}))
    manifest.nones.push_back({node["name"].name(), manifest.model_inputs.size() + manifest.nones.size()});
  return none;
}

std::string place_of_input(Manifest const& manifest, std::size_t index) {
  for (NoneArgument const& none : manifest.nones)
    if (none.place <= index) ++index;
  return fmt::format("model_inputs[{}]", index);
}

void check_nones(Manifest const& manifest, Reader& reader) {
  for (NoneArgument const& none : manifest.nones) {
    std::string const path = fmt::format("model_inputs[{}]", none.place);
    if (std::ranges::count(manifest.nones, none.name, &NoneArgument::name) > 1 ||
        std::ranges::find(manifest.model_inputs, none.name, [](ModelInput const& input) {
          return input.spec.name;
        }) != manifest.model_inputs.end())
      return reader.refuse(path + ".name", "expected every name once, got '{}' again", none.name);
    if (std::ranges::none_of(manifest.members,
                             [&](Member const& member) { return manifest.has_none(member, none.name); }))
      return reader.refuse(path, "expected a member that reads '{}', got none", none.name);
  }
  for (std::size_t i = 0; i < manifest.inputs.size(); ++i) {
    TensorSpec const& spec = manifest.inputs[i];
    if (!manifest.defaults[i] || !is_none(spec, *manifest.defaults[i])) continue;
    std::string const path = fmt::format("inputs[{}].default", i);
    bool const processed =
        manifest.processor && std::ranges::count(manifest.processor->inputs, spec.name) != 0;
    auto const input = std::ranges::find(manifest.model_inputs, spec.name,
                                         [](ModelInput const& each) { return each.spec.name; });
    bool const mapped = std::ranges::any_of(manifest.members, [&](Member const& member) {
      return std::ranges::find(member.lookups, spec.name, &Lookup::input) != member.lookups.end();
    });
    if (processed || mapped || input == manifest.model_inputs.end() || input->fill)
      reader.refuse(
          path,
          "expected null only for an input that the model reads as it is, without a processor, lookups "
          "or padding; got it for '{}'",
          spec.name);
  }
}

void take_constant(ModelInput& input, Node const& node) {
  input.assemble = Assemble::fixed;
  for (auto const* key : {"make", "index_of", "from", "pad", "axis"})
    if (node[key].present())
      node.reader().refuse(node[key].path(), "expected nothing beside 'constant', got a value");
  if (auto constant = read_value_of(input.spec, node, "constant")) input.constant = std::move(*constant);
}

}  // namespace athanor::inline v1::manifest
