/// A lock for data that is read by many threads and seldom changed.
#pragma once

#include <array>
#include <cstddef>

#include <athanor/core/env.hpp>

namespace athanor::inline v1::caching {

/// A mutex in parts, each on a cache line of its own. A reader locks the part of its thread, a writer all of
/// them in order; so readers exclude writers, and readers on different threads write no common word unless
/// their numbers collide. Each part has `Data` of its own, guarded by the part. A reader must not lock the
/// mutex again.
template <Environment Env, class Data>
class ATH_CAPABILITY("mutex") DividedMutex {
 public:
  static constexpr std::size_t part_count = 8;
  struct alignas(64) Part {
    typename Env::Mutex mutex;
    Data data{};
  };

  // The analysis cannot follow that the mutexes of the parts stand for the whole: these four are excepted.
  Part& lock_shared() ATH_ACQUIRE_SHARED() ATH_NO_THREAD_SAFETY_ANALYSIS {
    Part& part = parts_[Env::thread_number() % part_count];
    part.mutex.lock();
    return part;
  }
  void unlock_shared(Part& part) ATH_RELEASE_SHARED() ATH_NO_THREAD_SAFETY_ANALYSIS { part.mutex.unlock(); }
  void lock() ATH_ACQUIRE() ATH_NO_THREAD_SAFETY_ANALYSIS {
    for (Part& part : parts_) part.mutex.lock();
  }
  void unlock() ATH_RELEASE() ATH_NO_THREAD_SAFETY_ANALYSIS {
    for (Part& part : parts_) part.mutex.unlock();
  }

  /// Calls `visit(data)` for one part after the other, with only that part locked.
  template <class Visit>
  void for_each(Visit visit) {
    for (Part& part : parts_) {
      athanor::detail::Lock const lock(part.mutex);
      visit(part.data);
    }
  }

 private:
  std::array<Part, part_count> parts_;
};

/// Holds a DividedMutex as a reader.
template <class Mutex>
class ATH_SCOPED_CAPABILITY SharedLock {
 public:
  explicit SharedLock(Mutex& mutex) ATH_ACQUIRE_SHARED(mutex) : mutex_(mutex), part_(mutex.lock_shared()) {}
  ~SharedLock() ATH_RELEASE() { mutex_.unlock_shared(part_); }
  SharedLock(SharedLock const&) = delete;
  SharedLock& operator=(SharedLock const&) = delete;

  auto& data() const noexcept { return part_.data; }

 private:
  Mutex& mutex_;
  typename Mutex::Part& part_;
};

}  // namespace athanor::inline v1::caching
