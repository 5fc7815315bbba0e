/// A seeded, single-threaded world for code that is a template over Env: virtual time, executors whose tasks
/// run when the simulation says so, and a random order that the seed alone decides. For tests of policies,
/// machines and shells.
///
///     Simulation world(seed);
///     Lane<SimulatedEnv, …> lane(…);
///     … lane.enter(slot, …); world.step(); world.advance(2ms); world.run_until_idle();
///
/// One Simulation is current per thread; it must outlive everything made under it. A backend under test may
/// call `step()` from inside its run: then other actors act while it runs, as on other threads.
#pragma once

#include <atomic>
#include <cassert>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

#include <athanor/core/env.hpp>

namespace athanor::inline v1 {

class SimulatedExecutor;

/// The clock, the random numbers and the executors of one simulated run. One thread.
class Simulation {
 public:
  explicit Simulation(std::uint64_t seed);
  ~Simulation();
  Simulation(Simulation const&) = delete;
  Simulation& operator=(Simulation const&) = delete;

  /// The simulation of this thread; there must be one.
  static Simulation& current() noexcept;

  /// Virtual time, and 64 bits of the seeded generator.
  TimePoint now() const noexcept { return now_; }
  std::uint64_t random() noexcept;
  /// Uniform in [0, bound); bound must not be 0.
  std::uint64_t below(std::uint64_t bound) noexcept { return random() % bound; }
  /// Moves the clock. Timers that fall due fire in later steps.
  void advance(Duration by) noexcept { now_ += by; }
  /// Runs one posted task or due timer, chosen by the seed. When none is runnable the clock moves to the next
  /// timer. False when there is nothing left to do.
  bool step() noexcept;
  /// Like step, but the clock stands still: false when nothing is runnable now.
  bool step_now() noexcept;
  void run_until_idle() noexcept {
    while (step()) {
    }
  }
  std::uint64_t steps() const noexcept { return steps_; }

 private:
  friend class SimulatedExecutor;
  std::vector<SimulatedExecutor*> executors_;
  TimePoint now_{Duration{1'000'000'000}};
  std::uint64_t state_;
  std::uint64_t steps_ = 0;
  Simulation* outer_;
};

/// Has the face of SystemExecutor; its tasks and timers run when the simulation steps.
class SimulatedExecutor {
 public:
  explicit SimulatedExecutor(std::size_t threads);
  ~SimulatedExecutor();
  SimulatedExecutor(SimulatedExecutor const&) = delete;
  SimulatedExecutor& operator=(SimulatedExecutor const&) = delete;

  /// The interface of SystemExecutor; tasks and timers run when the simulation schedules them.
  void keep_alive_with(std::weak_ptr<void>) noexcept {}
  bool post(Task& task) noexcept;
  void arm(Timer& timer, TimePoint at) noexcept;
  bool disarm(Timer& timer) noexcept;
  std::size_t stop(TimePoint deadline) noexcept;

 private:
  friend class Simulation;
  void run_one() noexcept;
  bool has_room() const noexcept { return head_ != nullptr && running_ < threads_; }

  std::size_t threads_;
  std::size_t running_ = 0;
  Task* head_ = nullptr;
  Task* tail_ = nullptr;
  std::vector<Timer*> timers_;
  bool stopping_ = false;
};

/// Not recursive; locking it twice would hang a real thread, so it aborts here.
class ATH_CAPABILITY("mutex") SimulatedMutex {
 public:
  void lock() noexcept ATH_ACQUIRE() {
    if (std::exchange(locked_, true)) std::abort();
  }
  bool try_lock() noexcept ATH_TRY_ACQUIRE(true) { return !std::exchange(locked_, true); }
  void unlock() noexcept ATH_RELEASE() { locked_ = false; }

 private:
  bool locked_ = false;
};

/// Has the face of SystemWord.
class SimulatedWord {
 public:
  std::uint32_t load() const noexcept { return value_; }
  void store(std::uint32_t value) noexcept { value_ = value; }
  std::uint32_t exchange(std::uint32_t value) noexcept { return std::exchange(value_, value); }
  std::uint32_t fetch_or(std::uint32_t bits) noexcept { return std::exchange(value_, value_ | bits); }
  std::uint32_t fetch_and(std::uint32_t bits) noexcept { return std::exchange(value_, value_ & bits); }
  bool compare_exchange(std::uint32_t& expected, std::uint32_t desired) noexcept {
    if (value_ != expected) {
      expected = value_;
      return false;
    }
    value_ = desired;
    return true;
  }
  /// Parking is letting the others act: steps the simulation until the word changes or the deadline is
  /// reached.
  bool wait_until(std::uint32_t expected, TimePoint deadline) noexcept;
  void wake_all() noexcept {}

 private:
  std::uint32_t value_ = 0;
};

/// The simulator's environment; same faces as SystemEnv.
struct SimulatedEnv {
  template <class T>
  using Atomic = std::atomic<T>;
  using Mutex = SimulatedMutex;
  using Word = SimulatedWord;
  using Executor = SimulatedExecutor;
  static constexpr bool simulated = true;

  /// Those of the current simulation; a pause does nothing.
  static TimePoint now() noexcept { return Simulation::current().now(); }
  static std::uint64_t random() noexcept { return Simulation::current().random(); }
  static void relax() noexcept {}
};

static_assert(Environment<SimulatedEnv>);

}  // namespace athanor::inline v1
