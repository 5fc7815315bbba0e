/// Assembles the model inputs of a batch from the tensors of its items: the only copy of inputs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <athanor/core/backend.hpp>
#include <athanor/core/error.hpp>
#include <athanor/core/tensor.hpp>
#include <athanor/manifest/model_input.hpp>
#include <athanor/serving/detail/batch_buffer.hpp>
#include <athanor/serving/detail/input_starts.hpp>
#include <athanor/serving/detail/padding.hpp>

namespace athanor::inline v1::serving {

/// The pieces of a batch. A piece is one or more items, with a tensor for every model input that is `stack`,
/// `ragged` or `common`, and one element of i64 or f64 for every one that is `repeat` or `share`, at that
/// input's index (others are ignored). Axis 0 of a `stack` input is `items` long. A piece of a model with
/// `ragged` inputs is one item. Borrows the tensors' bytes; clear() keeps capacity.
class Pieces {
 public:
  /// `inputs` of the model.
  explicit Pieces(std::size_t inputs) : inputs_(inputs), filler_(inputs) {}

  void clear() noexcept {
    items_.clear();
    least_ = {};
    filling_ = 0;
  }
  /// The batch is filled up at least to the buckets of those lengths.
  void widen(PaddedLengths const& lengths) noexcept { least_ = longest_of(least_, lengths); }
  /// Adds a piece. Returns its tensors, by model input; fill them in before adding the next piece.
  std::span<TensorView> add(std::uint32_t items);

  /// The tensors of the piece that fill_up() copies; they may be changed until then.
  std::span<TensorView> filler() noexcept { return filler_; }
  /// Adds copies of the filler, one item each, until the batch has one of those sizes, which ascend.
  void fill_up(std::span<std::int64_t const> sizes);

  std::size_t size() const noexcept { return items_.size(); }
  /// How many pieces at the end only fill up the batch.
  std::size_t filling() const noexcept { return filling_; }
  std::uint32_t items(std::size_t piece) const noexcept { return items_[piece]; }
  PaddedLengths const& least() const noexcept { return least_; }
  std::span<TensorView> tensors(std::size_t piece) noexcept {
    return std::span(tensors_).subspan(piece * inputs_, inputs_);
  }
  std::span<TensorView const> tensors(std::size_t piece) const noexcept {
    return std::span(tensors_).subspan(piece * inputs_, inputs_);
  }
  TensorView const& tensor(std::size_t piece, std::size_t input) const noexcept {
    return tensors_[piece * inputs_ + input];
  }

 private:
  std::size_t inputs_;
  std::vector<std::uint32_t> items_;  // by piece
  std::vector<TensorView> tensors_;   // piece-major
  std::vector<TensorView> filler_;
  std::size_t filling_ = 0;
  PaddedLengths least_{};
};

/// How to read pieces whose owners may take them back. `begin` is called before a piece's memory is read and
/// `end` after it, for one piece at a time; between the two it stays. By default pieces just stay.
struct PieceAccess {
  void* context = nullptr;
  /// False when the piece is gone; then `end` is not called. May change the piece's tensors to equal ones.
  bool (*begin)(void* context, std::size_t piece) noexcept = nullptr;
  void (*end)(void* context, std::size_t piece) noexcept = nullptr;
};

/// Hash of the properties in which requests of one batch must agree: element type, rank and all dimensions
/// but the first of every `stack` and `ragged` input, and the value of every `share` input. `tensors` are
/// those of a piece.
std::uint64_t shape_key(std::span<ModelInput const> inputs, std::span<TensorView const> tensors) noexcept;
/// Hash of the shape and the content of every `common` input, which requests of one batch must have alike,
/// too.
std::uint64_t content_key(std::span<ModelInput const> inputs, std::span<TensorView const> tensors) noexcept;

/// One per instance of a model. Buffers are kept: after warm-up, gathering does not allocate while batches
/// are of like sizes. Not thread-safe.
class Assembler {
 public:
  /// At most max_tensors inputs; the order of `inputs` is that of the model.
  explicit Assembler(std::span<ModelInput const> inputs, Padding padding = {});

  /// Assembles the inputs of a batch of these pieces, in their order. With `may_view`, a batch of one piece
  /// borrows the piece's tensors, which must then outlive the execution; otherwise everything is copied.
  /// Fails with invalid_argument, naming the input, if pieces do not fit together or an index lies outside
  /// its item, and with resource_exhausted / out_of_memory; inputs() is then undefined. aborted / cancelled
  /// when a piece is gone.
  Result<void> gather(Pieces const& pieces, bool may_view, PieceAccess access = {}) noexcept;

  /// Where the caller puts the inputs of a batch itself, by model input: tensors of one piece, for a model
  /// whose inputs are all given and need no copy; constants for a whole batch are there already. They are the
  /// batch's inputs, and must outlive the execution.
  std::span<TensorView> borrow(std::int64_t items) noexcept {
    items_ = items;
    return views_;
  }

  /// The inputs of the last batch, in the model's order. Valid until the next gather.
  std::span<TensorView const> inputs() const noexcept { return views_; }
  std::int64_t items() const noexcept { return items_; }
  /// How long the last batch is along padded axes, and how long its pieces are.
  PaddedLengths const& widths() const noexcept { return widths_; }
  PaddedLengths const& lengths(std::size_t piece) const noexcept { return lengths_[piece]; }
  /// Where the items of the last batch begin along ragged axes.
  InputStarts starts() const noexcept { return {starts_, axes_.size(), axis_of_}; }

 private:
  static constexpr std::size_t no_axis = static_cast<std::size_t>(-1);
  struct Input {
    std::string name;
    Assemble assemble = Assemble::stack;
    DType dtype = DType::f32;
    std::size_t rank = 0;
    std::size_t axis = no_axis;      // ragged, segment
    std::size_t index_of = no_axis;  // ragged
    Tensor constant;                 // a copy: what a model may do to it stays with this instance
    std::size_t batch_axis = 0;      // stack: the model's batch axis
    bool per_item = false;           // of a constant: whether it is a row for each item
    PaddedDims padded;
    std::optional<Tensor> fill;  // along them
    BatchBuffer data;
    BatchBuffer offsets;  // of bytes
  };

  std::size_t axis_index(std::string const& name);
  std::int64_t& axis_start(std::size_t piece, std::size_t axis) noexcept {
    return starts_[piece * axes_.size() + axis];
  }
  Result<void> measure(Pieces const& pieces);
  Result<void> measure_padding(Pieces const& pieces);
  Result<void> check_alike(Input const& input, std::size_t index, Pieces const& pieces);
  Result<void> gather_input(std::size_t index, Pieces const& pieces, bool view);
  Result<void> copy_elements(std::size_t index, Pieces const& pieces);
  Result<void> copy_bytes(std::size_t index, Pieces const& pieces);
  Result<void> gather_given(std::size_t index, Pieces const& pieces, bool view);
  Result<void> pad_elements(std::size_t index, Pieces const& pieces);
  Result<void> pad_bytes(std::size_t index, Pieces const& pieces);
  Result<void> make_mask(std::size_t index, Pieces const& pieces);
  Result<void> make_lengths(std::size_t index, Pieces const& pieces);
  Result<void> check_positions(Input const& input, TensorView const& values, std::int64_t limit);
  void shift_positions(Input const& input, std::byte* values, std::size_t count, std::int64_t by);
  Result<void> make_segments(std::size_t index, Pieces const& pieces);
  Result<void> make_count(std::size_t index);
  Result<void> repeat_values(std::size_t index, Pieces const& pieces);
  Result<void> share_value(std::size_t index, Pieces const& pieces);
  Result<void> take_common(std::size_t index, Pieces const& pieces, bool view);
  Result<void> leave_out(std::size_t index, Pieces const& pieces);
  Result<void> repeat_constant(std::size_t index);
  Result<std::byte*> buffer_of(BatchBuffer& buffer, std::size_t bytes, std::string const& name);
  Result<std::byte*> buffer_of_rows(Input& input, Shape& shape, std::size_t width);
  bool is_full(Input const& input, TensorView const& tensor) const noexcept;

  PieceAccess access_{};  // of the batch at hand
  std::vector<Input> inputs_;
  std::vector<std::string> axes_;  // names of ragged axes
  // By piece and axis: where the piece's elements begin; one more row for the end.
  std::vector<std::int64_t> starts_;
  std::vector<std::size_t> axis_of_;  // by input
  Padding padding_;
  std::vector<PaddedLengths> lengths_;  // by piece; empty without padded axes
  PaddedLengths widths_{};
  std::vector<TensorView> views_;
  std::int64_t items_ = 0;
};

}  // namespace athanor::inline v1::serving
