/// Tensors and JSON: nested lists, as deep as the tensor's shape.
#pragma once

#include <string>
#include <string_view>

#include <athanor/core/error.hpp>
#include <athanor/core/signature.hpp>
#include <athanor/core/tensor.hpp>

namespace athanor::inline v1 {

/// A tensor from nested JSON lists, converted without loss of meaning: ragged lists, wrong depth, fractions
/// for integers, values out of the type's range, null and texts for numbers are rejected with the tensor's
/// name, the position, what was expected and what was found. The elements of a `bytes` tensor are JSON
/// strings; f16 and bf16 are rounded to nearest.
Result<Tensor> tensor_from_json(std::string_view text, TensorSpec const& spec);

/// The nested lists that tensor_from_json converts back into this tensor, with as few digits as possible.
/// JSON cannot represent NaN, infinities or bytes that are not UTF-8: they are rejected with `name`, the
/// element and the reason non_finite or syntax.
Result<std::string> tensor_to_json(Tensor const& tensor, std::string_view name);

}  // namespace athanor::inline v1
