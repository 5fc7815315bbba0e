/// Cancels calls from another thread.
#pragma once

#include <athanor/core/detail/lock.hpp>
#include <athanor/core/env.hpp>

namespace athanor::inline v1 {

/// One link between a Cancellation and a call; embedded in the call.
struct CancelHook {
  void (*cancelled)(CancelHook& self) noexcept = nullptr;
  CancelHook* next = nullptr;
  CancelHook* previous = nullptr;
  bool linked = false;
};

/// The base of every BasicCancellation, whatever its environment: the type that CallOptions takes.
class AnyCancellation {
 public:
  AnyCancellation(AnyCancellation const&) = delete;
  AnyCancellation& operator=(AnyCancellation const&) = delete;

  /// Cancels the linked calls; a no-op when already cancelled. Both functions are thread-safe.
  virtual void cancel() noexcept = 0;
  virtual bool is_cancelled() const noexcept = 0;

  /// For the engine. Returns false, without linking the hook, when already cancelled.
  virtual bool link(CancelHook& hook) noexcept = 0;
  /// When this returns, the hook is not running and will not be called.
  virtual void unlink(CancelHook& hook) noexcept = 0;

 protected:
  AnyCancellation() = default;
  ~AnyCancellation() = default;
};

/// `cancel` cancels every unanswered call that was passed this object; later calls that are passed it are
/// rejected at once. Thread-safe. Must outlive all of these calls.
template <Environment Env>
class BasicCancellation final : public AnyCancellation {
 public:
  BasicCancellation() = default;

  void cancel() noexcept override;
  bool is_cancelled() const noexcept override;
  bool link(CancelHook& hook) noexcept override;
  void unlink(CancelHook& hook) noexcept override;

 private:
  using Lock = detail::Lock<typename Env::Mutex>;

  mutable typename Env::Mutex mutex_;
  CancelHook* first_ ATH_GUARDED_BY(mutex_) = nullptr;
  bool cancelled_ ATH_GUARDED_BY(mutex_) = false;
};

/// A cancellation token in the production environment.
using Cancellation = BasicCancellation<SystemEnv>;

// Hooks are called under the mutex, so when unlink returns, no call of the hook is in progress.
template <Environment Env>
void BasicCancellation<Env>::cancel() noexcept {
  Lock const lock(mutex_);
  cancelled_ = true;
  while (CancelHook* hook = first_) {
    first_ = hook->next;
    if (first_ != nullptr) first_->previous = nullptr;
    hook->linked = false;
    hook->cancelled(*hook);
  }
}

template <Environment Env>
bool BasicCancellation<Env>::is_cancelled() const noexcept {
  Lock const lock(mutex_);
  return cancelled_;
}

template <Environment Env>
bool BasicCancellation<Env>::link(CancelHook& hook) noexcept {
  Lock const lock(mutex_);
  if (cancelled_) return false;
  hook.previous = nullptr;
  hook.next = first_;
  if (first_ != nullptr) first_->previous = &hook;
  first_ = &hook;
  hook.linked = true;
  return true;
}

template <Environment Env>
void BasicCancellation<Env>::unlink(CancelHook& hook) noexcept {
  Lock const lock(mutex_);
  if (!hook.linked) return;
  (hook.previous != nullptr ? hook.previous->next : first_) = hook.next;
  if (hook.next != nullptr) hook.next->previous = hook.previous;
  hook.linked = false;
}

extern template class BasicCancellation<SystemEnv>;

}  // namespace athanor::inline v1
