/// The search for NaN and infinities among numbers.
#pragma once

#include <cstddef>
#include <cstdint>

#include <athanor/core/tensor.hpp>

namespace athanor::inline v1::detail {

/// The index of the first NaN or infinity among the whole numbers of that type in `bytes` bytes; -1 if there
/// is none, or if the type is not floating-point.
std::int64_t first_non_finite(DType dtype, std::byte const* data, std::size_t bytes) noexcept;

}  // namespace athanor::inline v1::detail
