#include "text.hpp"

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

}  // namespace polymers
