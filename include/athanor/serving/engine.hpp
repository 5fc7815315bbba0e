/// The Engine: models by name, batches shared between callers, answers cached, failures isolated, every
/// call answered exactly once. The one place that composes the other rooms.
///
///     auto engine = athanor::Engine<>::create({.backends = {&athanor::libtorch::backend()},
///                                              .processors = {&athanor::chem::processor()}}).value();
///     auto tg = engine.load("models/glass-transition").value();
///     auto answer = tg.infer({{"smiles", "*CC(*)c1ccccc1"}}, {.deadline = 50ms});
///
/// Thread-safe. `Model` handles may be copied; an engine has one `Engine` handle, which may be
/// moved; it stops when `stop` is called or that handle is destroyed.
///
/// An engine works in the process that made it. In a child of a fork every function that returns a Result
/// fails with failed_precondition, `stop` and the destructors return at once, `health` is not live, and the
/// rest does nothing and returns nothing.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <athanor/batching/policy.hpp>
#include <athanor/caching/eviction.hpp>
#include <athanor/core/duties.hpp>
#include <athanor/loading/policy.hpp>
#include <athanor/manifest/manifest.hpp>
#include <athanor/serving/answer.hpp>
#include <athanor/serving/detail/sequences.hpp>
#include <athanor/serving/health.hpp>
#include <athanor/serving/options.hpp>
#include <athanor/serving/statistics.hpp>

namespace athanor::inline v1 {

namespace serving {
template <class T>
struct Call;
template <class T>
class ServedModel;
}  // namespace serving

/// The policies of an engine, by name. Derive from it and shadow what differs.
struct DefaultServing {
  using Env = SystemEnv;                       ///< an Environment: clock, threads and waiting
  using Batching = batching::ShippedPolicy;    ///< a batching::ConfigurablePolicy: when a batch is run
  using Eviction = caching::SecondChance;      ///< a caching::EvictionPolicy: which answers the cache drops
  using Loading = loading::LeastRecentlyUsed;  ///< a loading::LoadingPolicy: which models are unloaded
};

/// Returns true; does not compile unless T is a bundle of policies like DefaultServing.
template <class T>
consteval bool check_serving() {
  static_assert(
      requires { typename T::Env; }, "a bundle of an engine's policies names its `Env`, an Environment");
  if constexpr (requires { typename T::Env; }) static_cast<void>(check_environment<typename T::Env>());
  static_assert(
      requires { typename T::Batching; },
      "a bundle of an engine's policies names its `Batching`, a batching::ConfigurablePolicy");
  if constexpr (requires { typename T::Batching; })
    static_cast<void>(batching::check_configurable_policy<typename T::Batching>());
  static_assert(
      requires { typename T::Eviction; },
      "a bundle of an engine's policies names its `Eviction`, a caching::EvictionPolicy");
  if constexpr (requires { typename T::Eviction; })
    static_assert(caching::EvictionPolicy<typename T::Eviction>,
                  "the `Eviction` of an engine's policies is a caching::EvictionPolicy");
  static_assert(
      requires { typename T::Loading; },
      "a bundle of an engine's policies names its `Loading`, a loading::LoadingPolicy");
  if constexpr (requires { typename T::Loading; }) {
    static_assert(std::default_initializable<typename T::Loading>,
                  "the `Loading` of an engine's policies has a default constructor");
    static_cast<void>(loading::check_loading_policy<typename T::Loading>());
  }
  return true;
}

/// A bundle of policies for an Engine. For any other type, compilation fails with a sentence that says what
/// the type lacks.
template <class T>
concept ServingTraits = check_serving<T>();

/// A handle to an accepted asynchronous call. Destroying it does not cancel the call: the completion still
/// runs.
template <ServingTraits T>
class Submission {
 public:
  explicit Submission(serving::Call<T>& call) noexcept : call_(&call) {}
  Submission(Submission&& other) noexcept : call_(std::exchange(other.call_, nullptr)) {}
  Submission& operator=(Submission&& other) noexcept {
    std::swap(call_, other.call_);
    return *this;
  }
  ~Submission();

  /// Cancels the call. Its completion runs before this returns or soon after, with `cancelled`, or with the
  /// answer if that was ready first. Queued work is not executed; the result of running work is discarded.
  /// Parts of a stream that wait for their callback are dropped. A no-op for a call that has ended.
  /// Thread-safe. A completion that runs on this thread may destroy this handle. Precondition: it was not
  /// moved from.
  void cancel() noexcept;

 private:
  serving::Call<T>* call_;
};

template <ServingTraits T>
class Sequence;
template <ServingTraits T>
class Stream;
struct StreamCallbacks;

/// A model of an engine. Cheap to copy; keeps the model and the engine's state alive. Thread-safe.
template <ServingTraits T = DefaultServing>
class Model {
 public:
  explicit Model(std::shared_ptr<serving::ServedModel<T>> model) noexcept : model_(std::move(model)) {}
  Model(std::shared_ptr<serving::EngineState<T>> const& engine, serving::ServedModel<T>& model);

  /// `name@version`. The references returned by this and the following two functions are valid as long as any
  /// handle of the model exists.
  std::string const& id() const noexcept;
  /// The inputs that the model reads and the outputs that it gives.
  Signature const& signature() const noexcept;
  /// The manifest that it was registered with.
  Manifest const& manifest() const noexcept;

  /// Runs one request and blocks until it is answered. A lone call that can meet its deadline may run on this
  /// thread; concurrent calls share a batch. `request` is read until the call returns. Fails with
  /// invalid_argument (the request), deadline_exceeded, cancelled, resource_exhausted or unavailable (with
  /// retry_after), internal (the model).
  Result<Answer> infer(Request const& request, CallOptions const& options = {}) const;
  /// Like infer, but the outputs asked for (all, or `options.outputs`) are written into `outputs`, whose
  /// element types and shapes must be those of the answer. Each of them must have one row of numbers per
  /// item. A failure has written nothing.
  Result<Report> infer_into(Request const& request, std::span<Tensor> outputs,
                            CallOptions const& options = {}) const;
  /// Runs many requests, each with its own key, cache look-up and error; results in the order of the
  /// requests. They enter the queue together: an idle model runs them on this thread, in full batches, unless
  /// that might miss the deadline, which applies to all of them. Otherwise this thread is woken once per
  /// window of requests in flight. While other calls fill the queue this function blocks, until the deadline.
  /// What a processor makes counts against `max_bytes` as well: a request for which that leaves no room
  /// beside the others is tried once more, by itself.
  std::vector<Result<Answer>> infer_many(std::span<Request const> requests,
                                         CallOptions const& options = {}) const;
  /// Starts a request and returns. A rejection is returned as an error, and `completion` is then not called;
  /// otherwise it is called exactly once. Borrowed tensors must stay valid until then. Fails as infer, and
  /// with invalid_argument when `completion` has no function.
  ///
  /// A completion occupies one of the engine's `EngineOptions::threads` workers while it runs. If it blocks,
  /// other workers take over what that one has in hand, answers and batches, within about half a millisecond.
  /// Once every worker is inside a completion, asynchronous calls wait for one: no batch of theirs begins,
  /// and each is answered with deadline_exceeded when its deadline passes, by the thread that keeps time.
  /// Should that completion block, too, it delays the deadlines of all others. Blocking calls whose thread
  /// may run the model go on.
  Result<Submission<T>> submit(Request request, CallOptions const& options, Completion completion) const;

  /// Starts a request whose answer comes in parts, and returns. A program that calls these must include
  /// serving/stream.hpp. Fails as `submit`. With callbacks the stream is read for them; the Submission
  /// cancels it.
  Result<Stream<T>> stream(Request request, CallOptions const& options = {}) const;
  Result<Submission<T>> stream(Request request, CallOptions const& options, StreamCallbacks callbacks) const;

  /// Opens a sequence of a model whose manifest declares state; loads nothing. Fails with failed_precondition
  /// for any other model, with resource_exhausted / sequences_full (and retry_after) when as many are open as
  /// the manifest allows, and with unavailable / stopping once the engine stops.
  Result<Sequence<T>> open_sequence() const;

  /// Loads the model unless it is loaded; waits until it is ready or `load_deadline` has passed. Fails with
  /// not_found (a file), data_loss (a digest), resource_exhausted (memory), deadline_exceeded, unavailable
  /// (stopping or unloading), or with the error of the backend, the dry run or a self-test. Such an error is
  /// remembered and returned again until it is time for another try.
  [[nodiscard]] Result<void> load() const;
  /// Releases the model's memory: on this thread if no call of it is in flight, else after the last one. A
  /// load in progress is abandoned: calls that wait for it fail with `cancelled`. A later call loads the
  /// model again; cached answers are served without loading it.
  [[nodiscard]] Result<void> unload() const;
  /// Removes this model's answers from the response cache; answers being computed now are not stored. Not
  /// needed after a change of the model: a different manifest or file has different cache keys.
  void forget_answers() const noexcept;

  /// What the model has done since it was added, and what it holds now. Fails in a child of a fork.
  Result<ModelStatistics> statistics() const;

 private:
  friend class Sequence<T>;
  friend class Stream<T>;
  Error reentrant() const;
  /// What of the tensors that an answer is to be written into is wrong whatever it holds.
  Result<void> check_room(std::span<Tensor const> outputs, CallOptions const& options) const;
  /// Runs a call that was made, to its answer.
  Result<Answer> finish_made(Result<serving::Call<T>*> call) const;

  std::shared_ptr<serving::ServedModel<T>> model_;
};

/// Calls of a model that build on each other: each begins with the state that the one before it left. Made by
/// `Model::open_sequence`; the first call begins with zeros, or with what the backend holds for an empty
/// slot. Calls of different sequences share batches; those of one have one item, use no cache, and come one
/// at a time.
///
/// A call that is answered with a value has stepped the state once. A call that fails has not, or it has lost
/// the state: then every later call fails with aborted / sequence_lost until `reset`. It is lost when a call
/// was given up (deadline, cancellation, stop) after its batch had begun; when the model was unloaded or
/// evicted since the last call; when no call came for `idle_ms` of the manifest; and when a call failed whose
/// state the backend holds.
///
/// Thread-safe, except that moving it needs exclusive use. Keeps the model alive. A sequence that was moved
/// from may only be assigned to or destroyed.
template <ServingTraits T = DefaultServing>
class Sequence {
 public:
  Sequence(Model<T> model, serving::SequenceId id) noexcept : model_(std::move(model)), id_(id) {}
  Sequence(Sequence&& other) noexcept
      : model_(std::move(other.model_)), id_(std::exchange(other.id_, serving::SequenceId{})) {}
  /// Closes the sequence that this object held, as the destructor does.
  Sequence& operator=(Sequence&& other) noexcept {
    Sequence old(std::move(other));
    std::swap(model_, old.model_);
    std::swap(id_, old.id_);
    return *this;
  }
  Sequence(Sequence const&) = delete;
  Sequence& operator=(Sequence const&) = delete;
  /// Closes it, unless it was closed.
  ~Sequence();

  /// As those of Model. Fail also with failed_precondition / sequence_busy while another call of the sequence
  /// is in flight, and with aborted / sequence_lost.
  Result<Answer> infer(Request const& request, CallOptions const& options = {}) const;
  Result<Submission<T>> submit(Request request, CallOptions const& options, Completion completion) const;

  /// Starts over, also after the state was lost. Fails with failed_precondition / sequence_busy while a call
  /// is in flight, and with aborted / sequence_lost when the sequence is closed, or was idle and has lost its
  /// slot to another one.
  [[nodiscard]] Result<void> reset() const;
  /// Frees its slot once the call in flight has been answered. Later calls fail with aborted / sequence_lost.
  /// Fails with failed_precondition / sequence_lost when the sequence is closed already.
  Result<void> close() const;

 private:
  Model<T> model_;
  serving::SequenceId id_;
};

/// See the head of this file.
template <ServingTraits T = DefaultServing>
class Engine {
 public:
  /// Checks the options. Starts no thread: workers start on demand.
  static Result<Engine> create(EngineOptions options = {});
  Engine(Engine&&) noexcept = default;
  /// Stops the engine that this handle held, like the destructor.
  Engine& operator=(Engine&& other) noexcept {
    Engine old(std::move(other));
    std::swap(engine_, old.engine_);
    return *this;
  }
  Engine(Engine const&) = delete;
  Engine& operator=(Engine const&) = delete;
  /// Stops with `default_stop_grace` unless it was stopped; see `close` for inside one of its own calls.
  ~Engine();

  /// Registers one more backend or processor under its table's name. The table is used until the
  /// engine, everything made from it and every thread that `stop` abandoned are gone. Fails with
  /// already_exists when a different one of that name is registered.
  [[nodiscard]] Result<void> add_backend(ath_backend_table const& table) {
    return engine_->add_backend(table);
  }
  [[nodiscard]] Result<void> add_processor(ath_processor_table const& table) {
    return engine_->add_processor(table);
  }
  /// Registers the model in `folder` (with its athanor.json) without loading it; the first call that needs it
  /// loads it. A relative path is resolved against the current working directory during this call. Returns
  /// another handle for a model that is already registered. Fails with not_found (a file), invalid_argument
  /// (the manifest, or a backend or processor that it names and the engine does not have), already_exists (a
  /// different manifest of that name and version is registered), and unavailable (stopping).
  Result<Model<T>> add(std::string const& folder);
  /// `add`, then `Model::load`; fails as both.
  Result<Model<T>> load(std::string const& folder);
  /// The model of that name: `name@version`, or `name` for its newest version; not_found if there is none.
  Result<Model<T>> model(std::string_view name) const;
  /// Removes the model `name@version` from the engine: it is no longer found, listed or counted, and its name
  /// and version may be used again. Existing handles keep working. Once the last handle and the last call are
  /// gone, the model's memory and the engine's records of it are freed on a thread of the engine. Fails with
  /// not_found when there is no such model.
  [[nodiscard]] Result<void> remove(std::string_view id);

  /// Rejects new calls at once, lets accepted calls, queued or running, finish until `grace` has passed,
  /// answers the remaining ones with unavailable / stopping, waits for running completions, and joins the
  /// workers. Returns how many threads were abandoned inside a backend. A second stop waits for the first and
  /// returns the same. Inside a completion, a backend or a processor of this engine it only initiates the
  /// stop, like the destructor, and returns 0.
  std::size_t stop(Duration grace);
  /// Does what the destructor does, for a host that must know when the engine has stopped: stops with
  /// `default_stop_grace` and empties this handle. Inside a completion, a backend or a processor of this
  /// engine it returns at once, and a worker stops the engine later; if no thread can be started, this one does
  /// so when that has returned.
  /// `closed(context)` is called once the engine has stopped, there or before this returns.
  void close(void (*closed)(void* context) noexcept = nullptr, void* context = nullptr) noexcept;

  /// Whether the engine is live and ready, and why not, with the state of each model.
  Health health() const;
  /// All metrics in the Prometheus text format.
  std::string metrics_text() const;
  /// Version, options, backends, processors and models as a JSON object, with the members `more` appended.
  std::string describe(std::span<JsonMember const> more = {}) const;

 private:
  explicit Engine(std::shared_ptr<serving::EngineState<T>> engine) noexcept : engine_(std::move(engine)) {}
  std::shared_ptr<serving::EngineState<T>> engine_;
};

}  // namespace athanor::inline v1

#include <athanor/serving/detail/engine.ipp>

namespace athanor::inline v1 {

extern template class batching::Lane<SystemEnv, batching::ShippedPolicy,
                                     serving::ServedModel<DefaultServing>>;
extern template class serving::ServedModel<DefaultServing>;
extern template class serving::EngineState<DefaultServing>;
extern template class Engine<DefaultServing>;
extern template class Model<DefaultServing>;
extern template class Sequence<DefaultServing>;

}  // namespace athanor::inline v1
