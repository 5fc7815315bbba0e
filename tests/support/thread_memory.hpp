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

namespace athanor_tests {

struct ThreadMemory {
  std::size_t allocations = 0;  // asked for so far, whether or not they failed
  bool exhausted = false;       // while true, every allocation fails
  long until_failure = -1;      // allocations that succeed before one fails; below zero none fails
  bool failed = false;          // until_failure has come to its end
};

ThreadMemory& thread_memory() noexcept;

}  // namespace athanor_tests
