/// The lane of one model: queues, batches and executes its slots, on callers' threads or the executor's. Owns
/// no thread. What runs when is decided by the QueueMachine; this shell has the mutex, the instances and the
/// tasks.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <athanor/batching/detail/parking_mutex.hpp>
#include <athanor/batching/detail/queue_machine.hpp>
#include <athanor/batching/detail/slot.hpp>
#include <athanor/core/env.hpp>
#include <athanor/core/error.hpp>

namespace athanor::inline v1::batching {

/// Instances of one lane, and requests in one batch, at most.
inline constexpr std::uint32_t most_instances = 1024;
inline constexpr std::uint32_t most_parts = 1024;

/// How one lane batches and executes.
struct LaneOptions {
  /// Batches that run at once, at most `most_instances`; 1 for a model that must never be entered twice at
  /// once.
  std::uint32_t instances = 1;
  /// Items of one batch, of at most `most_parts` requests. A request with more is split over several.
  std::uint32_t max_items = 32;
  /// Assembly cost of one batch, in the unit of Slot::cost. A single item above it runs alone.
  std::int64_t max_cost = std::numeric_limits<std::int64_t>::max();
  /// Cost of the dearest item, for a lane whose batches take as long as they cost (items that are padded:
  /// their positions): run times are learned by it. 0: they are learned by items.
  std::int64_t dearest_item = 0;
  /// Whether a lone caller may run its batch on its own thread. Off for backends that need a worker of their
  /// own.
  bool caller_runs = true;
  /// A failed batch of several parts is run again in pieces to find the culprits. While no piece succeeds, at
  /// most this many times its items are executed again; what is untried then fails with the error of its
  /// piece. 0 turns it off.
  std::uint32_t rework_limit = 2;
};
/// invalid_argument / option for a lane that could not run anything.
Result<void> validate(LaneOptions const& options);

/// True when running the pieces of a batch that failed so can help: not for refusals and losses, which would
/// strike every piece.
bool splitting_may_help(Error const& error) noexcept;

/// Counts since construction, and the state when it was taken. Fields are read one by one and may be mutually
/// inconsistent.
struct LaneSnapshot {
  std::uint64_t queued_items = 0;
  std::uint64_t queued_requests = 0;
  std::int64_t queued_cost = 0;
  std::uint32_t busy_instances = 0;
  std::uint32_t idle_instances = 0;
  Duration predicted_wait{};         ///< as Lane::predicted_wait
  std::uint64_t batches = 0;         ///< executed
  std::uint64_t batch_items = 0;     ///< in these
  std::uint64_t caller_batches = 0;  ///< of these, on the thread of their only caller
  std::uint64_t failed_batches = 0;  ///< of these, failed at the first attempt
  std::uint64_t reruns = 0;          ///< pieces of failed batches that were run again
  std::uint64_t expired = 0;         ///< slots whose deadline passed while they waited
};

/// Thread-safe. Outlives every call of its functions, and every slot it holds.
///
/// An **instance** belongs to the thread that changed its `busy` word from 0 to 1, until that thread stores
/// 0: everything else in it (its buffers, its cost model, its counters) is that thread's to write. The
/// **queue** (machine, tasks, timer) is guarded by the mutex.
///
/// A blocking caller that finds nothing queued takes an instance by its word, asks the policy about its
/// request as a queue of one, runs it and returns the instance without the mutex: callers at different
/// instances write no common memory. Every other request enters the queue, under the mutex.
///
/// A request that lends no thread while a thread is on its way to every idle instance goes into the
/// **inbox**: a list to which any thread adds without the mutex, and from which only the holder of the mutex
/// takes, all at once. So no submitter waits for the mutex, and the queue's lines stay with the thread that
/// serves it. `waiting_` and the other published numbers count a request before it is in the inbox.
///
/// Executor threads come by **summons**: a task that is a hint, and reserves nothing. The thread takes any
/// idle instance and the next batch; it leaves when there is none, because the threads that hold the
/// instances plan again. `coming_` counts the summonses that are on their way. A thread that has run a batch
/// counts its own again before it gives the instance back, and only then finishes the slots; the summons
/// follows what these defer, by `defer`. Thus nothing that they defer delays the instance, which a caller may
/// take at once, nor for long the next batch: another executor thread takes over the summons.
///
/// Nothing that is queued is forgotten. A thread that queues adds to `waiting_` (and to the inbox), then
/// reads the instances' words and `coming_`; a caller's thread that gives an instance back stores its word,
/// then reads `waiting_` (and summons a thread for what is in the inbox); a summons that comes takes itself
/// off `coming_`, then empties the inbox. All are sequentially consistent, so at least one of the two sees
/// the other. A thread that sees work and an idle instance takes the mutex, asks the machine how many batches
/// there are to run, and posts as many summonses, less those that are coming.
///
/// A caller's thread runs batches only while its own requests are in them: alone, or with the company of the
/// batch. If a batch in company fails, it runs its own requests again by themselves, and leaves the others,
/// with the instance, to an executor thread if one is idle. Executor threads run what comes next, for a turn,
/// then queue up behind the executor's other tasks.
///
/// A slot is finished after its instance has been given back, or has its next batch: a caller that is
/// answered finds the instance as it will be.
template <Environment Env, BatchingPolicy Policy, class H>
class Lane {
 public:
  /// `options` must be valid. Client and executor outlive the lane. Throws std::bad_alloc.
  Lane(LaneOptions const& options, Policy policy, H& client, typename Env::Executor& executor);
  /// Everything entered must have been finished or withdrawn, or refuse_all called. Waits for executor
  /// threads that are still inside the lane, so it must not be called from inside a client function. If the
  /// executor is stopped, that must be complete.
  ~Lane();
  Lane(Lane const&) = delete;
  Lane& operator=(Lane const&) = delete;
  /// For an owner that may not wait in the destructor; what holds for that holds here. True if it will not
  /// wait: no executor thread is inside the lane or on its way. Otherwise the last of them calls
  /// `left.run(left)`, on its own thread, and the next `retire` returns true. `left` must outlive that call,
  /// and be the same each time. Not thread-safe.
  bool retire(Task& left) noexcept;

  /// Takes the slot until `finish` is called for it or `withdraw` returns true for it. `finish` may be called
  /// before this returns: by another thread; on this one if the slot ran here, its deadline has passed or the
  /// lane refuses. This thread may also finish slots of others. Never waits for another slot: it returns once
  /// its own has run, or is queued. Allocates nothing. `now` is of the environment's clock.
  void enter(Slot& slot, LendThread lend, TimePoint now = Env::now()) noexcept;
  /// Runs the slot here and now, without the queue, if that may be. Returns when it ended; the slot is then
  /// the caller's again, and `finish` is not called: `batch_failed` says whether there is a `batch_error`.
  /// Nothing when it may not be, and nothing has happened: the slot may be queued. The policy does not hold
  /// one that continues.
  std::optional<TimePoint> run_alone(Slot& slot, TimePoint now, bool continues = false) noexcept;
  /// As `enter`, for a slot that `run_alone` did not run.
  void queue(Slot& slot, LendThread lend, TimePoint now) noexcept;
  /// Enters them together, in their order, and leaves `slots` empty: an idle instance sees all of them when
  /// it forms its first batch. A caller that lends its thread runs the batches that hold any of them, as long
  /// as no older ones are in the way and each is known to end before the earliest of their deadlines; if it
  /// lends it readily, also while nothing is known.
  void enter_all(SlotList& slots, LendThread lend, TimePoint now = Env::now()) noexcept;
  /// Queues a slot again that its client kept when it was to be finished, as if it had answered `again`. With
  /// a thread lent it runs here instead if `run_alone` may, and is finished before this returns.
  void put_back(Slot& slot, LendThread lend, TimePoint now = Env::now()) noexcept;
  /// True when the slot was still wholly queued: it is the caller's again and will not be finished. False
  /// when it is in execution or finished (or never entered).
  bool withdraw(Slot& slot) noexcept;
  /// Finishes all that is queued, and all that enters later, with `error`. Batches that run are not touched.
  void refuse_all(Error const& error) noexcept;

  LaneOptions const& options() const noexcept { return options_; }
  LaneSnapshot snapshot() const noexcept;
  /// What batches took so far, by the instance that knows most.
  CostModel cost_model() const noexcept { return informed().cost; }
  /// How long something that enters now waits until its batch begins, by what batches took so far: what is
  /// left of those that run, and what is queued. Zero when an instance is idle and nothing queued, or batches
  /// of that size are not known well enough to refuse work by it. `first` is the instance to look at first.
  Duration predicted_wait(TimePoint now, std::uint32_t first = 0) const noexcept;
  /// Several times the predicted wait of something that enters now, with its batch: three loads of what is
  /// hardly ever written, for deadlines much later than that.
  Duration longest_wait() const noexcept {
    std::uint64_t const queued = queued_items_.load(std::memory_order_relaxed);
    std::uint64_t const batches = (queued == 0 ? 0 : queued / limits_.max_items) + 3;
    return saturating_product(largest_batch(), static_cast<std::int64_t>(4 * batches));
  }
  /// Median of the time that the work takes, in as many batches as it needs; zero until batches of that
  /// size are known well enough to refuse work by it.
  Duration predicted(Work const& work) const noexcept;
  /// At least the p95 of the run time of a batch of `max_items`, and within a few batches no more than about
  /// four times that; zero when nothing is known. One load of what is hardly ever written.
  Duration largest_batch() const noexcept { return Duration{largest_batch_.load(std::memory_order_relaxed)}; }

 private:
  struct Instance;
  struct Rework {
    std::uint64_t items_left = 0;
    std::uint32_t runs = 0;
    bool succeeded = false;
  };
  /// The rest of a failed batch that its caller has left, and the task that brings an executor thread for it.
  struct LeftBatch : Task {
    Lane* lane = nullptr;
    Instance* instance = nullptr;
    Rework rework{};
    Error error;
  };
  struct alignas(64) Instance {
    typename Env::template Atomic<std::uint32_t> busy{0};
    // The size of what runs, read by predictions; 0 while nothing does.
    typename Env::template Atomic<std::uint32_t> running_size{0};
    typename Env::template Atomic<std::int64_t> began{0};
    typename Env::template Atomic<std::uint64_t> batches{0};
    typename Env::template Atomic<std::uint64_t> batch_items{0};
    typename Env::template Atomic<std::uint64_t> caller_batches{0};
    typename Env::template Atomic<std::uint64_t> failed_batches{0};
    typename Env::template Atomic<std::uint64_t> reruns{0};
    Batch batch;
    std::vector<Part> parts;
    CostModel cost;
    LeftBatch left;
  };
  /// A task that brings an executor thread, again and again until that finds nothing to run.
  struct Summons : Task {
    Lane* lane = nullptr;
    Summons* next_summons = nullptr;
    TimePoint turn_ends{};  // none yet: the turn begins when the thread comes
  };
  struct LaneTimer : Timer {
    Lane* lane = nullptr;
  };
  /// What is decided under the mutex and done after it.
  struct Deferred {
    SlotList finished;
    Summons* summons = nullptr;
  };
  /// A caller that runs a batch with its own requests in it, and may leave the rest of it.
  struct Leaver {
    Brought const& own;
    Deferred& deferred;
    bool left = false;  // then the instance is another thread's
  };
  static void on_task(Task& task) noexcept;
  static void on_left(Task& task) noexcept;
  static void on_timer(Timer& timer) noexcept;

  // The queue.
  void reset(Slot& slot) noexcept ATH_REQUIRES(mutex_);
  void admit(Slot& slot, Surroundings const& around, Deferred& deferred) noexcept ATH_REQUIRES(mutex_);
  bool leave_in_inbox(Slot& slot, TimePoint now) noexcept;
  void empty_inbox(TimePoint now, Deferred& deferred) noexcept ATH_REQUIRES(mutex_);
  bool is_attended() const noexcept;
  Surroundings around(TimePoint now) const noexcept;
  void unlock_and_dispatch(TimePoint now, Deferred& deferred) noexcept ATH_RELEASE(mutex_);
  void unlock_and_leave(TimePoint now, Deferred& deferred) noexcept ATH_RELEASE(mutex_);
  void unlock_and_post(TimePoint now, Deferred& deferred) noexcept ATH_RELEASE(mutex_);
  void summon(Deferred& deferred) noexcept ATH_REQUIRES(mutex_);
  void put_aside(Summons& summons) noexcept ATH_REQUIRES(mutex_);
  void store_counts() noexcept ATH_REQUIRES(mutex_);
  bool arm(TimePoint at) noexcept ATH_REQUIRES(mutex_);
  void post(Deferred& deferred) noexcept;
  Finished finish(Slot& slot, TimePoint now) noexcept;
  void finish(SlotList& slots, TimePoint now) noexcept;
  void put_back(SlotList& slots, TimePoint now) noexcept;

  // Instances.
  Instance* take_idle(std::uint32_t first) noexcept;
  Instance* take_soon(Slot const& slot, TimePoint& now) noexcept;
  bool is_nearly_done(Instance const& instance, Slot const& slot) const noexcept;
  void give_back(Instance& instance) noexcept { instance.busy.store(0); }
  Instance const& informed() const noexcept;
  void load(Instance& instance, FormedBatch const& formed, bool on_caller) noexcept;

  // Serving.
  bool policy_dispatches(Slot const& slot, Instance const& instance, TimePoint now) const noexcept;
  void serve_as_caller(Slot* first, Brought const& own, TimePoint deadline, TimePoint now,
                       Deferred& deferred) noexcept ATH_RELEASE(mutex_);
  bool next_for_caller(Instance& instance, Slot* first, Brought const& own, TimePoint deadline, TimePoint now,
                       Deferred& deferred) noexcept ATH_REQUIRES(mutex_);
  void serve_on_executor(Summons& summons) noexcept;
  void end_turn(Summons& summons, TimePoint now) noexcept;
  bool next_batch(Instance& instance, TimePoint now, Deferred& deferred) noexcept ATH_REQUIRES(mutex_);

  // One batch.
  TimePoint run(Instance& instance, TimePoint now, Leaver* caller = nullptr) noexcept;
  TimePoint run_wanted(Instance& instance, TimePoint now, Leaver* caller = nullptr) noexcept;
  void drop_unwanted(Instance& instance) noexcept;
  Verdict isolate(Instance& instance, Error const& error, Rework& rework, Leaver* caller) noexcept;
  void isolate_company(Instance& instance, std::size_t own, Error const& error, Rework& rework,
                       Leaver& caller) noexcept;
  bool leave(Instance& instance, std::size_t own, Error const& error, Rework const& rework,
             Leaver& caller) noexcept;
  void end_left(Instance& instance) noexcept;
  static std::size_t bring_first(Instance& instance, Brought const& own) noexcept;
  static Verdict verdict_of(Rework const& rework) noexcept {
    return rework.succeeded ? Verdict::isolated : Verdict::failed;
  }
  void bisect(Instance& instance, std::span<Part const> parts, Error const& error, Rework& rework) noexcept;
  void rerun(Instance& instance, std::span<Part const> parts, Error const& error, Rework& rework) noexcept;
  void fail_parts(std::span<Part const> parts, Error const& error) noexcept;
  void note(Instance& instance, Duration run_time, bool failed, Rework const& rework) noexcept;
  void collect(std::span<Part const> parts, Deferred& deferred) noexcept ATH_REQUIRES(mutex_);
  SlotList ended(std::span<Part const> parts) noexcept;

  // Executor threads inside.
  void count_in() noexcept;
  void count_out() noexcept;
  std::pair<std::uint32_t, Task*> drop_visit() noexcept;

  H& client_;
  typename Env::Executor& executor_;
  LaneOptions const options_;
  BatchLimits const limits_;
  Policy const policy_;
  std::unique_ptr<Instance[]> instances_;
  std::unique_ptr<Summons[]> all_summons_;
  // Summonses from their posting to their end, timers that are armed or fire; the highest bit: the last one
  // is awaited.
  typename Env::Word executor_visits_;
  Task* left_ = nullptr;  // whom the last one tells, written before that bit; none: the destructor
  LaneTimer timer_;
  std::uint64_t const forks_ = Env::forks();

  // Written when the queue changes, or rarely; read by every call.
  // Twice the requests queued; 1 more if refusing.
  alignas(64) typename Env::template Atomic<std::uint64_t> waiting_{0};
  typename Env::template Atomic<Slot*> inbox_{nullptr};     // linked by Slot::next, the newest first
  typename Env::template Atomic<std::uint32_t> coming_{0};  // summonses posted or deferred that have not come
  typename Env::template Atomic<std::uint64_t> queued_items_{0};
  typename Env::template Atomic<std::int64_t> queued_cost_{0};
  typename Env::template Atomic<std::uint64_t> expired_{0};
  typename Env::template Atomic<std::int64_t> largest_batch_{0};

  alignas(64) ParkingMutex<Env> mutex_;
  QueueMachine<Policy> machine_ ATH_GUARDED_BY(mutex_);
  // What the published numbers count, but for what is in the inbox.
  std::uint64_t published_requests_ ATH_GUARDED_BY(mutex_) = 0;
  std::uint64_t published_items_ ATH_GUARDED_BY(mutex_) = 0;
  std::int64_t published_cost_ ATH_GUARDED_BY(mutex_) = 0;
  Summons* unused_summons_ ATH_GUARDED_BY(mutex_) = nullptr;
  TimePoint armed_at_ ATH_GUARDED_BY(mutex_) = no_deadline;
  std::uint32_t fires_due_ ATH_GUARDED_BY(mutex_) = 0;  // of timer_: armed or firing
  bool refusing_ ATH_GUARDED_BY(mutex_) = false;
  Error refusal_ ATH_GUARDED_BY(mutex_);
};

}  // namespace athanor::inline v1::batching

#include <athanor/batching/detail/lane.ipp>
