/// Cancels calls from another thread.
#pragma once

#include <athanor/core/detail/lock.hpp>

namespace athanor::inline v1 {

/// One link between a Cancellation and a call; embedded in the call.
struct CancelHook {
  void (*cancelled)(CancelHook& self) noexcept = nullptr;
  CancelHook* next = nullptr;
  CancelHook* previous = nullptr;
  bool linked = false;
};

/// `cancel` ends every unanswered call that was given this object; later calls with it are refused at once.
/// Thread-safe. Must outlive the calls that were given it.
class Cancellation {
 public:
  Cancellation() = default;
  Cancellation(Cancellation const&) = delete;
  Cancellation& operator=(Cancellation const&) = delete;

  /// Cancels what waits on this object; a no-op from the second time on. Both functions are thread-safe.
  void cancel() noexcept;
  bool is_cancelled() const noexcept;

  /// For the engine. False when this is cancelled already: then the hook was not linked.
  bool link(CancelHook& hook) noexcept;
  /// After it returns, the hook is not being called and will not be.
  void unlink(CancelHook& hook) noexcept;

 private:
  mutable SystemMutex mutex_;
  CancelHook* first_ ATH_GUARDED_BY(mutex_) = nullptr;
  bool cancelled_ ATH_GUARDED_BY(mutex_) = false;
};

}  // namespace athanor::inline v1
