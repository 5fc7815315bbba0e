/// The lane of one model: what enters is queued, batched and executed, on callers' threads or the executor's.
/// Owns no thread. What runs when is decided by the QueueMachine; this shell has the mutex, the inbox and the
/// tasks.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <athanor/batching/detail/queue_machine.hpp>
#include <athanor/batching/detail/slot.hpp>
#include <athanor/core/env.hpp>
#include <athanor/core/error.hpp>

namespace athanor::inline v1::batching {

/// How one lane batches and executes.
struct LaneOptions {
  /// Batches that run at once, at most 1024; 1 for a model that must never be entered twice at once.
  std::uint32_t instances = 1;
  /// Items of one batch, of at most 1024 requests. A request with more is split over several.
  std::uint32_t max_items = 32;
  /// Assembly cost of one batch, in the unit of Slot::cost. A single item above it runs alone.
  std::int64_t max_cost = std::numeric_limits<std::int64_t>::max();
  /// Whether a caller who is alone may run its batch itself. Off for backends that need a worker of their
  /// own.
  bool caller_runs = true;
  /// How long a caller whose own answer is ready goes on running batches of others, before the executor takes
  /// over.
  Duration serve_others_for = std::chrono::microseconds(100);
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

/// Counts since construction, and the state when it was taken; fields may be of different moments.
struct LaneSnapshot {
  std::uint64_t queued_items = 0;
  std::uint64_t queued_requests = 0;
  std::int64_t queued_cost = 0;
  std::uint32_t busy_instances = 0;
  std::uint32_t idle_instances = 0;
  Duration predicted_wait{};  ///< until the batch of an item that entered now would begin; zero when idle
  Duration largest_batch{};   ///< p95 of the run time of a batch of `max_items`; zero when nothing is known
  std::uint64_t batches = 0;  ///< executed
  std::uint64_t batch_items = 0;     ///< in these
  std::uint64_t caller_batches = 0;  ///< of these, on the thread of their only caller
  std::uint64_t failed_batches = 0;  ///< of these, failed at the first attempt
  std::uint64_t reruns = 0;          ///< pieces of failed batches that were run again
  std::uint64_t expired = 0;         ///< slots whose deadline passed while they waited
};

/// Thread-safe. Outlives every call of its functions, and every slot it holds.
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

  /// Takes the slot until `finish` is called for it or `withdraw` returns true for it. `finish` may be called
  /// before this returns: by another thread; on this one if the slot ran here, its deadline has passed or the
  /// lane refuses. This thread may also finish slots of others. Never waits for another slot. Allocates
  /// nothing. `now` is of the environment's clock.
  void enter(Slot& slot, LendThread lend, TimePoint now = Env::now()) noexcept;
  /// Enters them together, in their order, and leaves `slots` empty: an idle instance sees all of them when
  /// it forms its first batch. A caller who lends its thread runs as many items as it brought, then goes on
  /// as after `enter`.
  void enter_all(SlotList& slots, LendThread lend, TimePoint now = Env::now()) noexcept;
  /// True when the slot was still wholly queued: it is the caller's again and will not be finished. False
  /// when it is in execution or finished (or never entered).
  bool withdraw(Slot& slot) noexcept;
  /// Finishes all that is queued, and all that enters later, with `error`. Batches that run are not touched.
  void refuse_all(Error const& error) noexcept;

  LaneOptions const& options() const noexcept { return options_; }
  LaneSnapshot snapshot() const noexcept;
  /// What batches took so far.
  CostModel cost_model() const noexcept;
  /// Median of the time that so many items take, in as many batches as they need; zero until batches of that
  /// size are known well enough to refuse work by it.
  Duration predicted(std::uint32_t items) const noexcept;

 private:
  /// Whoever executes batches for an instance: started by posting its task, or lent a caller's thread.
  struct Instance : Task {
    Lane* lane = nullptr;
    Instance* next = nullptr;  // in idle_ or in a list of started ones
    std::vector<Part> parts;
    Batch batch;
    Duration run_time{};      // of the last batch, if `learn`
    std::uint32_t learn = 0;  // its items, when it tells what a batch of so many costs
    std::uint32_t reruns = 0;
    bool failed = false;
    bool executed = false;
    bool started = false;
  };
  struct LaneTimer : Timer {
    Lane* lane = nullptr;
  };
  struct FinalTask : Task {
    Lane* lane = nullptr;
  };
  /// What is decided under the mutex and done after it.
  struct Deferred {
    SlotList finished;
    Instance* started = nullptr;
  };
  struct Rework {
    std::uint64_t items_left = 0;
    std::uint32_t runs = 0;
    bool succeeded = false;
  };
  static void on_task(Task& task) noexcept;
  static void on_timer(Timer& timer) noexcept;

  // The mutex and the inbox; see lane.ipp for why nothing is lost between them.
  void lock() const noexcept ATH_ACQUIRE(mutex_);
  void push(Slot& slot) noexcept;
  static void reset(Slot& slot, TimePoint now) noexcept;
  bool inbox_is_empty() const noexcept;
  void absorb(TimePoint now, Deferred& deferred) noexcept ATH_REQUIRES(mutex_);
  void unlock_and_dispatch(TimePoint now, Deferred& deferred) noexcept ATH_RELEASE(mutex_);
  void admit(Slot& slot, TimePoint now, Deferred& deferred) noexcept ATH_REQUIRES(mutex_);
  void arm(TimePoint at) noexcept ATH_REQUIRES(mutex_);
  void publish_snapshot() noexcept ATH_REQUIRES(mutex_);
  void post_started(Deferred& deferred) noexcept;
  void refuse_queued(Error const& error, Deferred& deferred) noexcept ATH_REQUIRES(mutex_);
  template <class Look>
  auto peek(Look look) const noexcept;

  // Serving.
  Instance* start_on_caller(Slot& slot, TimePoint now) noexcept ATH_REQUIRES(mutex_);
  Instance* start_group_on_caller(std::uint64_t items, TimePoint deadline, TimePoint now,
                                  Deferred& deferred) noexcept ATH_REQUIRES(mutex_);
  void load(Instance& instance, FormedBatch const& taken, TimePoint now, bool on_caller) noexcept;
  void return_instance(Instance& instance) noexcept ATH_REQUIRES(mutex_);
  bool next_batch(Instance& instance, TimePoint now, Duration budget) noexcept;
  void note_batch(Instance& instance) noexcept ATH_REQUIRES(mutex_);
  void serve_as_caller(Instance& instance, TimePoint deadline, std::uint64_t owed) noexcept;
  void serve_on_executor(Instance& instance) noexcept;

  // One batch.
  TimePoint run(Instance& instance) noexcept;
  void drop_unwanted(Instance& instance) noexcept;
  Verdict isolate(Instance& instance, Error const& error) noexcept;
  void bisect(Instance& instance, std::span<Part const> parts, Error const& error, Rework& rework) noexcept;
  void rerun(Instance& instance, std::span<Part const> parts, Error const& error, Rework& rework) noexcept;
  void fail_parts(std::span<Part const> parts, Error const& error) noexcept;
  void finish_parts(std::span<Part const> parts, TimePoint now) noexcept;

  // Executor threads inside.
  void count_in() noexcept;
  void count_out() noexcept;

  struct Published {
    typename Env::template Atomic<std::uint64_t> queued_items{0};
    typename Env::template Atomic<std::uint64_t> queued_requests{0};
    typename Env::template Atomic<std::int64_t> queued_cost{0};
    typename Env::template Atomic<std::uint32_t> busy_instances{0};
    typename Env::template Atomic<std::int64_t> predicted_wait{0};
    typename Env::template Atomic<std::int64_t> largest_batch{0};
    typename Env::template Atomic<std::uint64_t> batches{0};
    typename Env::template Atomic<std::uint64_t> batch_items{0};
    typename Env::template Atomic<std::uint64_t> caller_batches{0};
    typename Env::template Atomic<std::uint64_t> failed_batches{0};
    typename Env::template Atomic<std::uint64_t> reruns{0};
    typename Env::template Atomic<std::uint64_t> expired{0};
  };

  H& client_;
  typename Env::Executor& executor_;
  LaneOptions const options_;
  std::unique_ptr<Instance[]> instances_;
  typename Env::Word
      executor_visits_;  // started instances, timers and their threads; the highest bit: the destructor waits
  LaneTimer timer_;
  FinalTask final_task_;

  alignas(64) mutable typename Env::template Atomic<Slot*> inbox_{nullptr};
  alignas(64) mutable typename Env::Mutex mutex_;
  QueueMachine<Policy> machine_ ATH_GUARDED_BY(mutex_);
  Instance* idle_ ATH_GUARDED_BY(mutex_) = nullptr;
  TimePoint armed_at_ ATH_GUARDED_BY(mutex_) = no_deadline;
  std::uint32_t fires_due_ ATH_GUARDED_BY(mutex_) = 0;  // of timer_: armed or firing
  bool refusing_ ATH_GUARDED_BY(mutex_) = false;
  Error refusal_ ATH_GUARDED_BY(mutex_);
  alignas(64) Published published_;  // written under mutex_, read by anybody
};

}  // namespace athanor::inline v1::batching

#include <athanor/batching/detail/lane.ipp>
