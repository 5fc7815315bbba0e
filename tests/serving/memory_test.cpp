// A lack of memory in the middle of a call is an error of that call, and nothing stays behind.
// Clang's sanitizers bring their own operator new; there this file is empty.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define ATHANOR_OPERATOR_NEW_IS_TAKEN
#endif
#endif

#ifndef ATHANOR_OPERATOR_NEW_IS_TAKEN

#include <doctest/doctest.h>

#include <cstdlib>
#include <new>
#include <vector>

#include <serving/simulated_engine.hpp>

using namespace athanor;
using namespace athanor_tests;

namespace {

// Allocations of this thread until one fails; below zero none does.
thread_local long until_failure = -1;
thread_local bool failed = false;

bool fails() noexcept {
  if (until_failure < 0) return false;
  if (until_failure-- > 0) return false;
  failed = true;
  return true;
}

void* allocate(std::size_t bytes) noexcept { return fails() ? nullptr : std::malloc(bytes != 0 ? bytes : 1); }

}  // namespace

void* operator new(std::size_t bytes) {
  if (void* memory = allocate(bytes)) return memory;
  throw std::bad_alloc();
}
void* operator new(std::size_t bytes, std::nothrow_t const&) noexcept { return allocate(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

// mutant: ServedModel::execute, or EngineState::copy_answer, that lets an exception out (the program ends).
TEST_CASE("each allocation of a call may fail: the call ends with that error and gives everything back") {
  int errors = 0;
  for (long allocation = 0;; ++allocation) {
    SimulatedEngine engine(R"("batching": {"max_items": 4},)");
    REQUIRE(engine.state->loader().load(engine.served->load_record(), std::chrono::seconds(1)));
    std::vector<Request> requests;
    for (float value = 0; value < 6; ++value) requests.push_back(row(value));
    Model<SimulatedServing> const model(engine.state, *engine.served);
    failed = false;
    until_failure = allocation;
    try {
      for (Request const& request : requests) {
        auto const answer = model.infer(request);
        if (answer) continue;
        ++errors;
        bool const of_backend = answer.error().reason == Reason::backend_failure;
        CHECK((of_backend || answer.error().reason == Reason::out_of_memory));
      }
    } catch (std::bad_alloc const&) {
      ++errors;
    }
    until_failure = -1;
    CHECK(engine.state->routes() == 0);
    CHECK(engine.state->gate().statistics().held_items == 0);
    for (Request const& request : requests) CHECK(model.infer(request));
    if (!failed) break;
  }
  CHECK(errors > 0);
}

#endif
