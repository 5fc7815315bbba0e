/// How a model's batch is put together from items: declared per model input, carried out by the batching
/// room.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <athanor/core/signature.hpp>

namespace athanor::inline v1 {

/// How one model input of a batch comes about.
enum class Assemble : std::uint8_t {
  stack,    ///< items are concatenated along axis 0 (`items`); all other dimensions must be equal within a
            ///< batch
  ragged,   ///< items of different length are concatenated along axis 0 (a named axis other than `items`)
  segment,  ///< made: for every element of the ragged axis, the index of the item it came from (i32 or i64)
  count,    ///< made: how many items the batch holds (i32 or i64, one element)
};

/// One input of the model as it executes (after the processor, if there is one).
struct ModelInput {
  TensorSpec spec;
  Assemble assemble = Assemble::stack;
  /// The ragged axis that axis 0 runs along (`ragged`, `segment`); empty otherwise.
  std::string axis;
  /// Ragged inputs whose values are positions along another ragged axis: that axis. Values are shifted by the
  /// elements of it that earlier items of the batch hold. Empty otherwise. i32 and i64 only.
  std::string index_of;
};

}  // namespace athanor::inline v1
