// A lack of memory in the middle of a call is an error of that call, and nothing stays behind.
#include <support/thread_memory.hpp>

#ifndef ATHANOR_OPERATOR_NEW_IS_TAKEN

#include <doctest/doctest.h>

#include <new>
#include <vector>

#include <serving/simulated_engine.hpp>

using namespace athanor;
using namespace athanor_tests;

// mutant: ServedModel::execute, or EngineState::copy_answer, that lets an exception out (the program ends).
TEST_CASE("each allocation of a call may fail: the call ends with that error and gives everything back") {
  int errors = 0;
  for (long allocation = 0;; ++allocation) {
    SimulatedEngine engine(R"("batching": {"max_items": 4},)");
    REQUIRE(engine.state->loader().load(engine.served->load_record(), std::chrono::seconds(1)));
    std::vector<Request> requests;
    for (float value = 0; value < 6; ++value) requests.push_back(row(value));
    Model<SimulatedServing> const model(engine.state, *engine.served);
    auto& memory = thread_memory();
    memory.failed = false;
    memory.until_failure = allocation;
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
    memory.until_failure = -1;
    CHECK(engine.state->routes() == 0);
    CHECK(engine.state->gate().statistics().held_items == 0);
    for (Request const& request : requests) CHECK(model.infer(request));
    if (!memory.failed) break;
  }
  CHECK(errors > 0);
}

#endif
