/// The two half-precision types as numbers.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace athanor::inline v1 {

inline float from_f16(std::uint16_t bits) noexcept {
  int const exponent = (bits >> 10) & 0x1f;
  int const mantissa = bits & 0x3ff;
  float size = 0;
  if (exponent == 0x1f) {
    size = mantissa == 0 ? HUGE_VALF : std::nanf("");
  } else if (exponent == 0) {
    size = std::ldexp(static_cast<float>(mantissa), -24);
  } else {
    size = std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
  }
  return (bits & 0x8000U) != 0 ? -size : size;
}

inline float from_bf16(std::uint16_t bits) noexcept {
  return std::bit_cast<float>(std::uint32_t{bits} << 16);
}

}  // namespace athanor::inline v1
