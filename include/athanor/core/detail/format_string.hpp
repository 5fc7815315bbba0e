/// Format strings of error messages: checked when they are compiled, formatted in lib/core. No public header
/// includes a formatting library (but core/format.hpp and serving/format.hpp), so none of its versions can
/// clash with a user's.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

namespace athanor::inline v1::detail {

/// One argument of a format string, its type erased. A text is borrowed.
using FormatArgument = std::variant<std::string_view, std::int64_t, std::uint64_t, double, bool, char>;

template <class T>
concept Formattable = std::is_arithmetic_v<T> || std::convertible_to<T const&, std::string_view>;

template <Formattable T>
FormatArgument format_argument(T const& value) noexcept(!std::is_class_v<T>) {
  if constexpr (std::same_as<T, bool> || std::same_as<T, char>)
    return FormatArgument(std::in_place_type<T>, value);
  else if constexpr (std::floating_point<T>)
    return FormatArgument(std::in_place_type<double>, static_cast<double>(value));
  else if constexpr (std::signed_integral<T>)
    return FormatArgument(std::in_place_type<std::int64_t>, value);
  else if constexpr (std::unsigned_integral<T>)
    return FormatArgument(std::in_place_type<std::uint64_t>, value);
  else
    return FormatArgument(std::in_place_type<std::string_view>, static_cast<std::string_view>(value));
}

/// Not constexpr, so that a call of one fails the compilation and shows its name. Never defined.
void every_pair_of_braces_needs_one_argument();
void precision_needs_a_floating_point_argument();

/// A literal with one `{}` for each of `Args`; `{:.3g}` and `{:.1f}` take floating-point arguments, `{{` and
/// `}}` are literal braces.
template <Formattable... Args>
class FormatString {
 public:
  template <std::convertible_to<std::string_view> Literal>
  consteval FormatString(Literal const& literal) : text_(literal) {
    constexpr bool is_real[] = {std::floating_point<Args>..., false};
    std::size_t used = 0;
    for (std::size_t i = 0; i < text_.size(); ++i) {
      if (text_[i] != '{' && text_[i] != '}') continue;
      if (text_.substr(i + 1, 1) == text_.substr(i, 1)) {
        ++i;
        continue;
      }
      std::size_t const end = text_.find('}', i);
      if (text_[i] == '}' || end == text_.npos || used == sizeof...(Args))
        every_pair_of_braces_needs_one_argument();
      if (end != i + 1) {
        bool const has_digits = end == i + 5 && text_.substr(i + 1, 2) == ":." && text_[i + 3] >= '0' &&
                                text_[i + 3] <= '9' && (text_[i + 4] == 'f' || text_[i + 4] == 'g');
        if (!has_digits || !is_real[used]) precision_needs_a_floating_point_argument();
      }
      ++used;
      i = end;
    }
    if (used != sizeof...(Args)) every_pair_of_braces_needs_one_argument();
  }

  constexpr std::string_view text() const noexcept { return text_; }

 private:
  std::string_view text_;
};

/// `text` with an argument in place of each `{}`, of texts what the message of an Error may hold; empty when
/// there is no memory for it, so that errors and events can be made where nothing may throw.
std::string format(std::string_view text, std::initializer_list<FormatArgument> args) noexcept;

template <class... Args>
std::string format(FormatString<std::type_identity_t<Args>...> text, Args const&... args) noexcept {
  return format(text.text(), {format_argument(args)...});
}

}  // namespace athanor::inline v1::detail
