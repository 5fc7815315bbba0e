/// The parameters that a manifest declares, and values of them.
#pragma once

#include <optional>

#include <athanor/core/parameter.hpp>
#include <athanor/manifest/model_input.hpp>

#include "core/json_text.hpp"

namespace athanor::inline v1::manifest {

/// One entry of `parameters`. Reports to the node's reader, which keeps the first mistake.
ParameterSpec read_parameter(json::Node const& node);

/// A value of `spec` for a request, such as a self-test holds.
std::optional<Tensor> read_parameter_value(ParameterSpec const& spec, json::Node const& node);

/// A model input with `"from": "parameter:NAME"`: one row per item, or one element for the whole batch.
void take_from_parameter(ModelInput& input, json::Node const& node);

}  // namespace athanor::inline v1::manifest
