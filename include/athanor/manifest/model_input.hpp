/// How a model's batch is put together from items: declared per model input, carried out by the serving
/// room.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <athanor/core/signature.hpp>

namespace athanor::inline v1 {

/// The batch axis of a tensor that has none, because it belongs to the only item of a run, or to all its
/// items.
inline constexpr std::size_t no_batch_axis = SIZE_MAX;
/// The axis of `spec` that is `items`, or no_batch_axis.
std::size_t batch_axis_of(TensorSpec const& spec) noexcept;
/// `spec` as in requests and answers: with `items` first, whether or not it had that axis.
TensorSpec with_items_first(TensorSpec spec);

/// How one model input of a batch is assembled.
enum class Assemble : std::uint8_t {
  stack,    ///< items are concatenated along the batch axis; all other dimensions must be equal within a
            ///< batch
  ragged,   ///< items of different length are concatenated along axis 0 (a named axis other than `items`)
  segment,  ///< generated: for every element of the ragged axis, the index of its item (i32 or i64)
  count,    ///< generated: how many items the batch holds (i32 or i64, one element)
  repeat,   ///< generated: for every item, the value of its request's parameter
  share,    ///< generated: the value of a parameter, equal in all requests of a batch
  common,  ///< an input of the request that is one tensor for all its items, equal in all requests of a batch
  fixed,   ///< a constant of the manifest: one row per item, or without `items` one value per batch
  mask,    ///< generated: along padded axes, 1 where an item has an element and 0 where it is padded
  length,  ///< generated: for every item, its length along a padded axis (i32 or i64)
  state,   ///< what the model's output `state` was in the last call of the item's sequence; zeros at first
};

/// The maximum number of padded axes of a model.
inline constexpr std::size_t max_padded_axes = 4;

/// An axis along which items of different length share a batch: each is padded to the length of the batch.
struct PaddedAxis {
  std::string name;
  /// Lengths of batches, ascending: the smallest one that holds the longest item of a request is the
  /// request's.
  std::vector<std::int64_t> buckets;
};

/// One input of the model as it executes (after the processor, if there is one).
struct ModelInput {
  /// For a `stack` input as the items bring it, with `items` first; for any other as the model has it.
  TensorSpec spec;
  Assemble assemble = Assemble::stack;
  /// The ragged axis that axis 0 runs along (`ragged`, `segment`), or the padded axis that is measured
  /// (`length`); empty otherwise.
  std::string axis;
  /// For a ragged input whose values are positions along another ragged axis, the name of that axis; empty
  /// otherwise. Each value is increased by the number of elements that earlier items of the batch have along
  /// that axis. i32 and i64 only.
  std::string index_of;
  /// The parameter whose value it holds (`repeat`, `share`); empty otherwise.
  std::string parameter;
  /// The constant (`fixed`): one row if `spec` has `items`, otherwise the whole tensor.
  Tensor constant{};
  /// For a `stack` input: the model's batch axis, or no_batch_axis if each run has one item.
  std::size_t batch_axis = 0;
  /// One element of its type, with which a `stack` input is filled up along padded axes; nothing without such
  /// an axis.
  std::optional<Tensor> fill{};
  /// The model output that is its next value (`state`); empty otherwise.
  std::string state;
};

/// Which of `axes` a dimension runs along; nothing for any other dimension.
inline std::optional<std::size_t> padded_axis_of(std::span<PaddedAxis const> axes, Dim const& dim) noexcept {
  for (std::size_t i = 0; i < axes.size() && dim.kind == Dim::Kind::named; ++i)
    if (axes[i].name == dim.name) return i;
  return std::nullopt;
}

}  // namespace athanor::inline v1
