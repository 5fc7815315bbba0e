#include "manifest_ragged.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace athanor::inline v1::manifest {

namespace {

using json::Node;
using json::Reader;

bool is_count(TensorSpec const& spec) {
  return spec.dtype == DType::i64 && spec.stacks() && spec.dims.size() == 1;
}

/// Whether that output has rows along the axis.
bool runs_along(TensorSpec const& spec, std::string_view axis) {
  return is_ragged(spec) && spec.dims[0].name == axis;
}

bool is_input_axis(Manifest const& manifest, std::string_view axis) {
  return std::ranges::any_of(manifest.model_inputs, [&](ModelInput const& input) {
    return input.assemble == Assemble::ragged && input.axis == axis;
  });
}

void fit_model_output(Manifest& manifest, TensorSpec const& spec, std::string const& path, Reader& reader) {
  std::string const& axis = spec.dims[0].name;
  auto const known = std::ranges::find(manifest.ragged_axes, axis, &RaggedAxis::name);
  bool const of_inputs = is_input_axis(manifest, axis);
  if (known == manifest.ragged_axes.end()) {
    if (of_inputs) return manifest.ragged_axes.push_back({axis, {}});
    if (manifest.batching.max_items == 1) return;  // the lone item's, of any length
    return reader.refuse(
        path + ".shape",
        "expected an axis of a ragged model input, or \"rows\": the model output that counts the rows; "
        "got '{}'",
        axis);
  }
  if (known->counts.empty()) return;
  if (of_inputs)
    return reader.refuse(path + ".rows", "expected nothing, as '{}' is an axis of the model's inputs", axis);
  auto const counts = std::ranges::find(manifest.model_outputs, known->counts, &TensorSpec::name);
  if (counts == manifest.model_outputs.end() || !is_count(*counts))
    reader.refuse(
        path + ".rows", "expected a model output of i64 [items], got {}",
        counts == manifest.model_outputs.end() ? fmt::format("'{}'", known->counts) : to_string(*counts));
}

/// Of an output: it has a companion that counts its rows, and an axis that is the model's or the processor's
/// alone.
void fit_output(Manifest const& manifest, OutputSection const& output, std::string const& path,
                Reader& reader) {
  if (!is_ragged(output.spec)) return;
  std::string const& axis = output.spec.dims[0].name;
  bool const counted = std::ranges::any_of(manifest.outputs, [&](OutputSection const& other) {
    return other.source == OutputSource::rows && other.of == axis;
  });
  if (!counted)
    reader.refuse(path + ".shape",
                  "expected an output with \"from\": \"rows:{}\" that counts the rows of '{}', got none",
                  axis, output.spec.name);
  bool const of_model =
      std::ranges::find(manifest.ragged_axes, axis, &RaggedAxis::name) != manifest.ragged_axes.end();
  if (output.source == OutputSource::processor && of_model)
    reader.refuse(path + ".shape", "expected an axis that no model output has, got '{}'", axis);
}

}  // namespace

bool is_ragged(TensorSpec const& spec) noexcept {
  return !spec.dims.empty() && spec.dims[0].kind == Dim::Kind::named && batch_axis_of(spec) == no_batch_axis;
}

void read_ragged_axis(Node const& node, TensorSpec const& spec, std::vector<RaggedAxis>& axes) {
  if (!node.present()) return;
  std::string const counts = node.name();
  if (!is_ragged(spec))
    return node.reader().refuse(node.path(),
                                "expected no value except for an output along a ragged axis, got one for {}",
                                to_string(spec));
  auto const known = std::ranges::find(axes, spec.dims[0].name, &RaggedAxis::name);
  if (known == axes.end()) return axes.push_back({spec.dims[0].name, counts});
  if (known->counts != counts)
    node.reader().refuse(node.path(), "expected '{}' as for the other outputs along '{}', got '{}'",
                         known->counts, known->name, counts);
}

void fit_ragged_axes(Manifest& manifest, Reader& reader) {
  for (std::size_t i = 0; i < manifest.model_outputs.size(); ++i)
    if (is_ragged(manifest.model_outputs[i]))
      fit_model_output(manifest, manifest.model_outputs[i], fmt::format("model_outputs[{}]", i), reader);
  for (std::size_t i = 0; i < manifest.outputs.size(); ++i)
    fit_output(manifest, manifest.outputs[i], fmt::format("outputs[{}]", i), reader);
}

bool has_ragged_rows(Manifest const& manifest, TensorSpec const& spec) {
  return is_ragged(spec) && std::ranges::find(manifest.ragged_axes, spec.dims[0].name, &RaggedAxis::name) !=
                                manifest.ragged_axes.end();
}

bool is_counted(Manifest const& manifest, TensorSpec const& spec) {
  auto const axis = std::ranges::find(manifest.ragged_axes, spec.dims[0].name, &RaggedAxis::name);
  return axis != manifest.ragged_axes.end() && !axis->counts.empty();
}

void check_row_counts(Manifest const& manifest, OutputSection const& output, std::string const& path,
                      Reader& reader) {
  if (!is_count(output.spec))
    reader.refuse(path, "expected i64 [items] for a count, got {}", to_string(output.spec));
  bool const counts = std::ranges::any_of(
      manifest.outputs, [&](OutputSection const& other) { return runs_along(other.spec, output.of); });
  if (!counts)
    reader.refuse(path + ".from", "expected the first axis of another output, got '{}'", output.of);
}

}  // namespace athanor::inline v1::manifest
