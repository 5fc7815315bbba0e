/// The tensors that requests and answers exchange with batches, item by item.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include <athanor/core/signature.hpp>
#include <athanor/core/tensor.hpp>
#include <athanor/serving/detail/assembler.hpp>
#include <athanor/serving/detail/carried_state.hpp>
#include <athanor/serving/detail/handles.hpp>
#include <athanor/serving/detail/model_description.hpp>
#include <athanor/serving/detail/padding.hpp>

namespace athanor::inline v1::serving {

/// Makes `tensor` owned memory of that type and shape. Reuses its buffer if that is large enough and nothing
/// else refers to it.
Result<void> make_output(Tensor& tensor, DType dtype, Shape const& shape);

/// check(), and that the request's lengths fit into the model's buckets: those are `lengths`, if the model
/// pads requests.
inline Result<CheckedRequest> check_request(ModelDescription const& description, Request const& request,
                                            PaddedLengths& lengths, LargeInputs large = LargeInputs::read) {
  auto checked = check(description.signature, request, large);
  if (checked && description.pads_requests) measure_request(description, request, checked, lengths);
  return checked;
}

/// The parts of a call from which its pieces are made.
struct PieceSource {
  Request const& request;
  CheckedRequest const& checked;
  std::span<MadeItem const> made;          ///< by item, of a model with a processor
  std::span<ath_value const> parameters;   ///< in the signature's order
  CarriedState const* state = nullptr;     ///< of a model with state, where that is read
  SequenceTicket const* ticket = nullptr;  ///< whose state; null: of a sequence that begins
};

/// Fills in the tensors, by model input, of one piece: items `first .. first + count` of a request. With a
/// processor, or with state, a piece is one item.
void fill_piece(ModelDescription const& description, PieceSource const& source, std::uint32_t first,
                std::uint32_t count, std::span<TensorView> tensors) noexcept;

/// Adds items `first .. first + count` of a request to a batch: as one piece, or with a processor or with
/// state as one piece per item. For a model that takes certain batch sizes only, the last of them becomes the
/// filler.
void append_pieces(ModelDescription const& description, PieceSource const& source, std::uint32_t first,
                   std::uint32_t count, Pieces& pieces);

/// True when every row of `tensor` is one of a tensor of that spec.
bool has_rows_of(TensorSpec const& spec, TensorView const& tensor) noexcept;

/// True when `row` is one row of a tensor of that spec.
bool is_row_of(TensorSpec const& spec, TensorView const& row) noexcept;

/// Row `index` of each tensor, borrowed.
class ItemRows {
 public:
  ItemRows(std::span<Tensor const> tensors, std::int64_t index);
  ItemRows(ItemRows const&) = delete;
  ItemRows& operator=(ItemRows const&) = delete;
  std::span<TensorView const> views() const noexcept { return {views_.data(), count_}; }
  /// Puts another tensor in the place of one.
  void replace(std::size_t index, Tensor row);

 private:
  std::array<Tensor, max_tensors> rows_{};
  std::array<TensorView, max_tensors> views_{};
  std::size_t count_ = 0;
};

/// Preprocesses item `index` of `inputs`, which are those that the processor reads, in its order. With
/// several items the error names the item. internal / backend_contract if the result is not one item of the
/// model's inputs.
Result<MadeItem> preprocess_item(ModelDescription const& description, std::span<Tensor const> inputs,
                                 ItemFacts const& facts, std::int64_t index);

/// Postprocesses item `index` of `inputs`, as preprocess_item, with row `row` of `rows`: the tensors that the
/// manifest gives the processor, in its order. `kept`: the result of preprocess for the item; null without
/// it. Along padded axes the item gets its own lengths, of the `longest` that `rows` have.
Result<MadeItem> postprocess_item(ModelDescription const& description, std::span<Tensor const> inputs,
                                  ItemFacts const& facts, MadeItem const* kept, std::span<Tensor const> rows,
                                  PaddedLengths const& longest, std::int64_t index, std::int64_t row);

/// How long the item is along padded axes; `longest` for an item that no processor made.
PaddedLengths item_lengths(ModelDescription const& description, MadeItem const* made,
                           PaddedLengths const& longest);

/// The bytes of what the items of a request bring, which is what they cost in a batch without a processor; at
/// least 1.
std::int64_t bytes_of_items(ModelDescription const& description, Request const& request,
                            CheckedRequest const& checked) noexcept;

/// The bytes that a request occupies until it is answered: its inputs, and what the batch makes of them,
/// which no caller sends (an empty ragged input may ask for a segment of any length; a short text is padded).
/// Saturates.
std::int64_t held_bytes_of_batch(ModelDescription const& description, Request const& request,
                                 CheckedRequest const& checked, PaddedLengths const& lengths) noexcept;
/// The same. A processor's tensors are in memory already, so they need no estimate.
inline std::int64_t held_bytes(ModelDescription const& description, Request const& request,
                               CheckedRequest const& checked, PaddedLengths const& lengths) noexcept {
  return description.adds_bytes ? held_bytes_of_batch(description, request, checked, lengths) : checked.bytes;
}

}  // namespace athanor::inline v1::serving
