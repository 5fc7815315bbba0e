#include "manifest_padding.hpp"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "ascending.hpp"
#include "manifest_constants.hpp"
#include "tensor_convert.hpp"

namespace athanor::inline v1::manifest {

namespace {

using json::Node;
using json::Reader;

constexpr std::size_t most_buckets = 64;
/// The most positions of one item along all padded axes together, so that items and cost are counted in 63
/// bits.
constexpr std::int64_t most_positions = std::numeric_limits<std::int32_t>::max();

/// One element of the input's type.
std::optional<Tensor> read_fill(Node const& node, TensorSpec const& spec) {
  TensorSpec element = spec;
  element.dims.clear();
  auto fill = convert_tensor(*node.json(), element);
  if (fill) return std::move(*fill);
  node.reader().refuse(node.path(), "{}", fill.error().message);
  return std::nullopt;
}

/// The element of zeros; an empty text.
std::optional<Tensor> no_fill(DType dtype) {
  if (dtype == DType::bytes) return Tensor::text("");
  auto fill = Tensor::allocate(dtype, Shape{});
  if (!fill) return std::nullopt;
  std::fill_n(fill->mutable_data(), fill->size_bytes(), std::byte{0});
  return std::move(*fill);
}

/// Whether the input has a dimension along that axis, beyond the first.
bool runs_along(TensorSpec const& spec, std::string_view axis) {
  for (std::size_t i = 1; i < spec.dims.size(); ++i)
    if (spec.dims[i].kind == Dim::Kind::named && spec.dims[i].name == axis) return true;
  return false;
}

bool has_padded_axis(Manifest const& manifest, TensorSpec const& spec) {
  return std::ranges::any_of(manifest.padded_axes,
                             [&](PaddedAxis const& axis) { return runs_along(spec, axis.name); });
}

void check_mask(Manifest const& manifest, TensorSpec const& spec, std::string const& path, Reader& reader) {
  bool fits = spec.stacks() && has_padded_axis(manifest, spec) && spec.dtype != DType::bytes;
  for (std::size_t i = 1; fits && i < spec.dims.size(); ++i)
    fits = padded_axis_of(manifest.padded_axes, spec.dims[i]) || spec.dims[i] == Dim::fixed(1);
  if (!fits)
    reader.refuse(path, "expected numbers or bool of '{}', padded axes and lengths of 1 for a mask, got {}",
                  items_axis, to_string(spec));
}

void check_length(Manifest const& manifest, ModelInput const& input, std::string const& path,
                  Reader& reader) {
  TensorSpec const& spec = input.spec;
  if (!padded_axis_of(manifest.padded_axes, Dim::named(input.axis)))
    reader.refuse(path + ".axis", "expected an axis with buckets, got '{}'", input.axis);
  bool const single =
      spec.stacks() && (spec.dims.size() == 1 || (spec.dims.size() == 2 && spec.dims[1] == Dim::fixed(1)));
  if (!single || (spec.dtype != DType::i64 && spec.dtype != DType::i32))
    reader.refuse(path, "expected i32 or i64 [items] or [items, 1] for a length, got {}", to_string(spec));
}

void fit_input(Manifest const& manifest, ModelInput& input, std::string const& path, Reader& reader) {
  if (input.assemble == Assemble::mask) return check_mask(manifest, input.spec, path, reader);
  if (input.assemble == Assemble::length) return check_length(manifest, input, path, reader);
  bool const padded = has_padded_axis(manifest, input.spec);
  if (input.fill && !padded)
    reader.refuse(path + ".pad", "expected an axis with buckets in its shape, got {}", to_string(input.spec));
  if (padded && (input.assemble != Assemble::stack || input.batch_axis != 0))
    reader.refuse(path + ".shape", "expected '{}' first for an input along a padded axis, got {}", items_axis,
                  to_string(input.spec));
  if (padded && !input.fill) input.fill = no_fill(input.spec.dtype);
}

}  // namespace

void read_padding(Node const& node, ModelInput& input, std::vector<PaddedAxis>& axes) {
  if (!node.object({"buckets", "value"})) return;
  if (is_made(input))
    node.reader().refuse(
        node.path(),
        "expected no value except for an input that a request or a processor gives, got one for '{}'",
        input.spec.name);
  for (auto const& [name, buckets] : node["buckets"].named()) {
    if (!runs_along(input.spec, name))
      node.reader().refuse(buckets.path(), "expected an axis of '{}' beyond the first, got {}",
                           input.spec.name, to_string(input.spec));
    if (std::ranges::find(axes, name, &PaddedAxis::name) != axes.end())
      node.reader().refuse(buckets.path(), "expected the buckets of '{}' at one input only, got them again",
                           name);
    if (axes.size() == max_padded_axes)
      return node.reader().refuse(buckets.path(), "expected at most {} padded axes, got more",
                                  max_padded_axes);
    axes.push_back({name, read_ascending(buckets, "buckets", most_buckets, most_positions)});
  }
  input.fill = node["value"].present() ? read_fill(node["value"], input.spec) : no_fill(input.spec.dtype);
}

void fit_padding(Manifest& manifest, Reader& reader) {
  std::int64_t positions = 1;
  for (PaddedAxis const& axis : manifest.padded_axes) {
    for (auto const& input : manifest.model_inputs)
      if (input.assemble == Assemble::ragged && input.axis == axis.name)
        reader.refuse("model_inputs", "expected '{}' to be ragged or padded, got both", axis.name);
    if (axis.buckets.back() > most_positions / positions)
      return reader.refuse("model_inputs", "expected largest buckets of at most {} together, got more",
                           most_positions);
    positions *= axis.buckets.back();
  }
  for (std::size_t i = 0; i < manifest.model_inputs.size(); ++i)
    fit_input(manifest, manifest.model_inputs[i], place_of_input(manifest, i), reader);
}

bool keeps_padding(Manifest const& manifest, TensorSpec const& source, TensorSpec const& declared) {
  for (std::size_t i = 1; i < declared.dims.size(); ++i)
    if (padded_axis_of(manifest.padded_axes, declared.dims[i]) && declared.dims[i] != source.dims[i])
      return false;
  return true;
}

TensorSpec at_its_widest(Manifest const& manifest, TensorSpec spec) {
  for (Dim& dim : spec.dims)
    if (auto const axis = padded_axis_of(manifest.padded_axes, dim))
      dim = Dim::fixed(manifest.padded_axes[*axis].buckets.back());
  return spec;
}

}  // namespace athanor::inline v1::manifest
