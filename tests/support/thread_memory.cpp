#include <support/thread_memory.hpp>

#include <cstdlib>
#include <new>

namespace athanor_tests {

ThreadMemory& thread_memory() noexcept {
  thread_local ThreadMemory memory;
  return memory;
}

}  // namespace athanor_tests

#ifndef ATHANOR_OPERATOR_NEW_IS_TAKEN

namespace {

bool fails(athanor_tests::ThreadMemory& memory) noexcept {
  if (memory.exhausted) return true;
  if (memory.fails_at == 0 || --memory.fails_at > 0) return false;
  memory.failed = true;
  return true;
}

void* allocate(std::size_t bytes) noexcept {
  auto& memory = athanor_tests::thread_memory();
  ++memory.allocations;
  return fails(memory) ? nullptr : std::malloc(bytes != 0 ? bytes : 1);
}

}  // namespace

void* operator new(std::size_t bytes) {
  if (void* memory = allocate(bytes)) return memory;
  throw std::bad_alloc();
}
void* operator new(std::size_t bytes, std::nothrow_t const&) noexcept { return allocate(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::nothrow_t const&) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

#endif
