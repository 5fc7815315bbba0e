/// Tensors whose values a manifest holds itself. Each reports to the node's reader, which keeps the first mistake.
#pragma once

#include <optional>

#include <athanor/manifest/manifest.hpp>

#include "core/json_text.hpp"

namespace athanor::inline v1::manifest {

/// The `default` of an entry of `inputs`: the row that each item of a request without that input has. Nothing where it has
/// none.
std::optional<Tensor> read_default(TensorSpec const& spec, json::Node const& node);

/// Makes an entry of `model_inputs` the input that holds its `constant`: a row for every item, or one value for the whole
/// batch.
void take_constant(ModelInput& input, json::Node const& node);

}  // namespace athanor::inline v1::manifest
