#include "html.hpp"

#include <athanor/core/signature.hpp>

namespace polymers {

namespace {

std::string as_utf8(std::string_view text) {
  std::string result;
  for (std::size_t bad = 0; !athanor::is_utf8(text, &bad); text.remove_prefix(bad + 1)) {
    result += text.substr(0, bad);
    result += "\xEF\xBF\xBD";
  }
  result += text;
  return result;
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string result;
  for (char const c : as_utf8(text)) {
    switch (c) {
      case '&': result += "&amp;"; break;
      case '<': result += "&lt;"; break;
      case '>': result += "&gt;"; break;
      case '"': result += "&quot;"; break;
      default: result += c;
    }
  }
  return result;
}

}  // namespace polymers
