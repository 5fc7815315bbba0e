#include <athanor/serving/detail/pieces.hpp>

#include <algorithm>
#include <array>
#include <limits>

#include <fmt/format.h>

#include <athanor/core/detail/view.hpp>

namespace athanor::inline v1::serving {

namespace {

/// Row `index` as a tensor of one row, borrowed. A row of one text or of opaque bytes needs no offsets.
Tensor row_of(Tensor const& tensor, std::int64_t index) {
  bool const one_element = tensor.dtype() == DType::bytes && tensor.shape().rank() == 1;
  return one_element ? Tensor::text(tensor.text_at(index)) : tensor.rows(index, 1);
}

/// With several items the error names the item.
Result<MadeItem> named_by_item(Result<MadeItem> made, std::span<Tensor const> inputs, std::int64_t index) {
  if (!made && inputs[0].shape()[0] > 1)
    made.error().message = fmt::format("item {}: {}", index, made.error().message);
  return made;
}

/// A number as a tensor of one element: i64 for an i64 or a bool, otherwise f64.
TensorView view_of(ath_value const& value) noexcept {
  bool const real = value.type == ATH_VALUE_F64;
  void const* const data = real ? static_cast<void const*>(&value.real) : &value.integer;
  return to_view(Tensor::view(real ? DType::f64 : DType::i64, data, Shape{1}));
}

/// Whether what the processor made of an item is what the model reads.
Result<void> check_made(ModelDescription const& description, MadeItem const& made) {
  auto const& inputs = description.plan.inputs;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (is_made(inputs[i])) continue;
    TensorView const& tensor = made.tensor(description.made_of_input[i]);
    bool const stacks = inputs[i].assemble == Assemble::stack;
    if (stacks ? is_row_of(inputs[i].spec, tensor) : has_rows_of(inputs[i].spec, tensor)) continue;
    return fail(Code::internal, Reason::backend_contract,
                "processor '{}': model input {}: expected {}{}, got {}", description.processor->name(),
                inputs[i].spec.name, stacks ? "one row of " : "", to_string(inputs[i].spec),
                to_string(shape_of(tensor)));
  }
  return {};
}

/// Leaves of what the model gave for an item what is not padding.
Result<void> cut_item(ModelDescription const& description, PaddedLengths const& lengths, ItemRows& rows) {
  auto const plans = std::span(description.plan.outputs).subspan(description.signature.outputs.size());
  for (std::size_t i = 0; i < plans.size(); ++i) {
    if (plans[i].padded.empty()) continue;
    TensorView const row = rows.views()[i];
    Shape const shape = with_lengths(shape_of(row), plans[i].padded, lengths);
    auto cut = Tensor::allocate(plans[i].spec.dtype, shape);
    if (!cut) return tl::unexpected(std::move(cut.error()));
    copy_block({shape_of(row), shape, shape}, static_cast<std::byte const*>(row.data), cut->mutable_data(),
               element_size(plans[i].spec.dtype), nullptr);
    rows.replace(i, std::move(*cut));
  }
  return {};
}

/// The bytes by which a request grows when its items are padded.
std::int64_t padding_bytes(ModelDescription const& description, Request const& request,
                           CheckedRequest const& checked, PaddedLengths const& lengths) noexcept {
  Padding const& padding = description.plan.padding;
  if (padding.empty()) return 0;
  PaddedLengths const widths = padding.buckets_of(lengths);
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < description.plan.inputs.size(); ++i) {
    ModelInput const& input = description.plan.inputs[i];
    if (!input.fill) continue;
    Shape given = given_input(description, request, checked, i).shape();
    given[0] = checked.items;
    Shape const padded = with_lengths(given, padding.dims(i), widths);
    auto const size = static_cast<std::int64_t>(input.spec.dtype == DType::bytes
                                                    ? sizeof(std::int64_t) + input.fill->size_bytes()
                                                    : element_size(input.spec.dtype));
    std::int64_t grown = padded.elements() - given.elements();
    if (__builtin_mul_overflow(grown, size, &grown) || __builtin_add_overflow(bytes, grown, &bytes))
      return std::numeric_limits<std::int64_t>::max();
  }
  return bytes;
}

}  // namespace

bool has_rows_of(TensorSpec const& spec, TensorView const& tensor) noexcept {
  if (tensor.ndim < 1 || static_cast<std::size_t>(tensor.ndim) != spec.dims.size()) return false;
  for (std::size_t axis = 1; axis < spec.dims.size(); ++axis)
    if (spec.dims[axis].kind == Dim::Kind::fixed && spec.dims[axis].length != tensor.shape[axis])
      return false;
  return true;
}

bool is_row_of(TensorSpec const& spec, TensorView const& row) noexcept {
  return has_rows_of(spec, row) && row.shape[0] == 1;
}

std::int64_t held_bytes_of_batch(ModelDescription const& description, Request const& request,
                                 CheckedRequest const& checked, PaddedLengths const& lengths) noexcept {
  std::int64_t bytes = checked.bytes;
  auto const& inputs = description.plan.inputs;
  if (__builtin_add_overflow(bytes, padding_bytes(description, request, checked, lengths), &bytes))
    return std::numeric_limits<std::int64_t>::max();
  for (ModelInput const& made : inputs) {
    if (made.assemble != Assemble::segment) continue;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (inputs[i].assemble != Assemble::ragged || inputs[i].axis != made.axis) continue;
      auto const length = request.inputs()[checked.index[description.request_index[i]]].value.shape()[0];
      std::int64_t held = 0;
      if (__builtin_mul_overflow(length, static_cast<std::int64_t>(element_size(made.spec.dtype)), &held) ||
          __builtin_add_overflow(bytes, held, &bytes))
        return std::numeric_limits<std::int64_t>::max();
      break;
    }
  }
  return bytes;
}

std::int64_t bytes_of_items(ModelDescription const& description, Request const& request,
                            CheckedRequest const& checked) noexcept {
  std::int64_t bytes = checked.bytes;
  for (std::size_t i = 0; i < description.signature.inputs.size() && description.has_common; ++i)
    if (description.signature.inputs[i].shared)
      bytes -= static_cast<std::int64_t>(request.inputs()[checked.index[i]].value.size_bytes());
  return std::max<std::int64_t>(bytes, 1);
}

ItemRows::ItemRows(std::span<Tensor const> tensors, std::int64_t index) {
  for (Tensor const& tensor : tensors) {
    rows_[count_] = row_of(tensor, index);
    views_[count_] = to_view(rows_[count_]);
    ++count_;
  }
}

void ItemRows::replace(std::size_t index, Tensor row) {
  rows_[index] = std::move(row);
  views_[index] = to_view(rows_[index]);
}

Result<MadeItem> preprocess_item(ModelDescription const& description, std::span<Tensor const> inputs,
                                 ItemFacts const& facts, std::int64_t index) {
  auto made = description.processor->preprocess(ItemRows(inputs, index).views(), facts);
  if (made)
    if (auto fits = check_made(description, *made); !fits) made = tl::unexpected(std::move(fits.error()));
  if (made && !description.plan.padding.empty())
    if (auto lengths = made_lengths(description, *made); !lengths)
      made = tl::unexpected(std::move(lengths.error()));
  return named_by_item(std::move(made), inputs, index);
}

Result<MadeItem> postprocess_item(ModelDescription const& description, std::span<Tensor const> inputs,
                                  ItemFacts const& facts, MadeItem const* kept, std::span<Tensor const> rows,
                                  PaddedLengths const& longest, std::int64_t index, std::int64_t row) {
  auto item_rows = ItemRows(rows, row);
  if (PaddedLengths const lengths = item_lengths(description, kept, longest); lengths != longest)
    if (auto cut = cut_item(description, lengths, item_rows); !cut)
      return tl::unexpected(std::move(cut.error()));
  auto made =
      description.processor->postprocess(ItemRows(inputs, index).views(), facts, kept, item_rows.views());
  return named_by_item(std::move(made), inputs, index);
}

PaddedLengths item_lengths(ModelDescription const& description, MadeItem const* made,
                           PaddedLengths const& longest) {
  if (made == nullptr || description.plan.padding.empty()) return longest;
  return made_lengths(description, *made).value_or(longest);
}

Result<void> make_output(Tensor& tensor, DType dtype, Shape const& shape) {
  // An answer may be kept for long: its buffers are not much larger than what they hold.
  constexpr std::size_t small_buffer = 256;
  bool const unique = tensor.buffer().unique();
  auto const bytes = static_cast<std::size_t>(shape.elements()) * element_size(dtype);
  std::size_t const capacity = tensor.buffer().capacity();
  bool const reusable = unique && bytes <= capacity && capacity <= std::max(2 * bytes, small_buffer);
  if (reusable && tensor.dtype() == dtype && tensor.shape() == shape) return {};
  if (reusable) {
    Buffer buffer = tensor.buffer();
    tensor = Tensor::over(dtype, shape, std::move(buffer));
    return {};
  }
  auto made = Tensor::allocate(dtype, shape);
  if (!made) return tl::unexpected(std::move(made.error()));
  tensor = std::move(*made);
  return {};
}

void fill_piece(ModelDescription const& description, PieceSource const& source, std::uint32_t first,
                std::uint32_t count, std::span<TensorView> tensors) noexcept {
  auto const& inputs = description.plan.inputs;
  std::size_t state = 0;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].parameter.empty()) {
      tensors[i] = view_of(source.parameters[description.parameter_of_input[i]]);
      continue;
    }
    bool const common = inputs[i].assemble == Assemble::common;
    if (is_made(inputs[i]) && !common) {
      if (inputs[i].assemble == Assemble::state && source.state != nullptr)
        tensors[i] = source.state->present(state++, source.ticket);
      continue;
    }
    if (description.preprocesses && !common) {
      tensors[i] = source.made[first].tensor(description.made_of_input[i]);
      continue;
    }
    Tensor const& tensor = source.request.inputs()[source.checked.index[description.request_index[i]]].value;
    if (description.has_none && is_none(description.signature.inputs[description.request_index[i]], tensor)) {
      tensors[i] = none_view(tensor.dtype());
      continue;
    }
    bool const whole = inputs[i].assemble != Assemble::stack || count == source.checked.items;
    tensors[i] = whole ? to_view(tensor) : to_view(tensor.rows(first, count));
  }
}

void append_pieces(ModelDescription const& description, PieceSource const& source, std::uint32_t first,
                   std::uint32_t count, Pieces& pieces) {
  std::uint32_t const step = description.preprocesses || description.plan.slots != 0 ? 1 : count;
  for (std::uint32_t item = first; item < first + count; item += step)
    fill_piece(description, source, item, step, pieces.add(step));
  if (!description.manifest.batching.sizes.empty())
    fill_piece(description, source, first + count - 1, 1, pieces.filler());
}

}  // namespace athanor::inline v1::serving
