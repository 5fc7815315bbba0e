/// The one exception barrier of the C border, and the error objects that it hands out.
#pragma once

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <new>
#include <string_view>
#include <utility>

#include <athanor.h>

#include <athanor/core/detail/noexcept_error.hpp>

namespace athanor::capi {

/// Makes an error object for the caller, or the static one when there is no memory; nothing when `out_error`
/// is null. Returns the code.
std::int32_t give_error(ath_error** out_error, Code code, Reason reason, std::string_view message,
                        std::chrono::nanoseconds retry_after = {}) noexcept;
std::int32_t give_error(ath_error** out_error, Error const& error) noexcept;
std::int32_t give_out_of_memory(ath_error** out_error) noexcept;

/// Runs `body`, which returns a Result<void>; whatever it fails or throws with becomes a code and an error
/// object.
template <class Body>
std::int32_t guard(ath_error** out_error, Body&& body) noexcept {
  if (out_error != nullptr) *out_error = nullptr;
  try {
    Result<void> const result = std::forward<Body>(body)();
    return result ? ATH_OK : give_error(out_error, result.error());
  } catch (std::bad_alloc const&) {
    return give_out_of_memory(out_error);
  } catch (...) {
    return give_error(out_error, detail::caught(Code::internal, Reason::none, {}));
  }
}

/// One pointer that a function cannot do without.
struct Needed {
  char const* name;
  void const* pointer;
};

/// invalid_argument naming the function and the first argument that is null.
inline Result<void> need(char const* function, std::initializer_list<Needed> arguments) {
  for (auto const& argument : arguments)
    if (argument.pointer == nullptr)
      return fail(Code::invalid_argument, Reason::none, "{}: {}: expected an object, got NULL", function,
                  argument.name);
  return {};
}

}  // namespace athanor::capi
