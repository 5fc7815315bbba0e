// Text from outside, made fit for a terminal.
#pragma once

#include <string>
#include <string_view>

namespace polymers {

// So that it cannot steer the terminal: bytes that are not printable ASCII as \xNN.
std::string printable(std::string_view text);
// The same, and at most `widest` (3 or more) characters of it, with dots for what is left out.
std::string clipped(std::string_view text, std::size_t widest);

}  // namespace polymers
