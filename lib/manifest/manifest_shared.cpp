#include "manifest_shared.hpp"

#include <algorithm>

namespace athanor::inline v1::manifest {

using json::Node;
using json::Reader;

namespace {

/// Whether items of one batch may differ in their length along that axis.
bool differs_by_item(Manifest const& manifest, Dim const& dim) {
  return padded_axis_of(manifest.padded_axes, dim) ||
         std::ranges::any_of(manifest.model_inputs, [&](ModelInput const& input) {
           return input.assemble == Assemble::ragged && dim == Dim::named(input.axis);
         });
}

/// Whether every tensor of the first spec is one of the second.
bool fits(TensorSpec const& given, TensorSpec const& declared) {
  return given.dtype == declared.dtype &&
         std::ranges::equal(given.dims, declared.dims, [](Dim const& source, Dim const& dim) {
           return dim.kind != Dim::Kind::fixed || source == dim;
         });
}

}  // namespace

void read_shared(Node const& node, TensorSpec& spec) {
  if (!node.present()) return;
  spec.shared = node.flag();
  if (spec.shared && (batch_axis_of(spec) != no_batch_axis || spec.dtype == DType::bytes))
    node.reader().refuse(node.path(), "expected numbers without an axis '{}' for a shared input, got {}",
                         items_axis, to_string(spec));
}

void take_shared(ModelInput& input, Node const& node) {
  input.assemble = Assemble::common;
  for (auto const* key : {"make", "index_of", "pad", "axis"})
    if (node[key].present())
      node.reader().refuse(node[key].path(), "expected no value for a shared input, got one");
}

void check_shared_input(Manifest const& manifest, ModelInput const& input, std::string const& path,
                        Reader& reader) {
  TensorSpec const& spec = input.spec;
  auto const source = std::ranges::find(manifest.inputs, spec.name, &TensorSpec::name);
  if (!fits(*source, spec) || batch_axis_of(spec) != no_batch_axis)
    reader.refuse(path, "expected '{}' as in inputs, {}; got {}", spec.name, to_string(*source),
                  to_string(spec));
  for (TensorSpec const& each : {*source, spec})
    for (Dim const& dim : each.dims)
      if (differs_by_item(manifest, dim))
        reader.refuse(path + ".shape",
                      "expected no axis along which items differ for a shared input, got '{}'", dim.name);
}

void check_shared_is_read(Manifest const& manifest, TensorSpec const& input, std::string const& path,
                          Reader& reader) {
  bool const read = std::ranges::any_of(manifest.model_inputs, [&](ModelInput const& each) {
    return each.assemble == Assemble::common && each.spec.name == input.name;
  });
  if (!read)
    reader.refuse(path,
                  "expected a model input '{}' that reads it, as no processor reads a shared input; got none",
                  input.name);
}

}  // namespace athanor::inline v1::manifest
