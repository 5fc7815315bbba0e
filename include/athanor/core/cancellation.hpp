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

/// `cancel` cancels every unanswered call that was passed this object; later calls that are passed it are
/// rejected at once. Thread-safe. Must outlive all of these calls.
class Cancellation {
 public:
  Cancellation() = default;
  Cancellation(Cancellation const&) = delete;
  Cancellation& operator=(Cancellation const&) = delete;

  /// Cancels the linked calls; a no-op when already cancelled. Both functions are thread-safe.
  void cancel() noexcept;
  bool is_cancelled() const noexcept;

  /// For the engine. Returns false, without linking the hook, when already cancelled.
  bool link(CancelHook& hook) noexcept;
  /// When this returns, the hook is not running and will not be called.
  void unlink(CancelHook& hook) noexcept;

 private:
  mutable SystemMutex mutex_;
  CancelHook* first_ ATH_GUARDED_BY(mutex_) = nullptr;
  bool cancelled_ ATH_GUARDED_BY(mutex_) = false;
};

}  // namespace athanor::inline v1
