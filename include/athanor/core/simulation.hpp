/// A seeded, single-threaded simulation for code that is a template over Env: virtual time, executors whose
/// tasks run when the simulation steps, and a random order that the seed alone determines. For tests of
/// policies, machines and shells.
///
///     Simulation world(seed);
///     Lane<SimulatedEnv, …> lane(…);
///     … lane.enter(slot, …); world.step(); world.advance(2ms); world.run_until_idle();
///
/// In this form, a task or timer runs to completion on the stack of the caller of `step()`. Code under test
/// may call `step()` itself: other tasks then run in the meantime, as they would on other threads. With
/// `Turns` the simulation has threads of its own, called actors: one for each task or timer that has begun
/// and one for each `spawn`. An actor that parks, sleeps or waits for a mutex lets the others run; depending
/// on the turns, it may also be preempted between any two operations on an atomic, a mutex or a word.
///
///     Simulation world(seed, {.order = Turns::Order::random, .switch_one_in = 8});
///     world.spawn([&] { model.infer(request); });
///     world.run_until_idle();
///     assert(world.actors() == 0);  // otherwise the actors are deadlocked
///
/// One Simulation is current per thread; it must outlive everything made under it.
#pragma once

#include <array>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include <athanor/core/detail/local.hpp>
#include <athanor/core/env.hpp>

namespace athanor::inline v1 {

class SimulatedExecutor;

/// How the actors of a simulation take turns.
struct Turns {
  /// steps: there are no actors, see the head of this file. random: every runnable actor is equally likely to
  /// run next. priorities: each actor gets a random priority, and the runnable actor with the highest one
  /// runs, except that at `changes` moments the running actor drops below all others. With d - 1 changes, a
  /// bug of depth d is found with a probability that does not vanish with the length of the run. (PCT:
  /// Burckhardt, Kothari, Musuvathi, Nagarakatte: A randomized scheduler with probabilistic guarantees of
  /// finding bugs, ASPLOS 2010.)
  enum class Order : std::uint8_t { steps, random, priorities };
  Order order = Order::steps;
  /// random: about one in this many operations yields to another actor; 0: only blocking operations do.
  std::uint32_t switch_one_in = 0;
  /// priorities: how many changes are spread over the first `length` operations.
  std::uint32_t changes = 3;
  std::uint32_t length = 4000;
};

/// The clock, the random numbers, the actors and the executors of one simulated run. One thread.
class Simulation {
  struct Actor;

 public:
  /// A run without actors at time 0, whose random numbers and turns follow from `seed`.
  explicit Simulation(std::uint64_t seed, Turns const& turns = {});
  ~Simulation();
  Simulation(Simulation const&) = delete;
  Simulation& operator=(Simulation const&) = delete;

  /// The current simulation of this thread. Precondition: there is one.
  static Simulation& current() noexcept;

  /// Virtual time, and 64 bits of the seeded generator.
  TimePoint now() const noexcept { return now_; }
  std::uint64_t random() noexcept;
  /// Uniform in [0, bound); bound must not be 0.
  std::uint64_t below(std::uint64_t bound) noexcept { return random() % bound; }
  /// Moves the clock. Timers that fall due fire in later steps.
  void advance(Duration by) noexcept { now_ += by; }
  /// Runs one posted task or due timer, or an actor for one turn, chosen by the seed. When nothing is
  /// runnable, the clock moves to the next timer or deadline. Returns false when there is nothing left to do.
  bool step() noexcept;
  /// Like step, but does not move the clock: returns false when nothing is runnable now.
  bool step_now() noexcept;
  /// Steps until nothing is left to do.
  void run_until_idle() noexcept {
    while (step()) {
    }
  }
  std::uint64_t steps() const noexcept { return steps_; }
  /// While `refuse` is true, no executor can start another thread.
  void refuse_threads(bool refuse) noexcept { refuses_threads_ = refuse; }
  /// Continues as the child of a fork: executors made before this call run nothing more.
  void fork() noexcept { ++forks_; }
  std::uint64_t forks() const noexcept { return forks_; }
  /// While an object of this class exists, the calling actor is the only thread of a child of a fork: no
  /// other actor runs, executors made before run nothing, and a mutex that another actor holds stays held. At
  /// its end the simulation continues as the parent, with what the child did to the memory.
  class Child {
   public:
    explicit Child(Simulation& world) noexcept
        : world_(world), alone_(std::exchange(world.alone_, world.running_)) {
      ++world_.forks_;
    }
    ~Child() {
      --world_.forks_;
      world_.alone_ = alone_;
    }
    Child(Child const&) = delete;
    Child& operator=(Child const&) = delete;

   private:
    Simulation& world_;
    Actor* alone_;
  };

  /// Adds an actor that runs `body`. This and the following functions need turns other than `steps`.
  void spawn(std::function<void()> body);
  /// Actors that have begun and not ended. If any are left when step() returns false, they are deadlocked.
  std::size_t actors() const noexcept { return actors_.size(); }
  /// Whether this is called by an actor.
  bool in_actor() const noexcept { return running_ != nullptr; }
  /// The thread number of the calling actor, below four; 0 outside of actors.
  std::size_t thread_number() const noexcept;
  /// Suspends the calling actor for that much virtual time.
  void sleep(Duration time) noexcept;
  /// Gives each actor its own value, initially zero, of a thread-local variable that does not come from the
  /// environment. Must be called before the first actor begins.
  template <class T>
    requires std::is_trivially_copyable_v<T> && (sizeof(T) <= sizeof(std::uint64_t))
  void give_each_actor(T& variable) {
    locals_.push_back({&variable, sizeof(T)});  // NOLINT(bugprone-sizeof-expression): T may be a pointer
  }

 private:
  friend class SimulatedExecutor;
  friend class SimulatedMutex;
  friend class SimulatedWord;
  friend struct SimulatedEnv;
  template <class T>
  friend class SimulatedAtomic;

  struct Local {
    void* where;
    std::size_t size;
  };
  /// What SimulatedEnv::local gave an actor, or all that is outside of actors.
  struct Variables {
    static constexpr std::size_t most = 8;
    struct Place {
      void const* name = nullptr;
      alignas(void*) std::array<std::byte, sizeof(void*)> value{};
    };
    std::array<Place, most> places{};
    void* find(void const* name) noexcept;
  };
  /// What may run next: an actor, or a task or a timer that begins.
  struct Choice {
    Actor* actor;
    SimulatedExecutor* executor;
    Timer* timer;
    std::uint64_t priority;
  };
  /// What a parked actor waits for, besides the time.
  struct Condition {
    bool (*holds)(void const* of);
    void const* of;
  };

  /// Called before each operation that other threads could see.
  static void point() noexcept {
    if (current_ != nullptr && current_->running_ != nullptr) current_->pass();
  }
  void pass() noexcept;
  void relax() noexcept;
  /// Returns false when `until` was reached first.
  bool park(Condition condition, TimePoint until) noexcept;
  void begin(std::function<void()> body, SimulatedExecutor* executor, bool timer, std::uint64_t priority);
  void resume(Actor& actor) noexcept;
  void leave() noexcept;
  void exchange_locals(Actor& actor) noexcept;
  void collect_choices();
  bool step_actors() noexcept;
  TimePoint next_time() const noexcept;
  void fall_behind() noexcept;

  void* variable(void const* name) noexcept;

  static constinit inline thread_local Simulation* current_ = nullptr;
  template <class Variable>
  static inline char name_of = 0;  // its address

  std::vector<SimulatedExecutor*> executors_;
  TimePoint now_{Duration{1'000'000'000}};
  std::uint64_t state_;
  std::uint64_t steps_ = 0;
  std::uint64_t forks_ = 0;
  bool refuses_threads_ = false;
  bool fires_timer_ = false;                   // the innermost step is a timer
  SimulatedExecutor* runs_task_of_ = nullptr;  // the innermost step is a task of this
  Simulation* outer_;

  Turns turns_;
  Actor* running_ = nullptr;
  Actor* alone_ = nullptr;  // of all actors only this one runs
  std::vector<std::unique_ptr<Actor>> actors_;
  std::vector<Choice> choices_;
  std::vector<Local> locals_;
  Variables outside_{};
  std::vector<std::uint64_t> change_at_;  // operations, the last one next
  std::uint64_t operations_ = 0;
  std::uint64_t lowest_ = 0;  // priorities below this are for those that fell behind
  bool news_ = false;         // since the running actor was resumed, another actor may have become runnable
};

/// Has the interface of SystemExecutor; its tasks and timers run when the simulation steps.
class SimulatedExecutor {
 public:
  explicit SimulatedExecutor(std::size_t threads, Duration linger = Duration::max());
  ~SimulatedExecutor();
  SimulatedExecutor(SimulatedExecutor const&) = delete;
  SimulatedExecutor& operator=(SimulatedExecutor const&) = delete;

  /// The interface of SystemExecutor; tasks and timers run when the simulation schedules them.
  void keep_alive_with(std::weak_ptr<void> owner) noexcept { owner_ = std::move(owner); }
  bool post(Task& task) noexcept;
  bool post_if_idle(Task& task) noexcept;
  bool defer(Task& task) noexcept;
  bool idle() const noexcept;
  static bool on_timer_thread() noexcept;
  bool arm(Timer& timer, TimePoint at) noexcept;
  bool disarm(Timer& timer) noexcept;
  bool suspend(Timer& timer) noexcept { return disarm(timer); }
  std::size_t stop(TimePoint deadline) noexcept;

  /// How many timers are armed.
  std::size_t timers() const noexcept { return timers_.size(); }

 private:
  friend class Simulation;
  struct Tasks {
    Task* head = nullptr;
    Task* tail = nullptr;
    void append(Task& task) noexcept;
    Task& take() noexcept;
  };
  Task& take_task() noexcept;
  bool is_in_child() const noexcept;
  bool make_room() noexcept;
  bool take(Task& task) noexcept;
  bool has_tasks() const noexcept { return deferred_.head != nullptr || posted_.head != nullptr; }
  bool has_room() const noexcept { return has_tasks() && running_ < workers_ && !is_in_child(); }
  bool keeps_time() const noexcept { return !stopping_ && !is_in_child(); }
  std::size_t stop_actors(TimePoint deadline) noexcept;
  void run_left() noexcept;

  std::size_t threads_;
  std::uint64_t forks_;
  std::size_t workers_ = 0;   // that were started; they stay
  bool starts_fail_ = false;  // the last one could not be started
  bool has_timekeeper_ = false;
  std::size_t queued_ = 0;   // posted or deferred
  std::size_t running_ = 0;  // tasks that have begun
  Tasks posted_;
  Tasks deferred_;
  std::vector<Timer*> timers_;
  bool firing_ = false;  // an actor is inside a timer
  bool stopping_ = false;
  std::uint64_t priority_;
  std::weak_ptr<void> owner_;
};

/// Not recursive; locking it twice would hang a real thread, so it aborts here.
class ATH_CAPABILITY("mutex") SimulatedMutex {
 public:
  void lock() noexcept ATH_ACQUIRE();
  bool try_lock() noexcept ATH_TRY_ACQUIRE(true) {
    Simulation::point();
    return !std::exchange(locked_, true);
  }
  void unlock() noexcept ATH_RELEASE();

 private:
  bool locked_ = false;
};

/// Has the interface of std::atomic, for trivially copyable types.
template <class T>
class SimulatedAtomic {
 public:
  static constexpr bool is_always_lock_free = true;
  constexpr SimulatedAtomic() noexcept = default;
  constexpr SimulatedAtomic(T value) noexcept  // NOLINT(google-explicit-constructor): as std::atomic
      : value_(value) {}
  SimulatedAtomic(SimulatedAtomic const&) = delete;
  SimulatedAtomic& operator=(SimulatedAtomic const&) = delete;

  /// As std::atomic::load.
  T load(std::memory_order = std::memory_order_seq_cst) const noexcept {
    Simulation::point();
    return value_;
  }
  /// As std::atomic::store.
  void store(T value, std::memory_order = std::memory_order_seq_cst) noexcept {
    Simulation::point();
    value_ = value;
  }
  /// As std::atomic::exchange.
  T exchange(T value, std::memory_order = std::memory_order_seq_cst) noexcept {
    Simulation::point();
    return std::exchange(value_, value);
  }
  /// As std::atomic::compare_exchange_strong.
  bool compare_exchange_strong(T& expected, T desired, std::memory_order = std::memory_order_seq_cst,
                               std::memory_order = std::memory_order_seq_cst) noexcept {
    Simulation::point();
    if (!(value_ == expected)) {
      expected = value_;
      return false;
    }
    value_ = desired;
    return true;
  }
  /// As std::atomic::compare_exchange_weak, but never fails spuriously.
  bool compare_exchange_weak(T& expected, T desired, std::memory_order = std::memory_order_seq_cst,
                             std::memory_order = std::memory_order_seq_cst) noexcept {
    return compare_exchange_strong(expected, desired);
  }
  /// As std::atomic::fetch_add.
  T fetch_add(T by, std::memory_order = std::memory_order_seq_cst) noexcept {
    return change([by](T value) { return static_cast<T>(value + by); });
  }
  /// As std::atomic::fetch_sub.
  T fetch_sub(T by, std::memory_order = std::memory_order_seq_cst) noexcept {
    return change([by](T value) { return static_cast<T>(value - by); });
  }
  /// As std::atomic::fetch_or.
  T fetch_or(T bits, std::memory_order = std::memory_order_seq_cst) noexcept {
    return change([bits](T value) { return static_cast<T>(value | bits); });
  }
  /// As std::atomic::fetch_and.
  T fetch_and(T bits, std::memory_order = std::memory_order_seq_cst) noexcept {
    return change([bits](T value) { return static_cast<T>(value & bits); });
  }

 private:
  template <class Change>
  T change(Change next) noexcept {
    Simulation::point();
    return std::exchange(value_, next(value_));
  }

  T value_{};
};

/// Has the interface of SystemWord. An actor that parks on it resumes after a wake_all(), at its deadline or,
/// rarely, spuriously; a store alone wakes no actor.
class SimulatedWord {
 public:
  std::uint32_t load() const noexcept { return value_.load(); }
  void store(std::uint32_t value) noexcept { value_.store(value); }
  std::uint32_t exchange(std::uint32_t value) noexcept { return value_.exchange(value); }
  std::uint32_t fetch_or(std::uint32_t bits) noexcept { return value_.fetch_or(bits); }
  std::uint32_t fetch_and(std::uint32_t bits) noexcept { return value_.fetch_and(bits); }
  bool compare_exchange(std::uint32_t& expected, std::uint32_t desired) noexcept {
    return value_.compare_exchange_strong(expected, desired);
  }
  /// Outside of actors, parking steps the simulation until the word changes or the deadline is reached.
  bool wait_until(std::uint32_t expected, TimePoint deadline) noexcept;
  void wake_all() noexcept;

 private:
  SimulatedAtomic<std::uint32_t> value_{0};
};

/// The simulator's environment; same interfaces as SystemEnv.
struct SimulatedEnv {
  template <class T>
  using Atomic = SimulatedAtomic<T>;
  using Mutex = SimulatedMutex;
  using Word = SimulatedWord;
  using Executor = SimulatedExecutor;
  static constexpr bool simulated = true;

  /// These functions refer to the current simulation; `relax` lets another actor run.
  static TimePoint now() noexcept { return Simulation::current().now(); }
  static std::uint64_t random() noexcept { return Simulation::current().random(); }
  static std::uint64_t forks() noexcept { return Simulation::current().forks(); }
  /// A small number, drawn once for each actor.
  static std::size_t thread_number() noexcept { return Simulation::current().thread_number(); }
  static void relax() noexcept { Simulation::current().relax(); }
  /// One value for each actor, and one for all code outside of actors.
  template <class Variable>
  static typename Variable::Value& local() noexcept {
    if (Simulation::current_ == nullptr) return detail::thread_value<Variable>;
    return *static_cast<typename Variable::Value*>(
        Simulation::current_->variable(&Simulation::name_of<Variable>));
  }
};

static_assert(Environment<SimulatedEnv>);

}  // namespace athanor::inline v1
