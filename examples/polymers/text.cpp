#include "text.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace polymers {

std::string printable(std::string_view text) {
  std::string result;
  for (char const c : text)
    result +=
        c >= ' ' && c <= '~' ? std::string(1, c) : fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  return result;
}

std::string clipped(std::string_view text, std::size_t widest) {
  std::string const start = printable(text.substr(0, widest + 1));
  return start.size() <= widest ? start : start.substr(0, widest - 3) + "...";
}

std::vector<std::string> wrapped(std::string_view text, std::size_t widest) {
  std::vector<std::string> lines;
  while (text.size() > widest) {
    std::size_t const blank = text.rfind(' ', widest);
    std::size_t const end = blank == std::string_view::npos || blank == 0 ? widest : blank;
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(end);
    if (text.starts_with(' ')) text.remove_prefix(1);
  }
  lines.emplace_back(text);
  return lines;
}

std::vector<std::string> pointed(std::string_view text, std::size_t byte, std::size_t widest) {
  constexpr std::string_view dots = "...";
  byte = std::min(byte, text.size());
  // One character per byte, or the mark would not stand under its byte.
  std::string line(text);
  std::ranges::replace_if(
      line, [](char c) { return c < ' ' || c > '~'; }, '?');
  if (line.size() >= widest && byte + dots.size() + 1 > widest) {
    std::size_t const cut = byte - std::min(byte, widest / 2);
    line = std::string(dots) + line.substr(cut + dots.size());
    byte -= cut;
  }
  if (line.size() > widest) line = line.substr(0, widest - dots.size()) + std::string(dots);
  return {line, std::string(byte, ' ') + "^"};
}

}  // namespace polymers
