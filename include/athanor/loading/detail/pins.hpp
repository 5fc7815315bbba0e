/// The pins of one model.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include <athanor/core/env.hpp>

namespace athanor::inline v1::loading {

/// A reference count with an open flag, divided into cells: a thread counts in the cell of its number, so
/// threads with different cells write no common word. Thread-safe, except that calls of open, reopen and
/// close must exclude each other (the loader's lock).
///
/// A cell holds the flag and the pins taken in it, less those released in it. One atomic operation takes a
/// pin and reads the flag. So once every cell is closed, the sum of the cells is the number of pins; a reader
/// that adds them one by one may miss a release, but never a pin.
template <Environment Env>
class Pins {
 public:
  /// False if it is closed; the attempt may then have kept `held` above zero for a moment.
  bool take(TimePoint now) noexcept {
    Cell& cell = own_cell();
    if ((cell.word.load(std::memory_order_relaxed) & open_bit) == 0) return false;
    if ((cell.word.fetch_add(one, std::memory_order_acquire) & open_bit) == 0) {
      cell.word.fetch_sub(one, std::memory_order_release);
      return false;
    }
    cell.last_used.store(now.time_since_epoch().count(), std::memory_order_relaxed);
    return true;
  }
  /// False if it is closed: the caller must notify the thread that waits for the last release. The object may
  /// already be destroyed.
  bool release() noexcept {
    return (own_cell().word.fetch_sub(one, std::memory_order_acq_rel) & open_bit) != 0;
  }

  /// Opens with so many pins taken.
  void open(std::uint64_t pins, TimePoint now) noexcept {
    own_cell().last_used.store(now.time_since_epoch().count(), std::memory_order_relaxed);
    own_cell().word.fetch_add(one * pins, std::memory_order_relaxed);
    reopen();
  }
  void reopen() noexcept {
    for (Cell& cell : cells_) cell.word.fetch_or(open_bit, std::memory_order_release);
  }
  void close() noexcept {
    for (Cell& cell : cells_) cell.word.fetch_and(~open_bit, std::memory_order_acq_rel);
  }

  bool is_open() const noexcept { return (cells_[0].word.load(std::memory_order_acquire) & open_bit) != 0; }
  /// At least the pins that are held, once it is closed; otherwise about as many.
  std::uint64_t held() const noexcept {
    std::uint64_t sum = 0;
    for (Cell const& cell : cells_) sum += cell.word.load(std::memory_order_acquire) & ~open_bit;
    return static_cast<std::int64_t>(sum) > 0 ? sum / one : 0;
  }
  TimePoint last_used() const noexcept {
    std::int64_t last = 0;
    for (Cell const& cell : cells_) last = std::max(last, cell.last_used.load(std::memory_order_relaxed));
    return TimePoint(Duration(last));
  }

 private:
  static constexpr std::uint64_t open_bit = 1;
  static constexpr std::uint64_t one = 2;
  struct alignas(64) Cell {
    typename Env::template Atomic<std::uint64_t> word{0};
    typename Env::template Atomic<std::int64_t> last_used{0};
  };
  Cell& own_cell() noexcept { return cells_[Env::thread_number() % cells_.size()]; }

  std::array<Cell, 8> cells_;
};

}  // namespace athanor::inline v1::loading
