#include <athanor/core/cancellation.hpp>

namespace athanor::inline v1 {

// Hooks are called under the mutex: that is what lets unlink promise that no call of the hook is under way.
void Cancellation::cancel() noexcept {
  detail::Lock const lock(mutex_);
  cancelled_ = true;
  while (CancelHook* hook = first_) {
    first_ = hook->next;
    if (first_ != nullptr) first_->previous = nullptr;
    hook->linked = false;
    hook->cancelled(*hook);
  }
}

bool Cancellation::is_cancelled() const noexcept {
  detail::Lock const lock(mutex_);
  return cancelled_;
}

bool Cancellation::link(CancelHook& hook) noexcept {
  detail::Lock const lock(mutex_);
  if (cancelled_) return false;
  hook.previous = nullptr;
  hook.next = first_;
  if (first_ != nullptr) first_->previous = &hook;
  first_ = &hook;
  hook.linked = true;
  return true;
}

void Cancellation::unlink(CancelHook& hook) noexcept {
  detail::Lock const lock(mutex_);
  if (!hook.linked) return;
  (hook.previous != nullptr ? hook.previous->next : first_) = hook.next;
  if (hook.next != nullptr) hook.next->previous = hook.previous;
  hook.linked = false;
}

}  // namespace athanor::inline v1
