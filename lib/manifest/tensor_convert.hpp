/// Tensors out of JSON that is parsed already.
#pragma once

#include <athanor/core/signature.hpp>

#include "core/json_text.hpp"

namespace athanor::inline v1::manifest {

/// See tensor_from_json.
Result<Tensor> convert_tensor(json::Json const& value, TensorSpec const& spec);

}  // namespace athanor::inline v1::manifest
