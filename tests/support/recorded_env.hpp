// An environment that records which caller writes which
// line of memory, beside another one that does the work.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <set>

#include <athanor/core/detail/recorded.hpp>
#include <athanor/core/env.hpp>

namespace athanor_tests {

using namespace athanor;

/// Who wrote what since clear(). A caller is a number that its thread sets, or
/// whoever plays several callers on one thread; writes of caller 0 are not recorded.
struct Recorder {
  using Lines = std::map<std::uintptr_t, std::set<int>>;  // callers by number of the line

  static inline thread_local int caller = 0;
  static inline std::mutex mutex;
  static inline Lines writers;

  static void write(void const* at) {
    if (caller == 0) return;
    std::lock_guard const lock(mutex);
    writers[reinterpret_cast<std::uintptr_t>(at) / 64].insert(caller);
  }
  static void clear() {
    std::lock_guard const lock(mutex);
    writers.clear();
  }
  /// How many lines were written by more than one caller.
  static int shared() {
    std::lock_guard const lock(mutex);
    int lines = 0;
    for (auto const& [line, callers] : writers) lines += callers.size() > 1 ? 1 : 0;
    return lines;
  }
};

/// While one lives, the recorder also hears who writes reference
/// counts and cells of metrics, in a library that tells.
struct RecordsCounts {
#ifdef ATHANOR_RECORDS_WRITES
  RecordsCounts() {
    detail::write_recorder = [](void const* at) noexcept { Recorder::write(at); };
  }
  ~RecordsCounts() { detail::write_recorder = nullptr; }
#else
  RecordsCounts() {}
  ~RecordsCounts() {}
#endif
  RecordsCounts(RecordsCounts const&) = delete;
  RecordsCounts& operator=(RecordsCounts const&) = delete;
};

template <class Base, class T>
class RecordedAtomic {
 public:
  constexpr RecordedAtomic(T value = {}) noexcept : value_(value) {}
  T load(std::memory_order order = std::memory_order_seq_cst) const noexcept { return value_.load(order); }
  void store(T value, std::memory_order order = std::memory_order_seq_cst) noexcept {
    recorded().store(value, order);
  }
  T exchange(T value, std::memory_order order = std::memory_order_seq_cst) noexcept {
    return recorded().exchange(value, order);
  }
  T fetch_add(T by, std::memory_order order = std::memory_order_seq_cst) noexcept {
    return recorded().fetch_add(by, order);
  }
  T fetch_sub(T by, std::memory_order order = std::memory_order_seq_cst) noexcept {
    return recorded().fetch_sub(by, order);
  }
  T fetch_or(T bits, std::memory_order order = std::memory_order_seq_cst) noexcept {
    return recorded().fetch_or(bits, order);
  }
  T fetch_and(T bits, std::memory_order order = std::memory_order_seq_cst) noexcept {
    return recorded().fetch_and(bits, order);
  }
  // One that fails takes the line all the same.
  template <class... Orders>
  bool compare_exchange_strong(T& expected, T value, Orders... orders) noexcept {
    return recorded().compare_exchange_strong(expected, value, orders...);
  }
  template <class... Orders>
  bool compare_exchange_weak(T& expected, T value, Orders... orders) noexcept {
    return recorded().compare_exchange_weak(expected, value, orders...);
  }

 private:
  using Value = typename Base::template Atomic<T>;
  Value& recorded() noexcept {
    Recorder::write(this);
    return value_;
  }
  Value value_;
};

template <class Base>
class RecordedWord : public Base::Word {
 public:
  void store(std::uint32_t value) noexcept { recorded().store(value); }
  std::uint32_t exchange(std::uint32_t value) noexcept { return recorded().exchange(value); }
  std::uint32_t fetch_or(std::uint32_t bits) noexcept { return recorded().fetch_or(bits); }
  std::uint32_t fetch_and(std::uint32_t bits) noexcept { return recorded().fetch_and(bits); }
  bool compare_exchange(std::uint32_t& expected, std::uint32_t desired) noexcept {
    return recorded().compare_exchange(expected, desired);
  }

 private:
  typename Base::Word& recorded() noexcept {
    Recorder::write(this);
    return *this;
  }
};

template <class Base>
class ATH_CAPABILITY("mutex") RecordedMutex {
 public:
  // Excepted from the analysis: the base's mutex stands for this one.
  void lock() noexcept ATH_ACQUIRE() ATH_NO_THREAD_SAFETY_ANALYSIS {
    Recorder::write(this);
    mutex_.lock();
  }
  bool try_lock() noexcept ATH_TRY_ACQUIRE(true) ATH_NO_THREAD_SAFETY_ANALYSIS {
    Recorder::write(this);
    return mutex_.try_lock();
  }
  void unlock() noexcept ATH_RELEASE() ATH_NO_THREAD_SAFETY_ANALYSIS { mutex_.unlock(); }

 private:
  typename Base::Mutex mutex_;
};

template <class Base>
struct Recorded : Base {
  template <class T>
  using Atomic = RecordedAtomic<Base, T>;
  using Word = RecordedWord<Base>;
  using Mutex = RecordedMutex<Base>;
};
static_assert(Environment<Recorded<SystemEnv>>);

}  // namespace athanor_tests
