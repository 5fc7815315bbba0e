/// Classes of ASCII letters, whatever the locale.
#pragma once

namespace athanor::inline v1::chem {

constexpr bool is_digit(char letter) noexcept { return letter >= '0' && letter <= '9'; }
constexpr bool is_upper(char letter) noexcept { return letter >= 'A' && letter <= 'Z'; }
constexpr bool is_lower(char letter) noexcept { return letter >= 'a' && letter <= 'z'; }
constexpr bool is_letter(char letter) noexcept { return is_upper(letter) || is_lower(letter); }
constexpr char to_lower(char letter) noexcept {
  return is_upper(letter) ? static_cast<char>(letter - 'A' + 'a') : letter;
}

}  // namespace athanor::inline v1::chem
