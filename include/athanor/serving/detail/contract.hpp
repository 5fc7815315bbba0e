/// Checks of the results that the tables return, before they are used.
#pragma once

#include <string>

#include <athanor/core/backend.hpp>
#include <athanor/core/tensor.hpp>

namespace athanor::inline v1::serving {

/// The largest cost of one item: so many of them can be added up.
inline constexpr std::int64_t most_cost = std::int64_t{1} << 40;

/// What is wrong with a tensor of `dtype` that a backend or a processor gave: its element type, rank,
/// lengths, size, memory, its alignment or offsets, or a bool that is neither 0 nor 1, as
/// `expected ..., got ...`. Empty when it is whole. A tensor without elements needs no memory.
std::string find_fault(TensorView const& given, DType dtype);

}  // namespace athanor::inline v1::serving
