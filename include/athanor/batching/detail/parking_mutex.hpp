/// A mutex for sections of some dozens of nanoseconds that many threads want at once.
#pragma once

#include <cstdint>

#include <athanor/core/detail/park.hpp>
#include <athanor/core/env.hpp>

namespace athanor::inline v1::batching {

/// Spins on a load, for as long as such a section lasts, then parks on the word. Not recursive.
template <Environment Env>
class ATH_CAPABILITY("mutex") ParkingMutex {
 public:
  void lock() noexcept ATH_ACQUIRE() {
    if (take_free()) return;
    if constexpr (!Env::simulated) {
      for (int spin = 0; spin < athanor::detail::spins_before_parking; ++spin) {
        Env::relax();
        if (word_.load() == free && take_free()) return;
      }
    }
    // A thread that takes it here marks it as contended: others may still be parked.
    while (word_.exchange(contended) != free) word_.wait_until(contended, no_deadline);
  }
  void unlock() noexcept ATH_RELEASE() {
    if (word_.exchange(free) == contended) word_.wake_all();
  }

 private:
  static constexpr std::uint32_t free = 0;
  static constexpr std::uint32_t locked = 1;
  static constexpr std::uint32_t contended = 2;  // and a thread may be parked

  bool take_free() noexcept {
    std::uint32_t seen = free;
    return word_.compare_exchange(seen, locked);
  }

  typename Env::Word word_;
};

}  // namespace athanor::inline v1::batching
