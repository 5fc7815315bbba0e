/// The Engine: models by name, batches shared between callers, answers remembered, failure isolated, every
/// call answered exactly once. The one place that composes the other rooms.
///
///     auto engine = athanor::Engine<>::create({.backends = {&athanor::libtorch::backend()},
///                                              .processors = {&athanor::chem::processor()}}).value();
///     auto tg = engine.load("models/glass-transition").value();
///     auto answer = tg.infer({{"smiles", "*CC(*)c1ccccc1"}}, {.deadline = 50ms});
///
/// Thread-safe. `Model` handles may be copied; an engine has one `Engine` handle, which may be
/// moved; it stops when `stop` is called or that handle is destroyed.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <athanor/batching/policy.hpp>
#include <athanor/caching/eviction.hpp>
#include <athanor/core/duties.hpp>
#include <athanor/manifest/manifest.hpp>
#include <athanor/serving/answer.hpp>
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
  using Env = SystemEnv;                     ///< an Environment: clock, threads and waiting
  using Batching = batching::ShippedPolicy;  ///< a batching::ConfigurablePolicy: when a batch is run
  using Eviction = caching::SecondChance;    ///< a caching::EvictionPolicy: which answers the cache drops
};

/// Does not compile unless T is a bundle of policies, as DefaultServing is one; else true.
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
  return true;
}

/// A bundle of policies for an Engine. For a type that is none, compilation stops with what it lacks.
template <class T>
concept ServingTraits = check_serving<T>();

/// An asynchronous call that was accepted. Dropping it changes nothing; the completion still comes.
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

  /// Cancels the call: its completion has run with `cancelled`, or with its answer if that came first,
  /// when this returns or soon after. Queued work is not executed; the result of running work is discarded.
  void cancel() noexcept;

 private:
  serving::Call<T>* call_;
};

/// A model of an engine. Cheap to copy; keeps the model and the engine's state alive. Thread-safe.
template <ServingTraits T = DefaultServing>
class Model {
 public:
  explicit Model(std::shared_ptr<serving::ServedModel<T>> model) noexcept : model_(std::move(model)) {}
  Model(std::shared_ptr<serving::EngineState<T>> const& engine, serving::ServedModel<T>& model);

  /// `name@version`. This and the following two live as long as any handle of the model.
  std::string const& id() const noexcept;
  /// The inputs that the model reads and the outputs that it gives.
  Signature const& signature() const noexcept;
  /// The manifest that it was registered with.
  Manifest const& manifest() const noexcept;

  /// Runs one request and waits for its answer. Alone and in time it runs on this thread; in company it
  /// shares a batch. `request` is read until the call returns. Fails with invalid_argument (the request),
  /// deadline_exceeded, cancelled, resource_exhausted or unavailable (with retry_after), internal (the
  /// model).
  Result<Answer> infer(Request const& request, CallOptions const& options = {}) const;
  /// Like infer, but the outputs asked for (all, or `options.outputs`) are written into `outputs`, whose
  /// element types and shapes must be those of the answer.
  Result<Report> infer_into(Request const& request, std::span<Tensor> outputs,
                            CallOptions const& options = {}) const;
  /// Runs many requests, each with its own key, cache look-up and error; results in the order of the
  /// requests. They enter the queue together: an idle model runs them on this thread, in full batches, unless
  /// that might miss the deadline, which is that of all of them. Otherwise this thread is woken once per
  /// window of requests in flight. While others fill the queue it waits for room, until the deadline.
  std::vector<Result<Answer>> infer_many(std::span<Request const> requests,
                                         CallOptions const& options = {}) const;
  /// Starts a request and returns. A refusal is returned here and `completion` is not called; otherwise it is
  /// called exactly once. Borrowed tensors must live until then.
  Result<Submission<T>> submit(Request request, CallOptions const& options, Completion completion) const;

  /// Loads the model unless it is loaded; waits until it is ready or `load_deadline` has passed.
  Result<void> load() const;
  /// Releases the model's memory after its last call in flight. A load in progress is given up: its
  /// waiters get `cancelled`. A later call loads it again; answers in the cache are served without it.
  Result<void> unload() const;
  /// Removes this model's answers from the response cache, and those being computed now are not stored. An
  /// answer never outlives its model's content: another manifest or file is another key.
  void forget_answers() const noexcept;

  /// What the model has done since it was added, and what it holds now.
  ModelStatistics statistics() const;

 private:
  bool would_wait_for_itself() const noexcept;
  Error reentrant() const;

  std::shared_ptr<serving::ServedModel<T>> model_;
};

/// See the head of this file.
template <ServingTraits T = DefaultServing>
class Engine {
 public:
  /// Checks the options. Starts no thread: workers start on demand.
  static Result<Engine> create(EngineOptions options = {});
  Engine(Engine&&) noexcept = default;
  /// Stops the engine that was here, like the destructor.
  Engine& operator=(Engine&& other) noexcept {
    Engine old(std::move(other));
    std::swap(engine_, old.engine_);
    return *this;
  }
  Engine(Engine const&) = delete;
  Engine& operator=(Engine const&) = delete;
  /// Stops with `default_stop_grace` unless it was stopped; see `close` for inside a completion.
  ~Engine();

  /// Registers one more backend or processor under its table's name. The table is used until the
  /// engine, all that was made from it and every thread that `stop` abandoned is gone. already_exists when
  /// a different one of that name is registered.
  Result<void> add_backend(ath_backend_table const& table) { return engine_->add_backend(table); }
  Result<void> add_processor(ath_processor_table const& table) { return engine_->add_processor(table); }
  /// Registers the model in `folder` (with its athanor.json) without loading it; the first call that needs it
  /// loads it. A relative folder is one of the working directory as it is now.
  Result<Model<T>> add(std::string const& folder);
  /// `add`, then waits until the model is ready.
  Result<Model<T>> load(std::string const& folder);
  /// The model of that name: `name@version`, or `name` for its newest version.
  Result<Model<T>> model(std::string_view name) const;
  /// Takes the model of that `name@version` out of the engine: it is found, listed and counted no more, and its
  /// name and version are free. Handles of it go on to work. Once the last of them and its last call are gone,
  /// its memory and all that the engine knew of it are given back, on a thread of the engine. not_found when
  /// there is none.
  Result<void> remove(std::string_view id);

  /// Refuses new calls at once, gives accepted ones, queued or running, until `grace` has passed, answers every
  /// call that is left with unavailable / stopping, waits for completions that run, and joins the workers.
  /// Returns how many threads were abandoned inside a backend. A second stop waits for the first and returns the
  /// same. Inside a completion of this engine it only begins to stop, like the destructor, and returns 0.
  std::size_t stop(Duration grace);
  /// What the destructor does, for a host that must know when it is over: stops with `default_stop_grace` and
  /// empties this handle. Inside a completion of this engine it returns at once, and a worker stops the engine
  /// later. `closed(context)` is called once the engine has stopped, on that worker or before this returns.
  void close(void (*closed)(void* context) noexcept = nullptr, void* context = nullptr) noexcept;

  /// Live, ready and why not, model by model.
  Health health() const;
  /// All metrics in the Prometheus text format.
  std::string metrics_text() const;
  /// Version, options, backends, processors and models as a JSON object that ends with the members `more`.
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

}  // namespace athanor::inline v1
