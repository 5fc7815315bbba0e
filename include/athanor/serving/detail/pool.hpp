/// Objects kept for reuse: a few for each thread, without a word that all threads write.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <athanor/core/env.hpp>

namespace athanor::inline v1::serving {

/// Bounded, lock-free and thread-safe. A place holds a pointer or nothing; the thread that changes it owns the object.
/// No object holds a link, so none is read from an object that has been reused. A thread begins at the places of its
/// own cell, which is one cache line, and goes on to those of others when that is empty or full. Owns no object: the
/// user frees those that are kept.
template <class T, Environment Env>
class Pool {
 public:
  /// A kept object, which is the caller's now; nullptr when there is none.
  T* take() noexcept {
    return visit(Env::thread_number(), [](Place& place) -> T* {
      std::uintptr_t seen = place.load(std::memory_order_relaxed);
      if (seen == empty || seen == closed) return nullptr;
      if (!place.compare_exchange_strong(seen, empty, std::memory_order_acquire)) return nullptr;
      // NOLINTNEXTLINE(performance-no-int-to-ptr): a place is a pointer or a mark
      T* const object = reinterpret_cast<T*>(seen & ~elsewhere);
      if ((seen & elsewhere) != 0) fetch(*object);
      return object;
    });
  }
  /// Keeps the object, for the thread of that number. False when the pool is full or closed: the object is still the
  /// caller's. Once it is kept, the pool is not touched any more: the thread that closes it may destroy it.
  bool keep(T& object, std::size_t thread = Env::thread_number()) noexcept {
    static_assert(alignof(T) > elsewhere);
    auto const wanted =
        reinterpret_cast<std::uintptr_t>(&object) | (thread == Env::thread_number() ? 0 : elsewhere);
    auto const put = [&](Place& place) -> T* {
      std::uintptr_t seen = place.load(std::memory_order_relaxed);
      if (seen != empty) return nullptr;
      return place.compare_exchange_strong(seen, wanted, std::memory_order_release) ? &object : nullptr;
    };
    return visit(thread, put) != nullptr;
  }
  /// From here on nothing is kept. `drop(object)` gets what was.
  template <class Drop>
  void close(Drop drop) noexcept {
    for (Cell& cell : cells_)
      for (Place& place : cell.places) {
        std::uintptr_t const seen = place.exchange(closed, std::memory_order_acq_rel);
        if (seen != empty && seen != closed)
          drop(*reinterpret_cast<T*>(seen & ~elsewhere));  // NOLINT: as above
      }
  }

 private:
  static constexpr std::uintptr_t empty = 0;
  static constexpr std::uintptr_t closed = 1;
  static constexpr std::uintptr_t elsewhere =
      2;  ///< beside a pointer: another thread than the cell's wrote the object last
  using Place = typename Env::template Atomic<std::uintptr_t>;
  struct alignas(64) Cell {
    std::array<Place, 8> places{};
  };

  /// Another thread has written the object last: its lines are fetched together, not one after the other where each is
  /// first written.
  static void fetch(T& object) noexcept {
#if defined(__GNUC__)
    auto* const bytes = reinterpret_cast<std::byte*>(&object);
    for (std::size_t at = 0; at < sizeof(T); at += 64) __builtin_prefetch(bytes + at, 1);
#endif
  }

  /// The first result of `look` at a place that is not null, beginning at the cell of thread `own`.
  template <class Look>
  T* visit(std::size_t own, Look look) noexcept {
    for (std::size_t i = 0; i < cells_.size(); ++i)
      for (Place& place : cells_[(own + i) % cells_.size()].places)
        if (T* const object = look(place)) return object;
    return nullptr;
  }

  std::array<Cell, 32> cells_;
};

}  // namespace athanor::inline v1::serving
