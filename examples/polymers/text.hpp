// Text from outside, made fit for a terminal.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace polymers {

// So that it cannot steer the terminal: bytes that are not printable ASCII as \xNN.
std::string printable(std::string_view text);
// The same, and at most `widest` (3 or more) characters of it, with dots for what is left out.
std::string clipped(std::string_view text, std::size_t widest);
// Lines of at most `widest` characters, broken at blanks where there are any.
std::vector<std::string> wrapped(std::string_view text, std::size_t widest);
// Two lines of at most `widest` (9 or more) characters:
// the text around its byte `byte`, and a mark under that.
std::vector<std::string> pointed(std::string_view text, std::size_t byte, std::size_t widest);

}  // namespace polymers
