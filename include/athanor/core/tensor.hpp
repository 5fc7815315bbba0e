/// Typed arrays: element types, shapes, devices, reference-counted buffers, and the Tensor made of them.
#pragma once

#include <array>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <athanor/core/detail/block_overhead.hpp>
#include <athanor/core/detail/recorded.hpp>
#include <athanor/core/detail/require.hpp>
#include <athanor/core/error.hpp>

namespace athanor::inline v1 {

/// Element type. The numbers are part of the C API and never change.
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
  bytes = 11,  ///< any bytes of any length per element; a TensorSpec says whether they must be UTF-8
  u16 = 12,
  u32 = 13,
  u64 = 14,
};

/// Whether `number`, as the C tables and structs hold it, is the number of an element type.
constexpr bool is_dtype(std::int32_t number) noexcept {
  return number >= static_cast<std::int32_t>(DType::boolean) &&
         number <= static_cast<std::int32_t>(DType::u64);
}

/// The name that manifests use: `f32`, `i64`, `bytes`, …
std::string_view to_string(DType dtype) noexcept;
/// The element type of that name, or invalid_argument with Reason::dtype.
Result<DType> parse_dtype(std::string_view name);
/// Size of one element in bytes; 0 for `bytes`, whose elements vary in length.
std::size_t element_size(DType dtype) noexcept;
/// True for the element types that the library itself computes with: means, standard deviations, scaling,
/// differences.
constexpr bool is_computable(DType dtype) noexcept { return dtype == DType::f32 || dtype == DType::f64; }

/// The element type of a tensor of T, one of the types above.
template <class T>
consteval DType dtype_of() {
  if constexpr (std::is_same_v<T, bool>) return DType::boolean;
  if constexpr (std::is_same_v<T, std::uint8_t>) return DType::u8;
  if constexpr (std::is_same_v<T, std::uint16_t>) return DType::u16;
  if constexpr (std::is_same_v<T, std::uint32_t>) return DType::u32;
  if constexpr (std::is_same_v<T, std::uint64_t>) return DType::u64;
  if constexpr (std::is_same_v<T, std::int8_t>) return DType::i8;
  if constexpr (std::is_same_v<T, std::int16_t>) return DType::i16;
  if constexpr (std::is_same_v<T, std::int32_t>) return DType::i32;
  if constexpr (std::is_same_v<T, std::int64_t>) return DType::i64;
  if constexpr (std::is_same_v<T, float>) return DType::f32;
  if constexpr (std::is_same_v<T, double>) return DType::f64;
}

/// The kind of memory that holds a tensor's bytes.
enum class DeviceType : std::int32_t { cpu = 1, cuda = 2 };

/// One device of this machine.
struct Device {
  DeviceType type = DeviceType::cpu;
  std::int32_t index = 0;
  bool operator==(Device const&) const = default;
};
/// `cpu` or `cuda:0`.
std::string to_string(Device device);
/// Parses `cpu`, `cuda` or `cuda:N`; invalid_argument with Reason::option for anything else.
Result<Device> parse_device(std::string_view name);

/// Up to eight dimensions, stored inline. A shape of rank 0 has one element.
class Shape {
 public:
  static constexpr std::size_t max_rank = 8;

  constexpr Shape() = default;
  /// The given dimensions, at most `max_rank` of them.
  constexpr Shape(std::initializer_list<std::int64_t> dims) : Shape(std::span(dims.begin(), dims.size())) {}
  constexpr explicit Shape(std::span<std::int64_t const> dims) {
    for (auto dim : dims) append(dim);
  }

  /// Adds a dimension behind the others, of which there are fewer than `max_rank` (checked).
  constexpr void append(std::int64_t dim) {
    detail::require(rank() < max_rank, "Shape: expected at most 8 dimensions, got more");
    dims_[rank()] = dim;
    ++rank_;
  }

  /// The number of dimensions, one dimension, all dimensions, and their product.
  constexpr std::size_t rank() const noexcept { return static_cast<std::size_t>(rank_); }
  constexpr std::int64_t operator[](std::size_t axis) const noexcept { return dims_[axis]; }
  constexpr std::int64_t& operator[](std::size_t axis) noexcept { return dims_[axis]; }
  constexpr std::span<std::int64_t const> dims() const noexcept { return {dims_.data(), rank()}; }
  constexpr std::int64_t elements() const noexcept {
    std::uint64_t count = 1;  // which may wrap before a length of 0 is met
    for (auto dim : dims()) count *= static_cast<std::uint64_t>(dim);
    return static_cast<std::int64_t>(count);
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

/// A reference-counted block of bytes with a deleter. Copies share the block; the last owner frees it.
/// Thread-safe like std::shared_ptr: distinct Buffers of one block may be used from distinct threads.
class Buffer {
 public:
  using Deleter = void (*)(void* data, void* context) noexcept;

  Buffer() = default;
  /// `bytes` uninitialised bytes, aligned to 64. Empty if memory cannot be allocated.
  static Buffer allocate(std::size_t bytes) noexcept;
  /// Takes ownership of memory that `deleter(data, context)` frees. Empty if memory cannot be allocated; the
  /// deleter has then been called.
  static Buffer adopt(void* data, std::size_t bytes, Deleter deleter, void* context) noexcept;

  Buffer(Buffer const& other) noexcept : block_(other.block_) {
    if (block_ == nullptr) return;
    detail::record_write(&block_->owners);
    block_->owners.fetch_add(1, std::memory_order_relaxed);
  }
  Buffer(Buffer&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  Buffer& operator=(Buffer other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~Buffer() { release(); }

  /// Whether it holds a block, and its first byte (nullptr without a block).
  explicit operator bool() const noexcept { return block_ != nullptr; }
  std::byte* data() const noexcept {
    return block_ != nullptr ? static_cast<std::byte*>(block_->data) : nullptr;
  }
  /// Usable bytes; may exceed what was requested.
  std::size_t capacity() const noexcept { return block_ != nullptr ? block_->bytes : 0; }
  /// Bytes of memory that an allocated block takes, with its bookkeeping and what an allocator adds; 0
  /// without a block.
  std::size_t footprint() const noexcept {
    return block_ != nullptr ? block_->bytes + sizeof(Block) + 2 * detail::block_overhead : 0;
  }
  /// True if this is the only owner of the block, so that its bytes may be overwritten.
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

/// A dense row-major array: element type, shape, device and bytes. The bytes are owned (a shared Buffer) or
/// borrowed (`view`, `text`): borrowed bytes must outlive the tensor, and stay valid for as long as a
/// function that takes it requires. Element i of a `bytes` tensor is `offsets()[i] .. offsets()[i+1]` of
/// `data()`; without offsets the only element is all of `data()`. A precondition marked "checked" is checked
/// in every build: a violation terminates the process with a message.
class Tensor {
 public:
  Tensor() = default;

  /// Owned and uninitialised. Fails with resource_exhausted if memory is lacking, and with invalid_argument
  /// for a negative length and for `bytes`: see `copy_texts`.
  static Result<Tensor> allocate(DType dtype, Shape const& shape);
  /// Shares ownership of `buffer`, whose capacity must suffice for the shape (checked).
  static Tensor over(DType dtype, Shape const& shape, Buffer buffer);
  /// Borrows `values`, one for each element of the shape (checked).
  template <class T>
  static Tensor view(std::span<T const> values, Shape const& shape) {
    detail::require(static_cast<std::int64_t>(values.size()) == shape.elements(),
                    "Tensor::view: expected as many values as the shape has elements, got another number");
    return view(dtype_of<T>(), values.data(), shape);
  }
  template <class T, std::size_t count>
    requires(!std::is_const_v<T>)
  static Tensor view(std::span<T, count> values, Shape const& shape) {
    return view<T>(std::span<T const>(values), shape);
  }
  /// Borrows raw memory of a numeric type.
  static Tensor view(DType dtype, void const* data, Shape const& shape);
  /// Borrows one text; shape [1].
  static Tensor text(std::string_view text);
  /// Borrows many texts. `offsets` has one entry more than the shape has elements, ascending and inside
  /// `data` (check() verifies it); bytes before the first offset and after the last belong to no element.
  /// Without elements the offsets are not read.
  static Tensor texts(std::span<std::int64_t const> offsets, std::string_view data, Shape const& shape);
  /// Copies many texts into owned memory; shape [n].
  static Result<Tensor> copy_texts(std::span<std::string_view const> texts);

  /// A number in owned memory, shape []: `bool`, `i64` for the other integers, or `f64`. Throws
  /// std::bad_alloc if memory is lacking.
  static Tensor scalar(bool value);
  static Tensor scalar(std::int64_t value);
  static Tensor scalar(double value);

  /// A copy in owned memory. Fails with resource_exhausted if memory is lacking.
  Result<Tensor> clone() const;

  /// Element type, dimensions, and where the bytes lie.
  DType dtype() const noexcept { return dtype_; }
  Shape const& shape() const noexcept { return shape_; }
  Device device() const noexcept { return device_; }
  /// Size of all elements in bytes; for `bytes`, the size of the memory that the offsets index, without the
  /// offsets.
  std::size_t size_bytes() const noexcept { return size_bytes_; }
  std::byte const* data() const noexcept { return data_; }
  /// The bytes for writing. Precondition: this tensor is their only owner.
  std::byte* mutable_data() noexcept { return data_; }
  std::span<std::byte const> bytes() const noexcept { return {data_, size_bytes_}; }
  std::int64_t const* offsets() const noexcept { return offsets_; }
  bool owned() const noexcept { return static_cast<bool>(buffer_); }
  Buffer const& buffer() const noexcept { return buffer_; }

  /// The elements. T must match the element type (checked).
  template <class T>
  std::span<T const> as() const noexcept {
    if (dtype_ != dtype_of<T>()) [[unlikely]]
      wrong_type(dtype_of<T>());
    return {reinterpret_cast<T const*>(data_), static_cast<std::size_t>(shape_.elements())};
  }
  /// The elements for writing, as `as`. Precondition: this tensor is the only owner of the bytes.
  template <class T>
  std::span<T> mutable_as() noexcept {
    auto const elements = as<T>();
    return {reinterpret_cast<T*>(data_), elements.size()};
  }
  /// Element `index` of a `bytes` tensor (both checked). Valid as long as the bytes are.
  std::string_view text_at(std::int64_t index) const noexcept;
  /// Borrows `count` rows along axis 0 from row `first` on, which must exist (checked). Does not share the
  /// ownership of the bytes: they must outlive the result.
  Tensor rows(std::int64_t first, std::int64_t count) const noexcept;
  /// The same elements, shared, in another shape of equally many elements (checked).
  Tensor reshaped(Shape const& shape) const noexcept;

 private:
  [[noreturn]] void wrong_type(DType asked) const noexcept;

  DType dtype_ = DType::f32;
  Device device_{};
  Shape shape_{0};
  std::byte* data_ = nullptr;
  std::size_t size_bytes_ = 0;
  std::int64_t const* offsets_ = nullptr;
  Buffer buffer_{};
};

namespace detail {

/// A number type that converts to `bool`, `i64` or `f64` without loss.
template <class T>
concept ScalarNumber = std::same_as<T, bool> || std::same_as<T, float> || std::same_as<T, double> ||
                       (std::integral<T> && (std::is_signed_v<T> || sizeof(T) < sizeof(std::int64_t)));

template <ScalarNumber T>
Tensor scalar_of(T value) {
  if constexpr (std::same_as<T, bool>) {
    return Tensor::scalar(value);
  } else if constexpr (std::integral<T>) {
    return Tensor::scalar(static_cast<std::int64_t>(value));
  } else {
    return Tensor::scalar(static_cast<double>(value));
  }
}

}  // namespace detail

/// A named input, or a named parameter value, of a request.
struct NamedTensor {
  std::string name;
  Tensor value;

  /// Takes ownership of both.
  NamedTensor(std::string name_, Tensor value_) : name(std::move(name_)), value(std::move(value_)) {}
  /// Borrows `text`.
  NamedTensor(std::string name_, std::string_view text) : NamedTensor(std::move(name_), Tensor::text(text)) {}
  NamedTensor(std::string name_, char const* text) : NamedTensor(std::move(name_), std::string_view(text)) {}
  /// A number for a parameter, stored as Tensor::scalar stores it.
  template <detail::ScalarNumber T>
  NamedTensor(std::string name_, T number) : NamedTensor(std::move(name_), detail::scalar_of(number)) {}
};

}  // namespace athanor::inline v1
