#include "tensor_view.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

#include <fmt/format.h>

#include "structs.hpp"

namespace athanor::capi {

static_assert(Shape::max_rank == ATH_MAX_RANK);
static_assert(static_cast<int>(DType::boolean) == ATH_DTYPE_BOOL &&
              static_cast<int>(DType::u8) == ATH_DTYPE_U8);
static_assert(static_cast<int>(DType::f32) == ATH_DTYPE_F32 && static_cast<int>(DType::u64) == ATH_DTYPE_U64);
static_assert(static_cast<int>(DeviceType::cpu) == ATH_DEVICE_CPU &&
              static_cast<int>(DeviceType::cuda) == ATH_DEVICE_CUDA);
static_assert(sizeof(ath_tensor_view) % 8 == 0 && offsetof(ath_tensor_view, data) == sizeof(std::size_t));

namespace {

template <class... Args>
tl::unexpected<Error> refuse(Reason reason, std::string_view input, fmt::format_string<Args...> sentence,
                             Args&&... args) {
  return fail(Code::invalid_argument, reason, "{}: {}", input,
              fmt::format(sentence, std::forward<Args>(args)...));
}

Result<void> read_shape(std::string_view input, ath_tensor_view const& view, std::size_t width,
                        Shape& shape) {
  if (view.ndim < 0 || view.ndim > ATH_MAX_RANK)
    return refuse(Reason::shape, input, "ndim: expected 0 to {}, got {}", ATH_MAX_RANK, view.ndim);
  std::int64_t bytes = static_cast<std::int64_t>(width);
  for (std::int32_t axis = 0; axis < view.ndim; ++axis) {
    std::int64_t const length = view.shape[axis];
    if (length < 0)
      return refuse(Reason::shape, input, "shape[{}]: expected 0 or more, got {}", axis, length);
    // Checked without the zero of an empty dimension, which would hide that the others overflow.
    if (__builtin_mul_overflow(bytes, std::max<std::int64_t>(length, 1), &bytes))
      return refuse(Reason::too_large, input, "shape: the size in bytes does not fit into 63 bits");
    shape.append(length);
  }
  return {};
}

/// The first and the last byte that the elements lie in, counted from the first element.
struct Extent {
  std::int64_t first = 0;
  std::int64_t end = 0;
};

/// Of elements with strides; nullopt where it does not fit into 63 bits. The shape has elements, and its size
/// fits.
std::optional<Extent> extent_of(std::int64_t const* strides, Shape const& shape, std::int64_t width) {
  Extent extent{0, width};
  for (std::size_t axis = 0; axis < shape.rank(); ++axis) {
    std::int64_t span = 0;
    if (__builtin_mul_overflow(strides[axis], width, &span) ||
        __builtin_mul_overflow(span, shape[axis] - 1, &span))
      return std::nullopt;
    std::int64_t& side = span < 0 ? extent.first : extent.end;
    if (__builtin_add_overflow(side, span, &side)) return std::nullopt;
  }
  return extent;
}

Result<void> check_extent(std::string_view input, ath_tensor_view const& view, Extent const& extent) {
  if (view.size_bytes == 0) return {};
  constexpr auto largest = static_cast<std::uint64_t>(INT64_MAX);
  std::int64_t first = 0;
  std::int64_t end = 0;
  bool const fits =
      view.byte_offset <= largest && view.size_bytes <= largest &&
      !__builtin_add_overflow(static_cast<std::int64_t>(view.byte_offset), extent.first, &first) &&
      !__builtin_add_overflow(static_cast<std::int64_t>(view.byte_offset), extent.end, &end);
  if (fits && first >= 0 && end <= static_cast<std::int64_t>(view.size_bytes)) return {};
  return refuse(
      Reason::shape, input,
      "expected elements inside the {} bytes that size_bytes states, got bytes {} to {} from byte {} on",
      view.size_bytes, extent.first, extent.end, view.byte_offset);
}

/// Copies row by row; the last axis is the inner loop.
void pack(std::byte* to, std::byte const* from, std::int64_t const* strides, Shape const& shape,
          std::size_t axis, std::size_t width) noexcept {
  std::int64_t const step = strides[axis] * static_cast<std::int64_t>(width);
  std::size_t inner = width;
  for (std::size_t later = axis + 1; later < shape.rank(); ++later)
    inner *= static_cast<std::size_t>(shape[later]);
  for (std::int64_t i = 0; i < shape[axis]; ++i) {
    auto* const place = to + static_cast<std::size_t>(i) * inner;
    if (axis + 1 == shape.rank()) {
      std::memcpy(place, from + i * step, width);
    } else {
      pack(place, from + i * step, strides, shape, axis + 1, width);
    }
  }
}

bool is_compact(std::int64_t const* strides, Shape const& shape) noexcept {
  std::int64_t dense = 1;
  for (std::size_t axis = shape.rank(); axis-- > 0;) {
    if (shape[axis] != 1 && strides[axis] != dense) return false;
    dense *= shape[axis];
  }
  return true;
}

/// To read another byte as a `bool` is undefined behaviour in C and C++.
Result<void> check_booleans(std::string_view input, Tensor const& tensor) {
  std::span const bytes(reinterpret_cast<std::uint8_t const*>(tensor.data()), tensor.size_bytes());
  auto const odd = std::ranges::find_if(bytes, [](std::uint8_t byte) { return byte > 1; });
  if (odd == bytes.end()) return {};
  return refuse(Reason::value_range, input, "element {}: expected 0 or 1, got {}", odd - bytes.begin(), *odd);
}

Result<Tensor> numbers_of(std::string_view input, ath_tensor_view const& view, DType dtype,
                          Shape const& shape) {
  std::size_t const width = element_size(dtype);
  std::int64_t const elements = shape.elements();
  Extent extent{0, elements * static_cast<std::int64_t>(width)};
  if (view.strides != nullptr && elements != 0) {
    auto const strided = extent_of(view.strides, shape, static_cast<std::int64_t>(width));
    if (!strided)
      return refuse(Reason::too_large, input,
                    "shape and strides: the bytes between the elements do not fit into 63 bits");
    extent = *strided;
  }
  if (auto inside = check_extent(input, view, extent); !inside)
    return tl::unexpected(std::move(inside.error()));
  static constexpr std::byte nothing{};
  if (elements == 0) return Tensor::view(dtype, &nothing, shape);
  auto const* const first = static_cast<std::byte const*>(view.data) + view.byte_offset;
  if (reinterpret_cast<std::uintptr_t>(first) % width != 0)
    return refuse(Reason::value_range, input,
                  "data: the first element is not aligned to {} bytes, the size of {}", width,
                  to_string(dtype));
  Result<Tensor> tensor = Tensor::view(dtype, first, shape);
  if (view.strides != nullptr && !is_compact(view.strides, shape)) {
    tensor = Tensor::allocate(dtype, shape);
    if (tensor) pack(tensor->mutable_data(), first, view.strides, shape, 0, width);
  }
  if (tensor && dtype == DType::boolean)
    if (auto valid = check_booleans(input, *tensor); !valid) return tl::unexpected(std::move(valid.error()));
  return tensor;
}

/// Done before there is a tensor: to copy one is to follow its offsets.
Result<void> check_offsets(std::string_view input, std::int64_t const* offsets, std::int64_t texts,
                           std::int64_t bytes) {
  if (reinterpret_cast<std::uintptr_t>(offsets) % alignof(std::int64_t) != 0)
    return refuse(Reason::value_range, input, "offsets: not aligned to {} bytes", alignof(std::int64_t));
  constexpr std::int64_t most = PTRDIFF_MAX / static_cast<std::int64_t>(sizeof(std::int64_t)) - 1;
  if (texts > most)
    return refuse(Reason::too_large, input, "shape: expected at most {} texts, got {}", most, texts);
  std::int64_t least = 0;
  for (std::int64_t i = 0; i <= texts; least = offsets[i++])
    if (offsets[i] < least || offsets[i] > bytes)
      return refuse(Reason::shape, input, "offsets[{}]: expected {} to {}, in ascending order, got {}", i,
                    least, bytes, offsets[i]);
  return {};
}

Result<Tensor> texts_of(std::string_view input, ath_tensor_view const& view, Shape const& shape) {
  if (view.strides != nullptr) return refuse(Reason::shape, input, "strides: a bytes tensor has none");
  if (view.size_bytes > static_cast<std::uint64_t>(PTRDIFF_MAX))
    return refuse(Reason::too_large, input, "size_bytes: expected at most {}, got {}", PTRDIFF_MAX,
                  view.size_bytes);
  if (view.byte_offset > view.size_bytes)
    return refuse(Reason::shape, input, "byte_offset: expected at most {} (size_bytes), got {}",
                  view.size_bytes, view.byte_offset);
  auto const* const data = static_cast<char const*>(view.data != nullptr ? view.data : "");
  std::string_view const text(data + view.byte_offset, view.size_bytes - view.byte_offset);
  // Of no texts, some libraries make offsets that are no memory at all: never handed on.
  static constexpr std::int64_t no_texts[1] = {0};
  if (shape.elements() == 0) return Tensor::texts(no_texts, {}, shape);
  if (view.offsets == nullptr) {
    if (shape.elements() != 1)
      return refuse(Reason::shape, input, "{} texts need offsets, none were given", shape.elements());
    return Tensor::text(text).reshaped(shape);
  }
  auto const valid =
      check_offsets(input, view.offsets, shape.elements(), static_cast<std::int64_t>(text.size()));
  if (!valid) return tl::unexpected(valid.error());
  return Tensor::texts({view.offsets, static_cast<std::size_t>(shape.elements()) + 1}, text, shape);
}

}  // namespace

Result<Tensor> tensor_of(std::string_view input, ath_tensor_view const& given) {
  ath_tensor_view room;
  auto const seen = see_struct(&given, room, input);
  if (!seen) return tl::unexpected(seen.error());
  ath_tensor_view const& view = **seen;
  auto const dtype = static_cast<DType>(view.dtype);
  if (!is_dtype(view.dtype))
    return refuse(Reason::dtype, input, "dtype: expected 1 to {}, got {}", static_cast<int>(ATH_DTYPE_U64),
                  view.dtype);
  if (view.device_type != 0 && view.device_type != ATH_DEVICE_CPU)
    return fail(Code::unimplemented, Reason::value_range, "{}: device_type: expected {} (cpu), got {}", input,
                static_cast<int>(ATH_DEVICE_CPU), view.device_type);
  if (view.device_index != 0)
    return refuse(Reason::value_range, input, "device_index: expected 0, got {}", view.device_index);
  Shape shape;
  if (auto read = read_shape(input, view, dtype == DType::bytes ? 1 : element_size(dtype), shape); !read)
    return tl::unexpected(std::move(read.error()));
  bool const empty = dtype == DType::bytes ? view.size_bytes == 0 : shape.elements() == 0;
  if (view.data == nullptr && !empty)
    return refuse(Reason::value_range, input, "data: expected memory, got NULL");
  return dtype == DType::bytes ? texts_of(input, view, shape) : numbers_of(input, view, dtype, shape);
}

bool fill_view(ath_tensor_view* view, Tensor const& tensor) noexcept {
  Shape const& shape = tensor.shape();
  return fill_struct(view, [&](ath_tensor_view& filled) {
    filled.data = tensor.data();
    filled.strides = nullptr;
    filled.offsets = tensor.offsets();
    filled.size_bytes = tensor.size_bytes();
    filled.byte_offset = 0;
    for (std::size_t axis = 0; axis < Shape::max_rank; ++axis) filled.shape[axis] = shape[axis];
    filled.ndim = static_cast<std::int32_t>(shape.rank());
    filled.dtype = static_cast<std::int32_t>(tensor.dtype());
    filled.device_type = static_cast<std::int32_t>(tensor.device().type);
    filled.device_index = tensor.device().index;
  });
}

}  // namespace athanor::capi
