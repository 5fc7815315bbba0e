/// The fields of an ath_tensor as C++ types, and what checks of tensors share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <athanor/plugin.h>
#include <athanor/core/tensor.hpp>

namespace athanor::inline v1 {

/// May be any number if the tensor comes from a plugin and has not been checked.
inline DType dtype_of(ath_tensor const& tensor) noexcept { return static_cast<DType>(tensor.dtype); }

/// Precondition: the rank is 0 to `Shape::max_rank`.
inline Shape shape_of(ath_tensor const& tensor) noexcept {
  return Shape(std::span<std::int64_t const>(tensor.shape, static_cast<std::size_t>(tensor.ndim)));
}

/// The tensor of a batch that is None, as ath_batch has it.
inline ath_tensor none_view(DType dtype) noexcept {
  ath_tensor none{};
  none.dtype = static_cast<std::int32_t>(dtype);
  none.device_type = static_cast<std::int32_t>(DeviceType::cpu);
  return none;
}
inline bool is_none(ath_tensor const& tensor) noexcept {
  return tensor.data == nullptr && tensor.ndim == 0 && tensor.size_bytes == 0;
}

/// Whether bytes of the tensor are to be read or written although it has none: its memory is null.
inline bool lacks_memory(Tensor const& tensor) noexcept {
  return tensor.data() == nullptr && tensor.size_bytes() != 0;
}

/// Whether the first `count` lengths are equal. For the few that a shape has, std::equal takes longer.
inline bool equal_lengths(std::int64_t const* one, std::int64_t const* other, std::size_t count) noexcept {
  for (std::size_t i = 0; i < count; ++i)
    if (one[i] != other[i]) return false;
  return true;
}

}  // namespace athanor::inline v1
