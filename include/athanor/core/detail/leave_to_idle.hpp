/// Work that a thread gives away, if another one is idle.
#pragma once

#include <concepts>
#include <memory>
#include <new>
#include <utility>

#include <athanor/core/env.hpp>

namespace athanor::inline v1::detail {

/// Has `work()` run by an idle thread of `executor`, which takes its contents over. False, and it is still
/// for this thread to do, if none is idle or there is no memory.
template <class Executor, std::default_initializable Work>
bool leave_to_idle_thread(Executor& executor, Work& work) noexcept {
  struct Left : Task {
    Work work{};
  };
  auto left = std::unique_ptr<Left>(new (std::nothrow) Left);
  if (left == nullptr) return false;
  left->run = [](Task& task) noexcept {
    std::unique_ptr<Left> const self(static_cast<Left*>(&task));
    self->work();
  };
  std::swap(left->work, work);
  if (executor.post_if_idle(*left)) {
    static_cast<void>(left.release());
    return true;
  }
  std::swap(left->work, work);
  return false;
}

}  // namespace athanor::inline v1::detail
