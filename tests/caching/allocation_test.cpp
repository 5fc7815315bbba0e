#include <support/thread_memory.hpp>

#ifndef ATHANOR_OPERATOR_NEW_IS_TAKEN

#include "caching_support.hpp"

#include <athanor/caching/response_cache.hpp>

#include <doctest/doctest.h>

#include <stdexcept>

namespace {

using namespace athanor;
using namespace athanor::caching;
using namespace athanor::caching_tests;
using athanor_tests::thread_memory;

// mutant: flights are not pooled
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

  std::size_t const before = thread_memory().allocations;
  CHECK(store.join(reader, key, CacheMode::use, at(Duration(0))) == Join::hit);
  CHECK(thread_memory().allocations == before);
  fly();
  CHECK(thread_memory().allocations == before);
}

// mutant: a failed computation leaves its flight open
TEST_CASE("a failure that cannot be put into words ends its flight all the same") {
  auto cache = *ResponseCache<int, int>::create();
  auto const failed = cache.get_or_compute(1, Duration(0), []() -> int {
    std::runtime_error error("a sentence that is too long to be kept in a string itself");
    thread_memory().exhausted = true;
    throw error;
  });
  thread_memory().exhausted = false;
  CHECK(failed.error().code == Code::internal);
  CHECK(failed.error().message.empty());
  CHECK(cache.statistics().flights == 0);
  CHECK(cache.get_or_compute(1, Duration(0), [] { return 1; }));
}

}  // namespace

#endif
