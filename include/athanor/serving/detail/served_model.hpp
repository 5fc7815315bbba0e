/// A model of an engine: its description, its queue and its breaker.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <athanor/core/detail/lock.hpp>
#include <athanor/serving/detail/call.hpp>
#include <athanor/serving/detail/model_metrics.hpp>

namespace athanor::inline v1::serving {

/// What loading a model needs of it, and tells. Shared with the loader's record of the model.
template <class Env>
class LoadContext {
 public:
  explicit LoadContext(ModelDescription about) : description(std::move(about)) {}

  /// How many batches may run at once.
  std::size_t instances() const noexcept {
    return static_cast<std::size_t>(description.manifest.batching.instances.value_or(1));
  }

  /// LoadedModel::note of the last load that succeeded.
  std::string note() const {
    detail::Lock const lock(mutex_);
    return note_;
  }
  void set_note(std::string const& note) {
    detail::Lock const lock(mutex_);
    note_ = note;
  }

  ModelDescription const description;
  typename Env::template Atomic<bool> failed{false};  // a load
  typename Env::template Atomic<bool> worked{false};
  typename Env::template Atomic<std::uint64_t> loads{0};

 private:
  mutable typename Env::Mutex mutex_;
  std::string note_ ATH_GUARDED_BY(mutex_);
};

/// One model version: its description, its queue, its breaker. Lives while it is registered or a handle of it
/// is in use; the loader owns the memory of the model itself. As the lane's client it gathers, runs and
/// scatters batches.
template <class T>
class ServedModel {
 public:
  using Env = typename T::Env;
  using CallType = Call<T>;
  using Lane = batching::Lane<Env, typename T::Batching, ServedModel>;

  using LoadRecord = typename ModelLoader<LoadedModel, Env>::Record;

  ServedModel(EngineState<T>& engine, std::shared_ptr<LoadContext<Env>> context, typename T::Batching policy,
              LoadRecord& load_record);

  /// The batching policy that the model's manifest asks for, or what it rejects in the manifest.
  static Result<typename T::Batching> configure_policy(ModelDescription const& description);

  EngineState<T>& engine() const noexcept { return engine_; }
  ModelDescription const& description() const noexcept { return description_; }
  CircuitBreaker<Env>& breaker() noexcept { return breaker_; }
  Lane& lane() noexcept { return lane_; }
  ModelMetrics& metrics() noexcept { return metrics_; }
  LoadRecord& load_record() noexcept { return load_record_; }
  /// What the dry run of its last successful load could not verify.
  std::string load_note() const { return context_->note(); }
  OutputPool<Env>& outputs() noexcept { return *outputs_; }
  /// Null for a model without state.
  Sequences<Env>* sequences() noexcept { return sequences_.get(); }
  std::uint64_t open_sequences() noexcept {
    if (sequences_ == nullptr) return 0;
    return sequences_->with([](SequencePlaces const& places) { return places.open_count(); });
  }
  /// Marks responses in the cache as this model's.
  std::uint64_t tag() const noexcept { return description_.content.low; }
  /// Admits one trial call per predicted run time although it is predicted to miss its deadline; otherwise a
  /// model would never be measured again.
  bool allow_trial(TimePoint now, Duration predicted) noexcept;
  /// True on a thread that is inside a backend of this engine right now, while no instance of this model is
  /// idle.
  bool would_wait_for_itself() const noexcept;

  /// True if loads failed and none succeeded: a corrected manifest may take its name and version.
  bool has_only_failed_loads() const noexcept { return context_->failed.load() && !context_->worked.load(); }

  /// Items with different keys never share a batch: their inputs differ beyond axis 0, or in a value for the
  /// whole batch. Only for a model whose batches differ.
  std::uint64_t shape_key(CallType const& call, std::uint32_t item = 0) const;
  /// The same of calls, which may also differ in a tensor for the whole batch.
  std::uint64_t batch_key(CallType const& call) const;
  /// Threads of the host that are inside this model's backend.
  std::size_t callers_inside() const noexcept;
  /// Counts a request that is refused before it becomes a call. Returns what its caller gets.
  tl::unexpected<Error> refused(Error error) noexcept;

  // As the lane's client.
  bool wanted(batching::Slot& slot) noexcept;
  Result<void> begin(batching::Batch const& batch) noexcept;
  Result<void> execute(batching::Batch const& batch) noexcept;
  void end(batching::Batch const& batch, batching::Verdict verdict, TimePoint now) noexcept;
  batching::Finished finish(batching::Slot& slot, Error const* error, TimePoint now) noexcept;

  // Both are read and written under the engine's mutex. Handles that share one ModelHandle form a generation:
  // a removed model may be destroyed once every generation has been released. A thread that sees under the
  // mutex that none is left also sees all that was done through the handles; reading a `shared_ptr` count as
  // zero would not guarantee that.
  std::weak_ptr<ServedModel> handles{};  ///< of the newest generation
  std::size_t generations = 0;           ///< not yet released
  ServedModel* next_visited = nullptr;   ///< by the engine's stop

 private:
  /// Of one instance; written by the thread that runs its batch.
  struct alignas(64) InstanceState {
    breaking::Lease lease{};  // of the batch at hand
    std::optional<breaking::Outcome>
        failure{};            // of the last of the batch's executions that failed by itself
    bool taken_back = false;  // it was not executed, or was given up: its callers have left
    typename Env::template Atomic<bool> caller_inside{false};
  };
  /// While one lives, a thread of the host is inside the backend, if this is one.
  class CallerInside {
   public:
    explicit CallerInside(InstanceState& instance) noexcept : instance_(instance) {
      if (CallerScope<Env>::depth() > 0) instance_.caller_inside.store(true, std::memory_order_relaxed);
    }
    ~CallerInside() {
      if (CallerScope<Env>::depth() > 0) instance_.caller_inside.store(false, std::memory_order_release);
    }
    CallerInside(CallerInside const&) = delete;
    CallerInside& operator=(CallerInside const&) = delete;

   private:
    InstanceState& instance_;
  };
  std::unique_ptr<Sequences<Env>> make_sequences() const;
  batching::LaneOptions lane_options() const;
  /// Reads the pieces of a batch for its assembler.
  struct Gathering {
    ServedModel& model;
    Worker& worker;
    bool lost = false;  ///< the inputs of a part were gone when they were to be read
    batching::Part items_of(std::size_t piece) const noexcept;
    static bool begin(void* context, std::size_t piece) noexcept;
    static void end(void* context, std::size_t piece) noexcept;
  };
  /// A batch while its backend may ask about it.
  struct Asking {
    EngineState<T>& engine;
    batching::Batch const& batch;
    mutable typename Env::template Atomic<bool> told{false};  ///< that nobody waits; on any thread
    bool nobody_waits() const noexcept;
    BatchWork work() const noexcept;
  };
  Result<void> run(batching::Batch const& batch, InstanceState& instance);
  Result<void> gather(batching::Batch const& batch, Worker& worker);
  static PieceSource source_of(CallType const& call, CarriedState const* state = nullptr) noexcept {
    return {call.inputs.request(), call.inputs.checked(), call.made, call.parameters.values(), state,
            &call.ticket};
  }
  void collect_pieces(batching::Batch const& batch, Worker& worker, bool stay);
  void take_slots(Worker& worker);
  void note_last_step(CallType& call, Worker const& worker, std::size_t row) noexcept;
  void keep_state(CallType const& call, Worker& worker, std::size_t row) noexcept;
  Result<void> scatter(batching::Batch const& batch, Worker& worker, std::uint32_t members);
  Result<void> copy_ragged_part(batching::Part const& part, Worker const& worker, std::size_t row);
  Result<void> cut_part(batching::Part const& part, Worker const& worker, std::size_t row,
                        std::size_t& piece);
  void count_positions(Worker const& worker) noexcept;
  template <class Write>
  void write_report(batching::Part const& part, Write write) noexcept;
  Result<void> make_outputs(batching::Part const& part, std::span<TensorView const> outputs);

  EngineState<T>& engine_;
  std::shared_ptr<LoadContext<Env>> context_;
  ModelDescription const& description_;
  LoadRecord& load_record_;
  ModelMetrics metrics_;
  std::unique_ptr<OutputPool<Env>, typename OutputPool<Env>::Close> outputs_;
  std::unique_ptr<Sequences<Env>> sequences_;
  CircuitBreaker<Env> breaker_;
  std::unique_ptr<InstanceState[]> instances_;
  typename Env::template Atomic<TimePoint> next_trial_{TimePoint{}};
  Lane lane_;
};

}  // namespace athanor::inline v1::serving
