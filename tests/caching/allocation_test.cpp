// Clang's sanitizers bring their own operator new; there this file is empty.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define ATHANOR_OPERATOR_NEW_IS_TAKEN
#endif
#endif

#ifndef ATHANOR_OPERATOR_NEW_IS_TAKEN

#include "caching_support.hpp"

#include <athanor/caching/response_cache.hpp>

#include <doctest/doctest.h>

#include <cstdlib>
#include <new>
#include <stdexcept>

namespace {
thread_local std::size_t allocations = 0;
thread_local bool out_of_memory = false;

void* counted(std::size_t bytes) noexcept {
  ++allocations;
  if (out_of_memory) return nullptr;
  return std::malloc(bytes != 0 ? bytes : 1);
}
}  // namespace

void* operator new(std::size_t bytes) {
  if (void* memory = counted(bytes)) return memory;
  throw std::bad_alloc();
}
void* operator new(std::size_t bytes, std::nothrow_t const&) noexcept { return counted(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

using namespace athanor;
using namespace athanor::caching;
using namespace athanor::caching_tests;

// mutant: flights are not pooled, or a hit copies its value into new memory
TEST_CASE("a hit allocates nothing, and neither does a flight after the first") {
  auto const owned = std::make_unique<IntegerStore>();
  IntegerStore& store = *owned;
  CountingClient client;
  Handle const value = value_of(1);
  auto const key = key_of(1);
  auto const fly = [&] {
    TestCall owner, waiter;
    store.join(owner, key_of(2), CacheMode::use, at(Duration(0)));
    store.join(waiter, key_of(2), CacheMode::use, at(Duration(0)));
    store.fail(owner, Error{}, client);
  };
  TestCall owner, reader;
  store.join(owner, key, CacheMode::use, at(Duration(0)));
  store.publish(owner, value, 4, Duration(1), at(Duration(0)), client);
  fly();

  std::size_t const before = allocations;
  CHECK(store.join(reader, key, CacheMode::use, at(Duration(0))) == Join::hit);
  CHECK(allocations == before);
  fly();
  CHECK(allocations == before);
}

// mutant: lead() does not end the flight when the failure has no message
TEST_CASE("a failure that cannot be put into words ends its flight all the same") {
  auto cache = *ResponseCache<int, int>::create();
  auto const failed = cache.get_or_compute(1, Duration(0), []() -> int {
    std::runtime_error error("a sentence that is too long to be kept in a string itself");
    out_of_memory = true;
    throw error;
  });
  out_of_memory = false;
  CHECK(failed.error().code == Code::internal);
  CHECK(failed.error().message.empty());
  CHECK(cache.statistics().flights == 0);
  CHECK(cache.get_or_compute(1, Duration(0), [] { return 1; }));
}

}  // namespace

#endif
