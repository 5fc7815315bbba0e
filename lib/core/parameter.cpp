#include <athanor/core/parameter.hpp>

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include <athanor/core/detail/view.hpp>
#include <athanor/core/signature.hpp>

namespace athanor::inline v1 {

namespace {

static_assert(std::variant_size_v<ParameterValue> == static_cast<std::size_t>(ParameterType::text) + 1);

DType dtype_of(ParameterType type) noexcept {
  switch (type) {
    case ParameterType::boolean: return DType::boolean;
    case ParameterType::i64: return DType::i64;
    case ParameterType::f64: return DType::f64;
    case ParameterType::text: return DType::bytes;
  }
  return DType::bytes;
}

/// A double represents every integer up to this magnitude.
constexpr std::int64_t largest_exact = std::int64_t{1} << 53;

double real_in(Tensor const& tensor) noexcept {
  return tensor.dtype() == DType::i64 ? static_cast<double>(tensor.as<std::int64_t>()[0])
                                      : tensor.as<double>()[0];
}

/// True if an f64 parameter is given as an i64 that a double represents exactly.
bool is_whole_real(ParameterSpec const& spec, Tensor const& value) noexcept {
  if (spec.type != ParameterType::f64 || value.dtype() != DType::i64) return false;
  auto const given = value.as<std::int64_t>()[0];
  return -largest_exact <= given && given <= largest_exact;
}

bool is_single(Tensor const& value) noexcept {
  return value.shape().rank() == 0 || value.shape() == Shape{1};
}

/// The value as the errors of a request show it.
std::string given_type(Tensor const& value) {
  std::string const type(value.dtype() == DType::bytes ? "text" : to_string(value.dtype()));
  return is_single(value) ? type : fmt::format("{} {}", type, to_string(value.shape()));
}

Result<void> check_text(ParameterSpec const& spec, Tensor const& value) {
  auto const* offsets = value.offsets();
  if (offsets != nullptr && (offsets[0] < 0 || offsets[1] < offsets[0] ||
                             static_cast<std::uint64_t>(offsets[1]) > value.size_bytes()))
    return fail(Code::invalid_argument, Reason::shape, "{}: expected offsets inside {} bytes, got {} to {}",
                spec.name, value.size_bytes(), offsets[0], offsets[1]);
  std::string_view const text = value.text_at(0);
  if (text.size() > max_parameter_text)
    return fail(Code::invalid_argument, Reason::too_large, "{}: expected at most {} bytes, got {}", spec.name,
                max_parameter_text, text.size());
  std::size_t at = 0;
  if (!is_utf8(text, &at))
    return fail(Code::invalid_argument, Reason::syntax, "{}: byte {} is not UTF-8", spec.name, at);
  at = text.find('\0');
  if (at != std::string_view::npos)
    return fail(Code::invalid_argument, Reason::syntax, "{}: expected text without NUL, got NUL at byte {}",
                spec.name, at);
  return {};
}

ParameterValue value_in(ParameterType type, Tensor const& tensor) {
  switch (type) {
    case ParameterType::boolean: return tensor.data()[0] != std::byte{0};
    case ParameterType::i64: return tensor.as<std::int64_t>()[0];
    case ParameterType::f64: return real_in(tensor);
    case ParameterType::text: return std::string(tensor.text_at(0));
  }
  return false;
}

/// The bounds in words; empty if there are none.
std::string range_of(ParameterSpec const& spec) {
  if (spec.least && spec.most)
    return fmt::format("from {} to {}", to_string(*spec.least), to_string(*spec.most));
  if (spec.least) return fmt::format("of at least {}", to_string(*spec.least));
  if (spec.most) return fmt::format("of at most {}", to_string(*spec.most));
  return {};
}

std::string choices_of(ParameterSpec const& spec) {
  std::string text;
  for (auto const& choice : spec.choices) text += (text.empty() ? "" : ", ") + to_string(choice);
  return text;
}

}  // namespace

std::string_view to_string(ParameterType type) noexcept {
  switch (type) {
    case ParameterType::boolean: return "bool";
    case ParameterType::i64: return "i64";
    case ParameterType::f64: return "f64";
    case ParameterType::text: return "text";
  }
  return "text";
}

std::string to_string(ParameterValue const& value) {
  if (auto const* text = std::get_if<std::string>(&value)) return fmt::format("'{}'", *text);
  if (auto const* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (auto const* integer = std::get_if<std::int64_t>(&value)) return fmt::format("{}", *integer);
  return fmt::format("{}", std::get<double>(value));
}

Tensor view_of(ParameterValue const& value) {
  return std::visit(
      []<class T>(T const& held) {
        if constexpr (std::is_same_v<T, std::string>) {
          return Tensor::text(held);
        } else {
          return Tensor::view<T>({&held, 1}, Shape{});
        }
      },
      value);
}

std::string to_string(ParameterSpec const& spec) {
  std::string text(to_string(spec.type));
  if (auto const range = range_of(spec); !range.empty()) text += " " + range;
  if (!spec.choices.empty()) text += ", one of " + choices_of(spec);
  return text;
}

Result<void> check(ParameterSpec const& spec, Tensor const& value) {
  if (!is_single(value))
    return fail(Code::invalid_argument, Reason::shape, "{}: expected one {}, got {}", spec.name,
                to_string(spec.type), given_type(value));
  if (lacks_memory(value))
    return fail(Code::invalid_argument, Reason::shape, "{}: expected memory of {} bytes, got null", spec.name,
                value.size_bytes());
  if (value.dtype() != dtype_of(spec.type) && !is_whole_real(spec, value))
    return fail(Code::invalid_argument, Reason::dtype, "{}: expected one {}, got {}", spec.name,
                to_string(spec.type), given_type(value));
  if (spec.type == ParameterType::text)
    if (auto good = check_text(spec, value); !good) return good;
  if (spec.type == ParameterType::f64 && !std::isfinite(real_in(value)))
    return fail(Code::invalid_argument, Reason::non_finite, "{}: expected a finite value, got {}", spec.name,
                real_in(value));
  if (!spec.least && !spec.most && spec.choices.empty()) return {};
  ParameterValue const given = value_in(spec.type, value);
  if ((spec.least && given < *spec.least) || (spec.most && *spec.most < given))
    return fail(Code::invalid_argument, Reason::value_range, "{}: expected a value {}, got {}", spec.name,
                range_of(spec), to_string(given));
  if (!spec.choices.empty() && std::ranges::find(spec.choices, given) == spec.choices.end())
    return fail(Code::invalid_argument, Reason::value_range, "{}: expected one of {}, got {}", spec.name,
                choices_of(spec), to_string(given));
  return {};
}

ath_value effective_value(ParameterSpec const& spec, Tensor const* given) noexcept {
  ath_value value{};
  value.type = static_cast<std::int32_t>(spec.type) + ATH_VALUE_BOOL;
  switch (spec.type) {
    case ParameterType::boolean:
      value.integer =
          given != nullptr ? given->data()[0] != std::byte{0} : *std::get_if<bool>(&*spec.initial);
      break;
    case ParameterType::i64:
      value.integer =
          given != nullptr ? given->as<std::int64_t>()[0] : *std::get_if<std::int64_t>(&*spec.initial);
      break;
    case ParameterType::f64:
      value.real = given != nullptr ? real_in(*given) : *std::get_if<double>(&*spec.initial);
      value.real += 0.0;  // -0.0 becomes 0.0
      break;
    case ParameterType::text: {
      std::string_view const text =
          given != nullptr ? given->text_at(0) : std::string_view(*std::get_if<std::string>(&*spec.initial));
      value.text = text.data();
      value.length = text.size();
      break;
    }
  }
  return value;
}

}  // namespace athanor::inline v1
