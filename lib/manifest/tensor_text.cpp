#include <athanor/manifest/tensor_json.hpp>

#include <cmath>
#include <cstring>

#include <fmt/format.h>

#include <athanor/core/detail/half.hpp>
#include "core/json_text.hpp"

namespace athanor::inline v1 {

namespace {

template <class T>
std::string number(T value) {
  // Without its point, JSON readers take it for the integer 0 and lose the sign.
  if constexpr (std::is_floating_point_v<T>)
    if (value == 0 && std::signbit(value)) return "-0.0";
  return fmt::format("{}", value);
}

template <class T>
T element(Tensor const& tensor, std::int64_t index) noexcept {
  T value{};
  std::memcpy(&value, tensor.data() + static_cast<std::size_t>(index) * sizeof(T), sizeof(T));
  return value;
}

std::string leaf(Tensor const& tensor, std::int64_t index) {
  switch (tensor.dtype()) {
    case DType::boolean: return element<std::uint8_t>(tensor, index) != 0 ? "true" : "false";
    case DType::u8: return number(element<std::uint8_t>(tensor, index));
    case DType::u16: return number(element<std::uint16_t>(tensor, index));
    case DType::u32: return number(element<std::uint32_t>(tensor, index));
    case DType::u64: return number(element<std::uint64_t>(tensor, index));
    case DType::i8: return number(static_cast<int>(element<std::int8_t>(tensor, index)));
    case DType::i16: return number(element<std::int16_t>(tensor, index));
    case DType::i32: return number(element<std::int32_t>(tensor, index));
    case DType::i64: return number(element<std::int64_t>(tensor, index));
    case DType::f16: return number(from_f16(element<std::uint16_t>(tensor, index)));
    case DType::bf16: return number(from_bf16(element<std::uint16_t>(tensor, index)));
    case DType::f32: return number(element<float>(tensor, index));
    case DType::f64: return number(element<double>(tensor, index));
    case DType::bytes: return json::Json(tensor.text_at(index)).dump();
  }
  return {};
}

/// Appends the list at `axis` and moves `index` past its elements.
void append_list(std::string& text, Tensor const& tensor, std::size_t axis, std::int64_t& index) {
  if (axis == tensor.shape().rank()) {
    text += leaf(tensor, index++);
    return;
  }
  text += '[';
  for (std::int64_t i = 0; i < tensor.shape()[axis]; ++i) {
    if (i > 0) text += ',';
    append_list(text, tensor, axis + 1, index);
  }
  text += ']';
}

Result<void> check_text(Tensor const& tensor, std::string_view name) {
  for (std::int64_t i = 0; i < tensor.shape().elements(); ++i)
    if (std::size_t at = 0; !is_utf8(tensor.text_at(i), &at))
      return fail(Code::invalid_argument, Reason::syntax, "{}: element {}: byte {} is not UTF-8", name, i,
                  at);
  return {};
}

}  // namespace

Result<std::string> tensor_to_json(Tensor const& tensor, std::string_view name) {
  if (auto const at = first_non_finite(tensor); at >= 0)
    return fail(Code::invalid_argument, Reason::non_finite,
                "{}: element {}: expected a finite value, got NaN or infinity", name, at);
  if (tensor.dtype() == DType::bytes)
    if (auto checked = check_text(tensor, name); !checked) return tl::unexpected(std::move(checked.error()));
  std::string text;
  std::int64_t index = 0;
  append_list(text, tensor, 0, index);
  return text;
}

}  // namespace athanor::inline v1
