/// Parking a thread until its work is done, or taken back at a deadline.
#pragma once

#include <concepts>
#include <cstdint>

#include <athanor/core/time.hpp>

namespace athanor::inline v1::detail {

/// How often a thread polls what another thread holds before it parks, on a machine with several cores.
inline constexpr int spins_before_parking = 200;

/// Parks on `word` until `done(value of the word)`; true then. Once `deadline` has passed, `withdraw()` is
/// asked once: true means that the work was taken back, and false is returned at once; false means that
/// another thread already has the work and will set the word, which is then waited for without a deadline.
template <class Word, std::predicate<std::uint32_t> Done, std::predicate Withdraw>
bool park_until(Word& word, Done done, TimePoint deadline, Withdraw withdraw) {
  bool expired = false;
  for (std::uint32_t seen = word.load(); !done(seen); seen = word.load()) {
    if (expired) {
      if (withdraw()) return false;
      deadline = no_deadline;
    }
    expired = !word.wait_until(seen, deadline);
  }
  return true;
}

}  // namespace athanor::inline v1::detail
