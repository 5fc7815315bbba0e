/// Tensors whose values are in the manifest. Mistakes are reported to the node's reader, which keeps the first one.
#pragma once

#include <optional>

#include <athanor/manifest/manifest.hpp>

#include "core/json_text.hpp"

namespace athanor::inline v1::manifest {

/// The `default` of an entry of `inputs`: the row that each item gets if a request leaves the input out. Nothing if there
/// is none.
std::optional<Tensor> read_default(TensorSpec const& spec, json::Node const& node);

/// Makes an entry of `model_inputs` an input that holds its `constant`: one row per item, or one value for the whole
/// batch.
void take_constant(ModelInput& input, json::Node const& node);

}  // namespace athanor::inline v1::manifest
