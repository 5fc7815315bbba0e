/// A call in flight: pooled, reference-counted by caller and engine, derived from the slot of every room.
#pragma once

#include <athanor/admission/gate.hpp>
#include <athanor/batching/detail/lane.hpp>
#include <athanor/breaking/breaker.hpp>
#include <athanor/caching/detail/store.hpp>
#include <athanor/core/cancellation.hpp>
#include <athanor/core/detail/local.hpp>
#include <athanor/core/detail/park.hpp>
#include <athanor/core/env.hpp>
#include <athanor/loading/model_loader.hpp>
#include <athanor/serving/answer.hpp>
#include <athanor/serving/detail/call_inputs.hpp>
#include <athanor/serving/detail/handles.hpp>
#include <athanor/serving/detail/loaded_model.hpp>
#include <athanor/serving/detail/output_pool.hpp>
#include <athanor/serving/detail/outputs.hpp>
#include <athanor/serving/detail/pieces.hpp>
#include <athanor/serving/detail/ragged.hpp>
#include <athanor/serving/detail/sequences.hpp>

namespace athanor::inline v1::serving {

template <class T>
class ServedModel;
template <class T>
class PartQueue;

using StoredAnswerPointer = std::shared_ptr<StoredAnswer const>;

/// The next step of a call's route. Each room is entered at most once.
enum class RouteStep : std::uint8_t {
  join,
  admit_work,
  guard,
  prepare,
  pin,
  slot,  ///< of a model with state only
  push,
  postprocess,
  finish,
  answer
};

/// The thread that advances a call: a blocking caller's own, that of an `infer_many` with several calls, that
/// of a `submit` which has not returned, or a worker's.
enum class CallerKind : std::uint8_t { caller, group, submitter, worker };

/// Bits of a call's word, and the ownership rules that they encode. One thread at a time moves a call through
/// the rooms. The thread that sets `claimed` decides the answer; any other outcome is dropped.
///
/// While `starting` is set, the thread inside `submit`, `infer` or `infer_many` moves the call or has just
/// handed it to a room. Until it clears the bit, no other thread may take the call out of a room, release its
/// inputs or run its completion: a thread that wants the call answered sets `revoked` or `stopped`, and the
/// caller's thread acts on them before it returns. The route may end on another thread, which then sets
/// `claimed` and `answered` and leaves the completion to the submitting thread, which posts it.
///
/// `completion`, `leader` and the hooks are written while `starting` is set; any thread that has seen it
/// cleared may read them.
namespace call_bits {
inline constexpr std::uint32_t claimed = 1;   ///< the caller's answer is being written, or is written
inline constexpr std::uint32_t answered = 2;  ///< the answer may be read
/// A lock: of lent inputs; of report and outputs of a call in parts.
inline constexpr std::uint32_t locked = 4;
inline constexpr std::uint32_t parked = 8;          ///< a thread is parked on the word
inline constexpr std::uint32_t revoked = 16;        ///< it was cancelled, or its timer has fired
inline constexpr std::uint32_t gathered = 32;       ///< of a leader: every call of its group is answered
inline constexpr std::uint32_t starting = 64;       ///< its caller's thread moves it
inline constexpr std::uint32_t stopped = 128;       ///< a stop answers it
inline constexpr std::uint32_t delivered = 256;     ///< a thread runs its completion, or ran it
inline constexpr std::uint32_t completed = 512;     ///< its completion has returned
inline constexpr std::uint32_t lock_wanted = 1024;  ///< a thread is parked until the call is unlocked
inline constexpr std::uint32_t handed = 2048;       ///< its delivery is posted, and answers it if nobody has
}  // namespace call_bits

/// Marks the current thread as a caller's (inside infer or submit); no other caller's completion may run on
/// it.
template <class Env>
struct CallerScope {
  CallerScope() noexcept { ++depth(); }
  ~CallerScope() { --depth(); }
  CallerScope(CallerScope const&) = delete;
  CallerScope& operator=(CallerScope const&) = delete;
  /// How many the current thread is inside of.
  struct Depth {
    using Value = int;
  };
  static int& depth() noexcept { return detail::local<Env, Depth>(); }
};

/// The two tasks of a call: its route continues on a worker, up to the answer; and its completion runs there,
/// where the route ended elsewhere.
struct Continuation : Task {};
struct Delivery : Task {};

/// While an object of this class exists, its thread answers a call, and keeps the completions of others that
/// no worker takes because none can be started. They run at its end.
template <class Env>
class LeftDeliveries {
 public:
  LeftDeliveries() noexcept : outer_(std::exchange(here(), this)) {}
  ~LeftDeliveries() {
    here() = outer_;
    while (Task* const task = first_) {
      first_ = task->next;
      task->run(*task);
    }
  }
  LeftDeliveries(LeftDeliveries const&) = delete;
  LeftDeliveries& operator=(LeftDeliveries const&) = delete;
  /// False, and nothing is done, if the thread answers no call.
  static bool take(Delivery& delivery) noexcept {
    if (here() == nullptr) return false;
    delivery.next = std::exchange(here()->first_, &delivery);
    return true;
  }

 private:
  struct Here {
    using Value = LeftDeliveries*;
  };
  static LeftDeliveries*& here() noexcept { return detail::local<Env, Here>(); }

  LeftDeliveries* const outer_;
  Task* first_ = nullptr;
};

template <class T>
struct Call : admission::Slot,
              caching::Slot<typename T::Env, StoredAnswerPointer>,
              breaking::Slot,
              loading::Slot<LoadedModel>,
              batching::Slot,
              Continuation,
              Delivery,
              Timer,
              CancelHook {
  using Env = typename T::Env;

  /// References: those of callers, of the timer and the delivery of an asynchronous call, and
  /// `engine_reference` while the call is in flight.
  typename Env::template Atomic<std::uint32_t> owners{0};
  static constexpr std::uint32_t engine_reference = 1U << 16U;
  std::size_t number = 0;        ///< in the engine's list of calls
  std::size_t home = 0;          ///< the thread that took it from the pool, to whose cell it goes back
  Call* next_stopped = nullptr;  ///< of those that the engine's stop answers

  // The caller's side.
  typename Env::Word word{};
  Completion completion{};  ///< set for an asynchronous call
  TimePoint began{};
  TimePoint deadline = no_deadline;
  bool own_deadline = false;  ///< given by the caller
  CacheMode cache_mode = CacheMode::use;
  AnyCancellation* cancellation = nullptr;
  Ending answer_end{};     ///< of the caller: valid once answered
  Call* leader = nullptr;  ///< of a group of blocking calls, whose caller parks on the leader's word
  typename Env::template Atomic<std::size_t> unanswered{0};  ///< of a leader: calls of its group
  batching::SlotList held{};  ///< of a leader: calls of its group that will enter the lane together

  // The route.
  EngineState<T>* engine = nullptr;  ///< whose pool the call is of
  /// Not to be touched once a blocking call is answered, unless `handle` is set: its caller may release the
  /// model.
  ServedModel<T>* model = nullptr;
  /// Keeps model and engine alive: of an asynchronous call, and of a blocking one whose caller left while its
  /// work continues. Otherwise a blocking call relies on its caller's handle.
  std::shared_ptr<ServedModel<T>> handle{};
  OutputSetPointer outputs{};  ///< until the answer takes them over
  Report report{};
  CallInputs inputs{};           ///< guarded by lock() once the call has started
  ParameterValues parameters{};  ///< set before the call starts; empty where the model has none
  std::vector<MadeItem> made{};  ///< by item, when the model has a processor
  PaddedLengths longest{};       ///< of its items; set before the call is queued
  SequenceTicket ticket{};       ///< of a call of a sequence, which nobody else has until it is settled
  RouteStep step = RouteStep::join;
  /// Some of its items are, or were, in a batch that runs.
  typename Env::template Atomic<bool> running{false};
  bool refused = false;     ///< it ended inside submit
  bool ended_here = false;  ///< of a blocking call: on its caller's thread, which alone reads and writes this
  bool listens = false;     ///< the same: it was linked to its cancellation
  Ending route_end{};
  TimePoint ended{};          ///< when all rooms were left; of an asynchronous call whose answer is deferred
  bool outputs_made = false;  ///< of a call in parts; guarded by lock()
  std::vector<RaggedPart> ragged_parts{};                 ///< the same
  typename Env::template Atomic<bool> incomplete{false};  ///< a part was left out: its inputs were gone
  bool last_step = false;                  ///< of a call that the engine steps: its model has said so
  std::shared_ptr<PartQueue<T>> stream{};  ///< of a call that is answered in parts
  std::int64_t steps_left = 0;             ///< of a call that the engine steps, with the one at hand

  /// Prepares a pooled call for a request, with one reference for its caller and one for the engine. It is
  /// starting.
  void reset(ServedModel<T>& served, Request const& given, CheckedRequest const& result,
             CallOptions const& options) noexcept {
    // A call that ended on its caller's thread left it so.
    if (word.load() != call_bits::starting) word.store(call_bits::starting);
    owners.store(engine_reference + 1);
    model = &served;
    inputs.borrow(given, result);
    own_deadline = options.deadline.has_value();
    cache_mode = options.cache;
    cancellation = options.cancellation;
    completion = {};
    leader = nullptr;
    report = {};
    report.model = outputs->owner.model;
    step = RouteStep::join;
    this->reset_role();
    refused = false;
    ended_here = false;
    listens = false;
    route_end.failed = false;
    answer_end.failed = false;
    alone = false;
    ticket.number = 0;
    this->tag = served.tag();
    outputs_made = false;
    incomplete.store(false, std::memory_order_relaxed);
    running.store(false, std::memory_order_relaxed);
  }
  /// Held for the copy of one tensor, or to make the outputs. Parks when that takes longer than a short spin.
  void lock() noexcept {
    for (int spins = 0;; ++spins) {
      if ((word.load() & call_bits::locked) == 0 &&
          (word.fetch_or(call_bits::locked) & call_bits::locked) == 0)
        return;
      if (spins < detail::spins_before_parking && !Env::simulated) {
        Env::relax();
        continue;
      }
      std::uint32_t const seen = word.fetch_or(call_bits::lock_wanted) | call_bits::lock_wanted;
      if ((seen & call_bits::locked) != 0) word.wait_until(seen, no_deadline);
    }
  }
  void unlock() noexcept {
    auto const seen = word.fetch_and(~(call_bits::locked | call_bits::lock_wanted));
    if ((seen & call_bits::lock_wanted) != 0) word.wake_all();
  }
  /// Takes one more reference, unless the call is back in the pool.
  bool try_ref() noexcept {
    auto seen = owners.load(std::memory_order_acquire);
    while (seen != 0 && !owners.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel)) {
    }
    return seen != 0;
  }
  void unref(std::uint32_t references = 1) noexcept {
    if (owners.fetch_sub(references) == references) engine->recycle(*this);
  }
  bool in_flight() const noexcept { return owners.load() >= engine_reference; }
  bool asynchronous() const noexcept { return completion.function != nullptr; }
};

/// Holds a call's lock; made without a call it holds none.
template <class T>
class CallLock {
 public:
  CallLock() noexcept = default;
  explicit CallLock(Call<T>& call) noexcept : call_(&call) { call.lock(); }
  ~CallLock() {
    if (call_ != nullptr) call_->unlock();
  }
  CallLock(CallLock const&) = delete;
  CallLock& operator=(CallLock const&) = delete;

 private:
  Call<T>* call_ = nullptr;
};

}  // namespace athanor::inline v1::serving
