/// What an assembler tells an ensemble of the ragged axes of a batch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace athanor::inline v1::serving {

/// Where the items of a batch begin along the ragged axes of its inputs: by item, and one more for the end,
/// then by axis.
struct InputStarts {
  std::span<std::int64_t const> starts{};
  std::size_t axes = 0;
  std::span<std::size_t const> axis_of{};  ///< by model input

  std::int64_t at(std::size_t item, std::size_t input) const noexcept {
    return starts[item * axes + axis_of[input]];
  }
};

}  // namespace athanor::inline v1::serving
