/// Environment: where time, threads, parking and randomness come from. Every machine and shell of Athanor is
/// a template over one, so that the same code runs on a real system and, seeded and single-threaded, in the
/// simulator. `static_assert(athanor::check_environment<Mine>())`, of core/duties.hpp, reports each
/// requirement that an environment does not meet.
///
/// | expression | duty |
/// |---|---|
/// | `E::now()` | monotonic TimePoint; any thread |
/// | `E::random()` | 64 random bits; any thread |
/// | `E::forks()` | number of forks since counting began, in this process or an ancestor; any thread, cheap |
/// | `E::thread_number()` | a small number, constant on a thread and rarely shared by two; spreads the writes of different threads |
/// | `E::own_numbers` | optional, a constant: no two living threads share a number below it, and a thread that gets the number of one that ended sees what that wrote |
/// | `E::relax()` | one pause of a spin loop |
/// | `E::simulated` | true if other actors run only while the caller parks; nothing then spins before parking |
/// | `E::Atomic<T>` | the interface and the memory orders of std::atomic, for trivially copyable T of 1 to 8 bytes |
/// | `E::Mutex` | `lock`, `try_lock` (may fail spuriously), `unlock`; not recursive |
/// | `E::Word` | a 32-bit atomic that threads can park on, initially 0; see SystemWord |
/// | `E::local<Variable>()` | optional: the calling thread's value of a thread-local variable, for an environment whose threads are not system threads; see core/detail/local.hpp |
/// | `E::Executor` | constructed from a number of threads and, optionally, how long idle ones linger; runs posted tasks and fires timers; see SystemExecutor |
#pragma once

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>

#include <athanor/core/detail/lock.hpp>
#include <athanor/core/detail/thread_number.hpp>
#include <athanor/core/time.hpp>

namespace athanor::inline v1 {

/// A unit of posted work, embedded in the object that it works on: posting allocates nothing. It must stay
/// alive, and must not be posted again, until `run` begins.
struct Task {
  void (*run)(Task& self) noexcept = nullptr;
  Task* next = nullptr;  ///< used by the executor while the task waits
};

/// A callback at a point in time, embedded like a Task. Armed at most once at a time.
struct Timer {
  static constexpr TimePoint idle = TimePoint::min();
  static constexpr TimePoint suspended = idle + Duration{1};
  static constexpr std::size_t unarmed = static_cast<std::size_t>(-1);
  /// What runs when the time has come; everything else is the executor's.
  void (*fire)(Timer& self) noexcept = nullptr;
  // When the timer is to fire, `suspended` or `idle`; and where, and under which time, it is filed.
  std::atomic<TimePoint> due{idle};
  std::atomic<TimePoint> filed{idle};
  std::size_t place = unarmed;
};

/// A 32-bit atomic word to park on. All operations are sequentially consistent, except `load`, which is an
/// acquire load.
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
  /// Blocks while the word holds `expected`, at most until `deadline`. May wake spuriously; returns false
  /// only if the deadline has passed.
  bool wait_until(std::uint32_t expected, TimePoint deadline) noexcept;
  /// Wakes every thread parked here. A woken thread may destroy the word at once: its memory is not touched
  /// after the wake.
  void wake_all() noexcept;

 private:
  std::atomic<std::uint32_t> value_{0};
};

/// Worker threads and timers. Workers start on demand, up to `threads`, and end after they have been idle for
/// `linger`; an idle executor causes no wake-ups, except for timers that were suspended. Tasks start in the
/// order of posting, those of `post_if_idle` before others. Timers fire one at a time, never early, on a
/// dedicated thread that the first `arm` starts, so that busy workers do not delay them. Posting, arming and
/// disarming are thread-safe.
///
/// In a child of a fork nothing runs: `post` and `arm` return false there, and `stop` and the destructor
/// return at once.
class SystemExecutor {
 public:
  explicit SystemExecutor(std::size_t threads, Duration linger = Duration::max());
  /// Runs the tasks already posted and joins the threads, however long they take, unless it was stopped.
  ~SystemExecutor();
  SystemExecutor(SystemExecutor const&) = delete;
  SystemExecutor& operator=(SystemExecutor const&) = delete;

  /// Every thread that starts after this call shares ownership of `owner`, if it still exists, until the
  /// thread ends, so that what its tasks use outlives an abandoned thread.
  void keep_alive_with(std::weak_ptr<void> owner) noexcept;
  /// Returns false, without taking the task, when the executor is stopping, or when no worker exists and none
  /// can be started.
  bool post(Task& task) noexcept;
  /// As post, but only if a worker is free or can be started now. Check and post are atomic: no task posted
  /// meanwhile gets ahead.
  bool post_if_idle(Task& task) noexcept;
  /// On a worker of this executor, inside a task: runs `task` on this thread once the running task has
  /// returned, before posted tasks and in the order of deferring. No thread is woken for it, but if the
  /// deferred tasks before it take longer than half a millisecond, other workers run the rest. What a task
  /// defers waits until that task has returned, so it should be about to. Returns false, without taking the
  /// task, on any other thread.
  bool defer(Task& task) noexcept;
  /// True if a task posted now would start without waiting for another one to end, possibly on a new worker.
  /// After a worker could not be started only those that exist count, until one can.
  bool idle() const noexcept;
  /// True on a thread that fires timers: post long work from there instead of running it.
  static bool on_timer_thread() noexcept;
  /// Arms or re-arms; a time in the past is due at once. Returns false when the executor is
  /// stopping, or when a thread or memory cannot be obtained: the timer is then not armed. Once
  /// the executor is stopping no timer fires; an armed timer stays armed until it is disarmed.
  bool arm(Timer& timer, TimePoint at) noexcept;
  /// Returns true if the timer was armed and will not fire; false if it was not armed, in which case it may
  /// be firing now.
  bool disarm(Timer& timer) noexcept;
  /// As disarm, for a timer that is soon armed again, mostly for a later time: both then take one atomic
  /// operation on the timer. The executor still refers to the timer, which must not be destroyed before
  /// `disarm`; at its former time the thread that fires timers may wake once and drop it.
  bool suspend(Timer& timer) noexcept;
  /// Runs the tasks already posted, fires no further timer, and joins the threads. A thread still inside a
  /// task or timer at `deadline` is abandoned (detached). Returns the number of abandoned threads. Called
  /// once. On one of its own threads it neither waits for that thread nor counts it: a worker runs here what
  /// is posted, and ends once its task has returned.
  std::size_t stop(TimePoint deadline) noexcept;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// The production environment: steady clock, standard atomics and mutexes, futex parking, worker threads.
struct SystemEnv {
  template <class T>
  using Atomic = std::atomic<T>;
  using Mutex = SystemMutex;
  using Word = SystemWord;
  using Executor = SystemExecutor;
  static constexpr bool simulated = false;

  /// `now` reads the steady clock; `random` is a per-thread sequence, seeded by the system once per process.
  static TimePoint now() noexcept { return std::chrono::steady_clock::now(); }
  static std::uint64_t random() noexcept;
  /// Number of forks since the first call of this function, in this process or an ancestor.
  static std::uint64_t forks() noexcept;
  /// The lowest number, from 0, that no other living thread has, while there are at most 64 threads.
  static std::size_t thread_number() noexcept { return detail::thread_number(); }
  /// No two living threads share a number below this one.
  static constexpr std::size_t own_numbers = detail::own_numbers;
  static void relax() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
};

namespace detail {

template <class A, class T>
concept AtomicOf =
    std::constructible_from<A, T> && requires(A& atomic, T& old, T value, std::memory_order order) {
      { atomic.load(order) } -> std::same_as<T>;
      atomic.store(value, order);
      { atomic.exchange(value, order) } -> std::same_as<T>;
      { atomic.compare_exchange_weak(old, value, order) } -> std::same_as<bool>;
      { atomic.compare_exchange_weak(old, value, order, order) } -> std::same_as<bool>;
      { atomic.compare_exchange_strong(old, value, order) } -> std::same_as<bool>;
      { atomic.compare_exchange_strong(old, value, order, order) } -> std::same_as<bool>;
    };

template <class A, class T>
concept AtomicInteger = AtomicOf<A, T> && requires(A& atomic, T value, std::memory_order order) {
  { atomic.fetch_add(value, order) } -> std::same_as<T>;
  { atomic.fetch_sub(value, order) } -> std::same_as<T>;
  { atomic.fetch_or(value, order) } -> std::same_as<T>;
  { atomic.fetch_and(value, order) } -> std::same_as<T>;
};

template <class M>
concept Mutex = std::default_initializable<M> && requires(M& mutex) {
  mutex.lock();
  { mutex.try_lock() } -> std::same_as<bool>;
  mutex.unlock();
};

template <class W>
concept Word = std::default_initializable<W> &&
               requires(W& word, W const& constant, std::uint32_t value, std::uint32_t& old, TimePoint at) {
                 { constant.load() } -> std::same_as<std::uint32_t>;
                 word.store(value);
                 { word.exchange(value) } -> std::same_as<std::uint32_t>;
                 { word.fetch_or(value) } -> std::same_as<std::uint32_t>;
                 { word.fetch_and(value) } -> std::same_as<std::uint32_t>;
                 { word.compare_exchange(old, value) } -> std::same_as<bool>;
                 { word.wait_until(value, at) } -> std::same_as<bool>;
                 word.wake_all();
               };

template <class X>
concept Executor =
    std::constructible_from<X, std::size_t, Duration> && std::constructible_from<X, std::size_t> &&
    requires(X& executor, X const& constant, Task& task, Timer& timer, TimePoint at,
             std::weak_ptr<void> owner) {
      executor.keep_alive_with(owner);
      { executor.post(task) } -> std::same_as<bool>;
      { executor.post_if_idle(task) } -> std::same_as<bool>;
      { executor.defer(task) } -> std::same_as<bool>;
      { constant.idle() } -> std::same_as<bool>;
      { X::on_timer_thread() } -> std::same_as<bool>;
      { executor.arm(timer, at) } -> std::same_as<bool>;
      { executor.disarm(timer) } -> std::same_as<bool>;
      { executor.suspend(timer) } -> std::same_as<bool>;
      { executor.stop(at) } -> std::same_as<std::size_t>;
    };

}  // namespace detail

/// What Athanor's templates require of their environment; the head of this file lists the requirements.
template <class E>
concept Environment =
    requires {
      { E::now() } -> std::same_as<TimePoint>;
      { E::random() } -> std::same_as<std::uint64_t>;
      { E::forks() } -> std::same_as<std::uint64_t>;
      { E::thread_number() } -> std::same_as<std::size_t>;
      E::relax();
      typename std::bool_constant<E::simulated>;
    } && detail::AtomicInteger<typename E::template Atomic<std::uint64_t>, std::uint64_t> &&
    detail::AtomicOf<typename E::template Atomic<void*>, void*> && detail::Mutex<typename E::Mutex> &&
    detail::Word<typename E::Word> && detail::Executor<typename E::Executor>;

static_assert(Environment<SystemEnv>);

}  // namespace athanor::inline v1
