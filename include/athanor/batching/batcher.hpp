/// Batching for any function over many inputs: concurrent callers share its calls. Usable alone, on any
/// payload.
///
///     Batcher<Query, Row> lookups{{.max_items = 64}, [&](std::span<Query const> queries, std::span<Row> rows) {
///       database.select(queries, rows);
///     }};
///     Result<Row> row = lookups.run(query, 5ms);  // in company: shares one select
///
/// A lone caller without a timeout runs the function itself, here and now. With a timeout it does so once the
/// function is known to end well before that, which takes a few calls; until then a worker runs it.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include <athanor/batching/detail/lane.hpp>
#include <athanor/batching/options.hpp>
#include <athanor/core/env.hpp>
#include <athanor/core/error.hpp>

namespace athanor::inline v1 {

namespace batching {

/// A function that turns inputs into as many outputs: output i of input i. Each output is `Out{}` at first,
/// and an input may be given again when its batch failed. What it throws becomes an `internal` error.
template <class F, class In, class Out>
concept BatchFunction = requires(F& function, std::span<In const> inputs, std::span<Out> outputs) {
  { function(inputs, outputs) } -> std::same_as<void>;
} || requires(F& function, std::span<In const> inputs, std::span<Out> outputs) {
  { function(inputs, outputs) } -> std::same_as<Result<void>>;
};

}  // namespace batching

/// Thread-safe. Owns `instances` worker threads, started when first needed, and a copy of the function. Once
/// warm, `run` allocates only what copying an In or an Out does. Copies of inputs are destroyed before their
/// callers of `run` are answered, inputs of `submit` right after.
template <std::copyable In, std::default_initializable Out, Environment Env = SystemEnv>
  requires std::movable<Out>
class Batcher {
 public:
  /// Called exactly once for every accepted call, on a worker's thread, another caller's or the destructor's:
  /// never inside the `submit` that it belongs to, but perhaps inside another's `run` or `submit`. It holds
  /// that thread up, and must not wait for a lock that somebody holds around a call of the batcher.
  using Completion = void (*)(void* context, Result<Out> result) noexcept;

  /// Throws std::invalid_argument for options that `batching::validate` refuses and for an empty function,
  /// and std::bad_alloc.
  template <batching::BatchFunction<In, Out> F>
  Batcher(BatcherOptions const& options, F function);
  /// For a function that is none: says what it lacks.
  template <class F>
    requires(!batching::BatchFunction<F, In, Out>)
  Batcher(BatcherOptions const&, F) {
    static_assert(batching::BatchFunction<F, In, Out>,
                  "a Batcher's function takes (std::span<In const>, std::span<Out>) and returns void or "
                  "Result<void>");
  }
  /// Answers what waits with unavailable / stopping, lets what runs end, and returns when every caller has
  /// its answer. Not from inside the function or a completion; what these submit meanwhile is refused.
  ~Batcher();
  Batcher(Batcher const&) = delete;
  Batcher& operator=(Batcher const&) = delete;

  /// One output for one input. Blocks, on time, until `timeout` has passed: deadline_exceeded, and the input
  /// is then no longer looked at; a timeout of zero or less does not run it. Only a call that this thread
  /// runs itself ends when the function does. After its answer the thread may run batches of others for 100
  /// us more, not beyond `timeout`.
  ///
  /// A failing batch is run again in pieces, so that an input that the function refuses fails alone. Two
  /// limits: errors with code unavailable or resource_exhausted (but out_of_memory) go to all at once; and
  /// while no piece succeeds, at most twice the batch is run again, and what is untried gets its piece's
  /// error.
  ///
  /// resource_exhausted / queue_full above max_held; failed_precondition / reentrant from inside the function
  /// or a completion; unavailable / stopping while the batcher is being destroyed.
  Result<Out> run(In const& input, Duration timeout = Duration::max());
  /// Queues the input. A refusal is returned, and `completion` is then not called: queue_full and stopping as
  /// of `run`, and invalid_argument when `completion` is null. Throws what moving an In throws. `context` is
  /// handed to the completion and not touched.
  Result<void> submit(In input, Completion completion, void* context);

  /// What is queued and what ran, as counts; an item is an input.
  batching::LaneSnapshot snapshot() const noexcept { return lane_.snapshot(); }

 private:
  struct Call;
  /// A caller's own share of its call, dropped at the end of the scope.
  struct Share {
    Batcher& batcher;
    Call& call;
    ~Share() { batcher.drop(call); }
  };
  static_assert(!std::same_as<In, bool>, "an input of a Batcher is no bool: a span of them is not to be had");
  struct Instance {
    std::vector<In> inputs;
    std::unique_ptr<Out[]> outputs;
    std::size_t capacity = 0;  // of outputs
    std::vector<Call*> calls;
  };
  /// The lane's client, kept apart so that its functions are no part of the face.
  struct Client {
    Batcher& batcher;
    bool wanted(batching::Slot& slot) noexcept;
    Result<void> begin(batching::Batch const&) noexcept { return {}; }
    Result<void> execute(batching::Batch const& batch) noexcept { return batcher.execute(batch); }
    void end(batching::Batch const&, batching::Verdict, TimePoint) noexcept {}
    void finish(batching::Slot& slot, Error const* error, TimePoint) noexcept { batcher.finish(slot, error); }
  };
  /// The function, whatever its type.
  struct Function {
    virtual ~Function() = default;
    virtual Result<void> call(std::span<In const> inputs, std::span<Out> outputs) = 0;
  };
  template <class F>
  struct FunctionOf;

  static BatcherOptions const& checked(BatcherOptions const& options);
  Result<Call*> take_call();
  void drop(Call& call) noexcept;
  void release_held() noexcept;
  Result<void> execute(batching::Batch const& batch) noexcept;
  Result<void> execute_gathered(batching::Batch const& batch, Instance& instance);
  Result<void> call_function(std::span<In const> inputs, std::span<Out> outputs) noexcept;
  void finish(batching::Slot& slot, Error const* error) noexcept;
  Result<Out> wait(Call& call, TimePoint deadline);
  void withdraw_call(Call& call) noexcept;

  std::unique_ptr<Function> function_;
  std::uint32_t const max_held_;
  typename Env::Mutex calls_mutex_;
  std::vector<std::unique_ptr<Call>> calls_ ATH_GUARDED_BY(calls_mutex_);
  Call* free_ ATH_GUARDED_BY(calls_mutex_) = nullptr;
  typename Env::Word held_;  // calls out; the highest bit: the destructor has begun
  std::vector<Instance> instances_;
  Client client_{*this};
  typename Env::Executor executor_;
  batching::Lane<Env, batching::SizeOrDelay, Client> lane_;
};

}  // namespace athanor::inline v1

#include <athanor/batching/detail/batcher.ipp>
