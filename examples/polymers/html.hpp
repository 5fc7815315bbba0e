// Text and temperatures for an HTML page.
#pragma once

#include <string>
#include <string_view>

namespace polymers {

// As the content of an element or of an attribute in double quotes. The page says that it is UTF-8, and
// a name may come from a file that is not: U+FFFD stands for each byte that is no part of a character.
std::string escaped(std::string_view text);

// A linear scale from values to pixels.
struct Scale {
  double low = 0;
  double high = 1;
  double from = 0;
  double to = 1;
  double operator()(double value) const { return from + (value - low) / (high - low) * (to - from); }
};

}  // namespace polymers
