/// Options of a Batcher.
#pragma once

#include <cstdint>

#include <athanor/core/error.hpp>
#include <athanor/core/time.hpp>

namespace athanor::inline v1 {

/// How a Batcher groups inputs.
struct BatcherOptions {
  /// The most inputs that one call of the function gets, 1 to 1024.
  std::uint32_t max_items = 32;
  /// How long the first input may wait for others to join its batch. Zero never waits: batches form while the
  /// function is busy. With a delay, a lone caller waits the full delay: give `run` a longer timeout.
  Duration max_delay{0};
  /// Calls of the function at once, 1 to 1024, each with a thread. More than 1 only for a function that
  /// allows it.
  std::uint32_t instances = 1;
  /// Whether a lone caller may run the function on its own thread.
  bool caller_runs = true;
  /// Calls held at once, waiting or running; more are rejected. At most 2^31 - 1.
  std::uint32_t max_held = 1024;
};

namespace batching {

/// invalid_argument (Reason::option) naming the option, its value and what it may be.
Result<void> validate(BatcherOptions const& options);

}  // namespace batching

}  // namespace athanor::inline v1
