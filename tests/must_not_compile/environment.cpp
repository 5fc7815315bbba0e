// without NOW: an Environment has `static TimePoint now()`
// without RANDOM: an Environment has `static std::uint64_t random()`
// without FORKS: an Environment has `static std::uint64_t forks()`
// without THREAD_NUMBER: an Environment has `static std::size_t thread_number()`
// without RELAX: an Environment has `static void relax()`
// without SIMULATED: an Environment has `static constexpr bool simulated`
// without ATOMIC: an Environment names its `Atomic<T>` template
// without ATOMIC_INTERFACE: an Environment's `Atomic<T>` has the interface of std::atomic<T>
// without MUTEX: an Environment names its `Mutex` type
// without WORD: an Environment names its `Word` type
// without EXECUTOR: an Environment names its `Executor` type
// without TRY_LOCK: a Mutex has `lock()`, `bool try_lock()` and `unlock()`
// without LOAD: a Word has `std::uint32_t load() const`
// without STORE: a Word has `store(std::uint32_t)`
// without EXCHANGE: a Word has `std::uint32_t exchange(std::uint32_t)`
// without FETCH_OR: a Word has `std::uint32_t fetch_or(std::uint32_t)`
// without FETCH_AND: a Word has `std::uint32_t fetch_and(std::uint32_t)`
// without COMPARE_EXCHANGE: a Word has `bool compare_exchange(std::uint32_t& expected, std::uint32_t desired)`
// without WAIT_UNTIL: a Word has `bool wait_until(std::uint32_t expected, TimePoint)`
// without WAKE_ALL: a Word has `wake_all()`
// without THREADS: an Executor is made from the number of its threads, and how long they linger
// without KEEP_ALIVE_WITH: an Executor has `keep_alive_with(std::weak_ptr<void>)`
// without POST: an Executor has `bool post(Task&)`
// without POST_IF_IDLE: an Executor has `bool post_if_idle(Task&)`
// without DEFER: an Executor has `bool defer(Task&)`
// without IDLE: an Executor has `bool idle() const`
// without ON_TIMER_THREAD: an Executor has `static bool on_timer_thread()`
// without ARM: an Executor has `bool arm(Timer&, TimePoint)`
// without DISARM: an Executor has `bool disarm(Timer&)`
// without SUSPEND: an Executor has `bool suspend(Timer&)`
// without STOP: an Executor has `std::size_t stop(TimePoint)`
#include <athanor/core/duties.hpp>

namespace {

struct MinimalMutex {
  void lock() {}
#ifndef WITHOUT_TRY_LOCK
  bool try_lock() { return true; }
#endif
  void unlock() {}
};

struct MinimalWord {
#ifndef WITHOUT_LOAD
  std::uint32_t load() const { return 0; }
#endif
#ifndef WITHOUT_STORE
  void store(std::uint32_t) {}
#endif
#ifndef WITHOUT_EXCHANGE
  std::uint32_t exchange(std::uint32_t) { return 0; }
#endif
#ifndef WITHOUT_FETCH_OR
  std::uint32_t fetch_or(std::uint32_t) { return 0; }
#endif
#ifndef WITHOUT_FETCH_AND
  std::uint32_t fetch_and(std::uint32_t) { return 0; }
#endif
#ifndef WITHOUT_COMPARE_EXCHANGE
  bool compare_exchange(std::uint32_t&, std::uint32_t) { return true; }
#endif
#ifndef WITHOUT_WAIT_UNTIL
  bool wait_until(std::uint32_t, athanor::TimePoint) { return true; }
#endif
#ifndef WITHOUT_WAKE_ALL
  void wake_all() {}
#endif
};

struct MinimalExecutor {
#ifndef WITHOUT_THREADS
  explicit MinimalExecutor(std::size_t, athanor::Duration = {}) {}
#endif
#ifndef WITHOUT_KEEP_ALIVE_WITH
  void keep_alive_with(std::weak_ptr<void>) {}
#endif
#ifndef WITHOUT_POST
  bool post(athanor::Task&) { return true; }
#endif
#ifndef WITHOUT_POST_IF_IDLE
  bool post_if_idle(athanor::Task&) { return true; }
#endif
#ifndef WITHOUT_DEFER
  bool defer(athanor::Task&) { return false; }
#endif
#ifndef WITHOUT_IDLE
  bool idle() const { return true; }
#endif
#ifndef WITHOUT_ON_TIMER_THREAD
  static bool on_timer_thread() { return false; }
#endif
#ifndef WITHOUT_ARM
  bool arm(athanor::Timer&, athanor::TimePoint) { return true; }
#endif
#ifndef WITHOUT_DISARM
  bool disarm(athanor::Timer&) { return true; }
#endif
#ifndef WITHOUT_SUSPEND
  bool suspend(athanor::Timer&) { return true; }
#endif
#ifndef WITHOUT_STOP
  std::size_t stop(athanor::TimePoint) { return 0; }
#endif
};

struct MinimalEnvironment {
#ifdef WITHOUT_ATOMIC_INTERFACE
  template <class T>
  struct Atomic {
    T value;
  };
#elif !defined(WITHOUT_ATOMIC)
  template <class T>
  using Atomic = std::atomic<T>;
#endif
#ifndef WITHOUT_NOW
  static athanor::TimePoint now() { return {}; }
#endif
#ifndef WITHOUT_RANDOM
  static std::uint64_t random() { return 4; }
#endif
#ifndef WITHOUT_FORKS
  static std::uint64_t forks() { return 0; }
#endif
#ifndef WITHOUT_THREAD_NUMBER
  static std::size_t thread_number() { return 0; }
#endif
#ifndef WITHOUT_RELAX
  static void relax() {}
#endif
#ifndef WITHOUT_SIMULATED
  static constexpr bool simulated = true;
#endif
#ifndef WITHOUT_MUTEX
  using Mutex = MinimalMutex;
#endif
#ifndef WITHOUT_WORD
  using Word = MinimalWord;
#endif
#ifndef WITHOUT_EXECUTOR
  using Executor = MinimalExecutor;
#endif
};

}  // namespace

int main() { return athanor::check_environment<MinimalEnvironment>() ? 0 : 1; }
