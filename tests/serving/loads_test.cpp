// Models that load while others are in use.
#include <doctest/doctest.h>

#include "simulated_engine.hpp"

using namespace athanor;
using namespace athanor_tests;
using namespace std::chrono_literals;

TEST_CASE("a call of a loaded model does not wait for another model's load, even with one worker") {
  SimulatedEngine engine("", {.threads = 1});
  REQUIRE(engine.state->loader().load(engine.served->load_record(), 1s));
  ModelFolder const slow("", "slow");
  auto const other = engine.state->add(slow.path()).value();
  std::unique_ptr<SimulatedEngine::Ticket> ticket;
  bool answered_during_load = false;
  engine.control.on_load = [&](std::string_view) {
    ticket = engine.submit(row(1));
    for (int i = 0; i < 50 && !ticket->done(); ++i) engine.world.step_now();
    answered_during_load = ticket->has_value();
    return Result<void>();
  };
  REQUIRE(engine.state->loader().load(other->load_record(), 1s));
  CHECK(answered_during_load);
  engine.world.run_until_idle();
}

// mutant: a call is accepted although nobody keeps its deadline
TEST_CASE("an asynchronous call is not left without an answer when no thread can keep its deadline") {
  SimulatedEngine engine(R"("batching": {"max_items": 8, "policy": "size_or_delay", "max_delay_us": 500},)");
  engine.world.refuse_threads(true);
  auto const ticket = engine.submit(row(1));
  engine.world.refuse_threads(false);
  engine.world.run_until_idle();
  REQUIRE(ticket->done());
  CHECK(ticket->error().code == Code::resource_exhausted);
  auto const later = engine.submit(row(1));
  engine.world.run_until_idle();
  CHECK(later->has_value());
}
