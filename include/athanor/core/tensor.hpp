/// Typed arrays: element types, shapes, devices, shared buffers and the Tensor that joins them.
#pragma once

#include <array>
#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <athanor/core/error.hpp>

namespace athanor::inline v1 {

/// Element type. Numbers are part of the C border and never change.
enum class DType : std::int32_t {
  boolean = 1,
  u8 = 2,
  i8 = 3,
  i16 = 4,
  i32 = 5,
  i64 = 6,
  f16 = 7,
  bf16 = 8,
  f32 = 9,
  f64 = 10,
  bytes = 11,  ///< text or opaque bytes of any length per element
};

/// `f32`, `i64`, `bytes`, …: the spelling that manifests use.
std::string_view to_string(DType dtype) noexcept;
/// The type of that spelling; invalid_argument / dtype names what was expected.
Result<DType> parse_dtype(std::string_view name);
/// Bytes per element; 0 for `bytes`, whose elements vary in length.
std::size_t element_size(DType dtype) noexcept;
/// The types that the library itself computes in: means, spreads, scales, differences.
constexpr bool is_computable(DType dtype) noexcept { return dtype == DType::f32 || dtype == DType::f64; }

template <class T>
consteval DType dtype_of() {
  if constexpr (std::is_same_v<T, bool>) return DType::boolean;
  if constexpr (std::is_same_v<T, std::uint8_t>) return DType::u8;
  if constexpr (std::is_same_v<T, std::int8_t>) return DType::i8;
  if constexpr (std::is_same_v<T, std::int16_t>) return DType::i16;
  if constexpr (std::is_same_v<T, std::int32_t>) return DType::i32;
  if constexpr (std::is_same_v<T, std::int64_t>) return DType::i64;
  if constexpr (std::is_same_v<T, float>) return DType::f32;
  if constexpr (std::is_same_v<T, double>) return DType::f64;
}

/// Where bytes live.
enum class DeviceType : std::int32_t { cpu = 1, cuda = 2 };

/// One device of this machine.
struct Device {
  DeviceType type = DeviceType::cpu;
  std::int32_t index = 0;
  bool operator==(Device const&) const = default;
};
/// `cpu` or `cuda:0`.
std::string to_string(Device device);
/// Reads `cpu`, `cuda` or `cuda:N`.
Result<Device> parse_device(std::string_view name);

/// Up to eight dimensions, stored inline. A rank of zero is one element.
class Shape {
 public:
  static constexpr std::size_t max_rank = 8;

  constexpr Shape() = default;
  constexpr Shape(std::initializer_list<std::int64_t> dims) : Shape(std::span(dims.begin(), dims.size())) {}
  constexpr explicit Shape(std::span<std::int64_t const> dims)
      : rank_(static_cast<std::int32_t>(dims.size())) {
    assert(dims.size() <= max_rank);
    for (std::size_t i = 0; i < dims.size(); ++i) dims_[i] = dims[i];
  }

  constexpr std::size_t rank() const noexcept { return static_cast<std::size_t>(rank_); }
  constexpr std::int64_t operator[](std::size_t axis) const noexcept { return dims_[axis]; }
  constexpr std::int64_t& operator[](std::size_t axis) noexcept { return dims_[axis]; }
  constexpr std::span<std::int64_t const> dims() const noexcept { return {dims_.data(), rank()}; }
  constexpr std::int64_t elements() const noexcept {
    std::int64_t count = 1;
    for (auto dim : dims()) count *= dim;
    return count;
  }
  friend constexpr bool operator==(Shape const& a, Shape const& b) noexcept {
    if (a.rank_ != b.rank_) return false;
    for (std::size_t i = 0; i < a.rank(); ++i)
      if (a.dims_[i] != b.dims_[i]) return false;
    return true;
  }

 private:
  std::array<std::int64_t, max_rank> dims_{};
  std::int32_t rank_ = 0;
};
/// `[2, 10]`.
std::string to_string(Shape const& shape);

/// Counted ownership of one block of bytes with its deleter. Copies share; the last owner frees.
/// Thread-safe like a shared_ptr: distinct handles may be used from distinct threads.
class Buffer {
 public:
  using Deleter = void (*)(void* data, void* context) noexcept;

  Buffer() = default;
  /// `bytes` bytes aligned to 64, uninitialised. Empty on allocation failure.
  static Buffer allocate(std::size_t bytes) noexcept;
  /// Takes over memory that `deleter(data, context)` frees. Empty on allocation failure (the deleter then
  /// ran).
  static Buffer adopt(void* data, std::size_t bytes, Deleter deleter, void* context) noexcept;

  Buffer(Buffer const& other) noexcept : block_(other.block_) {
    if (block_ != nullptr) block_->owners.fetch_add(1, std::memory_order_relaxed);
  }
  Buffer(Buffer&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  Buffer& operator=(Buffer other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~Buffer() { release(); }

  explicit operator bool() const noexcept { return block_ != nullptr; }
  std::byte* data() const noexcept {
    return block_ != nullptr ? static_cast<std::byte*>(block_->data) : nullptr;
  }
  /// Bytes usable, which may be more than was asked for.
  std::size_t capacity() const noexcept { return block_ != nullptr ? block_->bytes : 0; }
  /// True when nobody else holds this block: its bytes may be written again.
  bool unique() const noexcept {
    return block_ != nullptr && block_->owners.load(std::memory_order_acquire) == 1;
  }

 private:
  struct Block {
    std::atomic<std::uint32_t> owners{1};
    void* data = nullptr;
    std::size_t bytes = 0;
    Deleter deleter = nullptr;
    void* context = nullptr;
  };
  void release() noexcept;
  Block* block_ = nullptr;
};

/// A dense row-major array: element type, shape, device and bytes. The bytes are owned (shared Buffer) or
/// borrowed (`view`, `text`: the caller keeps them alive for as long as the function that takes the tensor
/// says). A `bytes` tensor holds text: `offsets()[i] .. offsets()[i+1]` of `data()` is element i; a tensor
/// without offsets holds one element, all of `data()`.
class Tensor {
 public:
  Tensor() = default;

  /// Owned, uninitialised. resource_exhausted when there is no memory; `bytes` tensors are made by `texts`.
  static Result<Tensor> allocate(DType dtype, Shape const& shape);
  /// Owned, over `buffer`, whose capacity must hold the shape.
  static Tensor over(DType dtype, Shape const& shape, Buffer buffer);
  /// Borrowed elements; `values.size()` must equal the shape's elements (checked by assert).
  template <class T>
  static Tensor view(std::span<T const> values, Shape const& shape) {
    assert(static_cast<std::int64_t>(values.size()) == shape.elements());
    return view(dtype_of<T>(), values.data(), shape);
  }
  /// Borrowed raw memory of a numeric type.
  static Tensor view(DType dtype, void const* data, Shape const& shape);
  /// Borrowed: one text, shape [1].
  static Tensor text(std::string_view text);
  /// Borrowed: `offsets` has elements + 1 entries, ascending from 0 (checked by Signature::check, not here).
  static Tensor texts(std::span<std::int64_t const> offsets, std::string_view data, Shape const& shape);
  /// Owned copy of many texts, shape [n].
  static Result<Tensor> copy_texts(std::span<std::string_view const> texts);

  /// The same content in memory of its own; resource_exhausted when there is none.
  Result<Tensor> clone() const;

  DType dtype() const noexcept { return dtype_; }
  Shape const& shape() const noexcept { return shape_; }
  Device device() const noexcept { return device_; }
  /// Bytes of the elements (for `bytes`: of all texts together, without offsets).
  std::size_t size_bytes() const noexcept { return size_bytes_; }
  std::byte const* data() const noexcept { return data_; }
  /// Writable bytes; only for the sole owner of the buffer.
  std::byte* mutable_data() noexcept { return data_; }
  std::span<std::byte const> bytes() const noexcept { return {data_, size_bytes_}; }
  std::int64_t const* offsets() const noexcept { return offsets_; }
  bool owned() const noexcept { return static_cast<bool>(buffer_); }
  Buffer const& buffer() const noexcept { return buffer_; }

  /// The elements as T; T must be the element type (checked by assert).
  template <class T>
  std::span<T const> as() const noexcept {
    assert(dtype_ == dtype_of<T>());
    return {reinterpret_cast<T const*>(data_), static_cast<std::size_t>(shape_.elements())};
  }
  /// Element `index` of a `bytes` tensor.
  std::string_view text_at(std::int64_t index) const noexcept;
  /// Rows `first .. first + count` along axis 0 as a borrowed view of this tensor's bytes. Not for rank 0.
  Tensor rows(std::int64_t first, std::int64_t count) const noexcept;
  /// The same elements under another shape of equally many.
  Tensor reshaped(Shape const& shape) const noexcept;

 private:
  DType dtype_ = DType::f32;
  Device device_{};
  Shape shape_{0};
  std::byte* data_ = nullptr;
  std::size_t size_bytes_ = 0;
  std::int64_t const* offsets_ = nullptr;
  Buffer buffer_{};
};

/// A tensor with the name that a signature knows it by.
struct NamedTensor {
  std::string name;
  Tensor value;

  NamedTensor(std::string name_, Tensor value_) : name(std::move(name_)), value(std::move(value_)) {}
  /// Borrows `text`.
  NamedTensor(std::string name_, std::string_view text) : NamedTensor(std::move(name_), Tensor::text(text)) {}
  NamedTensor(std::string name_, char const* text) : NamedTensor(std::move(name_), std::string_view(text)) {}
};

}  // namespace athanor::inline v1
