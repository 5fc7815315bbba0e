/// The state behind an engine: its models, and the route of every call through the rooms.
/// Included through serving/engine.hpp.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <athanor/core/detail/lock.hpp>
#include <athanor/serving/detail/call.hpp>
#include <athanor/serving/detail/observe.hpp>
#include <athanor/serving/detail/pool.hpp>
#include <athanor/serving/detail/room_line.hpp>
#include <athanor/serving/detail/served_model.hpp>

namespace athanor::inline v1::serving {

/// What is called once an engine has stopped; none by default.
struct Closed {
  void (*function)(void* context) noexcept = nullptr;
  void* context = nullptr;
};

/// The state behind an Engine handle, shared by calls, models and workers, so that it outlives an abandoned
/// thread.
template <class T>
class EngineState : public std::enable_shared_from_this<EngineState<T>> {
 public:
  using Env = typename T::Env;
  using CallType = Call<T>;
  using ModelType = ServedModel<T>;
  /// Keeps the model and the engine alive.
  using ModelPointer = std::shared_ptr<ModelType>;
  struct CacheTraits {
    using Env = typename T::Env;
    using Value = StoredAnswerPointer;
    using Eviction = typename T::Eviction;
  };
  using Cache = caching::Store<CacheTraits>;

  explicit EngineState(EngineOptions options, Tables tables = {});
  ~EngineState();

  /// Registers one more backend or processor; models added from now on may name it.
  Result<void> add_backend(ath_backend_table const& table);
  Result<void> add_processor(ath_processor_table const& table);
  Result<ModelPointer> add(std::string const& folder);
  Result<ModelPointer> find(std::string_view name);
  Result<void> remove(std::string_view id);
  /// A handle of a model that is registered, or of which the caller knows that a handle exists. Allocates
  /// only if none does.
  ModelPointer handle_of(ModelType& model);

  LargeInputs large_inputs(ModelType const& model, CallOptions const& options) const noexcept;
  /// A pooled call for `request`, checked against the model's signature; referenced by its caller and by the
  /// engine.
  Result<CallType*> make_call(ModelType& model, Request const& request, CallOptions const& options,
                              TimePoint now);
  /// The same with a given deadline, in place of that of `options`; the refusal is not counted, so the caller
  /// may try again.
  Result<CallType*> try_call(ModelType& model, Request const& request, CallOptions const& options,
                             TimePoint now, TimePoint deadline);
  /// The same as make_call, for a call of a sequence.
  Result<CallType*> make_sequence_call(ModelType& model, Request const& request, CallOptions const& options,
                                       TimePoint now, SequenceId sequence);
  /// The same as try_call, but waits for room at the gate until `deadline`, a cancellation or a stop. The
  /// call began at `began`.
  Result<CallType*> await_call(ModelType& model, Request const& request, CallOptions const& options,
                               TimePoint began, TimePoint deadline);
  /// Takes a blocking call through the rooms, as far as it gets on this thread.
  void start(CallType& call) noexcept;
  /// Gives back a call that was made and has not started, with all that it holds.
  void give_back(CallType& call) noexcept;
  /// Takes blocking calls of one model, made at one time, through the rooms together. The first leads: its
  /// word says when all are answered.
  void start_group(std::span<CallType* const> calls) noexcept;
  /// Starts them and parks until all are answered; cancels them at their deadline or when revoked.
  void run_group(std::span<CallType* const> calls, AnyCancellation* cancellation) noexcept;
  /// Starts an asynchronous call and returns the caller's reference, or the refusal, and then `completion` is
  /// not called.
  Result<CallType*> submit(ModelPointer const& model, Request&& request, CallOptions const& options,
                           Completion completion, SequenceId sequence = {});
  /// The same for a call whose parts, or whose one answer, go to `queue`. Not cached, and shared with no
  /// other call.
  Result<CallType*> stream(ModelPointer const& model, Request&& request, CallOptions options,
                           std::shared_ptr<PartQueue<T>> queue);
  /// Abandons the call of a stream whose reader has left the queue, and returns when no thread reads the
  /// memory that the request borrows, or refers to the Cancellation.
  void end_for_reader(CallType& call, Error error) noexcept;
  /// Whether a stream's Cancellation was cancelled or its deadline has passed, also once its call has been
  /// answered.
  static bool reader_gave_up(CallType const& call) noexcept;
  /// Parks until the reader of the queue may find something there.
  void wait_for_part(PartQueue<T>& queue) noexcept;
  /// Parks until the call is answered; cancels it at its deadline or when it is revoked.
  void wait(CallType& call) noexcept;
  /// Whether an answered call failed because what its processor made found no room: those beside it may have
  /// taken that.
  static bool lacked_room(CallType const& call) noexcept;
  /// Leaves the answer of an answered call of a group, whose request is tried again and counted then.
  void forgo(CallType& call) noexcept;
  /// Fails an answered call whose outputs `room` does not fit. Before collect, which counts what the caller
  /// gets.
  static void require_room(CallType& call, std::span<Tensor const> room) noexcept;
  /// Takes the answer of an answered call; the caller's reference moves into the Answer or is dropped.
  Result<Answer> collect(CallType& call) noexcept;
  /// Answers the caller with `error` unless it has been answered, and drops its work if no other call needs
  /// it.
  void abandon(CallType& call, Error error) noexcept;
  /// The same with `cancelled`; of a stream, also once its call has been answered.
  void cancel(CallType& call) noexcept;

  /// That error with the model's name before it.
  static Error named(ModelType const& model, Error const& error) noexcept;
  static Error taken_back(CallType const& call);
  static Error late(CallType const& call);
  static Error end_of_wait(CallType const& call);
  static Error stop_error();
  static Error unknown_model(std::string_view name);

  std::size_t stop(Duration grace) noexcept;
  /// Stops like `stop`, except inside a completion, a backend or a processor of this engine: then it only
  /// begins to, and a worker stops it once no call is in flight or `grace` has passed. Calls `closed` when the
  /// engine has stopped.
  void close(Duration grace, Closed closed) noexcept;
  /// True in a child of the process that made the engine: its threads are not there.
  bool in_child() const noexcept { return Env::forks() != forks_; }
  static Error child_error();
  bool stopping() const noexcept { return stopping_.load(); }

  Health health();
  std::string metrics_text();
  std::string describe(std::span<JsonMember const> more);
  Result<ModelStatistics> statistics(ModelType& model);

  EngineOptions const& options() const noexcept { return options_; }
  typename Env::Executor& executor() noexcept { return executor_; }
  Cache& cache() noexcept { return cache_; }
  ModelLoader<LoadedModel, Env>& loader() noexcept { return loader_; }
  Gate<Env>& gate() noexcept { return gate_; }
  /// Recycles a call that has no references left.
  void recycle(CallType& call) noexcept;
  /// Calls in flight. Walks over all calls: for tests. A call counts as in flight before it asks whether the
  /// engine is stopping, so a stop that does not see it is seen by it.
  std::size_t routes() const noexcept;
  /// A stream calls its reader: a stop waits until that is over.
  void begin_reading() noexcept { reading_.fetch_add(1); }
  void end_reading() noexcept;

  // As the client of the loader. The lane's clients, the served models, call batched().
  void resume(loading::Slot<LoadedModel>& slot, Error const* error) noexcept;
  void batched(CallType& call, Error const* error, TimePoint now, CallerKind caller) noexcept;
  /// A step of a call that the engine steps ended with a value: `again` when another one follows now.
  /// Otherwise the call is the lane's no more.
  batching::Finished step_ended(CallType& call, TimePoint now) noexcept;
  static bool suits_reader(CallType const& call) noexcept;
  /// Its reader has made room, or makes the next step.
  void resume_steps(CallType& call, batching::LendThread lend) noexcept;
  /// Makes a part of what one step gave, on the reader's thread.
  Result<void> finish_part(CallType& call, Outputs& part) noexcept;
  /// False if the caller has been answered, or by another bit of `left` is about to be, and no other call
  /// waits for the work.
  bool is_needed(CallType& call, std::uint32_t left = call_bits::claimed) noexcept;
  /// Whether nobody waits for the call's answer any more. `caller`: the blocking caller's own thread moves
  /// it.
  bool is_given_up(CallType& call, CallerKind caller) noexcept;

 private:
  /// Gives a call back unless it is released: also when an error that is being made finds no memory.
  class UnstartedCall {
   public:
    explicit UnstartedCall(CallType& call) noexcept : call_(&call) {}
    ~UnstartedCall() {
      if (call_ != nullptr) call_->engine->give_back(*call_);
    }
    UnstartedCall(UnstartedCall const&) = delete;
    UnstartedCall& operator=(UnstartedCall const&) = delete;
    CallType* release() noexcept { return std::exchange(call_, nullptr); }

   private:
    CallType* call_;
  };
  /// Stops an engine that was closed inside a call of its own: the timer fires when no call is in flight
  /// or its grace is over, and posts the task.
  struct CloseTimer : Timer {
    EngineState* engine = nullptr;
  };
  struct CloseTask : Task {
    EngineState* engine = nullptr;
  };

  /// Shared by the handles of one generation, and destroyed with the last of them.
  struct ModelHandle {
    ModelHandle(std::shared_ptr<EngineState> of, ModelType& shared) noexcept
        : engine(std::move(of)), model(shared) {}
    ~ModelHandle() {
      if (engine != nullptr) engine->let_go(model);
    }
    ModelHandle(ModelHandle const&) = delete;
    ModelHandle& operator=(ModelHandle const&) = delete;

    std::shared_ptr<EngineState> engine;  // none while the engine is being destroyed
    ModelType& model;
  };
  struct OwnTask : Task {
    OwnTask(EngineState& of, void (*function)(Task&) noexcept) : engine(of) { run = function; }
    EngineState& engine;
  };

  std::vector<ModelPointer> models();
  template <class Visit>
  void visit_models(Visit visit) noexcept;
  ModelPointer handle_locked(ModelType& model) ATH_REQUIRES(mutex_);
  ModelPointer take_out(std::unique_ptr<ModelType>& registered) ATH_REQUIRES(mutex_);
  void let_go(ModelType& model) noexcept;
  ModelPointer keep_model(CallType const& call) noexcept;
  void reap() noexcept;
  static void on_reap(Task& task) noexcept;
  static void on_lane_left(Task& task) noexcept;
  std::unique_ptr<ModelType> take_dead() noexcept;
  Tables tables_now();
  ModelFacts facts_of(ModelType& model);
  EngineFacts facts();
  static ModelLoaderOptions loader_options(EngineOptions const& options);
  LoadFunctions<LoadedModel> load_functions();
  CallType& take_call();
  void free_call(CallType& call) noexcept;
  Result<CallType*> make_checked_call(ModelType& model, Request const& request, CheckedRequest const& checked,
                                      PaddedLengths const& lengths, CallOptions const& options, TimePoint now,
                                      TimePoint deadline, RoomPlace<Env>* place);
  Result<CallType*> join_sequence(CallType& call, SequenceId sequence, TimePoint now) noexcept;
  void leave_sequence(CallType& call, bool answered, TimePoint now) noexcept;
  static void on_stream_end(void* context, Result<Answer> answer) noexcept;
  static bool is_over(CallType const& call) noexcept;
  Result<CallType*> try_stepped_call(ModelType& model, Request const& request, CallOptions const& options,
                                     TimePoint now, TimePoint deadline);
  Result<CallType*> begin_steps(CallType& call, TimePoint now) noexcept;
  Result<Outputs> take_part(CallType& call) noexcept;
  Result<CallType*> launch(CallType& call, Completion completion) noexcept;
  tl::unexpected<Error> refusal_of(CallType& call) noexcept;
  Error no_worker();
  bool is_inside() const noexcept;
  bool begin_stop() noexcept;
  bool any_route() noexcept;
  void refuse_queued() noexcept;
  void drain(TimePoint deadline) noexcept;
  void answer_all() noexcept;
  void wait_for_readers() noexcept;
  std::size_t finish_stop(TimePoint deadline) noexcept;
  std::size_t wait_for_stop() noexcept;
  static void on_close_timer(Timer& timer) noexcept;
  static void on_close(Task& task) noexcept;
  void end_left_close() noexcept;
  void end_of_route(CallType& call, std::uint32_t references) noexcept;
  static void on_task(Task& task) noexcept;
  static void on_timer(Timer& timer) noexcept;
  static void on_cancelled(CancelHook& hook) noexcept;
  static void revoke(CallType& call) noexcept;

  // The route, room by room. Each step returns whether the call continues or is parked: then another thread
  // may own it already.
  enum class Progress : std::uint8_t { next, parked };
  void advance(CallType& call, CallerKind caller, TimePoint now) noexcept;
  static std::optional<Error> read_inputs(CallType const& call, KeyHasher* hasher) noexcept;
  Progress join_step(CallType& call, TimePoint now) noexcept;
  Progress admit_work_step(CallType& call, TimePoint now) noexcept;
  Progress guard_step(CallType& call, TimePoint now) noexcept;
  Progress prepare_step(CallType& call, CallerKind caller, TimePoint now) noexcept;
  Progress pin_step(CallType& call, TimePoint now) noexcept;
  Progress slot_step(CallType& call) noexcept;
  void begin_postprocess(CallType& call, CallerKind caller, TimePoint now) noexcept;
  Result<void> postprocess_items(CallType& call, CallerKind caller);
  Progress postprocess_step(CallType& call, CallerKind caller) noexcept;
  void push_step(CallType& call, CallerKind caller, TimePoint now) noexcept;
  void finish_step(CallType& call, CallerKind caller, TimePoint now) noexcept;
  void answer_step(CallType& call, CallerKind caller, TimePoint now) noexcept;
  Progress end_route(CallType& call, Error error) noexcept;
  Progress turn_away(CallType& call, Error error) noexcept;
  void end_sequence_work(CallType& call, CallerKind caller) noexcept;
  bool end_here(CallType& call, TimePoint now) noexcept;
  static void take_ending(CallType& call) noexcept;
  struct Asking;
  static Result<std::vector<Tensor>> processor_inputs(CallType& call, CallerKind caller);
  Result<void> prepare_items(CallType& call, CallerKind caller, TimePoint now);
  static Result<StoredAnswerPointer> copy_answer(CallType& call, std::size_t& bytes) noexcept;
  struct Waiters;
  void end_flight(CallType& call, CallerKind caller, TimePoint now) noexcept;
  void publish(CallType& call, TimePoint now, Waiters& waiters) noexcept;

  void come_out(CallType& call) noexcept;
  void listen(CallType& call) noexcept;
  void wait_for(CallType& call, std::uint32_t bits) noexcept;
  bool claim(CallType& call) noexcept;
  bool others_wait(CallType& call) noexcept;
  void wait_for_group(std::span<CallType* const> calls) noexcept;
  std::uint32_t answer(CallType& call, TimePoint now) noexcept;
  bool answer_at_once(CallType& call, TimePoint now, std::uint32_t& references) noexcept;
  bool runs_completions_here() const noexcept;
  std::uint32_t complete(CallType& call) noexcept;
  std::uint32_t run_completion(CallType& call) noexcept;
  static void note_completed(CallType& call) noexcept;
  void detach_inputs(CallType& call, bool needed) noexcept;
  static void on_delivery(Task& task) noexcept;
  bool hand_over(CallType& call) noexcept;
  bool leave_delivery(CallType& call) noexcept;
  bool watch(CallType& call) noexcept;
  std::uint32_t unwatch(CallType& call) noexcept;

  std::uint64_t const forks_ = Env::forks();
  EngineOptions const options_;
  Tables tables_ ATH_GUARDED_BY(mutex_);
  int const spins_before_parking_;
  KeyHasher::Secret const secret_;  // of the cache's keys: a caller cannot construct inputs that share one
  // Read by every call and written once: on a line that no call writes.
  alignas(64) typename Env::template Atomic<bool> stopping_{false};
  typename Env::Word drained_{};    // 1 when a stop waits and no call is on its way, or no reader is inside
  typename Env::Word stop_over_{};  // 1 when the engine has stopped
  std::size_t abandoned_ = 0;       // by the stop; read once it is over
  CloseTimer close_timer_{};
  CloseTask close_task_{};
  typename Env::template Atomic<bool> close_left_{false};  // to what it was called in
  Gate<Env> gate_;
  RoomLine<Env> room_line_{gate_};
  Cache cache_;
  typename Env::Executor executor_;

  mutable typename Env::Mutex mutex_;
  typename Env::template Atomic<std::uint32_t> reading_{0};  // readers that streams call, inside
  // A model is in one of these: registered by id, removed with handles that are still in use, or dead. The
  // dead are destroyed by a task, never inside a lock, a completion or a thread that is in the model's lane.
  std::map<std::string, std::unique_ptr<ModelType>, std::less<>> models_ ATH_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<ModelType>> removed_ ATH_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<ModelType>> dead_ ATH_GUARDED_BY(mutex_);
  OwnTask reaper_{*this, &EngineState::on_reap};
  OwnTask lane_left_{*this, &EngineState::on_lane_left};
  bool reaping_ ATH_GUARDED_BY(mutex_) = false;     // the reaper is posted or runs
  std::size_t due_ ATH_GUARDED_BY(mutex_) = 0;      // of the dead, those that it has yet to look at
  bool keeps_dead_ ATH_GUARDED_BY(mutex_) = false;  // it destroys nothing: the stop visits models
  ModelLoader<LoadedModel, Env> loader_;  // after the models: its load functions tell of them to the end
  // Those in flight, those whose callers keep them, and those in the pool.
  std::vector<std::unique_ptr<CallType>> calls_ ATH_GUARDED_BY(mutex_);
  std::size_t route_seen_at_ ATH_GUARDED_BY(mutex_) = 0;  // where one in flight was found last
  Pool<CallType, Env, PoolEnd::with_its_users> pool_;
  Closed closed_ ATH_GUARDED_BY(mutex_){};
  /// Until the engine, which may have no other owner, has stopped.
  std::shared_ptr<EngineState> closing_self_{};
};

}  // namespace athanor::inline v1::serving

#include <athanor/serving/detail/calls.ipp>
#include <athanor/serving/detail/engine_state.ipp>
#include <athanor/serving/detail/observe.ipp>
#include <athanor/serving/detail/registry.ipp>
#include <athanor/serving/detail/route.ipp>
#include <athanor/serving/detail/served_model.ipp>
#include <athanor/serving/detail/steps.ipp>
#include <athanor/serving/detail/waiting.ipp>
