/// The ragged axes of outputs: where the rows of an item are counted.
#pragma once

#include <string>
#include <vector>

#include <athanor/manifest/manifest.hpp>

#include "core/json_text.hpp"

namespace athanor::inline v1::manifest {

/// True for an output with rows along an axis of its own, rather than one row per item.
bool is_ragged(TensorSpec const& spec) noexcept;

/// `rows` of a model output: the name of the model output that counts them. Adds its axis to `axes`. Reports
/// to the node's reader, which keeps the first mistake.
void read_ragged_axis(json::Node const& node, TensorSpec const& spec, std::vector<RaggedAxis>& axes);

/// Every ragged axis of a model output is counted by another of them or is an axis of the model's inputs,
/// which are added to the manifest's axes; every one of the outputs is counted by an output, too. Reports as
/// check_references.
void fit_ragged_axes(Manifest& manifest, json::Reader& reader);

/// True for a model output whose rows run along one of the manifest's ragged axes.
bool has_ragged_rows(Manifest const& manifest, TensorSpec const& spec);

/// Whether a model output counts the rows of that axis.
bool is_counted(Manifest const& manifest, TensorSpec const& spec);

/// An output that counts the rows of an axis of others. Reports as check_references.
void check_row_counts(Manifest const& manifest, OutputSection const& output, std::string const& path,
                      json::Reader& reader);

}  // namespace athanor::inline v1::manifest
