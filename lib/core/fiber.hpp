/// Stacks that the simulator switches between, on one thread.
#pragma once

#include <cstddef>
#include <cstdint>

namespace athanor::inline v1::detail {

/// A stack that runs one body after the other. Taken from a pool of this thread, and given back between
/// bodies.
class Fiber {
 public:
  /// A fiber that will run `body(context)` at its first resume().
  static Fiber& take(void (*body)(void*), void* context);
  /// Back to the pool. Precondition: finished().
  void give_back() noexcept;

  /// Runs the body until it leaves or ends. Not from inside a fiber.
  void resume() noexcept;
  /// From inside the fiber that runs: back to the thread that resumed it.
  static void leave() noexcept;
  bool finished() const noexcept;

 private:
  struct State;
  friend struct FiberPool;
  explicit Fiber(State& state) noexcept : state_(state) {}
  State& state_;
};

}  // namespace athanor::inline v1::detail
