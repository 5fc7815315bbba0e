/// The armed timers of a SystemExecutor.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>
#include <vector>

#include <athanor/core/env.hpp>

namespace athanor::inline v1 {

/// Timers by their address in shards, each a binary heap under a mutex of its own: two calls seldom share
/// one. Thread-safe, but that `take_due` and `wait` are called by one thread, the one that fires.
///
/// A timer is *filed* in its shard's heap, under a time that is not later than the one at which it is due.
/// Once that comes, the thread that fires takes it out and fires it, files it again when it is due later, or
/// forgets it when it was suspended. So a timer that is armed and suspended for every call moves in the heap
/// once per deadline.
///
/// Where a timer is filed, and `filed`, change under the shard's mutex only, and so does `due` from or to
/// `idle`. The owner of a filed timer changes its `due` without the mutex when it arms or suspends it. Then
/// `arm` looks at `filed`: it is too late if the thread that fires has just filed the timer by its former due
/// time. That thread writes `filed` and then looks at `due`, so in the one total order of these at least one
/// of the two sees the other.
///
/// No wake-up is lost: `arm` writes the shard's `first` and then reads `sleeps_until_`; `wait` writes
/// `sleeps_until_` and then reads every `first`; all in one total order, so that one of the two sees the
/// other.
///
/// `Clocked` is `Timer`. A simulation interleaves only what goes through `Env`, so it brings a type of its
/// own whose `due` and `filed` are atomics of `Env`.
template <Environment Env, class Clocked = Timer>
class TimerShards {
 public:
  /// Arms or re-arms. False when there is no memory: the timer is not armed.
  bool arm(Clocked& timer, TimePoint at) noexcept;
  bool disarm(Clocked& timer) noexcept;
  bool suspend(Clocked& timer) noexcept;
  /// The earliest timer if it is due, no longer armed; otherwise nullptr.
  Clocked* take_due(TimePoint now) noexcept;
  /// Parks until the earliest timer may be due, or until woken.
  void wait() noexcept;
  void wake() noexcept;

 private:
  struct alignas(64) Shard {
    typename Env::Mutex mutex;
    std::vector<Clocked*> heap ATH_GUARDED_BY(mutex);  // earliest `filed` first; Timer::place is the index
    typename Env::template Atomic<TimePoint> first{no_deadline};

    bool earlier(std::size_t a, std::size_t b) const ATH_REQUIRES(mutex);
    void exchange(std::size_t a, std::size_t b) ATH_REQUIRES(mutex);
    void rise(std::size_t i) ATH_REQUIRES(mutex);
    void sink(std::size_t i) ATH_REQUIRES(mutex);
    void remove(std::size_t i) ATH_REQUIRES(mutex);
    void file(Clocked& timer, TimePoint at) ATH_REQUIRES(mutex);
    Clocked* take_first(TimePoint now) ATH_REQUIRES(mutex);
    void store_first() ATH_REQUIRES(mutex);
  };

  static bool is_time(TimePoint due) noexcept { return due > Clocked::suspended; }
  Shard& shard_of(Clocked const& timer) noexcept;
  Shard& earliest() noexcept;

  static constexpr std::size_t shard_bits = 5;
  static constexpr TimePoint awake = TimePoint::min();
  std::array<Shard, std::size_t{1} << shard_bits> shards_;
  typename Env::template Atomic<TimePoint> sleeps_until_{awake};
  typename Env::Word woken_;
};

template <Environment Env, class Clocked>
bool TimerShards<Env, Clocked>::Shard::earlier(std::size_t a, std::size_t b) const {
  constexpr auto relaxed = std::memory_order_relaxed;
  return heap[a]->filed.load(relaxed) < heap[b]->filed.load(relaxed);
}

template <Environment Env, class Clocked>
void TimerShards<Env, Clocked>::Shard::exchange(std::size_t a, std::size_t b) {
  std::swap(heap[a], heap[b]);
  heap[a]->place = a;
  heap[b]->place = b;
}

template <Environment Env, class Clocked>
void TimerShards<Env, Clocked>::Shard::rise(std::size_t i) {
  for (; i > 0 && earlier(i, (i - 1) / 2); i = (i - 1) / 2) exchange(i, (i - 1) / 2);
}

template <Environment Env, class Clocked>
void TimerShards<Env, Clocked>::Shard::sink(std::size_t i) {
  for (;;) {
    std::size_t least = i;
    for (std::size_t child : {2 * i + 1, 2 * i + 2})
      if (child < heap.size() && earlier(child, least)) least = child;
    if (least == i) return;
    exchange(i, least);
    i = least;
  }
}

template <Environment Env, class Clocked>
void TimerShards<Env, Clocked>::Shard::remove(std::size_t i) {
  heap[i]->place = Clocked::unarmed;
  std::size_t const last = heap.size() - 1;
  if (i != last) {
    heap[i] = heap[last];
    heap[i]->place = i;
  }
  heap.pop_back();
  if (i < heap.size()) {
    rise(i);
    sink(i);
  }
}

template <Environment Env, class Clocked>
void TimerShards<Env, Clocked>::Shard::file(Clocked& timer, TimePoint at) {
  if (timer.place != Clocked::unarmed) remove(timer.place);
  heap.push_back(&timer);
  timer.filed.store(at);
  timer.place = heap.size() - 1;
  rise(timer.place);
}

/// The first timer, no longer armed, if it is due. One that is due later than it is filed goes to its place
/// first.
template <Environment Env, class Clocked>
Clocked* TimerShards<Env, Clocked>::Shard::take_first(TimePoint now) {
  if (heap.empty() || heap.front()->filed.load(std::memory_order_relaxed) > now) return nullptr;
  Clocked& timer = *heap.front();
  for (TimePoint due = timer.due.load();;) {
    if (due > now || due > timer.filed.load(std::memory_order_relaxed)) {
      file(timer, due);
      TimePoint const again = timer.due.load();
      if (again >= due || !is_time(again)) return nullptr;
      due = again;
    } else if (timer.due.compare_exchange_strong(due, Clocked::idle)) {
      remove(timer.place);
      return is_time(due) ? &timer : nullptr;
    }
  }
}

template <Environment Env, class Clocked>
void TimerShards<Env, Clocked>::Shard::store_first() {
  TimePoint const at = heap.empty() ? no_deadline : heap.front()->filed.load(std::memory_order_relaxed);
  if (first.load(std::memory_order_relaxed) != at) first.store(at);
}

template <Environment Env, class Clocked>
auto TimerShards<Env, Clocked>::shard_of(Clocked const& timer) noexcept -> Shard& {
  // Fibonacci hashing: the upper bits of the product depend on all bits of the address.
  auto const product =
      static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(&timer)) * 0x9e3779b97f4a7c15ULL;
  return shards_[product >> (64 - shard_bits)];
}

template <Environment Env, class Clocked>
auto TimerShards<Env, Clocked>::earliest() noexcept -> Shard& {
  return *std::ranges::min_element(shards_, {}, [](Shard const& shard) { return shard.first.load(); });
}

template <Environment Env, class Clocked>
bool TimerShards<Env, Clocked>::arm(Clocked& timer, TimePoint at) noexcept {
  at = std::max(at, Clocked::suspended + Duration{1});
  TimePoint due = timer.due.load(std::memory_order_relaxed);
  bool const known = due != Clocked::idle && timer.filed.load(std::memory_order_relaxed) <= at &&
                     timer.due.compare_exchange_strong(due, at);
  if (known && timer.filed.load() <= at) return true;
  Shard& shard = shard_of(timer);
  {
    detail::Lock const lock(shard.mutex);
    // Meanwhile it may have fired, or have been suspended or armed by others.
    if (known && timer.due.load() != at) return true;
    try {
      shard.file(timer, at);
    } catch (std::bad_alloc const&) {
      return false;
    }
    timer.due.store(at);
    shard.store_first();
  }
  if (at < sleeps_until_.load()) wake();
  return true;
}

template <Environment Env, class Clocked>
bool TimerShards<Env, Clocked>::suspend(Clocked& timer) noexcept {
  TimePoint due = timer.due.load(std::memory_order_relaxed);
  while (is_time(due))
    if (timer.due.compare_exchange_weak(due, Clocked::suspended)) return true;
  return false;
}

template <Environment Env, class Clocked>
bool TimerShards<Env, Clocked>::disarm(Clocked& timer) noexcept {
  Shard& shard = shard_of(timer);
  detail::Lock const lock(shard.mutex);
  if (timer.place == Clocked::unarmed) return false;
  shard.remove(timer.place);
  shard.store_first();
  return is_time(timer.due.exchange(Clocked::idle));
}

template <Environment Env, class Clocked>
Clocked* TimerShards<Env, Clocked>::take_due(TimePoint now) noexcept {
  for (;;) {
    Shard& shard = earliest();
    if (shard.first.load() > now) return nullptr;
    detail::Lock const lock(shard.mutex);
    Clocked* const timer = shard.take_first(now);
    shard.store_first();
    if (timer != nullptr) return timer;
  }
}

template <Environment Env, class Clocked>
void TimerShards<Env, Clocked>::wait() noexcept {
  TimePoint const next = earliest().first.load();
  sleeps_until_.store(next);
  if (earliest().first.load() >= next) woken_.wait_until(0, next);
  sleeps_until_.store(awake);
  woken_.store(0);  // what it was set for is looked at next
}

template <Environment Env, class Clocked>
void TimerShards<Env, Clocked>::wake() noexcept {
  if (woken_.exchange(1) == 0) woken_.wake_all();
}

}  // namespace athanor::inline v1
