#pragma once

#include <cstddef>

namespace athanor::inline v1::detail {

/// What an allocator keeps of a block beside the bytes asked for: its own words, and rounding.
inline constexpr std::size_t block_overhead = 16;

}  // namespace athanor::inline v1::detail
