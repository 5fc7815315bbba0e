/// The armed timers of a SystemExecutor.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <vector>

#include <athanor/core/env.hpp>

namespace athanor::inline v1 {

/// Timers by their address in shards, each a binary heap under a mutex of its own: two calls seldom share one.
/// Thread-safe, but that `take_due` and `wait` are called by one thread, the one that fires.
///
/// A timer is *filed* in its shard's heap, under a time that is not later than the one at which it is due. Once that
/// comes, the thread that fires takes it out and fires it, files it again when it is due later, or forgets it when it
/// was suspended. So a timer that is armed and suspended for every call moves in the heap once per deadline.
///
/// Where a timer is filed, and `filed`, change under the shard's mutex only, and so does `due` from or to `idle`.
/// The owner of a filed timer changes its `due` without the mutex when it arms or suspends it. Then `arm` looks at `filed`:
/// it is too late if the thread that fires has just filed the timer by its former due time. That thread writes `filed`
/// and then looks at `due`, so in the one total order of these at least one of the two sees the other.
///
/// No wake-up is lost: `arm` writes the shard's `first` and then reads `sleeps_until_`; `wait` writes `sleeps_until_`
/// and then reads every `first`; all in one total order, so that one of the two sees the other.
class TimerShards {
 public:
  /// Arms or re-arms. False when there is no memory: the timer is not armed.
  bool arm(Timer& timer, TimePoint at) noexcept;
  bool disarm(Timer& timer) noexcept;
  bool suspend(Timer& timer) noexcept;
  /// The earliest timer if it is due, no longer armed; otherwise nullptr.
  Timer* take_due(TimePoint now) noexcept;
  /// Parks until the earliest timer may be due, or until woken.
  void wait() noexcept;
  void wake() noexcept;

 private:
  struct alignas(64) Shard {
    SystemMutex mutex;
    std::vector<Timer*> heap ATH_GUARDED_BY(mutex);  // earliest `filed` first; Timer::place is the index
    std::atomic<TimePoint> first{no_deadline};

    bool earlier(std::size_t a, std::size_t b) const ATH_REQUIRES(mutex);
    void exchange(std::size_t a, std::size_t b) ATH_REQUIRES(mutex);
    void rise(std::size_t i) ATH_REQUIRES(mutex);
    void sink(std::size_t i) ATH_REQUIRES(mutex);
    void remove(std::size_t i) ATH_REQUIRES(mutex);
    void file(Timer& timer, TimePoint at) ATH_REQUIRES(mutex);
    Timer* take_first(TimePoint now) ATH_REQUIRES(mutex);
    void store_first() ATH_REQUIRES(mutex);
  };

  static bool is_time(TimePoint due) noexcept { return due > Timer::suspended; }
  Shard& shard_of(Timer const& timer) noexcept;
  Shard& earliest() noexcept;

  static constexpr std::size_t shard_bits = 5;
  static constexpr TimePoint awake = TimePoint::min();
  std::array<Shard, std::size_t{1} << shard_bits> shards_;
  std::atomic<TimePoint> sleeps_until_{awake};
  SystemWord woken_;
};

}  // namespace athanor::inline v1
