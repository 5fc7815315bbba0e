/// The generator SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
#pragma once

#include <cstdint>

namespace athanor::inline v1::detail {

/// Added to the state before each number.
inline constexpr std::uint64_t split_mix_step = 0x9e3779b97f4a7c15ULL;

/// The number that belongs to a state.
inline std::uint64_t split_mix(std::uint64_t state) noexcept {
  state = (state ^ (state >> 30U)) * 0xbf58476d1ce4e5b9ULL;
  state = (state ^ (state >> 27U)) * 0x94d049bb133111ebULL;
  return state ^ (state >> 31U);
}

}  // namespace athanor::inline v1::detail
