/// Batching for any function over many inputs: concurrent callers share its calls. Usable alone, on any
/// payload.
///
///     auto lookups = Batcher<Query, Row>::create(
///         {.max_items = 64}, [&](std::span<Query const> queries, std::span<Row> rows) {
///           database.select(queries, rows);
///         });
///     if (!lookups) return lookups.error();
///     Result<Row> row = lookups->run(query, 5ms);  // concurrent calls share one select
///
/// A lone caller without a timeout runs the function on its own thread, at once. With a timeout it does so
/// once the function is known, from a few calls, to end well within the timeout; until then a worker runs it.
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
/// and an input may be passed again after its batch failed. An exception becomes an `internal` error.
template <class F, class In, class Out>
concept BatchFunction = requires(F& function, std::span<In const> inputs, std::span<Out> outputs) {
  { function(inputs, outputs) } -> std::same_as<void>;
} || requires(F& function, std::span<In const> inputs, std::span<Out> outputs) {
  { function(inputs, outputs) } -> std::same_as<Result<void>>;
};

}  // namespace batching

/// Thread-safe. Owns up to `instances` worker threads and one that keeps time, started when first needed, and
/// the function. Once warm, `run` allocates only what copying an In or an Out does. Copies of inputs are
/// destroyed before their callers of `run` are answered, inputs of `submit` right after.
template <std::copyable In, std::default_initializable Out, Environment Env = SystemEnv>
  requires std::movable<Out>
class Batcher {
 public:
  /// Called exactly once for every accepted call, on a worker's thread or the destructor's: never inside the
  /// `submit` that it belongs to, and inside another caller's `run` or `submit` only if no worker can be
  /// started. It delays that thread, and must not wait for a lock that any thread holds while calling the
  /// batcher. If it blocks a worker, the others take over within about half a millisecond; one that blocks
  /// the last worker delays all that no caller's thread runs, and all other completions.
  using Completion = void (*)(void* context, Result<Out> result) noexcept;

  /// Rejects with invalid_argument / option what `batching::validate` rejects, and an empty function. Throws
  /// what moving the function throws, and std::bad_alloc.
  template <class F>
  static Result<Batcher> create(BatcherOptions const& options, F function);
  /// Answers waiting calls with unavailable / stopping, lets running calls finish, and blocks until every
  /// call is answered. Must not run inside the function or a completion; calls that these submit in the
  /// meantime are rejected. In a child of a fork it answers nobody and returns at once.
  ~Batcher() = default;
  /// Moving needs exclusive use of both batchers; calls that wait or run are not affected.
  Batcher(Batcher&&) noexcept = default;
  Batcher& operator=(Batcher&&) noexcept = default;

  /// One output for one input. Blocks until the output is ready, or fails with deadline_exceeded once
  /// `timeout` has passed; the input is not read after the return. An input with a timeout of zero or less is
  /// not run. Only a call that runs the function on this thread, alone or in a batch, may exceed the timeout:
  /// it cannot return before the function does.
  ///
  /// A failing batch is run again in pieces, so that an input that the function rejects fails alone. Two
  /// limits: an error with code unavailable or resource_exhausted (other than out_of_memory) goes to all
  /// inputs at once; and while no piece succeeds, at most twice the batch is run again, and inputs not
  /// retried get the error of their piece.
  ///
  /// Errors of its own: resource_exhausted / queue_full above max_held, or / out_of_memory; internal /
  /// backend_failure when an Out cannot be made; failed_precondition / reentrant from inside the function or
  /// a completion; unavailable / stopping while the batcher is being destroyed.
  Result<Out> run(In const& input, Duration timeout = Duration::max());
  /// Queues the input. A rejection is returned as an error, and `completion` is then not called: queue_full,
  /// out_of_memory, backend_failure and stopping as for `run`, and invalid_argument when `completion` is
  /// null. Throws what moving an In throws. `context` is passed to the completion and never dereferenced.
  Result<void> submit(In input, Completion completion, void* context);

  /// Counts of queued and executed items; an item is an input.
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
