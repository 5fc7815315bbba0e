#include <athanor/serving/detail/contract.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>

#include <fmt/format.h>

#include <athanor/core/detail/view.hpp>

namespace athanor::inline v1::serving {

namespace {

/// The product of all lengths and `width`, as if no length were 0: an empty tensor hides no overflow. Nothing
/// when a length is negative or the product does not fit into 63 bits.
std::optional<std::int64_t> product_of(Shape const& shape, std::int64_t width) noexcept {
  std::int64_t product = width;
  for (auto const length : shape.dims())
    if (length < 0 || __builtin_mul_overflow(product, std::max<std::int64_t>(length, 1), &product))
      return std::nullopt;
  return product;
}

/// How far the address is beyond a multiple of `bytes`.
std::size_t misalignment(void const* memory, std::size_t bytes) noexcept {
  return reinterpret_cast<std::uintptr_t>(memory) % bytes;
}

std::string find_fault_in_texts(TensorView const& given, std::int64_t count) {
  if (given.size_bytes > static_cast<std::uint64_t>(PTRDIFF_MAX))
    return fmt::format("expected at most {} bytes, got {}", PTRDIFF_MAX, given.size_bytes);
  if (given.data == nullptr && given.size_bytes != 0)
    return fmt::format("expected {} bytes of memory, got NULL", given.size_bytes);
  if (count == 0) return {};
  if (given.offsets == nullptr)
    return count == 1 ? std::string() : fmt::format("expected offsets of {} elements, got NULL", count);
  if (auto const beyond = misalignment(given.offsets, alignof(std::int64_t)); beyond != 0)
    return fmt::format("expected offsets aligned to {} bytes, got an address {} beyond",
                       alignof(std::int64_t), beyond);
  std::int64_t least = 0;
  for (std::int64_t i = 0; i <= count; least = given.offsets[i++])
    if (given.offsets[i] < least || given.offsets[i] > static_cast<std::int64_t>(given.size_bytes))
      return fmt::format("offsets[{}]: expected {} to {}, got {}", i, least, given.size_bytes,
                         given.offsets[i]);
  return {};
}

/// To read another byte as a `bool` is undefined behaviour in C and C++.
std::string find_fault_in_booleans(std::span<std::uint8_t const> bytes) {
  std::uint8_t seen = 0;
  for (auto const byte : bytes) seen |= byte;  // many at a time, unlike a search
  if (seen <= 1) return {};
  auto const odd = std::ranges::find_if(bytes, [](std::uint8_t byte) { return byte > 1; });
  return fmt::format("element {}: expected a bool of 0 or 1, got {}", odd - bytes.begin(), *odd);
}

}  // namespace

std::string find_fault(TensorView const& given, DType dtype) {
  if (dtype_of(given) != dtype)
    return given.dtype == 0
               ? fmt::format("expected {}, got nothing", to_string(dtype))
               : fmt::format("expected {}, got {}", to_string(dtype), to_string(dtype_of(given)));
  if (given.ndim < 0 || given.ndim > static_cast<std::int32_t>(Shape::max_rank))
    return fmt::format("expected a rank of 0 to {}, got {}", Shape::max_rank, given.ndim);
  if (given.device_type != 0 && given.device_type != static_cast<std::int32_t>(DeviceType::cpu))
    return fmt::format("expected host memory, got device type {}", given.device_type);
  Shape const shape = shape_of(given);
  auto const width = static_cast<std::int64_t>(element_size(dtype));
  auto const most = product_of(shape, std::max<std::int64_t>(width, 1));
  if (!most) return fmt::format("expected a shape whose size fits into 63 bits, got {}", to_string(shape));
  if (dtype == DType::bytes) return find_fault_in_texts(given, shape.elements());
  auto const bytes = static_cast<std::uint64_t>(shape.elements() * width);
  if (given.size_bytes != bytes)
    return fmt::format("expected {} bytes for {} {}, got {}", bytes, to_string(dtype), to_string(shape),
                       given.size_bytes);
  if (given.data == nullptr && bytes != 0) return fmt::format("expected {} bytes of memory, got NULL", bytes);
  if (bytes == 0) return {};
  if (auto const beyond = misalignment(given.data, static_cast<std::size_t>(width)); beyond != 0)
    return fmt::format("expected memory aligned to {} bytes, the size of {}, got an address {} beyond", width,
                       to_string(dtype), beyond);
  if (dtype == DType::boolean)
    return find_fault_in_booleans({static_cast<std::uint8_t const*>(given.data), bytes});
  return {};
}

}  // namespace athanor::inline v1::serving
