#include "timer_shards.hpp"

#include <algorithm>
#include <cstdint>
#include <new>
#include <utility>

namespace athanor::inline v1 {

bool TimerShards::Shard::earlier(std::size_t a, std::size_t b) const {
  constexpr auto relaxed = std::memory_order_relaxed;
  return heap[a]->filed.load(relaxed) < heap[b]->filed.load(relaxed);
}

void TimerShards::Shard::exchange(std::size_t a, std::size_t b) {
  std::swap(heap[a], heap[b]);
  heap[a]->place = a;
  heap[b]->place = b;
}

void TimerShards::Shard::rise(std::size_t i) {
  for (; i > 0 && earlier(i, (i - 1) / 2); i = (i - 1) / 2) exchange(i, (i - 1) / 2);
}

void TimerShards::Shard::sink(std::size_t i) {
  for (;;) {
    std::size_t least = i;
    for (std::size_t child : {2 * i + 1, 2 * i + 2})
      if (child < heap.size() && earlier(child, least)) least = child;
    if (least == i) return;
    exchange(i, least);
    i = least;
  }
}

void TimerShards::Shard::remove(std::size_t i) {
  heap[i]->place = Timer::unarmed;
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

void TimerShards::Shard::file(Timer& timer, TimePoint at) {
  if (timer.place != Timer::unarmed) remove(timer.place);
  heap.push_back(&timer);
  timer.filed.store(at);
  timer.place = heap.size() - 1;
  rise(timer.place);
}

/// The first timer, no longer armed, if it is due. One that is due later than it is filed goes to its place first.
Timer* TimerShards::Shard::take_first(TimePoint now) {
  if (heap.empty() || heap.front()->filed.load(std::memory_order_relaxed) > now) return nullptr;
  Timer& timer = *heap.front();
  for (TimePoint due = timer.due.load();;) {
    if (due > now || due > timer.filed.load(std::memory_order_relaxed)) {
      file(timer, due);
      TimePoint const again = timer.due.load();
      if (again >= due || !is_time(again)) return nullptr;
      due = again;
    } else if (timer.due.compare_exchange_strong(due, Timer::idle)) {
      remove(timer.place);
      return is_time(due) ? &timer : nullptr;
    }
  }
}

void TimerShards::Shard::store_first() {
  TimePoint const at = heap.empty() ? no_deadline : heap.front()->filed.load(std::memory_order_relaxed);
  if (first.load(std::memory_order_relaxed) != at) first.store(at);
}

TimerShards::Shard& TimerShards::shard_of(Timer const& timer) noexcept {
  // Fibonacci hashing: the upper bits of the product depend on all bits of the address.
  auto const product =
      static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(&timer)) * 0x9e3779b97f4a7c15ULL;
  return shards_[product >> (64 - shard_bits)];
}

TimerShards::Shard& TimerShards::earliest() noexcept {
  return *std::ranges::min_element(shards_, {}, [](Shard const& shard) { return shard.first.load(); });
}

bool TimerShards::arm(Timer& timer, TimePoint at) noexcept {
  at = std::max(at, Timer::suspended + Duration{1});
  TimePoint due = timer.due.load(std::memory_order_relaxed);
  bool const known = due != Timer::idle && timer.filed.load(std::memory_order_relaxed) <= at &&
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

bool TimerShards::suspend(Timer& timer) noexcept {
  TimePoint due = timer.due.load(std::memory_order_relaxed);
  while (is_time(due))
    if (timer.due.compare_exchange_weak(due, Timer::suspended)) return true;
  return false;
}

bool TimerShards::disarm(Timer& timer) noexcept {
  Shard& shard = shard_of(timer);
  detail::Lock const lock(shard.mutex);
  if (timer.place == Timer::unarmed) return false;
  shard.remove(timer.place);
  shard.store_first();
  return is_time(timer.due.exchange(Timer::idle));
}

Timer* TimerShards::take_due(TimePoint now) noexcept {
  for (;;) {
    Shard& shard = earliest();
    if (shard.first.load() > now) return nullptr;
    detail::Lock const lock(shard.mutex);
    Timer* const timer = shard.take_first(now);
    shard.store_first();
    if (timer != nullptr) return timer;
  }
}

void TimerShards::wait() noexcept {
  TimePoint const next = earliest().first.load();
  sleeps_until_.store(next);
  if (earliest().first.load() >= next) woken_.wait_until(0, next);
  sleeps_until_.store(awake);
  woken_.store(0);  // what it was set for is looked at next
}

void TimerShards::wake() noexcept {
  if (woken_.exchange(1) == 0) woken_.wake_all();
}

}  // namespace athanor::inline v1
