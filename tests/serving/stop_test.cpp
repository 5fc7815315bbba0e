// What a stop does with calls that are queued: it runs them within its grace, and answers the rest.
#include <doctest/doctest.h>

#include <memory>
#include <vector>

#include <serving/simulated_engine.hpp>

using namespace athanor;
using namespace athanor_tests;
using namespace std::chrono_literals;

// mutant: a stop gives queued calls no grace
TEST_CASE("S3-19 a stop gives accepted calls, queued or running, its grace, and refuses new ones at once") {
  SimulatedEngine engine;
  bool refused = false;
  engine.control.on_run = [&](ath_batch const&) {
    engine.world.advance(10ms);
    refused = engine.submit(row(1000))->error().reason == Reason::stopping;
    return Result<void>();
  };
  std::vector<std::unique_ptr<SimulatedEngine::Ticket>> tickets;
  for (float i = 0; i < 100; ++i) tickets.push_back(engine.submit(row(i)));
  CHECK(engine.state->stop(10s) == 0);
  for (auto const& ticket : tickets) CHECK(ticket->has_value());
  CHECK(refused);
}

TEST_CASE("a stop leaves no work behind that was queued for several callers") {
  SimulatedEngine engine(R"("batching": {"max_items": 1},)");
  std::vector<std::unique_ptr<SimulatedEngine::Ticket>> tickets;
  for (float const value : {1.0F, 1.0F, 2.0F, 2.0F}) tickets.push_back(engine.submit(row(value)));
  engine.state->stop(0s);
  for (auto const& ticket : tickets) {
    REQUIRE(ticket->done());
    CHECK(ticket->error().reason == Reason::stopping);
  }
  CHECK(engine.state->routes() == 0);
  CHECK(engine.state->gate().statistics().held_items == 0);
  CHECK(engine.control.runs.load() == 0);
}

// mutant: a stop runs the completions of queued calls before all are answered
// mutant: a stop runs the completions of abandoned calls before all are answered
TEST_CASE("a completion that a stop brings about may wait for another call, which the stop has answered") {
  struct Waiting {
    SimulatedEngine& engine;
    std::unique_ptr<SimulatedEngine::Ticket> other{};
    bool done = false;
    bool met = false;
    static void on_answer(void* context, Result<Answer>) noexcept {
      auto& self = *static_cast<Waiting*>(context);
      while (!self.other->done() && self.engine.world.step_now()) {
      }
      self.met = self.other->done();
      self.done = true;
    }
  };
  for (bool const loaded : {false, true}) {
    for (bool const first : {false, true}) {
      CAPTURE(loaded);
      CAPTURE(first);
      SimulatedEngine engine(R"("batching": {"max_items": 1},)");
      if (loaded) REQUIRE(engine.infer(row(0)));
      Waiting waiting{engine};
      auto const submit = [&] {
        auto call = engine.state->submit(engine.state->handle_of(*engine.served), row(1), {},
                                         {&Waiting::on_answer, &waiting});
        REQUIRE(call);
        (*call)->unref();
      };
      if (first) submit();
      waiting.other = engine.submit(row(2));
      if (!first) submit();
      engine.state->stop(0s);
      CHECK(waiting.done);
      CHECK(waiting.met);
    }
  }
}

// mutant: a stop waits for each completion before it runs the next
TEST_CASE("a completion that a worker has taken may wait for one that the stop runs") {
  struct Pair {
    SimulatedEnv::Word answered{};
    static void on_first(void* context, Result<Answer>) noexcept {
      static_cast<void>(static_cast<Pair*>(context)->answered.wait_until(0, no_deadline));
    }
    static void on_second(void* context, Result<Answer>) noexcept {
      auto& word = static_cast<Pair*>(context)->answered;
      word.store(1);
      word.wake_all();
    }
  };
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    CAPTURE(seed);
    SimulatedEngine engine("", {.threads = 1, .caller_runs = CallerRuns::never, .cache_bytes = 0}, seed,
                           {.order = Turns::Order::random, .switch_one_in = 2});
    Pair pair;
    for (auto const function : {&Pair::on_first, &Pair::on_second}) {
      auto call =
          engine.state->submit(engine.state->handle_of(*engine.served), row(1), {}, {function, &pair});
      REQUIRE(call);
      (*call)->unref();
    }
    TimePoint const before = SimulatedEnv::now();
    engine.state->stop(0s);
    CHECK(SimulatedEnv::now() == before);
  }
}

// mutant: a stop waits for calls without a deadline
// mutant: a stop does not refuse what is queued
TEST_CASE("S3-19 what a stop's grace does not reach is answered with stopping, and is not run") {
  SimulatedEngine engine(R"("batching": {"max_items": 1},)");
  engine.control.on_run = [&](ath_batch const&) {
    engine.world.advance(10ms);
    return Result<void>();
  };
  std::vector<std::unique_ptr<SimulatedEngine::Ticket>> tickets;
  for (float i = 0; i < 10; ++i) tickets.push_back(engine.submit(row(i)));
  engine.state->stop(35ms);
  int answered = 0;
  for (auto const& ticket : tickets) {
    REQUIRE(ticket->done());
    answered += ticket->has_value() ? 1 : 0;
    if (!ticket->has_value()) CHECK(ticket->error().reason == Reason::stopping);
  }
  CHECK(answered >= 3);
  CHECK(answered <= 4);
  CHECK(engine.control.runs.load() <= 4);
}
