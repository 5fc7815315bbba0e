/// Batching for any function over many inputs: concurrent callers share its calls. Usable alone, on any
/// payload.
///
///     Batcher<Query, Row> lookups{{.max_items = 64}, [&](std::span<Query const> queries, std::span<Row> rows) {
///       database.select(queries, rows);
///     }};
///     Result<Row> row = lookups.run(query, 5ms);  // alone: runs here, now; in company: shares one select
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include <athanor/batching/lane.hpp>
#include <athanor/core/env.hpp>
#include <athanor/core/error.hpp>

namespace athanor::inline v1 {

/// How a Batcher groups inputs.
struct BatcherOptions {
  /// Inputs that one call of the function gets at most.
  std::uint32_t max_items = 32;
  /// How long the first input may wait for company; zero never waits, and batches form while the function is
  /// busy.
  Duration max_delay{0};
  /// Calls of the function at once. More than 1 only for a function that allows it.
  std::uint32_t instances = 1;
  /// Whether a caller who is alone runs the function itself.
  bool caller_runs = true;
  /// Calls held at once, waiting or running; more are refused.
  std::uint32_t max_held = 1024;
};

namespace batching {

/// A function that turns inputs into as many outputs: output i of input i. What it throws becomes an
/// `internal` error.
template <class F, class In, class Out>
concept BatchFunction = requires(F& function, std::span<In const> inputs, std::span<Out> outputs) {
  { function(inputs, outputs) } -> std::same_as<void>;
} || requires(F& function, std::span<In const> inputs, std::span<Out> outputs) {
  { function(inputs, outputs) } -> std::same_as<Result<void>>;
};

}  // namespace batching

/// Thread-safe. Owns `instances` worker threads, started when first needed. Once warm, `run` allocates only
/// what copying an In or an Out does.
template <std::copyable In, std::default_initializable Out, Environment Env = SystemEnv>
  requires std::movable<Out>
class Batcher {
 public:
  /// Called exactly once, on a worker's thread or another caller's, never inside `submit`.
  using Completion = void (*)(void* context, Result<Out> result) noexcept;

  /// Throws std::invalid_argument for impossible options, and std::bad_alloc.
  template <batching::BatchFunction<In, Out> F>
  Batcher(BatcherOptions const& options, F function);
  /// Answers what waits with unavailable / stopping, lets what runs end, and returns when every caller has
  /// its answer. Not from inside the function or a completion.
  ~Batcher();
  Batcher(Batcher const&) = delete;
  Batcher& operator=(Batcher const&) = delete;

  /// One output for one input. Blocks, on time, until `timeout` has passed: deadline_exceeded, and the input
  /// is then no longer looked at. A failing batch is run again in pieces, so that an input that the function
  /// refuses fails alone. resource_exhausted / queue_full above max_held; failed_precondition / reentrant
  /// from inside the function or a completion.
  Result<Out> run(In const& input, Duration timeout = Duration::max());
  /// Queues the input. A refusal is returned, and `completion` is then not called.
  Result<void> submit(In input, Completion completion, void* context);

  batching::LaneSnapshot snapshot() const noexcept { return lane_.snapshot(); }

 private:
  struct Call;
  struct Instance {
    std::vector<In> inputs;
    std::vector<Out> outputs;
    std::vector<Call*> calls;
  };
  /// The lane's host, kept apart so that its functions are no part of the face.
  struct Host {
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

  static batching::LaneOptions lane_options(BatcherOptions const& options);
  Result<Call*> take_call();
  void drop(Call& call) noexcept;
  void release_held() noexcept;
  Result<void> execute(batching::Batch const& batch) noexcept;
  Result<void> execute_gathered(batching::Batch const& batch, Instance& instance);
  Result<void> call_function(std::span<In const> inputs, std::span<Out> outputs) noexcept;
  void finish(batching::Slot& slot, Error const* error) noexcept;
  Result<Out> wait(Call& call, TimePoint deadline);
  void leave(Call& call) noexcept;

  std::unique_ptr<Function> function_;
  std::uint32_t const max_held_;
  typename Env::Mutex calls_mutex_;
  std::vector<std::unique_ptr<Call>> calls_;  // guarded by calls_mutex_
  Call* free_ = nullptr;                      // guarded by calls_mutex_
  typename Env::Word held_;                   // calls out; the highest bit: the destructor waits
  std::vector<Instance> instances_;
  Host host_{*this};
  typename Env::Executor executor_;
  batching::Lane<Env, batching::SizeOrDelay, Host> lane_;
};

}  // namespace athanor::inline v1

#include <athanor/batching/batcher.ipp>
