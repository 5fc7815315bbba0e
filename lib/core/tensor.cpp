#include <athanor/core/tensor.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#include <optional>

#include <fmt/ranges.h>

namespace athanor::inline v1 {

namespace {

struct DTypeRow {
  DType dtype;
  std::string_view name;
  std::size_t size;
};

constexpr std::array<DTypeRow, 14> dtype_rows{{{DType::boolean, "bool", 1},
                                               {DType::u8, "u8", 1},
                                               {DType::i8, "i8", 1},
                                               {DType::i16, "i16", 2},
                                               {DType::i32, "i32", 4},
                                               {DType::i64, "i64", 8},
                                               {DType::f16, "f16", 2},
                                               {DType::bf16, "bf16", 2},
                                               {DType::f32, "f32", 4},
                                               {DType::f64, "f64", 8},
                                               {DType::bytes, "bytes", 0},
                                               {DType::u16, "u16", 2},
                                               {DType::u32, "u32", 4},
                                               {DType::u64, "u64", 8}}};

static_assert([] {
  for (std::size_t i = 0; i < dtype_rows.size(); ++i)
    if (dtype_rows[i].dtype != static_cast<DType>(i + 1)) return false;
  return true;
}());

constexpr std::size_t alignment = 64;

void free_aligned(void* data, void*) noexcept { std::free(data); }

/// The size of a shape in bytes; nullopt if a length is negative or the size overflows.
std::optional<std::size_t> bytes_of(DType dtype, Shape const& shape) noexcept {
  std::size_t bytes = element_size(dtype);
  for (auto const dim : shape.dims())
    if (dim < 0 || __builtin_mul_overflow(bytes, static_cast<std::size_t>(dim), &bytes)) return std::nullopt;
  return bytes;
}

}  // namespace

std::string_view to_string(DType dtype) noexcept {
  for (auto const& row : dtype_rows)
    if (row.dtype == dtype) return row.name;
  return "unknown";
}

Result<DType> parse_dtype(std::string_view name) {
  for (auto const& row : dtype_rows)
    if (row.name == name) return row.dtype;
  return fail(
      Code::invalid_argument, Reason::dtype,
      "dtype: expected one of bool, u8, u16, u32, u64, i8, i16, i32, i64, f16, bf16, f32, f64, bytes; "
      "got '{}'{}",
      name, name.starts_with("c") ? " (complex numbers are not supported)" : "");
}

std::size_t element_size(DType dtype) noexcept {
  auto const index = static_cast<std::size_t>(static_cast<std::int32_t>(dtype)) - 1;
  return index < dtype_rows.size() ? dtype_rows[index].size : 0;
}

std::string to_string(Device device) {
  return device.type == DeviceType::cpu ? std::string("cpu") : fmt::format("cuda:{}", device.index);
}

Result<Device> parse_device(std::string_view name) {
  if (name == "cpu") return Device{};
  if (name == "cuda") return Device{DeviceType::cuda, 0};
  if (name.starts_with("cuda:")) {
    std::int32_t index = -1;
    auto const digits = name.substr(5);
    auto const [end, status] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
    if (status == std::errc{} && end == digits.data() + digits.size() && index >= 0)
      return Device{DeviceType::cuda, index};
  }
  return fail(Code::invalid_argument, Reason::option, "device: expected cpu, cuda or cuda:N; got '{}'", name);
}

std::string to_string(Shape const& shape) { return fmt::format("[{}]", fmt::join(shape.dims(), ", ")); }

Buffer Buffer::allocate(std::size_t bytes) noexcept {
  if (bytes > std::numeric_limits<std::size_t>::max() - alignment) return {};
  std::size_t const rounded = (std::max<std::size_t>(bytes, 1) + alignment - 1) / alignment * alignment;
  void* data = std::aligned_alloc(alignment, rounded);
  if (data == nullptr) return {};
  return adopt(data, rounded, &free_aligned, nullptr);
}

Buffer Buffer::adopt(void* data, std::size_t bytes, Deleter deleter, void* context) noexcept {
  Buffer buffer;
  buffer.block_ = new (std::nothrow) Block;
  if (buffer.block_ == nullptr) {
    deleter(data, context);
    return buffer;
  }
  buffer.block_->data = data;
  buffer.block_->bytes = bytes;
  buffer.block_->deleter = deleter;
  buffer.block_->context = context;
  return buffer;
}

void Buffer::release() noexcept {
  if (block_ == nullptr) return;
  detail::record_write(&block_->owners);
  if (block_->owners.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  block_->deleter(block_->data, block_->context);
  delete block_;
}

Result<Tensor> Tensor::allocate(DType dtype, Shape const& shape) {
  if (dtype == DType::bytes)
    return fail(Code::invalid_argument, Reason::dtype,
                "tensor bytes {}: expected an element type of a fixed size; see copy_texts",
                to_string(shape));
  auto const bytes = bytes_of(dtype, shape);
  if (!bytes && std::ranges::any_of(shape.dims(), [](std::int64_t dim) { return dim < 0; }))
    return fail(Code::invalid_argument, Reason::shape, "tensor {} {}: expected lengths of at least 0",
                to_string(dtype), to_string(shape));
  if (!bytes)
    return fail(Code::resource_exhausted, Reason::out_of_memory,
                "tensor {} {}: expected a size that fits in memory", to_string(dtype), to_string(shape));
  auto buffer = Buffer::allocate(*bytes);
  if (!buffer)
    return fail(Code::resource_exhausted, Reason::out_of_memory, "tensor {} {}: cannot allocate {} bytes",
                to_string(dtype), to_string(shape), *bytes);
  return over(dtype, shape, std::move(buffer));
}

namespace {

template <class T>
Tensor scalar_tensor(T value) {
  auto tensor = Tensor::allocate(dtype_of<T>(), Shape{});
  if (!tensor) throw std::bad_alloc();
  std::memcpy(tensor->mutable_data(), &value, sizeof(value));
  return std::move(*tensor);
}

}  // namespace

Tensor Tensor::scalar(bool value) { return scalar_tensor(value); }
Tensor Tensor::scalar(std::int64_t value) { return scalar_tensor(value); }
Tensor Tensor::scalar(double value) { return scalar_tensor(value); }

Tensor Tensor::over(DType dtype, Shape const& shape, Buffer buffer) {
  Tensor tensor;
  tensor.dtype_ = dtype;
  tensor.shape_ = shape;
  tensor.data_ = buffer.data();
  tensor.size_bytes_ = static_cast<std::size_t>(shape.elements()) * element_size(dtype);
  detail::require(tensor.size_bytes_ <= buffer.capacity(),
                  "Tensor::over: expected a buffer that holds the shape, got a smaller one");
  tensor.buffer_ = std::move(buffer);
  return tensor;
}

Tensor Tensor::view(DType dtype, void const* data, Shape const& shape) {
  Tensor tensor;
  tensor.dtype_ = dtype;
  tensor.shape_ = shape;
  tensor.data_ = const_cast<std::byte*>(static_cast<std::byte const*>(data));
  tensor.size_bytes_ = static_cast<std::size_t>(shape.elements()) * element_size(dtype);
  return tensor;
}

Tensor Tensor::text(std::string_view text) {
  Tensor tensor;
  tensor.dtype_ = DType::bytes;
  tensor.shape_ = Shape{1};
  tensor.data_ = const_cast<std::byte*>(reinterpret_cast<std::byte const*>(text.data()));
  tensor.size_bytes_ = text.size();
  return tensor;
}

Tensor Tensor::texts(std::span<std::int64_t const> offsets, std::string_view data, Shape const& shape) {
  detail::require(static_cast<std::int64_t>(offsets.size()) == shape.elements() + 1,
                  "Tensor::texts: expected one offset more than the shape has elements, got another number");
  Tensor tensor = text(data);
  tensor.shape_ = shape;
  tensor.offsets_ = offsets.data();
  return tensor;
}

Result<Tensor> Tensor::copy_texts(std::span<std::string_view const> texts) {
  std::size_t const head = (texts.size() + 1) * sizeof(std::int64_t);
  std::size_t total = 0;
  for (auto text : texts) {
    if (text.size() > PTRDIFF_MAX - head - total)
      return fail(Code::resource_exhausted, Reason::out_of_memory,
                  "texts: expected a total size that fits in memory, got {} texts of more", texts.size());
    total += text.size();
  }
  auto buffer = Buffer::allocate(head + total);
  if (!buffer)
    return fail(Code::resource_exhausted, Reason::out_of_memory, "texts: cannot allocate {} bytes",
                head + total);
  auto* offsets = reinterpret_cast<std::int64_t*>(buffer.data());
  auto* data = buffer.data() + head;
  std::size_t at = 0;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    offsets[i] = static_cast<std::int64_t>(at);
    if (!texts[i].empty()) std::memcpy(data + at, texts[i].data(), texts[i].size());
    at += texts[i].size();
  }
  offsets[texts.size()] = static_cast<std::int64_t>(at);
  Tensor tensor = Tensor::texts({offsets, texts.size() + 1}, {reinterpret_cast<char const*>(data), total},
                                Shape{static_cast<std::int64_t>(texts.size())});
  tensor.buffer_ = std::move(buffer);
  return tensor;
}

Result<Tensor> Tensor::clone() const {
  if (dtype_ == DType::bytes) {
    std::vector<std::string_view> texts;
    for (std::int64_t i = 0; i < shape_.elements(); ++i) texts.push_back(text_at(i));
    auto copy = copy_texts(texts);
    if (copy) copy->shape_ = shape_;
    return copy;
  }
  auto copy = allocate(dtype_, shape_);
  if (copy && size_bytes_ != 0) std::memcpy(copy->data_, data_, size_bytes_);
  return copy;
}

void Tensor::wrong_type(DType asked) const noexcept {
  detail::violated("Tensor::as: expected the tensor's element type " + std::string(to_string(dtype_)) +
                   ", got " + std::string(to_string(asked)));
}

std::string_view Tensor::text_at(std::int64_t index) const noexcept {
  detail::require(dtype_ == DType::bytes && index >= 0 && index < shape_.elements(),
                  "Tensor::text_at: expected the index of an element of a bytes tensor, got another");
  auto const* chars = reinterpret_cast<char const*>(data_);
  if (offsets_ == nullptr) return {chars, size_bytes_};
  return {chars + offsets_[index], static_cast<std::size_t>(offsets_[index + 1] - offsets_[index])};
}

Tensor Tensor::rows(std::int64_t first, std::int64_t count) const noexcept {
  detail::require(shape_.rank() > 0 && first >= 0 && count >= 0 && count <= shape_[0] - first,
                  "Tensor::rows: expected a range inside axis 0, got one outside it");
  Tensor view = *this;
  view.buffer_ = {};
  if (first == 0 && count == shape_[0]) return view;
  view.shape_[0] = count;
  if (dtype_ == DType::bytes) {
    auto const per_row = shape_[0] == 0 ? 0 : shape_.elements() / shape_[0];
    bool const empty = count == 0 || per_row == 0;
    if (!empty) view.offsets_ = offsets_ + first * per_row;
    view.size_bytes_ = empty ? 0 : static_cast<std::size_t>(offsets_[(first + count) * per_row]);
    return view;
  }
  auto const row_bytes = shape_[0] == 0 ? 0 : size_bytes_ / static_cast<std::size_t>(shape_[0]);
  view.data_ = data_ + row_bytes * static_cast<std::size_t>(first);
  view.size_bytes_ = row_bytes * static_cast<std::size_t>(count);
  return view;
}

Tensor Tensor::reshaped(Shape const& shape) const noexcept {
  detail::require(shape.elements() == shape_.elements(),
                  "Tensor::reshaped: expected a shape with as many elements, got another");
  Tensor view = *this;
  view.shape_ = shape;
  return view;
}

}  // namespace athanor::inline v1
