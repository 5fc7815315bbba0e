/// Objects kept for reuse: some for each thread, without a word that all threads write.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <new>

#include <athanor/core/env.hpp>

namespace athanor::inline v1::serving {

/// Whether a pool may be closed while other threads still give objects back.
enum class PoolEnd : std::uint8_t {
  with_its_users,  ///< `close` is not called; what is left is the user's to free
  before_its_users
};

/// Bounded, lock-free and thread-safe. Each thread has a cell, made when it first takes: a *magazine* for
/// what it gives back itself, last in first out, and a ring of places for what other threads give back for
/// it, first in first out. Where a thread's number is its own, only that thread takes from its cell: taking
/// is then two plain stores, and so is giving back to the magazine, unless the pool may be closed meanwhile.
/// Threads with other numbers share cells, of which they use the rings, by a compare-and-exchange each.
///
/// No object holds a link, so none is read from an object that has been reused, and no tag has to tell two
/// uses of one object apart. Owns no object: the user frees those that are kept.
template <class T, Environment Env, PoolEnd end>
class Pool {
 public:
  Pool() = default;
  ~Pool() {
    for (auto const& cell : cells_) delete cell.load(std::memory_order_acquire);
  }
  Pool(Pool const&) = delete;
  Pool& operator=(Pool const&) = delete;

  /// A kept object, which is the caller's now; nullptr when none is found. Precondition: the pool is neither
  /// closed nor being closed.
  T* take() noexcept {
    std::size_t const thread = Env::thread_number();
    Cell* const cell = cell_of(thread).load(std::memory_order_acquire);
    if (cell == nullptr) return make_cell(thread);
    if (thread >= own_numbers) return take_returned<false>(*cell);
    T* const object = take_own(*cell);
    return object != nullptr ? object : take_returned<true>(*cell);
  }
  /// Keeps the object for the thread of that number, which has taken from the pool before. False when there
  /// is no place or the pool is closed: the object is still the caller's. Once it is kept, the pool is not
  /// touched any more: the thread that closes it may destroy it.
  bool keep(T& object, std::size_t thread) noexcept {
    Cell* const cell = cell_of(thread).load(std::memory_order_acquire);
    if (cell == nullptr) return false;
    auto const kept = reinterpret_cast<std::uintptr_t>(&object);
    bool const own = thread < own_numbers && thread == Env::thread_number();
    return own && cell->own_count < cell->own.size() ? keep_own(*cell, kept) : keep_returned(*cell, kept);
  }
  /// From here on nothing is kept. `drop(object)` gets what was.
  template <class Drop>
  void close(Drop drop) noexcept
    requires(end == PoolEnd::before_its_users)
  {
    auto const close_places = [&](auto& places) {
      for (Place& place : places) {
        std::uintptr_t const seen = place.exchange(closed, std::memory_order_acq_rel);
        if (seen > closed) drop(*to_object(seen));
      }
    };
    for (auto const& each : cells_) {
      Cell* const cell = each.load(std::memory_order_acquire);
      if (cell == nullptr) continue;
      close_places(cell->own);
      close_places(cell->returned);
    }
  }

 private:
  static constexpr std::size_t own_numbers = [] {
    if constexpr (requires { Env::own_numbers; }) {
      return Env::own_numbers;
    } else {
      return std::size_t{0};
    }
  }();
  static constexpr std::size_t cell_count = 64;
  static constexpr std::size_t looks = 16;  // at places of a ring, before it counts as empty or full
  static_assert(own_numbers < cell_count);

  // What a place holds: an object's address, or one of these.
  static constexpr std::uintptr_t empty = 0;
  static constexpr std::uintptr_t closed = 1;
  using Place = typename Env::template Atomic<std::uintptr_t>;
  using Index = typename Env::template Atomic<std::size_t>;

  struct alignas(64) Cell {
    std::size_t own_count = 0;  // in `own`; of the thread whose number the cell has
    Index next_taken{0};        // where to look for the next object of the ring: a hint
    alignas(64) std::array<Place, 8> own{};
    alignas(64) Index next_returned{0};  // where to look for a place in the ring: a hint
    alignas(64) std::array<Place, 64> returned{};
  };
  using CellPlace = typename Env::template Atomic<Cell*>;

  static T* to_object(std::uintptr_t seen) noexcept {
    return reinterpret_cast<T*>(seen);  // NOLINT(performance-no-int-to-ptr): a place is a pointer or a mark
  }

  CellPlace& cell_of(std::size_t thread) noexcept {
    return cells_[thread < own_numbers ? thread
                                       : own_numbers + (thread - own_numbers) % (cell_count - own_numbers)];
  }

  /// Makes the thread's cell, if there is memory; the object that the caller wants is not in it.
  T* make_cell(std::size_t thread) noexcept {
    auto* const made = new (std::nothrow) Cell;
    Cell* none = nullptr;
    if (made != nullptr && !cell_of(thread).compare_exchange_strong(none, made, std::memory_order_acq_rel))
      delete made;
    return nullptr;
  }

  T* take_own(Cell& cell) noexcept {
    if (cell.own_count == 0) return nullptr;
    Place& place = cell.own[--cell.own_count];
    std::uintptr_t const kept = place.load(std::memory_order_relaxed);
    place.store(empty, std::memory_order_relaxed);
    return to_object(kept);
  }

  bool keep_own(Cell& cell, std::uintptr_t kept) noexcept {
    Place& place = cell.own[cell.own_count++];
    if constexpr (end == PoolEnd::with_its_users) {
      place.store(kept, std::memory_order_relaxed);
      return true;
    } else {
      std::uintptr_t seen = empty;
      return place.compare_exchange_strong(seen, kept, std::memory_order_release);
    }
  }

  template <bool alone>
  T* take_returned(Cell& cell) noexcept {
    std::size_t const first = cell.next_taken.load(std::memory_order_relaxed);
    for (std::size_t at = first; at != first + looks; ++at) {
      Place& place = cell.returned[at % cell.returned.size()];
      std::uintptr_t seen = place.load(std::memory_order_acquire);
      if (seen == empty) continue;
      if constexpr (alone) {
        place.store(empty, std::memory_order_relaxed);
      } else if (!place.compare_exchange_strong(seen, empty, std::memory_order_acquire)) {
        continue;
      }
      cell.next_taken.store(at + 1, std::memory_order_relaxed);
      fetch(*to_object(seen));
      return to_object(seen);
    }
    return nullptr;
  }

  bool keep_returned(Cell& cell, std::uintptr_t kept) noexcept {
    std::size_t const first = cell.next_returned.load(std::memory_order_relaxed);
    for (std::size_t at = first; at != first + looks; ++at) {
      Place& place = cell.returned[at % cell.returned.size()];
      std::uintptr_t seen = place.load(std::memory_order_relaxed);
      if (seen != empty) continue;
      cell.next_returned.store(at + 1, std::memory_order_relaxed);  // before the pool may be gone
      if (place.compare_exchange_strong(seen, kept, std::memory_order_release)) return true;
    }
    return false;
  }

  /// Another thread has written the object last: its lines are fetched together, not one after the other
  /// where each is first written.
  static void fetch(T& object) noexcept {
#if defined(__GNUC__)
    auto* const bytes = reinterpret_cast<std::byte*>(&object);
    for (std::size_t at = 0; at < sizeof(T); at += 64) __builtin_prefetch(bytes + at, 1);
#endif
  }

  std::array<CellPlace, cell_count> cells_{};
};

}  // namespace athanor::inline v1::serving
