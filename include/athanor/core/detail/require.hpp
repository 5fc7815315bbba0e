/// Preconditions checked in every build, because a violation would read invalid memory.
#pragma once

#include <string_view>

namespace athanor::inline v1::detail {

/// Writes `athanor: `, the sentence and a line break to standard error, and aborts the process.
[[noreturn]] void violated(std::string_view sentence) noexcept;

/// Terminates the process with `sentence`, which says where, what was expected and what was given, unless
/// `holds`.
constexpr void require(bool holds, std::string_view sentence) noexcept {
  if (!holds) [[unlikely]]
    violated(sentence);
}

}  // namespace athanor::inline v1::detail
