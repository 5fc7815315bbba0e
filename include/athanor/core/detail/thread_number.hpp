/// Numbers of threads, which spread their writes over lines of memory.
#pragma once

#include <cstddef>

namespace athanor::inline v1::detail {

/// Threads with a number below this one have it to themselves while they live.
inline constexpr std::size_t own_numbers = 16;
/// One more than the number of this thread; 0: it has none yet.
inline constinit thread_local std::size_t number_and_one = 0;
std::size_t number_this_thread() noexcept;

/// The number of this thread; spreads the writes of different threads. It is the lowest, from 0, that no living
/// thread has, as long as there are at most 64. A thread that ends gives its number to the next one, which then
/// sees what it wrote; while it ends it counts as one of those from `own_numbers` on.
inline std::size_t thread_number() noexcept {
  std::size_t const known = number_and_one;
  return known != 0 ? known - 1 : number_this_thread();
}

}  // namespace athanor::inline v1::detail
