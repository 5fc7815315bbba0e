/// Tasks that a worker of a SystemExecutor runs next, and that others can take over.
#pragma once

#include <atomic>

#include <athanor/core/env.hpp>

namespace athanor::inline v1 {

/// Who may do what: `add` and `next` are the worker's. What it adds while a task runs is its alone, in a list that
/// nobody else reads. `next` appends that list to what is *open*, of which it then takes the first; any thread takes all
/// of what is open with `take_over`. Open tasks are linked through Task::next, and these links are read and written only
/// by who holds the list: the worker holds it while `open_` is `held`, for a few instructions, and whoever takes it over
/// holds it from then on. Only the worker makes `open_` other than null.
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
  std::atomic<Task*> open_{nullptr};
  Task* open_last_ = nullptr;    // of what was open last
  Task* added_first_ = nullptr;  // by the task that runs
  Task* added_last_ = nullptr;
  Task held_;
};

}  // namespace athanor::inline v1
