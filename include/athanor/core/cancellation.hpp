/// Taking calls back from another thread.
#pragma once

#include <mutex>

namespace athanor::inline v1 {

/// One link between a Cancellation and a call; embedded in the call.
struct CancelHook {
  void (*cancelled)(CancelHook& self) noexcept = nullptr;
  CancelHook* next = nullptr;
  CancelHook* previous = nullptr;
  bool linked = false;
};

/// Takes back every call that was given this object and has not been answered; later calls with it are
/// refused at once. Thread-safe. Must outlive the calls that were given it.
class Cancellation {
 public:
  Cancellation() = default;
  Cancellation(Cancellation const&) = delete;
  Cancellation& operator=(Cancellation const&) = delete;

  void cancel() noexcept;
  bool is_cancelled() const noexcept;

  /// False when it is cancelled already: the hook was not linked. Used by whoever runs the call.
  bool link(CancelHook& hook) noexcept;
  /// After it returns, the hook is not called (any more).
  void unlink(CancelHook& hook) noexcept;

 private:
  mutable std::mutex mutex_;
  CancelHook* first_ = nullptr;
  bool cancelled_ = false;
};

}  // namespace athanor::inline v1
