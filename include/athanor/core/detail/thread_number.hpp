/// Thread numbers, which spread the writes of different threads over cache lines.
#pragma once

#include <cstddef>

namespace athanor::inline v1::detail {

/// No two living threads share a number below this one.
inline constexpr std::size_t own_numbers = 16;
/// One more than the number of this thread; 0: it has none yet.
inline constinit thread_local std::size_t number_and_one = 0;
std::size_t number_this_thread() noexcept;

/// The number of this thread: the lowest, from 0, that no living thread has, while there are at most 64
/// threads. A thread that ends passes its number to the next one, which then sees what it wrote; while it
/// ends, it has a number of `own_numbers` or more.
inline std::size_t thread_number() noexcept {
  std::size_t const known = number_and_one;
  return known != 0 ? known - 1 : number_this_thread();
}

}  // namespace athanor::inline v1::detail
