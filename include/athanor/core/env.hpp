/// Environment: where time, threads, parking and randomness come from. Every machine and shell of Athanor is
/// a template over one, so that the same code runs on a real system and, seeded and single-threaded, in the
/// simulator.
///
/// | expression | duty |
/// |---|---|
/// | `E::now()` | monotonic TimePoint |
/// | `E::random()` | 64 random bits; any thread |
/// | `E::relax()` | one pause of a spin |
/// | `E::Atomic<T>` | the interface of std::atomic |
/// | `E::Mutex` | Lockable |
/// | `E::Word` | a 32-bit atomic that threads can park on |
/// | `E::Executor` | runs posted tasks and fires timers; see SystemExecutor |
#pragma once

#include <atomic>
#include <concepts>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include <athanor/core/time.hpp>

namespace athanor::inline v1 {

/// A unit of posted work, embedded in whatever it works on: posting allocates nothing. The owner keeps it
/// alive until `run` begins, and does not post it again before that.
struct Task {
  void (*run)(Task& self) noexcept = nullptr;
  Task* next = nullptr;  ///< used by the executor while the task waits
};

/// A call at a moment, embedded like a Task. Armed at most once at a time.
struct Timer {
  void (*fire)(Timer& self) noexcept = nullptr;
  TimePoint at = no_deadline;
  std::size_t place = unarmed;  ///< used by the executor while the timer is armed
  static constexpr std::size_t unarmed = static_cast<std::size_t>(-1);
};

/// A 32-bit atomic word to park on. All operations are sequentially consistent unless named otherwise.
class SystemWord {
 public:
  std::uint32_t load() const noexcept { return value_.load(std::memory_order_acquire); }
  void store(std::uint32_t value) noexcept { value_.store(value); }
  std::uint32_t exchange(std::uint32_t value) noexcept { return value_.exchange(value); }
  std::uint32_t fetch_or(std::uint32_t bits) noexcept { return value_.fetch_or(bits); }
  std::uint32_t fetch_and(std::uint32_t bits) noexcept { return value_.fetch_and(bits); }
  bool compare_exchange(std::uint32_t& expected, std::uint32_t desired) noexcept {
    return value_.compare_exchange_strong(expected, desired);
  }
  /// Parks while the word holds `expected`, at most until `deadline`. May return early for no reason; false
  /// only when the deadline passed.
  bool wait_until(std::uint32_t expected, TimePoint deadline) noexcept;
  /// Wakes everybody parked here. The word may be gone when the woken run: its memory is not touched after
  /// the wake.
  void wake_all() noexcept;

 private:
  std::atomic<std::uint32_t> value_{0};
#if !defined(__linux__)
  std::mutex mutex_;
  std::condition_variable changed_;
#endif
};

/// Worker threads and timers. Workers start on demand, up to `threads`; an idle executor wakes nobody. Tasks
/// start in the order of posting. Timers fire one after the other, never early, on a thread of their own that
/// the first one starts: on time also when every worker is inside a task. Posting, arming and disarming are
/// thread-safe.
class SystemExecutor {
 public:
  explicit SystemExecutor(std::size_t threads);
  ~SystemExecutor();
  SystemExecutor(SystemExecutor const&) = delete;
  SystemExecutor& operator=(SystemExecutor const&) = delete;

  /// Every thread that starts from now on shares `owner` while it lives, so that what its tasks touch
  /// outlives an abandoned one.
  void keep_alive_with(std::weak_ptr<void> owner) noexcept;
  /// False when the executor is stopping: the task was not taken.
  bool post(Task& task) noexcept;
  /// Arms or re-arms. Once the executor is stopping no timer fires; what is armed stays so until disarmed.
  void arm(Timer& timer, TimePoint at) noexcept;
  /// True when the timer was armed and will not fire; false when it is not armed (any more), so that it may
  /// be firing now.
  bool disarm(Timer& timer) noexcept;
  /// Runs what is posted, fires no further timer, and joins the threads. One still inside a task or timer at
  /// `deadline` is abandoned: detached and counted. Returns how many were. Called once, and not from a task
  /// or timer.
  std::size_t stop(TimePoint deadline) noexcept;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// The real thing: steady clock, std atomics and mutexes, futex parking, worker threads.
struct SystemEnv {
  template <class T>
  using Atomic = std::atomic<T>;
  using Mutex = std::mutex;
  using Word = SystemWord;
  using Executor = SystemExecutor;
  static constexpr bool simulated = false;

  static TimePoint now() noexcept { return std::chrono::steady_clock::now(); }
  static std::uint64_t random() noexcept;
  static void relax() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
};

template <class E>
concept Environment = requires(typename E::Mutex& mutex, typename E::Word& word,
                               typename E::Executor& executor, Task& task, Timer& timer, TimePoint at) {
  { E::now() } -> std::same_as<TimePoint>;
  { E::random() } -> std::same_as<std::uint64_t>;
  E::relax();
  { E::simulated } -> std::convertible_to<bool>;
  typename E::template Atomic<std::uint64_t>;
  mutex.lock();
  { mutex.try_lock() } -> std::same_as<bool>;
  mutex.unlock();
  { word.load() } -> std::same_as<std::uint32_t>;
  { word.exchange(1U) } -> std::same_as<std::uint32_t>;
  { word.fetch_or(1U) } -> std::same_as<std::uint32_t>;
  { word.wait_until(0U, at) } -> std::same_as<bool>;
  word.wake_all();
  { executor.post(task) } -> std::same_as<bool>;
  executor.arm(timer, at);
  { executor.disarm(timer) } -> std::same_as<bool>;
};

static_assert(Environment<SystemEnv>);

}  // namespace athanor::inline v1
