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
/// A timer's fields are guarded by its shard's mutex. No wake-up is lost: `arm` writes the shard's `first` and then
/// reads `sleeps_until_`; `wait` writes `sleeps_until_` and then reads every `first`; all in one total order, so that
/// one of the two sees the other.
class TimerShards {
 public:
  /// Arms or re-arms. False when there is no memory: the timer is not armed.
  bool arm(Timer& timer, TimePoint at) noexcept;
  bool disarm(Timer& timer) noexcept;
  /// The earliest timer if it is due, no longer armed; otherwise nullptr.
  Timer* take_due(TimePoint now) noexcept;
  /// Parks until the earliest timer may be due, or until woken.
  void wait() noexcept;
  void wake() noexcept;

 private:
  struct alignas(64) Shard {
    SystemMutex mutex;
    std::vector<Timer*> heap ATH_GUARDED_BY(mutex);  // earliest first; Timer::place is the index
    std::atomic<TimePoint> first{no_deadline};

    bool earlier(std::size_t a, std::size_t b) const ATH_REQUIRES(mutex);
    void exchange(std::size_t a, std::size_t b) ATH_REQUIRES(mutex);
    void rise(std::size_t i) ATH_REQUIRES(mutex);
    void sink(std::size_t i) ATH_REQUIRES(mutex);
    void remove(std::size_t i) ATH_REQUIRES(mutex);
    void publish() ATH_REQUIRES(mutex);
  };

  Shard& shard_of(Timer const& timer) noexcept;
  Shard& earliest() noexcept;

  static constexpr std::size_t shard_bits = 5;
  static constexpr TimePoint awake = TimePoint::min();
  std::array<Shard, std::size_t{1} << shard_bits> shards_;
  std::atomic<TimePoint> sleeps_until_{awake};
  SystemWord woken_;
};

}  // namespace athanor::inline v1
