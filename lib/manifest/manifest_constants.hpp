/// Tensors whose values are in the manifest. Mistakes are reported to the node's reader, which keeps the
/// first one.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include <athanor/manifest/manifest.hpp>

#include "core/json_text.hpp"

namespace athanor::inline v1::manifest {

/// The `default` of an entry of `inputs`: the row that each item gets if a request leaves the input out.
/// Nothing if there is none.
std::optional<Tensor> read_default(TensorSpec const& spec, json::Node const& node);

/// True if an entry of `model_inputs` is an argument that is None, `{"name": NAME, "constant": null}`; adds
/// it to the manifest's.
bool take_none(json::Node const& node, Manifest& manifest);

/// Where a model input stands in the manifest, whose list may have arguments that are None before it.
std::string place_of_input(Manifest const& manifest, std::size_t index);

/// Arguments that are None have names of their own and a member that reads them, and the model reads inputs
/// that may be None as they are. Reports as check_references.
void check_nones(Manifest const& manifest, json::Reader& reader);

/// Makes an entry of `model_inputs` an input that holds its `constant`: one row per item, or one value for
/// the whole batch.
void take_constant(ModelInput& input, json::Node const& node);

}  // namespace athanor::inline v1::manifest
