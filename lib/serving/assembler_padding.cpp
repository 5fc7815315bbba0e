#include <array>
#include <cstring>

#include <athanor/core/detail/view.hpp>
#include <athanor/serving/detail/assembler.hpp>

#include "piece_reading.hpp"

namespace athanor::inline v1::serving {

namespace {

/// 1 as an element of that type.
std::array<std::byte, sizeof(double)> one_of(DType dtype) noexcept {
  std::array<std::byte, sizeof(double)> one{};
  auto const put = [&one](auto value) { std::memcpy(one.data(), &value, sizeof(value)); };
  switch (dtype) {
    case DType::f16: put(std::uint16_t{0x3c00}); break;
    case DType::bf16: put(std::uint16_t{0x3f80}); break;
    case DType::f32: put(1.0F); break;
    case DType::f64: put(1.0); break;
    default: put(std::uint64_t{1}); break;
  }
  return one;
}

}  // namespace

/// Whether nothing is to be filled up in the first piece, which is the whole batch.
bool Assembler::is_full(Input const& input, TensorView const& tensor) const noexcept {
  Shape const shape = shape_of(tensor);
  return with_lengths(shape, input.padded, widths_) == shape;
}

/// Memory for `items_` rows of `shape`, whose first dimension is set to that.
Result<std::byte*> Assembler::buffer_of_rows(Input& input, Shape& shape, std::size_t width) {
  shape[0] = items_;
  auto bytes = static_cast<std::int64_t>(width);
  for (std::int64_t const length : shape.dims())
    if (__builtin_mul_overflow(bytes, length, &bytes))
      return fail(Code::invalid_argument, Reason::too_large,
                  "{}: expected a padded batch that fits in memory, got {}", input.name, to_string(shape));
  return buffer_of(input.data, static_cast<std::size_t>(bytes), input.name);
}

/// Copies every piece into rows of the batch's lengths, and fills up the rest of them.
Result<void> Assembler::pad_elements(std::size_t index, Pieces const& pieces) {
  Input& input = inputs_[index];
  std::size_t const width = element_size(input.dtype);
  Shape shape = with_lengths(shape_of(pieces.tensor(0, index)), input.padded, widths_);
  auto data = buffer_of_rows(input, shape, width);
  if (!data) return tl::unexpected(std::move(data.error()));
  std::byte* to = *data;
  for (std::size_t piece = 0; piece < pieces.size(); ++piece) {
    Reading const reading(access_, piece);
    if (reading.lost()) return lost_piece();
    TensorView const& tensor = pieces.tensor(piece, index);
    Shape const from = shape_of(tensor);
    to = copy_block({from, from, with_lengths(from, input.padded, widths_)},
                    static_cast<std::byte const*>(tensor.data), to, width, input.fill->data());
  }
  views_[index] = to_view(Tensor::view(input.dtype, *data, shape));
  return {};
}

/// The same for texts: the text that fills up is repeated.
Result<void> Assembler::pad_bytes(std::size_t index, Pieces const& pieces) {
  Input& input = inputs_[index];
  Shape shape = with_lengths(shape_of(pieces.tensor(0, index)), input.padded, widths_);
  shape[0] = items_;
  auto offsets = buffer_of(input.offsets,
                           static_cast<std::size_t>(shape.elements() + 1) * sizeof(std::int64_t), input.name);
  if (!offsets) return tl::unexpected(std::move(offsets.error()));
  auto* const ends = reinterpret_cast<std::int64_t*>(*offsets);
  std::string_view const filling = input.fill->text_at(0);
  std::int64_t bytes = 0;
  for (std::size_t piece = 0; piece < pieces.size(); ++piece) {
    Reading const reading(access_, piece);
    if (reading.lost()) return lost_piece();
    TensorView const& tensor = pieces.tensor(piece, index);
    auto const given = shape_of(tensor).elements();
    auto const range = range_of(tensor, given);
    auto const padded = with_lengths(shape_of(tensor), input.padded, widths_).elements() - given;
    bytes += range.end - range.begin + padded * static_cast<std::int64_t>(filling.size());
  }
  auto data = buffer_of(input.data, static_cast<std::size_t>(bytes), input.name);
  if (!data) return tl::unexpected(std::move(data.error()));

  std::int64_t* next = ends;
  std::int64_t end = 0;
  auto const put = [&](std::string_view text) {
    *next++ = end;
    if (!text.empty()) std::memcpy(*data + end, text.data(), text.size());
    end += static_cast<std::int64_t>(text.size());
  };
  for (std::size_t piece = 0; piece < pieces.size(); ++piece) {
    Reading const reading(access_, piece);
    if (reading.lost()) return lost_piece();
    Tensor const texts = from_view(pieces.tensor(piece, index));
    walk_block(
        {texts.shape(), texts.shape(), with_lengths(texts.shape(), input.padded, widths_)},
        [&](std::int64_t first, std::int64_t count) {
          for (std::int64_t i = first; i < first + count; ++i) put(texts.text_at(i));
        },
        [&](std::int64_t count) {
          for (std::int64_t i = 0; i < count; ++i) put(filling);
        });
  }
  *next = end;
  views_[index] = pieces.tensor(0, index);
  views_[index].data = *data;
  views_[index].offsets = ends;
  views_[index].size_bytes = static_cast<std::uint64_t>(bytes);
  for (std::size_t dim = 0; dim < shape.rank(); ++dim) views_[index].shape[dim] = shape[dim];
  return {};
}

Result<void> Assembler::make_mask(std::size_t index, Pieces const& pieces) {
  constexpr std::array<std::byte, sizeof(double)> zero{};
  Input& input = inputs_[index];
  std::size_t const width = element_size(input.dtype);
  auto const one = one_of(input.dtype);
  std::array<std::int64_t, Shape::max_rank> ones{};
  ones.fill(1);
  Shape shape = with_lengths(Shape(std::span(ones).first(input.rank)), input.padded, widths_);
  auto data = buffer_of_rows(input, shape, width);
  if (!data) return tl::unexpected(std::move(data.error()));
  std::byte* to = *data;
  for (std::size_t piece = 0; piece < pieces.size(); ++piece) {
    Shape rows = shape;
    rows[0] = pieces.items(piece);
    walk_block(
        {rows, with_lengths(rows, input.padded, lengths_[piece]), rows},
        [&](std::int64_t, std::int64_t count) {
          to = fill_elements(to, static_cast<std::size_t>(count), width, one.data());
        },
        [&](std::int64_t count) {
          to = fill_elements(to, static_cast<std::size_t>(count), width, zero.data());
        });
  }
  views_[index] = to_view(Tensor::view(input.dtype, *data, shape));
  return {};
}

Result<void> Assembler::make_lengths(std::size_t index, Pieces const& pieces) {
  Input& input = inputs_[index];
  auto data = buffer_of(input.data, static_cast<std::size_t>(items_) * element_size(input.dtype), input.name);
  if (!data) return tl::unexpected(std::move(data.error()));
  std::byte* to = *data;
  for (std::size_t piece = 0; piece < pieces.size(); ++piece) {
    std::int64_t const length = lengths_[piece][input.padded[0]];
    auto const narrow = static_cast<std::int32_t>(length);
    bool const wide = input.dtype == DType::i64;
    to = fill_elements(
        to, pieces.items(piece), wide ? sizeof(length) : sizeof(narrow),
        wide ? reinterpret_cast<std::byte const*>(&length) : reinterpret_cast<std::byte const*>(&narrow));
  }
  views_[index] =
      to_view(Tensor::view(input.dtype, *data, input.rank == 2 ? Shape{items_, 1} : Shape{items_}));
  return {};
}

}  // namespace athanor::inline v1::serving
