/// Tasks that a worker of a SystemExecutor runs next, and that others can take over.
#pragma once

#include <athanor/core/env.hpp>

namespace athanor::inline v1 {

/// Ownership: `add` and `next` are called by the worker only. Tasks added while a task runs go to a list that
/// only the worker reads. `next` appends that list to the *open* tasks and removes the first of them; any
/// thread removes all open tasks with `take_over`. Open tasks are linked through Task::next. Only the thread
/// that holds the list reads and writes these links: the worker, for the few instructions while `open_` is
/// `held`, or the thread that took the list over. Only the worker sets `open_` to other than null.
template <Environment Env>
class Backlog {
 public:
  void add(Task& task) noexcept {
    task.next = nullptr;
    (added_last_ != nullptr ? added_last_->next : added_first_) = &task;
    added_last_ = &task;
  }
  /// The oldest task, removed; null when there is none.
  Task* next() noexcept {
    Task* first = open_.load(std::memory_order_relaxed);
    if (first != nullptr) first = open_.exchange(&held_, std::memory_order_acquire);
    if (added_first_ != nullptr) {
      (first != nullptr ? open_last_->next : first) = added_first_;
      open_last_ = added_last_;
      added_first_ = added_last_ = nullptr;
    }
    open_.store(first != nullptr ? first->next : nullptr, std::memory_order_release);
    return first;
  }
  bool has_open() const noexcept { return open_.load(std::memory_order_relaxed) != nullptr; }
  /// The open tasks, linked; null when there are none, or while the worker takes one.
  Task* take_over() noexcept {
    Task* first = open_.load(std::memory_order_relaxed);
    while (first != nullptr && first != &held_)
      if (open_.compare_exchange_weak(first, nullptr, std::memory_order_acquire)) return first;
    return nullptr;
  }

 private:
  typename Env::template Atomic<Task*> open_{nullptr};
  Task* open_last_ = nullptr;    // of what was open last
  Task* added_first_ = nullptr;  // by the task that runs
  Task* added_last_ = nullptr;
  Task held_;
};

}  // namespace athanor::inline v1
