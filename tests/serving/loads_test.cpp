// Models that load while others are in use.
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <vector>

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

// mutant: a forgotten model is freed on the thread that forgets it
TEST_CASE("a call does not wait until another model, which was removed, is freed, even with one worker") {
  SimulatedEngine engine("", {.threads = 1});
  REQUIRE(engine.state->loader().load(engine.served->load_record(), 1s));
  ModelFolder const slow("", "slow");
  REQUIRE(engine.state->loader().load(engine.state->add(slow.path()).value()->load_record(), 1s));
  std::unique_ptr<SimulatedEngine::Ticket> ticket;
  bool answered = false;
  engine.control.on_unload = [&] {
    ticket = engine.submit(row(1));
    while (!ticket->done() && engine.world.step_now()) {
    }
    answered = ticket->has_value();
  };
  REQUIRE(engine.state->remove("slow@1.0.0"));
  engine.world.run_until_idle();
  CHECK(answered);
  engine.control.on_unload = [] {};
}

// mutant: the loader has as many threads as it likes
TEST_CASE("at most load_threads models are loaded at a time") {
  for (std::uint32_t const threads : {1U, 3U}) {
    SimulatedEngine engine("", {.load_threads = threads});
    std::uint32_t inside = 0;
    std::uint32_t most = 0;
    engine.control.on_load = [&](std::string_view) {
      most = std::max(most, ++inside);
      while (inside < 3 && engine.world.step_now()) {
      }
      --inside;
      return Result<void>();
    };
    std::vector<std::unique_ptr<ModelFolder>> folders;
    std::vector<std::unique_ptr<SimulatedEngine::Ticket>> tickets;
    for (char const* const name : {"one", "two", "three"}) {
      folders.push_back(std::make_unique<ModelFolder>("", name));
      engine.served = engine.state->add(folders.back()->path()).value().get();
      tickets.push_back(engine.submit(row(1), {.cache = CacheMode::skip}));
    }
    engine.world.run_until_idle();
    CHECK(most == threads);
    for (auto const& ticket : tickets) CHECK(ticket->has_value());
  }
}

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

// mutant: the footprints of members wrap
TEST_CASE("footprints whose sum is more than a number holds do not pass as a small one") {
  SimulatedEngine engine("", {.model_bytes = std::uint64_t{1} << 40});
  engine.control.bytes = std::uint64_t{1} << 63;
  MeanFolder const two;
  auto const mean = engine.state->add(two.path()).value();
  auto const loaded = engine.state->loader().load(mean->load_record(), 1s);
  REQUIRE_FALSE(loaded);
  CHECK(loaded.error().reason == Reason::budget);
  CHECK(loaded.error().message.find("the loaded model holds 18446744073709551615") != std::string::npos);
}
