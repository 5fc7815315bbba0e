/// Padded axes: how long items are along them, how long a batch is, and the copies that fill up and cut back.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <athanor/core/backend.hpp>
#include <athanor/core/error.hpp>
#include <athanor/core/signature.hpp>
#include <athanor/core/tensor.hpp>
#include <athanor/manifest/model_input.hpp>

namespace athanor::inline v1::serving {

struct ModelDescription;
class MadeItem;

/// By padded axis: a length along it, of an item, a request or a batch. 0 for axes that a model does not
/// have.
using PaddedLengths = std::array<std::int64_t, max_padded_axes>;

/// By dimension: which padded axis it runs along, or `not_padded`. Empty when no dimension runs along one.
using PaddedDims = std::vector<std::size_t>;
inline constexpr std::size_t not_padded = static_cast<std::size_t>(-1);
PaddedDims padded_dims_of(std::span<PaddedAxis const> axes, TensorSpec const& spec);

/// The padded axes of a model, and where its inputs run along them. Immutable.
class Padding {
 public:
  Padding() = default;
  Padding(std::span<PaddedAxis const> axes, std::span<ModelInput const> inputs);

  bool empty() const noexcept { return axes_.empty(); }
  std::span<PaddedAxis const> axes() const noexcept { return axes_; }
  /// Of that model input: of a `stack` or a `mask`, its dimensions; of a `length`, one entry, the axis that
  /// it measures.
  PaddedDims const& dims(std::size_t input) const noexcept { return dims_[input]; }

  /// The lengths of a piece, whose `stack` inputs are among `tensors`, by model input: the same in all of
  /// them. invalid_argument / shape when they differ or are 0, too_large when no bucket holds them.
  Result<PaddedLengths> lengths_of(std::span<TensorView const> tensors) const;
  /// By axis, the smallest bucket that holds that length. Lengths must fit into the largest.
  PaddedLengths buckets_of(PaddedLengths const& lengths) const noexcept;
  /// Gives the `stack` inputs among `tensors` those lengths.
  void widen(std::span<TensorView> tensors, PaddedLengths const& widths) const noexcept;
  /// The positions of one item of those lengths: their product.
  std::int64_t positions_of(PaddedLengths const& lengths) const noexcept;
  /// The same of an item that fills the largest buckets.
  std::int64_t most_positions() const noexcept;

 private:
  std::vector<PaddedAxis> axes_;
  std::vector<PaddedDims> dims_;    // by model input
  std::vector<std::string> names_;  // by model input; empty for those that are made
};

/// The longer of both, by axis.
inline PaddedLengths longest_of(PaddedLengths const& one, PaddedLengths const& other) noexcept {
  PaddedLengths longest;
  std::ranges::transform(one, other, longest.begin(),
                         [](std::int64_t a, std::int64_t b) { return std::max(a, b); });
  return longest;
}

/// `shape` with other lengths along padded axes.
Shape with_lengths(Shape shape, PaddedDims const& dims, PaddedLengths const& lengths) noexcept;

/// A block of an array that becomes a block of another: `extent` elements by dimension, from the start of
/// `from` to the start of `to`. What `to` has beyond it is filled up.
struct Block {
  Shape from;
  Shape extent;
  Shape to;
};

/// Calls copy(first element of `from`, count) and fill(count) so that their elements, one after the other,
/// are those of `to`.
template <class Copy, class Fill>
void walk_block(Block const& block, Copy const& copy, Fill const& fill, std::size_t dim = 0,
                std::int64_t from = 0) {
  std::int64_t in_from = 1;
  std::int64_t in_to = 1;
  bool same = true;
  for (std::size_t i = dim + 1; i < block.to.rank(); ++i) {
    in_from *= block.from[i];
    in_to *= block.to[i];
    same = same && block.from[i] == block.extent[i] && block.extent[i] == block.to[i];
  }
  if (same) {
    if (block.extent[dim] > 0) copy(from, block.extent[dim] * in_from);
  } else {
    for (std::int64_t i = 0; i < block.extent[dim]; ++i)
      walk_block(block, copy, fill, dim + 1, from + i * in_from);
  }
  if (auto const rest = (block.to[dim] - block.extent[dim]) * in_to; rest > 0) fill(rest);
}

/// Writes the elements of `to`, each `width` bytes, with `fill` as the element that fills up. Returns where
/// they end.
std::byte* copy_block(Block const& block, std::byte const* from, std::byte* to, std::size_t width,
                      std::byte const* fill) noexcept;

/// Writes `count` elements of `width` bytes.
std::byte* fill_elements(std::byte* to, std::size_t count, std::size_t width,
                         std::byte const* element) noexcept;

/// What a checked request has for a model input: its own input, or a row of the default.
Tensor const& given_input(ModelDescription const& description, Request const& request,
                          CheckedRequest const& checked, std::size_t input) noexcept;

/// The lengths of what a processor made of an item.
Result<PaddedLengths> made_lengths(ModelDescription const& description, MadeItem const& made);

/// Sets `lengths` to those of a checked request, all of whose items are of one length, of a model that pads
/// requests; `checked` becomes an error if they do not fit into the model's buckets.
void measure_request(ModelDescription const& description, Request const& request,
                     Result<CheckedRequest>& checked, PaddedLengths& lengths);

}  // namespace athanor::inline v1::serving
