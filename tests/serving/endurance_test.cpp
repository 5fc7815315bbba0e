// What must not bring the engine down or shut callers out for long: slow starts, early leavers, bad
// manifests.
#include <doctest/doctest.h>

#include <thread>

#include <serving/simulated_engine.hpp>

using namespace athanor;
using namespace athanor_tests;
using namespace std::chrono_literals;

namespace {

struct EnsembleEngine : SimulatedEngine {
  MeanFolder two;

  EnsembleEngine() { served = state->add(two.path()).value().get(); }
};

}  // namespace

// mutant: a guess is believed
TEST_CASE("a slow first batch does not shut out callers with short deadlines") {
  SimulatedEngine engine;
  bool slow = true;
  engine.control.on_run = [&](ath_batch const&) {
    if (std::exchange(slow, false)) engine.world.advance(400ms);
    return Result<void>();
  };
  REQUIRE(engine.infer(row(1)));
  int refused = 0;
  for (float i = 2; i < 40; ++i) {
    refused += engine.infer(row(i), {.deadline = 100ms}) ? 0 : 1;
    engine.world.advance(20ms);
  }
  CHECK(refused <= 8);
}

// mutant: a model that is known to be slow is never tried again
TEST_CASE("a model known to be slow is tried again, once in as long as it is known to take") {
  SimulatedEngine engine;
  Duration takes = 400ms;
  engine.control.on_run = [&](ath_batch const&) {
    engine.world.advance(takes);
    return Result<void>();
  };
  for (float i = 0; i < 10; ++i) REQUIRE(engine.infer(row(i)));
  takes = 1ms;
  int refused = 0;
  int answered = 0;
  for (float i = 10; i < 400; ++i) {
    auto const answer = engine.infer(row(i), {.deadline = 100ms});
    answered += answer ? 1 : 0;
    refused += !answer && answer.error().reason == Reason::expected_wait ? 1 : 0;
    engine.world.advance(50ms);
  }
  CHECK(refused > 0);
  CHECK(answered > refused);
}

// mutant: a trial is let through although others are queued
TEST_CASE("a call that is predicted to be late is no trial while others are queued") {
  EngineOptions options;
  options.caller_runs = CallerRuns::never;
  SimulatedEngine engine("", options);
  engine.control.on_run = [&](ath_batch const&) {
    engine.world.advance(400ms);
    return Result<void>();
  };
  for (float i = 0; i < 10; ++i) REQUIRE(engine.infer(row(i)));
  engine.world.advance(1h);
  auto const queued = engine.submit(row(100));
  auto const behind = engine.submit(row(101), {.deadline = 100ms});
  REQUIRE(behind->done());
  CHECK(behind->error().reason == Reason::expected_wait);
  engine.world.run_until_idle();
  auto const trial = engine.submit(row(102), {.deadline = 100ms});
  CHECK_FALSE(trial->done());
  engine.world.run_until_idle();
}

// mutant: the deadline of who carries the work ends it for those who wait
TEST_CASE(
    "S3-6 the caller whose request carries the work runs out of time, and the others get their answer") {
  EngineOptions options;
  options.caller_runs = CallerRuns::never;
  SimulatedEngine engine("", options);
  auto owner = engine.submit(row(7), {.deadline = 5ms});
  auto waiter = engine.submit(row(7), {.deadline = 1s});
  engine.world.advance(10ms);
  engine.world.run_until_idle();
  REQUIRE(owner->done());
  CHECK(owner->error().code == Code::deadline_exceeded);
  REQUIRE(waiter->has_value());
  CHECK(waiter->y() == 8);
}

// mutant: who is late is told that the work had not begun
TEST_CASE("a call that is late says whether its work had begun") {
  SimulatedEngine engine;
  REQUIRE(engine.infer(row(1)));
  engine.control.on_run = [&](ath_batch const&) {
    engine.world.advance(10ms);
    engine.world.step_now();  // its timer
    return Result<void>();
  };
  auto late = engine.submit(row(2), {.deadline = 5ms});
  engine.world.run_until_idle();
  REQUIRE_FALSE(late->has_value());
  CHECK(late->error().reason == Reason::deadline_running);
  CHECK(late->error().message.find("had begun") != std::string::npos);
}

// mutant: a model whose load failed keeps its name
TEST_CASE("a model whose load failed may be added again with a corrected manifest") {
  Simulation world(1);
  Puppet puppet;
  ModelFolder const wrong(R"("batching": {"max_items": 3},)");
  ModelFolder const corrected(R"("batching": {"max_items": 4},)");
  auto engine = Engine<SimulatedServing>::create({.backends = {&puppet.table}}).value();
  wrong.write("model.bin", "other weights");
  auto const failed = engine.load(wrong.path());
  REQUIRE_FALSE(failed);
  CHECK_FALSE(engine.health().ready);
  auto model = engine.load(corrected.path());
  REQUIRE(model);
  CHECK(model->infer(row(1)).has_value());
  CHECK(engine.health().ready);
  ModelFolder const another(R"("batching": {"max_items": 5},)");
  CHECK(engine.load(another.path()).error().code == Code::already_exists);
}

// mutant: an engine that is assigned over goes on
TEST_CASE("an engine that is assigned over is stopped") {
  Simulation world(1);
  Puppet puppet;
  ModelFolder const folder;
  auto engine = Engine<SimulatedServing>::create({.backends = {&puppet.table}}).value();
  auto model = engine.load(folder.path()).value();
  auto other = Engine<SimulatedServing>::create({.backends = {&puppet.table}}).value();
  engine = std::move(other);
  CHECK(model.infer(row(1)).error().reason == Reason::stopping);
}

// mutant: callers inside a backend are not counted as abandoned
// mutant: a stop does not know removed models
TEST_CASE("a caller's own thread inside a backend is counted when the engine stops, of a removed model too") {
  for (bool const removed : {false, true}) {
    Puppet puppet;
    Held held(puppet.control);
    ModelFolder const folder;
    auto engine = Engine<>::create({.backends = {&puppet.table}}).value();
    auto model = engine.load(folder.path()).value();
    std::jthread const caller([&] { CHECK_FALSE(model.infer(row(1)).has_value()); });
    held.wait_until_inside();
    if (removed) REQUIRE(engine.remove(model.id()));
    CHECK(engine.stop(1ms) == 1);
    held.let_go();
  }
}

// mutant: a stored answer forgets how many members gave it
TEST_CASE("joined and cached answers of an ensemble report how many members answered") {
  EnsembleEngine engine;
  auto const first = engine.submit(row(3));
  auto const joined = engine.submit(row(3));
  engine.world.run_until_idle();
  CHECK(first->answer->value().report.members == 2);
  CHECK(joined->answer->value().report.members == 2);
  CHECK(engine.infer(row(3))->report.members == 2);
}

// mutant: every failure of a member is the model's
TEST_CASE("S3-12 inputs that an ensemble refuses do not open its breaker") {
  EnsembleEngine engine;
  engine.control.on_run = [](ath_batch const&) {
    return Result<void>(fail(Code::invalid_argument, Reason::value_range, "out of range"));
  };
  for (float i = 0; i < 40; ++i) {
    auto const answer = engine.infer(row(i));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == Code::invalid_argument);
  }
  CHECK(engine.served->breaker().state() == breaking::State::closed);
}
