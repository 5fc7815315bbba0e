#include <athanor/serving/detail/assembler.hpp>

#include <algorithm>
#include <cstring>
#include <limits>
#include <new>
#include <numeric>

#include <athanor/core/detail/view.hpp>
#include <athanor/core/hash.hpp>

#include "piece_reading.hpp"

namespace athanor::inline v1::serving {

namespace {

bool is_given(Assemble assemble) noexcept {
  return assemble == Assemble::stack || assemble == Assemble::ragged;
}

/// Whether their rows are of one shape, padded axes aside.
bool has_equal_rows(TensorView const& tensor, TensorView const& like, PaddedDims const& padded) noexcept {
  if (tensor.ndim < 1 || tensor.ndim != like.ndim) return false;
  for (std::size_t dim = 1; dim < static_cast<std::size_t>(tensor.ndim); ++dim)
    if (tensor.shape[dim] != like.shape[dim] && (padded.empty() || padded[dim] == not_padded)) return false;
  return true;
}

/// Elements of all dimensions but the first.
std::int64_t row_elements(TensorView const& tensor) noexcept {
  return Shape(std::span(tensor.shape + 1, static_cast<std::size_t>(tensor.ndim) - 1)).elements();
}

/// Whether the memory of `tensor` holds its elements and nothing else: what a model may be shown as it is.
bool is_dense(TensorView const& tensor) noexcept {
  if (dtype_of(tensor) != DType::bytes) return true;
  auto const range = range_of(tensor, tensor.shape[0] * row_elements(tensor));
  return range.begin == 0 && range.end == static_cast<std::int64_t>(tensor.size_bytes);
}

TensorView dense(DType dtype, std::byte* data, std::size_t bytes, std::int64_t length) noexcept {
  TensorView view{};
  view.data = data;
  view.size_bytes = bytes;
  view.ndim = 1;
  view.shape[0] = length;
  view.dtype = static_cast<std::int32_t>(dtype);
  view.device_type = static_cast<std::int32_t>(DeviceType::cpu);
  return view;
}

std::uint64_t mix(std::uint64_t hash, std::uint64_t value) noexcept {
  hash = (hash ^ value) * 0xff51afd7ed558ccdULL;
  return hash ^ (hash >> 32);
}

template <class T>
void fill_segments(std::byte* data, std::int64_t const* starts, std::size_t stride,
                   std::size_t pieces) noexcept {
  auto* values = reinterpret_cast<T*>(data);
  for (std::size_t piece = 0; piece < pieces; ++piece)
    std::fill(values + starts[piece * stride], values + starts[(piece + 1) * stride], static_cast<T>(piece));
}

/// The first value outside [0, limit), or null.
template <class T>
T const* find_outside(TensorView const& values, std::int64_t limit) noexcept {
  auto const* first = static_cast<T const*>(values.data);
  auto const* last = first + values.size_bytes / sizeof(T);
  auto const* at = std::find_if(first, last, [limit](T value) { return value < 0 || value >= limit; });
  return at == last ? nullptr : at;
}

template <class T>
void add_to_all(std::byte* data, std::size_t count, std::int64_t by) noexcept {
  auto* values = reinterpret_cast<T*>(data);
  for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<T>(values[i] + by);
}

/// The bits of the only element of a `repeat` or `share` input.
std::uint64_t bits_of(TensorView const& value) noexcept {
  std::uint64_t bits = 0;
  std::memcpy(&bits, value.data, sizeof(bits));
  return bits;
}

/// Whether two tensors of numbers have one shape and the same bytes.
bool are_equal(TensorView const& one, TensorView const& other) noexcept {
  return shape_of(one) == shape_of(other) && one.size_bytes == other.size_bytes &&
         (one.size_bytes == 0 || std::memcmp(one.data, other.data, one.size_bytes) == 0);
}

/// Writes the value of a parameter `count` times, as `dtype`. Returns the end of what was written.
std::byte* put_value(TensorView const& value, DType dtype, std::byte* to, std::size_t count) noexcept {
  auto const put = [&]<class T>(T element) {
    for (std::size_t i = 0; i < count; ++i) std::memcpy(to + i * sizeof(T), &element, sizeof(T));
    return to + count * sizeof(T);
  };
  std::uint64_t const bits = bits_of(value);
  auto const integer = static_cast<std::int64_t>(bits);
  switch (dtype) {
    case DType::boolean: return put(static_cast<std::uint8_t>(integer));
    case DType::i32: return put(static_cast<std::int32_t>(integer));
    case DType::f64: return put(bits);
    case DType::f32: {
      double real = 0;
      std::memcpy(&real, &bits, sizeof(real));
      return put(static_cast<float>(real));
    }
    default: return put(integer);
  }
}

/// Whether an item's elements are not contiguous once the items of `tensor`, which come first, lie along
/// `batch_axis`.
bool is_laid_apart(TensorView const& tensor, std::size_t batch_axis) noexcept {
  return batch_axis != 0 && batch_axis != no_batch_axis &&
         std::any_of(tensor.shape + 1, tensor.shape + batch_axis + 1,
                     [](std::int64_t length) { return length != 1; });
}

/// Copies the rows of `from` to a tensor of `items` items along `batch_axis`, from item `first` on.
void lay_apart(TensorView const& from, std::size_t batch_axis, std::size_t width, std::int64_t items,
               std::int64_t first, std::byte* to) noexcept {
  auto const outer = static_cast<std::size_t>(Shape(std::span(from.shape + 1, batch_axis)).elements());
  std::size_t const bytes = outer == 0 ? 0 : static_cast<std::size_t>(row_elements(from)) / outer * width;
  auto const* source = static_cast<std::byte const*>(from.data);
  for (std::int64_t item = first; item < first + from.shape[0] && bytes != 0; ++item)
    for (std::size_t i = 0; i < outer; ++i, source += bytes)
      std::memcpy(to + (i * static_cast<std::size_t>(items) + static_cast<std::size_t>(item)) * bytes, source,
                  bytes);
}

/// Moves the items of a shape from the first axis to the model's batch axis.
void move_items(TensorView& tensor, std::size_t batch_axis) noexcept {
  if (batch_axis == no_batch_axis) {
    std::copy(tensor.shape + 1, tensor.shape + tensor.ndim, tensor.shape);
    tensor.shape[--tensor.ndim] = 0;
  } else {
    std::rotate(tensor.shape, tensor.shape + 1, tensor.shape + batch_axis + 1);
  }
}

}  // namespace

std::uint64_t shape_key(std::span<ModelInput const> inputs, std::span<TensorView const> tensors) noexcept {
  std::uint64_t hash = 0;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].assemble == Assemble::share) hash = mix(hash, bits_of(tensors[i]));
    if (!is_given(inputs[i].assemble)) continue;
    hash = mix(hash, static_cast<std::uint64_t>(tensors[i].dtype) << 8 |
                         static_cast<std::uint64_t>(tensors[i].ndim));
    for (std::int32_t axis = 1; axis < tensors[i].ndim; ++axis)
      hash = mix(hash, static_cast<std::uint64_t>(tensors[i].shape[axis]));
  }
  return hash;
}

std::uint64_t content_key(std::span<ModelInput const> inputs, std::span<TensorView const> tensors) noexcept {
  std::uint64_t hash = 0;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].assemble != Assemble::common) continue;
    for (std::int32_t axis = 0; axis < tensors[i].ndim; ++axis)
      hash = mix(hash, static_cast<std::uint64_t>(tensors[i].shape[axis]));
    hash = mix(hash, hash128({static_cast<std::byte const*>(tensors[i].data), tensors[i].size_bytes}).low);
  }
  return hash;
}

std::span<TensorView> Pieces::add(std::uint32_t items) {
  items_.push_back(items);
  if (tensors_.size() < items_.size() * inputs_) tensors_.resize(items_.size() * inputs_);
  return std::span(tensors_).subspan((items_.size() - 1) * inputs_, inputs_);
}

void Pieces::fill_up(std::span<std::int64_t const> sizes) {
  std::int64_t items = std::accumulate(items_.begin(), items_.end(), std::int64_t{0});
  auto const size = std::ranges::lower_bound(sizes, items);
  if (size == sizes.end()) return;
  for (; items < *size; ++items, ++filling_) std::ranges::copy(filler_, add(1).begin());
}

Assembler::Assembler(std::span<ModelInput const> inputs, Padding padding)
    : padding_(std::move(padding)), views_(inputs.size()) {
  inputs_.reserve(inputs.size());
  for (ModelInput const& from : inputs) {
    Input input;
    input.name = from.spec.name;
    input.assemble = from.assemble;
    input.dtype = from.spec.dtype;
    input.rank = from.spec.dims.size();
    if (from.assemble == Assemble::ragged || from.assemble == Assemble::segment)
      input.axis = axis_index(from.axis);
    if (!from.index_of.empty()) input.index_of = axis_index(from.index_of);
    if (from.assemble == Assemble::stack) input.batch_axis = from.batch_axis;
    if (from.assemble == Assemble::fixed) {
      auto copy = from.constant.clone();
      if (!copy) throw std::bad_alloc();
      input.constant = std::move(*copy);
      input.per_item = from.spec.stacks();
      views_[inputs_.size()] = to_view(input.constant);
    }
    input.fill = from.fill;
    if (!padding_.empty()) input.padded = padding_.dims(inputs_.size());
    axis_of_.push_back(input.axis);
    inputs_.push_back(std::move(input));
  }
}

std::size_t Assembler::axis_index(std::string const& name) {
  auto const at = std::ranges::find(axes_, name);
  auto const index = static_cast<std::size_t>(at - axes_.begin());
  if (at == axes_.end()) axes_.push_back(name);
  return index;
}

Result<void> Assembler::gather(Pieces const& pieces, bool may_view, PieceAccess access) noexcept {
  try {
    access_ = access;
    items_ = 0;
    if (pieces.size() == 0)
      return fail(Code::invalid_argument, Reason::missing_input,
                  "batch: expected at least one piece, got none");
    for (std::size_t piece = 0; piece < pieces.size(); ++piece) items_ += pieces.items(piece);
    if (auto measured = measure(pieces); !measured) return measured;
    if (auto measured = measure_padding(pieces); !measured) return measured;
    for (std::size_t index = 0; index < inputs_.size(); ++index)
      if (auto gathered = gather_input(index, pieces, may_view && pieces.size() == 1); !gathered)
        return gathered;
    return {};
  } catch (std::bad_alloc const&) {
    return fail(Code::resource_exhausted, Reason::out_of_memory, "");
  }
}

/// Lays the pieces' elements along every ragged axis one after the other.
Result<void> Assembler::measure(Pieces const& pieces) {
  if (axes_.empty()) return {};
  starts_.assign((pieces.size() + 1) * axes_.size(), -1);
  for (std::size_t axis = 0; axis < axes_.size(); ++axis) axis_start(0, axis) = 0;
  for (std::size_t piece = 0; piece < pieces.size(); ++piece) {
    if (pieces.items(piece) != 1)
      return fail(Code::invalid_argument, Reason::shape,
                  "batch: a piece with ragged inputs: expected 1 item, got {}", pieces.items(piece));
    for (std::size_t index = 0; index < inputs_.size(); ++index) {
      Input const& input = inputs_[index];
      if (input.assemble != Assemble::ragged) continue;
      TensorView const& tensor = pieces.tensor(piece, index);
      std::int64_t const length = tensor.ndim > 0 ? tensor.shape[0] : 0;
      std::int64_t& next = axis_start(piece + 1, input.axis);
      std::int64_t const start = axis_start(piece, input.axis);
      if (next >= 0 && next - start != length)
        return fail(Code::invalid_argument, Reason::shape, "{}: axis '{}': expected length {}, got {}",
                    input.name, axes_[input.axis], next - start, length);
      if (__builtin_add_overflow(start, length, &next))
        return fail(Code::invalid_argument, Reason::too_large,
                    "{}: axis '{}': the lengths of the batch do not fit into 63 bits", input.name,
                    axes_[input.axis]);
    }
    for (std::size_t axis = 0; axis < axes_.size(); ++axis)
      if (axis_start(piece + 1, axis) < 0)
        return fail(Code::failed_precondition, Reason::manifest, "batch: no ragged input has the axis '{}'",
                    axes_[axis]);
  }
  return {};
}

Result<void> Assembler::measure_padding(Pieces const& pieces) {
  if (padding_.empty()) return {};
  lengths_.clear();
  PaddedLengths longest = pieces.least();
  for (std::size_t piece = 0; piece < pieces.size(); ++piece) {
    auto lengths = padding_.lengths_of(pieces.tensors(piece));
    if (!lengths) return tl::unexpected(std::move(lengths.error()));
    longest = longest_of(longest, *lengths);
    lengths_.push_back(*lengths);
  }
  widths_ = padding_.buckets_of(longest);
  return {};
}

Result<void> Assembler::gather_input(std::size_t index, Pieces const& pieces, bool view) {
  Input const& input = inputs_[index];
  bool const brought = input.assemble == Assemble::stack || input.assemble == Assemble::common;
  if (brought && is_none(pieces.tensor(0, index))) return leave_out(index, pieces);
  if (input.assemble == Assemble::segment) return make_segments(index, pieces);
  if (input.assemble == Assemble::count) return make_count(index);
  if (input.assemble == Assemble::repeat) return repeat_values(index, pieces);
  if (input.assemble == Assemble::share) return share_value(index, pieces);
  if (input.assemble == Assemble::common) return take_common(index, pieces, view);
  if (input.assemble == Assemble::fixed) return input.per_item ? repeat_constant(index) : Result<void>();
  if (input.assemble == Assemble::mask) return make_mask(index, pieces);
  if (input.assemble == Assemble::length) return make_lengths(index, pieces);
  if (auto alike = check_alike(input, index, pieces); !alike) return alike;
  if (auto given = gather_given(index, pieces, view); !given) return given;
  if (input.batch_axis != 0) move_items(views_[index], input.batch_axis);
  return {};
}

/// Whether a request left the input out is part of the batch key, which is a hash.
Result<void> Assembler::leave_out(std::size_t index, Pieces const& pieces) {
  for (std::size_t piece = 1; piece < pieces.size(); ++piece)
    if (!is_none(pieces.tensor(piece, index)))
      return fail(Code::invalid_argument, Reason::value_range,
                  "{}: expected none in the whole batch, got a tensor for piece {}", inputs_[index].name,
                  piece);
  views_[index] = pieces.tensor(0, index);
  return {};
}

/// The shape has the items first, along whatever axis they lie in memory.
Result<void> Assembler::gather_given(std::size_t index, Pieces const& pieces, bool view) {
  Input const& input = inputs_[index];
  TensorView const& first = pieces.tensor(0, index);
  if (view && is_dense(first) && is_full(input, first) &&
      (items_ == 1 || !is_laid_apart(first, input.batch_axis))) {
    views_[index] = first;
    return {};
  }
  if (input.fill) return input.dtype == DType::bytes ? pad_bytes(index, pieces) : pad_elements(index, pieces);
  return input.dtype == DType::bytes ? copy_bytes(index, pieces) : copy_elements(index, pieces);
}

Result<void> Assembler::check_alike(Input const& input, std::size_t index, Pieces const& pieces) {
  TensorView const& like = pieces.tensor(0, index);
  for (std::size_t piece = 0; piece < pieces.size(); ++piece) {
    TensorView const& tensor = pieces.tensor(piece, index);
    if (dtype_of(tensor) != input.dtype)
      return fail(Code::invalid_argument, Reason::dtype, "{}: expected {}, got {}", input.name,
                  to_string(input.dtype), to_string(dtype_of(tensor)));
    if (!has_equal_rows(tensor, like, input.padded))
      return fail(Code::invalid_argument, Reason::shape, "{}: expected the batch's {} beyond axis 0, got {}",
                  input.name, to_string(shape_of(like)), to_string(shape_of(tensor)));
    if (input.assemble == Assemble::stack && tensor.shape[0] != pieces.items(piece))
      return fail(Code::invalid_argument, Reason::shape, "{}: expected {} rows, got {}", input.name,
                  pieces.items(piece), to_string(shape_of(tensor)));
    if (input.index_of == no_axis) continue;
    Reading const reading(access_, piece);
    if (reading.lost()) return lost_piece();
    std::int64_t const limit = axis_start(piece + 1, input.index_of) - axis_start(piece, input.index_of);
    if (auto inside = check_positions(input, tensor, limit); !inside) return inside;
  }
  return {};
}

/// A position outside its own item would refer to another item of the batch.
Result<void> Assembler::check_positions(Input const& input, TensorView const& values, std::int64_t limit) {
  std::int64_t outside = 0;
  bool found = false;
  if (input.dtype == DType::i64) {
    auto const* at = find_outside<std::int64_t>(values, limit);
    found = at != nullptr;
    outside = found ? *at : 0;
  } else if (input.dtype == DType::i32) {
    auto const* at = find_outside<std::int32_t>(values, limit);
    found = at != nullptr;
    outside = found ? *at : 0;
  } else {
    return fail(Code::failed_precondition, Reason::manifest, "{}: positions: expected i32 or i64, got {}",
                input.name, to_string(input.dtype));
  }
  if (!found) return {};
  return fail(Code::invalid_argument, Reason::value_range,
              "{}: expected positions in [0, {}) of axis '{}', got {}", input.name, limit,
              axes_[input.index_of], outside);
}

void Assembler::shift_positions(Input const& input, std::byte* values, std::size_t count, std::int64_t by) {
  if (by == 0) return;
  if (input.dtype == DType::i64) {
    add_to_all<std::int64_t>(values, count, by);
  } else {
    add_to_all<std::int32_t>(values, count, by);
  }
}

Result<std::byte*> Assembler::buffer_of(BatchBuffer& buffer, std::size_t bytes, std::string const& name) {
  constexpr std::size_t most = std::numeric_limits<std::ptrdiff_t>::max() / 2;
  if (std::byte* const data = bytes > most ? nullptr : buffer.make(bytes)) return data;
  return fail(Code::resource_exhausted, Reason::out_of_memory, "{}: no memory for {} bytes of the batch",
              name, bytes);
}

Result<void> Assembler::copy_elements(std::size_t index, Pieces const& pieces) {
  Input& input = inputs_[index];
  std::size_t const width = element_size(input.dtype);
  std::int64_t const in_row = row_elements(pieces.tensor(0, index));
  std::int64_t rows = 0;
  for (std::size_t piece = 0; piece < pieces.size(); ++piece) rows += pieces.tensor(piece, index).shape[0];
  if (input.index_of != no_axis && input.dtype == DType::i32 &&
      axis_start(pieces.size(), input.index_of) > std::numeric_limits<std::int32_t>::max())
    return fail(Code::invalid_argument, Reason::too_large,
                "{}: expected at most 2^31 - 1 elements of axis '{}', got {}", input.name,
                axes_[input.index_of], axis_start(pieces.size(), input.index_of));
  std::size_t const bytes = static_cast<std::size_t>(rows * in_row) * width;
  auto data = buffer_of(input.data, bytes, input.name);
  if (!data) return tl::unexpected(std::move(data.error()));

  std::byte* to = *data;
  std::int64_t done = 0;  // rows that are laid apart
  for (std::size_t piece = 0; piece < pieces.size(); ++piece) {
    Reading const reading(access_, piece);
    if (reading.lost()) return lost_piece();
    TensorView const& tensor = pieces.tensor(piece, index);
    std::size_t const count = static_cast<std::size_t>(tensor.shape[0] * in_row);
    if (count == 0) continue;
    if (is_laid_apart(tensor, input.batch_axis)) {
      lay_apart(tensor, input.batch_axis, width, items_, done, *data);
      done += tensor.shape[0];
      continue;
    }
    std::memcpy(to, tensor.data, count * width);
    if (input.index_of != no_axis) shift_positions(input, to, count, axis_start(piece, input.index_of));
    to += count * width;
  }
  views_[index] = pieces.tensor(0, index);
  views_[index].data = *data;
  views_[index].size_bytes = bytes;
  views_[index].shape[0] = rows;
  return {};
}

/// Copies of each piece the bytes of its texts and no others, so that a model sees the same texts in any
/// company.
Result<void> Assembler::copy_bytes(std::size_t index, Pieces const& pieces) {
  Input& input = inputs_[index];
  std::int64_t const in_row = row_elements(pieces.tensor(0, index));
  std::int64_t rows = 0;
  std::size_t bytes = 0;
  for (std::size_t piece = 0; piece < pieces.size(); ++piece) {
    Reading const reading(access_, piece);
    if (reading.lost()) return lost_piece();
    TensorView const& tensor = pieces.tensor(piece, index);
    auto const range = range_of(tensor, tensor.shape[0] * in_row);
    rows += tensor.shape[0];
    bytes += static_cast<std::size_t>(range.end - range.begin);
  }
  auto data = buffer_of(input.data, bytes, input.name);
  if (!data) return tl::unexpected(std::move(data.error()));
  auto offsets = buffer_of(input.offsets, static_cast<std::size_t>(rows * in_row + 1) * sizeof(std::int64_t),
                           input.name);
  if (!offsets) return tl::unexpected(std::move(offsets.error()));

  auto* next = reinterpret_cast<std::int64_t*>(*offsets);
  std::int64_t start = 0;
  for (std::size_t piece = 0; piece < pieces.size(); ++piece) {
    Reading const reading(access_, piece);
    if (reading.lost()) return lost_piece();
    TensorView const& tensor = pieces.tensor(piece, index);
    std::int64_t const count = tensor.shape[0] * in_row;
    auto const range = range_of(tensor, count);
    for (std::int64_t i = 0; i < count; ++i)
      *next++ = start + (tensor.offsets != nullptr ? tensor.offsets[i] - range.begin : 0);
    auto const length = range.end - range.begin;
    if (length > 0)
      std::memcpy(*data + start, static_cast<std::byte const*>(tensor.data) + range.begin,
                  static_cast<std::size_t>(length));
    start += length;
  }
  *next = start;
  views_[index] = pieces.tensor(0, index);
  views_[index].data = *data;
  views_[index].offsets = reinterpret_cast<std::int64_t const*>(*offsets);
  views_[index].size_bytes = bytes;
  views_[index].shape[0] = rows;
  return {};
}

Result<void> Assembler::make_segments(std::size_t index, Pieces const& pieces) {
  Input& input = inputs_[index];
  std::int64_t const length = axis_start(pieces.size(), input.axis);
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(static_cast<std::size_t>(length), element_size(input.dtype), &bytes))
    return fail(Code::invalid_argument, Reason::too_large, "{}: expected segments that fit in memory, got {}",
                input.name, length);
  auto data = buffer_of(input.data, bytes, input.name);
  if (!data) return tl::unexpected(std::move(data.error()));
  std::int64_t const* starts = starts_.data() + input.axis;
  if (input.dtype == DType::i64) {
    fill_segments<std::int64_t>(*data, starts, axes_.size(), pieces.size());
  } else if (input.dtype == DType::i32) {
    fill_segments<std::int32_t>(*data, starts, axes_.size(), pieces.size());
  } else {
    return fail(Code::failed_precondition, Reason::manifest, "{}: segments: expected i32 or i64, got {}",
                input.name, to_string(input.dtype));
  }
  views_[index] = dense(input.dtype, *data, bytes, length);
  return {};
}

Result<void> Assembler::repeat_values(std::size_t index, Pieces const& pieces) {
  Input& input = inputs_[index];
  std::size_t const bytes = static_cast<std::size_t>(items_) * element_size(input.dtype);
  auto data = buffer_of(input.data, bytes, input.name);
  if (!data) return tl::unexpected(std::move(data.error()));
  std::byte* to = *data;
  for (std::size_t piece = 0; piece < pieces.size(); ++piece)
    to = put_value(pieces.tensor(piece, index), input.dtype, to, pieces.items(piece));
  views_[index] = dense(input.dtype, *data, bytes, items_);
  if (input.rank == 2) {
    views_[index].ndim = 2;
    views_[index].shape[1] = 1;
  }
  return {};
}

/// The key of a batch is a hash, so pieces with different values may meet here. The batch is then split.
Result<void> Assembler::share_value(std::size_t index, Pieces const& pieces) {
  Input& input = inputs_[index];
  TensorView const& value = pieces.tensor(0, index);
  for (std::size_t piece = 1; piece < pieces.size(); ++piece)
    if (bits_of(pieces.tensor(piece, index)) != bits_of(value))
      return fail(Code::invalid_argument, Reason::value_range,
                  "{}: expected one value for the whole batch, got another for piece {}", input.name, piece);
  auto data = buffer_of(input.data, element_size(input.dtype), input.name);
  if (!data) return tl::unexpected(std::move(data.error()));
  put_value(value, input.dtype, *data, 1);
  views_[index] = dense(input.dtype, *data, element_size(input.dtype), 1);
  if (input.rank == 0) views_[index].ndim = 0;
  return {};
}

/// As share_value. Compared with the copy, since the caller of the first piece may take its memory back
/// meanwhile.
Result<void> Assembler::take_common(std::size_t index, Pieces const& pieces, bool view) {
  Input& input = inputs_[index];
  void const* last = nullptr;  // where the piece before has it: those of one request have it in common
  for (std::size_t piece = 0; piece < pieces.size(); ++piece) {
    Reading const reading(access_, piece);
    if (reading.lost()) return lost_piece();
    TensorView const& tensor = pieces.tensor(piece, index);
    bool const same = tensor.data == last && shape_of(tensor) == shape_of(views_[index]);
    last = tensor.data;
    if (piece > 0 && !same && !are_equal(tensor, views_[index]))
      return fail(Code::invalid_argument, Reason::value_range,
                  "{}: expected one tensor for the whole batch, got another for piece {}", input.name, piece);
    if (piece > 0) continue;
    views_[index] = tensor;
    if (view) return {};
    auto data = buffer_of(input.data, tensor.size_bytes, input.name);
    if (!data) return tl::unexpected(std::move(data.error()));
    if (tensor.size_bytes != 0) std::memcpy(*data, tensor.data, tensor.size_bytes);
    views_[index].data = *data;
  }
  return {};
}

Result<void> Assembler::repeat_constant(std::size_t index) {
  Input& input = inputs_[index];
  Tensor const& row = input.constant;
  auto const items = static_cast<std::size_t>(items_);
  auto data = buffer_of(input.data, items * row.size_bytes(), input.name);
  if (!data) return tl::unexpected(std::move(data.error()));
  for (std::size_t item = 0; item < items && row.size_bytes() != 0; ++item)
    std::memcpy(*data + item * row.size_bytes(), row.data(), row.size_bytes());
  views_[index].data = *data;
  views_[index].size_bytes = items * row.size_bytes();
  views_[index].shape[0] = items_;
  if (input.dtype != DType::bytes) return {};
  auto const texts = static_cast<std::size_t>(row.shape().elements());
  auto offsets = buffer_of(input.offsets, (items * texts + 1) * sizeof(std::int64_t), input.name);
  if (!offsets) return tl::unexpected(std::move(offsets.error()));
  auto* next = reinterpret_cast<std::int64_t*>(*offsets);
  views_[index].offsets = next;
  for (std::size_t item = 0; item < items; ++item)
    for (std::size_t text = 0; text < texts; ++text)
      *next++ = static_cast<std::int64_t>(item * row.size_bytes()) + row.offsets()[text];
  *next = static_cast<std::int64_t>(items * row.size_bytes());
  return {};
}

Result<void> Assembler::make_count(std::size_t index) {
  Input& input = inputs_[index];
  auto data = buffer_of(input.data, sizeof(std::int64_t), input.name);
  if (!data) return tl::unexpected(std::move(data.error()));
  if (input.dtype == DType::i64) {
    std::memcpy(*data, &items_, sizeof(items_));
  } else if (input.dtype == DType::i32) {
    auto const items = static_cast<std::int32_t>(items_);
    std::memcpy(*data, &items, sizeof(items));
  } else {
    return fail(Code::failed_precondition, Reason::manifest, "{}: count: expected i32 or i64, got {}",
                input.name, to_string(input.dtype));
  }
  views_[index] = dense(input.dtype, *data, element_size(input.dtype), 1);
  if (input.rank == 0) views_[index].ndim = 0;
  return {};
}

}  // namespace athanor::inline v1::serving
