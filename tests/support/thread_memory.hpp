// What a test sees, and decides, of the memory that its thread asks for. A test program that compiles
// thread_memory.cpp has allocation functions of its own.
#pragma once

// Clang's sanitizers bring their own operator new; there nothing is counted, and nothing fails.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define ATHANOR_OPERATOR_NEW_IS_TAKEN
#endif
#endif

#include <cstddef>
#include <utility>

namespace athanor_tests {

struct ThreadMemory {
  std::size_t allocations = 0;  // asked for so far, whether or not they failed
  bool exhausted = false;       // while true, every allocation fails
  std::size_t fails_at = 0;     // which allocation from now on fails, counted from one; 0: none
  bool failed = false;          // that one has failed
};

// Actors of a simulation are on one thread: those of them whose allocations are to fail
// by themselves are told apart by Simulation::give_each_actor(thread_memory().fails_at).
ThreadMemory& thread_memory() noexcept;

// While one lives, that allocation of this thread fails.
class FailingMemory {
 public:
  explicit FailingMemory(std::size_t at) noexcept { thread_memory().fails_at = at; }
  ~FailingMemory() { thread_memory().fails_at = 0; }
  FailingMemory(FailingMemory const&) = delete;
  FailingMemory& operator=(FailingMemory const&) = delete;
};

// While one lives, no allocation of this thread fails by fails_at.
class SparedMemory {
 public:
  SparedMemory() noexcept : fails_at_(std::exchange(thread_memory().fails_at, 0)) {}
  ~SparedMemory() { thread_memory().fails_at = fails_at_; }
  SparedMemory(SparedMemory const&) = delete;
  SparedMemory& operator=(SparedMemory const&) = delete;
  // What fails afterwards.
  void then(std::size_t fails_at) noexcept { fails_at_ = fails_at; }

 private:
  std::size_t fails_at_;
};

}  // namespace athanor_tests
