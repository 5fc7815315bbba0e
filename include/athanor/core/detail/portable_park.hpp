/// Parking where the system has no futex.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#include <athanor/core/time.hpp>

namespace athanor::inline v1::detail {

/// Where the threads that park on some words wait. Words share lots by their address: a wake-up touches the
/// lot, never the word, which a woken thread may have destroyed.
struct ParkingLot {
  std::mutex mutex;
  std::condition_variable changed;
};

/// Never destroyed: threads may be parked while the program ends.
inline ParkingLot& parking_lot_of(void const* word) {
  static auto& lots = *new std::array<ParkingLot, 64>;
  return lots[(reinterpret_cast<std::uintptr_t>(word) >> 6) % lots.size()];
}

/// As SystemWord::wait_until.
inline bool park_portably(std::atomic<std::uint32_t> const& word, std::uint32_t expected,
                          TimePoint deadline) {
  ParkingLot& lot = parking_lot_of(&word);
  std::unique_lock lock(lot.mutex);
  auto const changed = [&] { return word.load() != expected; };
  if (deadline == no_deadline) {
    lot.changed.wait(lock, changed);
    return true;
  }
  return lot.changed.wait_until(lock, deadline, changed);
}

/// Wakes every thread that is parked on the word at this address.
inline void wake_portably(void const* word) {
  ParkingLot& lot = parking_lot_of(word);
  std::lock_guard const lock(lot.mutex);
  lot.changed.notify_all();
}

}  // namespace athanor::inline v1::detail
