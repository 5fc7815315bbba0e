// What an engine reports about itself and its models.
#include <doctest/doctest.h>

#include <array>
#include <string>

#include <athanor/serving/engine.hpp>
#include <serving/simulated_engine.hpp>
#include <support/death.hpp>

using namespace athanor;
using namespace athanor_tests;

// mutant: statistics tell joined calls as hits
// mutant: the mean of a summary is its count
TEST_CASE("a model's statistics count its calls, batches and items") {
  Puppet puppet;
  ModelFolder const folder;
  auto engine = Engine<>::create({.backends = {&puppet.table}}).value();
  auto const model = [&] { return engine.model("puppet").value(); };
  CHECK(engine.load(folder.path()).value().statistics()->requests_with(Code::ok) == 0);
  REQUIRE(model().infer(row(1)));
  REQUIRE(model().infer(row(1)));
  std::array<float, 4> const two_rows{1, 2, 3, 4};
  REQUIRE(model().infer(Request{{"x", Tensor::view<float>(two_rows, Shape{2, 2})}}));
  CHECK_FALSE(model().infer(Request{}));

  ModelStatistics const seen = model().statistics().value();
  CHECK(seen.requests_with(Code::ok) == 3);
  CHECK(seen.requests_with(Code::invalid_argument) == 1);
  CHECK(seen.cache_hits == 1);
  CHECK(seen.cache_joined == 0);
  CHECK(seen.batches == 2);
  CHECK(seen.batch_failures == 0);
  CHECK(seen.batch_items.count == 2);
  CHECK(seen.batch_items.sum == 3);
  CHECK(seen.batch_items.mean == 1.5);
  CHECK(seen.batch_items.p50 == 1);
  CHECK(seen.batch_items.p99 == 2);
  CHECK(seen.latency.count == 3);
  CHECK(seen.compute.count == 2);
  CHECK(seen.queued_items == 0);
  CHECK(seen.busy_instances == 0);
  CHECK(seen.bytes != 0);
  CHECK(seen.breaker_opened == 0);
}

// mutant: no queue time is counted
// mutant: the queue time of calls that ran at once is counted
TEST_CASE("the queue time is counted of calls that waited for their batch") {
  SimulatedEngine engine(R"("batching": {"max_items": 1},)", {.caller_runs = CallerRuns::never});
  engine.control.on_run = [&](ath_batch const&) {
    engine.world.advance(std::chrono::milliseconds(10));
    return Result<void>{};
  };
  auto const first = engine.submit(row(1));
  auto const second = engine.submit(row(2));
  engine.world.run_until_idle();
  REQUIRE(second->has_value());
  auto const queue = Model<SimulatedServing>(engine.state, *engine.served).statistics()->queue;
  CHECK(queue.count == 1);
  CHECK(queue.sum == 10'000'000);
  CHECK(engine.state->metrics_text().find(
            "athanor_queue_seconds_count{model=\"puppet\",version=\"1.0.0\"} 1") != std::string::npos);
}

// mutant: how fast an open breaker refuses is counted as latency
// mutant: a refusal on the way is told as a failure
// mutant: a cache that has no answer does not say of which model
TEST_CASE("the latency of calls for which nothing was done is left out") {
  SimulatedEngine engine;
  engine.control.on_run = [](ath_batch const&) {
    return Result<void>(fail(Code::internal, Reason::backend_failure, "down"));
  };
  Model<SimulatedServing> const model(engine.state, *engine.served);
  for (int i = 0; i < 5; ++i)
    CHECK(engine.infer(row(1), {.cache = CacheMode::skip}).error().reason == Reason::backend_failure);
  REQUIRE(model.statistics()->latency.count == 5);

  CHECK(engine.infer(row(1)).error().reason == Reason::breaker_open);
  CHECK(engine.submit(row(1))->refusal->reason == Reason::breaker_open);
  Error const not_cached = engine.infer(row(1), {.cache = CacheMode::only_if_cached}).error();
  CHECK(not_cached.reason == Reason::not_cached);
  CHECK(not_cached.message.starts_with("puppet@1.0.0: cache: "));
  auto const seen = model.statistics().value();
  CHECK(seen.latency.count == 5);
  CHECK(seen.requests_with(Code::unavailable) == 2);
  CHECK(seen.requests_with(Code::not_found) == 1);
}

// mutant: the memory of a cached output is charged without its alignment
// mutant: the list of outputs of a cached answer is not charged
TEST_CASE("a cached answer of eight bytes is charged with all the memory that it takes") {
  SimulatedEngine engine;
  REQUIRE(engine.infer(row(1)));
  std::size_t const allocator = 16;
  std::size_t const numbers = 64 + allocator;
  std::size_t const block = 2 * sizeof(std::size_t) + 3 * sizeof(void*) + allocator;  // of the Buffer
  std::size_t const answer = sizeof(serving::StoredAnswer) + 2 * sizeof(void*) + allocator;
  std::size_t const outputs = sizeof(Tensor) + allocator;
  CHECK(engine.state->cache().statistics().bytes ==
        numbers + block + answer + outputs + serving::EngineState<SimulatedServing>::Cache::entry_overhead());
}

// mutant: nobody looks whether an answer has an output
TEST_CASE(
    "asking an answer for an output that it does not have terminates the process with the names of those it "
    "has") {
  SimulatedEngine engine;
  auto const answer = engine.infer(row(1)).value();
  CHECK(last_words([&] { static_cast<void>(answer.outputs["z"]); }) ==
        "athanor: Outputs: expected one of the outputs y, got z\n");
  CHECK(last_words([&] { static_cast<void>(answer.outputs[1]); }) ==
        "athanor: Outputs: expected an index below the number of outputs, got a larger one\n");
}

// mutant: health tells no bytes
TEST_CASE("health is written as JSON, member by member") {
  ModelHealth model{.id = "m@1.0.0",
                    .state = "failed",
                    .reason = "it broke: \"x\"",
                    .note = "no batch was tried",
                    .breaker = "open"};
  model.bytes = 5;
  model.queued_items = 7;
  Health const health{.reason = "m@1.0.0: it broke", .models = {model}};
  CHECK(to_json(health) == R"({
  "live": true,
  "ready": false,
  "reason": "m@1.0.0: it broke",
  "models": [
    {
      "id": "m@1.0.0",
      "state": "failed",
      "ready": false,
      "reason": "it broke: \"x\"",
      "note": "no batch was tried",
      "breaker": "open",
      "bytes": 5,
      "queued_items": 7
    }
  ]
})");
}

// mutant: what a caller adds to a description is left out
// mutant: what a caller adds to a description is a text
TEST_CASE("an engine's description ends with the members that its caller adds") {
  auto engine = Engine<>::create().value();
  std::string const text = engine.describe(std::array{JsonMember{"abi", "1"}});
  CHECK(text.find("\"backends\": []") != std::string::npos);
  CHECK(text.ends_with("\"abi\": 1\n}"));
}

// mutant: nobody is told which inputs may be left out
// mutant: the bounds of a parameter are not described
// mutant: the largest value of a parameter is not described
TEST_CASE("an engine's description says what a request of each model may hold") {
  Puppet puppet;
  ModelFolder const folder(
      R"("parameters": [{"name": "seed", "type": "i64", "default": 5, "min": 0, "max": 9, "seed": true},
      {"name": "mode", "type": "i64", "choices": [1, 2]}],
      "model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]},
          {"name": "weight", "dtype": "f32", "shape": ["items"]},
          {"name": "seed", "dtype": "i64", "shape": ["items"], "from": "parameter:seed"},
          {"name": "mode", "dtype": "i64", "shape": ["items"], "from": "parameter:mode"}],)",
      "puppet", "1.0.0",
      R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]},
          {"name": "weight", "dtype": "f32", "shape": ["items"], "default": 1}],
      "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]}],)");
  auto engine = Engine<>::create({.backends = {&puppet.table}}).value();
  auto const added = engine.add(folder.path());
  REQUIRE_MESSAGE(added, added.error().message);
  std::string text = engine.describe();
  std::erase_if(text, [](char letter) { return letter == ' ' || letter == '\n'; });
  CHECK_MESSAGE(
      text.find(R"("inputs":[{"name":"x","dtype":"f32","shape":["items",2],"optional":false,"shared":false},)"
                R"({"name":"weight","dtype":"f32","shape":["items"],"optional":true,"shared":false}],)"
                R"("outputs":[{"name":"y","dtype":"f32","shape":["items",2]}],)"
                R"("parameters":[{"name":"seed","type":"i64","default":5,"min":0,"max":9,"seed":true},)"
                R"({"name":"mode","type":"i64","choices":[1,2]}])") != std::string::npos,
      text);
}
