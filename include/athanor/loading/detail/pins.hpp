/// The pins of one model.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include <athanor/core/env.hpp>
#include <athanor/core/metrics.hpp>

namespace athanor::inline v1::loading {

/// Counts who holds a model, and says whether it may be pinned, in cells: a thread pins and unpins in the cell of
/// its number, so that threads with cells of their own write no common word. Thread-safe, except that opening and
/// closing exclude each other (the loader's lock).
///
/// A cell holds whether it is open, and its pins less those that were taken in it and released elsewhere. Whoever
/// pins learns by the same operation whether the cell was open. So once every cell is closed, the pins that are
/// held are in the cells; reading those one by one may miss a release, but never a pin.
template <Environment Env>
class Pins {
 public:
  /// True: pinned. False: closed; a momentary pin may then have hidden from `held` that no other is left.
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
  /// False: it is closed, and whoever waits for the last release must be told. The object may then be gone.
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
  Cell& own_cell() noexcept { return cells_[athanor::detail::thread_number() % cells_.size()]; }

  std::array<Cell, 8> cells_;
};

}  // namespace athanor::inline v1::loading
