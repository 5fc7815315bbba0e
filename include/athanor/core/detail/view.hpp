/// The fields of an ath_tensor as C++ types.
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

}  // namespace athanor::inline v1
