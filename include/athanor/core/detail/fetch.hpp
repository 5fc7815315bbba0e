/// Asking for the memory of an object before it is used.
#pragma once

#include <cstddef>

namespace athanor::inline v1::detail {

/// For an object that another thread has written last: its lines come together, not one after the other where each is
/// first written.
template <class T>
void fetch(T& object) noexcept {
#if defined(__GNUC__)
  auto* const bytes = reinterpret_cast<std::byte*>(&object);
  for (std::size_t at = 0; at < sizeof(T); at += 64) __builtin_prefetch(bytes + at, 1);
#endif
}

}  // namespace athanor::inline v1::detail
