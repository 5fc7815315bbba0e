/// Tensors as a C host describes them.
#pragma once

#include <string_view>

#include <athanor.h>

#include <athanor/core/tensor.hpp>

namespace athanor::capi {

/// The tensor that `view` describes, borrowed; a view with strides is packed into owned memory.
/// invalid_argument names `input` and what is wrong with the view.
Result<Tensor> tensor_of(std::string_view input, ath_tensor_view const& view);

/// Fills `*view`. False when its struct_size is too small.
bool fill_view(ath_tensor_view* view, Tensor const& tensor) noexcept;

}  // namespace athanor::capi
