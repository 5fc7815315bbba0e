/// A mutex and a scoped lock that Clang's thread-safety analysis follows.
#pragma once

#include <mutex>

#include <athanor/core/detail/thread_annotations.hpp>

namespace athanor::inline v1 {

/// std::mutex, annotated. Lockable.
class ATH_CAPABILITY("mutex") SystemMutex {
 public:
  void lock() ATH_ACQUIRE() { mutex_.lock(); }
  bool try_lock() ATH_TRY_ACQUIRE(true) { return mutex_.try_lock(); }
  void unlock() ATH_RELEASE() { mutex_.unlock(); }
  /// For a condition variable.
  std::mutex& native() noexcept { return mutex_; }

 private:
  std::mutex mutex_;
};

namespace detail {

/// Holds a mutex from its construction on, but between `unlock` and `lock`.
template <class Mutex>
class ATH_SCOPED_CAPABILITY Lock {
 public:
  explicit Lock(Mutex& mutex) ATH_ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~Lock() ATH_RELEASE() {
    if (held_) mutex_.unlock();
  }
  Lock(Lock const&) = delete;
  Lock& operator=(Lock const&) = delete;

  void unlock() ATH_RELEASE() {
    held_ = false;
    mutex_.unlock();
  }
  void lock() ATH_ACQUIRE() {
    mutex_.lock();
    held_ = true;
  }

 private:
  Mutex& mutex_;
  bool held_ = true;
};

}  // namespace detail

}  // namespace athanor::inline v1
