/// What the processors of this room share: the text of an item, and the tensors of what was made of it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <athanor/core/backend.hpp>
#include <athanor/core/tensor.hpp>

namespace athanor::inline v1::chem {

/// The one text of an item. Errors begin with `processor`.
inline Result<std::string_view> text_of(Item const& item, std::string_view processor) {
  if (item.input_count() != 1)
    return fail(Code::invalid_argument, Reason::shape, "{}: expected one input, got {}", processor,
                item.input_count());
  Tensor const input = item.input(0);
  if (input.dtype() != DType::bytes)
    return fail(Code::invalid_argument, Reason::dtype, "{}: expected a text (bytes), got {}", processor,
                to_string(input.dtype()));
  if (input.shape().elements() != 1)
    return fail(Code::invalid_argument, Reason::shape, "{}: expected one text, got shape {}", processor,
                to_string(input.shape()));
  return input.text_at(0);  // of the item, which outlives the tensor
}

/// An owned tensor of these values, converted element by element.
template <class To, class From>
Result<Tensor> copy(std::vector<From> const& values, Shape const& shape) {
  Result<Tensor> tensor = Tensor::allocate(dtype_of<To>(), shape);
  if (tensor) std::ranges::copy(values, tensor->template mutable_as<To>().begin());
  return tensor;
}
template <class To, class From>
Result<Tensor> copy(std::vector<From> const& values) {
  return copy<To>(values, Shape{static_cast<std::int64_t>(values.size())});
}

/// What preprocess returns, in the order of the processor's ports.
inline Result<Preprocessed> gather(std::span<Result<Tensor>> tensors, std::int64_t cost) {
  Preprocessed features;
  features.cost = cost;
  features.tensors.reserve(tensors.size());
  for (auto& tensor : tensors) {
    if (!tensor) return tl::unexpected(std::move(tensor.error()));
    features.tensors.push_back(std::move(*tensor));
  }
  return features;
}

}  // namespace athanor::inline v1::chem
