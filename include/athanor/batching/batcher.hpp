/// Batching for any function over many inputs: concurrent callers share its calls. Usable alone, on any
/// payload.
///
///     auto lookups = Batcher<Query, Row>::create(
///         {.max_items = 64}, [&](std::span<Query const> queries, std::span<Row> rows) {
///           database.select(queries, rows);
///         });
///     if (!lookups) return lookups.error();
///     Result<Row> row = lookups->run(query, 5ms);  // in company: shares one select
///
/// A lone caller without a timeout runs the function itself, here and now. With a timeout it does so once the
/// function is known to end well before that, which takes a few calls; until then a worker runs it.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

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

  /// Refuses with invalid_argument / option what `batching::validate` refuses, and an empty function. Throws
  /// what moving the function throws, and std::bad_alloc.
  template <class F>
  static Result<Batcher> create(BatcherOptions const& options, F function);
  /// Answers what waits with unavailable / stopping, lets what runs end, and returns when every caller has
  /// its answer. Not from inside the function or a completion; what these submit meanwhile is refused.
  ~Batcher() = default;
  /// Moving needs exclusive use of both batchers; calls that wait or run are not affected.
  Batcher(Batcher&&) noexcept = default;
  Batcher& operator=(Batcher&&) noexcept = default;

  /// One output for one input. Blocks, on time, until `timeout` has passed: deadline_exceeded, and the input
  /// is then no longer looked at; a timeout of zero or less does not run it. Only a call that this thread
  /// runs itself, alone or in company, ends when the function does. Its own answer ready, it returns.
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
  batching::LaneSnapshot snapshot() const noexcept;

 private:
  static_assert(!std::same_as<In, bool>,
                "Batcher does not support bool inputs: std::vector<bool> is not contiguous");
  class State;
  explicit Batcher(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}

  std::unique_ptr<State> state_;
};

}  // namespace athanor::inline v1

#include <athanor/batching/detail/batcher.ipp>
