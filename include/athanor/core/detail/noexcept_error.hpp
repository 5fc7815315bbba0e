/// Errors made where nothing may throw: in catch blocks, and to answer callers although memory has run
/// out. If the message cannot be allocated, it is dropped; the code and the reason are always there.
#pragma once

#include <string_view>

#include <athanor/core/error.hpp>

namespace athanor::inline v1::detail {

/// Only in a catch block: the exception's text after `where` and a colon, or alone if `where` is empty.
[[nodiscard]] Error caught(Code code, Reason reason, std::string_view where) noexcept;

/// `to = from`.
void copy_error(Error& to, Error const& from) noexcept;
[[nodiscard]] Error copy_of(Error const& error) noexcept;
/// The same from the parts of an error.
void set_error(Error& to, Code code, Reason reason, std::string_view message,
               std::chrono::nanoseconds retry_after = {}) noexcept;

}  // namespace athanor::inline v1::detail
