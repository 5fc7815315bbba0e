// Models that are removed from an engine, and what is left of them.
#include <doctest/doctest.h>

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <athanor/core/cancellation.hpp>
#include <serving/hooked_engine.hpp>
#include <serving/simulated_engine.hpp>

using namespace athanor;
using namespace athanor_tests;
using namespace std::chrono_literals;

namespace {

struct Reloading : Puppet {
  Simulation world{1};
  Engine<SimulatedServing> engine = Engine<SimulatedServing>::create({.backends = {&table}}).value();

  std::string version(int number) const { return "1.0." + std::to_string(number); }
  Model<SimulatedServing> load(int number) {
    ModelFolder const folder("", "puppet", version(number));
    return engine.load(folder.path()).value();
  }
};

// An asynchronous call whose completion lets a handle go.
struct LastUse {
  std::optional<Model<SimulatedServing>> model;
  std::optional<Result<Answer>> answer;
  void on_answer(Result<Answer> result) noexcept {
    answer.emplace(std::move(result));
    model.reset();
  }
};

}  // namespace

// mutant: the record of a removed model stays
// mutant: a removed model leaves its name taken
TEST_CASE("three hundred reloaded versions leave what one leaves") {
  Reloading house;
  auto const size_after = [&](int from, int to) {
    for (int number = from; number < to; ++number) {
      auto const model = house.load(number);
      REQUIRE(model.infer(row(1)));
      if (number != 0) REQUIRE(house.engine.remove("puppet@" + house.version(number - 1)));
    }
    house.world.run_until_idle();
    CHECK(house.engine.health().models.size() == 1);
    return house.engine.metrics_text().size();
  };
  auto const first = size_after(0, 10);
  auto const last = size_after(10, 300);
  CHECK(last <= first + 1'000);
  CHECK(house.control.loads.load() == 300);
  CHECK(house.control.unloads.load() == 299);
}

// mutant: a removed model leaves its name taken
TEST_CASE("S1-8 a removed model is found no more, works for its handles, and goes with the last of them") {
  Reloading house;
  std::optional<Model<SimulatedServing>> model = house.load(1);
  std::optional<Model<SimulatedServing>> copy = model;
  CHECK(house.engine.remove("puppet").error().code == Code::not_found);
  REQUIRE(house.engine.remove("puppet@1.0.1"));
  CHECK(house.engine.remove("puppet@1.0.1").error().reason == Reason::model_missing);
  CHECK(house.engine.model("puppet").error().code == Code::not_found);
  CHECK(house.engine.health().models.empty());

  ModelFolder const other(R"("cache": false,)", "puppet", "1.0.1");
  REQUIRE(house.engine.load(other.path()));
  auto answer = model->infer(row(1), {.cache = CacheMode::skip}).value();
  CHECK(house.control.loads.load() == 2);
  model.reset();
  house.world.run_until_idle();
  CHECK(copy->infer(row(2)).value().outputs["y"].as<float>()[0] == 3);
  CHECK(copy->statistics()->requests_with(Code::ok) == 2);
  CHECK(house.control.unloads.load() == 0);
  copy.reset();
  house.world.run_until_idle();
  CHECK(house.control.unloads.load() == 1);
  CHECK(answer.report.model == "puppet@1.0.1");
  CHECK(answer.outputs.spec(0).name == "y");
}

// mutant: an asynchronous call keeps no model
TEST_CASE("S1-8 a call in flight keeps a removed model, and its completion may let the last handle go") {
  Reloading house;
  LastUse last;
  last.model.emplace(house.load(1));
  REQUIRE(last.model->submit(row(1), {}, callback<&LastUse::on_answer>(&last)));
  REQUIRE(house.engine.remove("puppet@1.0.1"));
  LastUse dropped;
  REQUIRE(last.model->submit(row(2), {}, callback<&LastUse::on_answer>(&dropped)));
  house.world.run_until_idle();
  REQUIRE(last.answer);
  CHECK(last.answer->value().outputs["y"].as<float>()[0] == 2);
  REQUIRE(dropped.answer);
  CHECK(dropped.answer->value().outputs["y"].as<float>()[0] == 3);
  CHECK(house.control.unloads.load() == 1);
}

// mutant: a call that is left with its work going on keeps no model
TEST_CASE("work that goes on after its blocking caller has left keeps the removed model") {
  Puppet puppet;
  auto engine = Engine<>::create({.backends = {&puppet.table}, .caller_runs = CallerRuns::never}).value();
  Held held(puppet.control);
  ModelFolder const folder;
  {
    auto const model = engine.load(folder.path()).value();
    REQUIRE(engine.remove(model.id()));
    Cancellation cancellation;
    std::jthread caller(
        [&] { CHECK(model.infer(row(1), {.cancellation = &cancellation}).error().code == Code::cancelled); });
    held.wait_until_inside();
    cancellation.cancel();
  }
  held.let_go();
  CHECK(engine.stop(60s) == 0);
  CHECK(held.left());
  CHECK(puppet.control.runs.load() == 1);
  CHECK(puppet.control.unloads.load() == 1);
}

// mutant: a call that is left with its work going on keeps no model
TEST_CASE("a removed model is there while the work of its last caller, who has left, is running") {
  SimulatedEngine engine("", {.caller_runs = CallerRuns::never});
  auto handle = engine.state->find("puppet").value();
  auto const watched = std::weak_ptr(handle);
  REQUIRE(engine.state->remove(engine.served->description().id));
  std::vector<float> const values{1, 2};
  Request const lent{{"x", Tensor::view<float>(values, Shape{1, 2})}};
  auto* const call = engine.state->make_call(*handle, lent, {}, engine.world.now()).value();
  bool kept = false;
  engine.control.on_run = [&](ath_batch const&) {
    engine.state->abandon(*call, SimulatedEngine::State::taken_back(*call));
    handle.reset();
    kept = !watched.expired();
    return Result<void>();
  };
  engine.state->start(*call);
  engine.state->wait(*call);
  REQUIRE(kept);
  CHECK(engine.state->collect(*call).error().code == Code::cancelled);
  engine.world.run_until_idle();
  CHECK(watched.expired());
  CHECK(engine.control.unloads.load() == 1);
}

// mutant: a model dies with any generation of its handles
TEST_CASE("a model that is found while its last handle goes away lives on when it is removed") {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    CAPTURE(seed);
    SimulatedEngine engine("", {}, seed, {.order = Turns::Order::random, .switch_one_in = 2});
    auto last = engine.state->find("puppet").value();
    bool answered = false;
    engine.world.spawn([&] { last.reset(); });
    engine.world.spawn([&] {
      Model<SimulatedServing> const model(engine.state, *engine.served);
      REQUIRE(engine.state->remove(model.id()));
      engine.world.sleep(1ms);
      answered = model.infer(row(1)).has_value();
    });
    engine.world.run_until_idle();
    REQUIRE(engine.world.actors() == 0);
    CHECK(answered);
    CHECK(engine.control.unloads.load() == 1);
  }
}

// mutant: a dead model is destroyed although a thread is on its way to its lane
// mutant: the last thread that leaves a retired lane tells nobody
TEST_CASE("with a single worker, what is to destroy a model does not wait for what is queued behind it") {
  Puppet puppet;
  Simulation world(1, {.order = Turns::Order::random});
  ModelFolder const folder(R"("batching": {"policy": "size_or_delay", "max_delay_us": 500},)", "held");
  ModelFolder const other_folder("", "other");
  auto engine = HookedEngine::make(puppet.table, {.threads = 1, .caller_runs = CallerRuns::never});
  Outcome cancelled;
  Outcome other;
  std::uint64_t gone = 0;
  world.spawn([&] {
    auto held = std::make_unique<Model<HookedServing>>(engine.load(folder.path()).value());
    auto const model = engine.load(other_folder.path()).value();
    REQUIRE(held->load());
    REQUIRE(model.load());
    REQUIRE(engine.remove(held->id()));
    auto call =
        std::make_unique<Submission<HookedServing>>(held->submit(row(1), {}, cancelled.completion()).value());
    held.reset();
    // The delay is over: the thread that keeps time has counted a worker in and is about to post.
    Hooks::before_post = [&] {
      world.spawn([&] {
        call->cancel();
        call.reset();  // the last that uses the model
      });
      world.sleep(1us);
    };
    world.sleep(1ms);
    gone = puppet.control.unloads.load();
    REQUIRE(model.submit(row(1), {}, other.completion()));
    world.sleep(1ms);
  });
  world.run_until_idle();
  CHECK(cancelled.reason() == Reason::cancelled);
  CHECK(gone == 1);
  CHECK(other.reason() == Reason::none);
}

TEST_CASE("a stop answers what waits for a removed model") {
  Reloading house;
  LastUse last;
  last.model.emplace(house.load(1));
  REQUIRE(house.engine.remove("puppet@1.0.1"));
  house.control.on_run = [&](ath_batch const&) {
    house.world.advance(1s);
    return Result<void>();
  };
  for (float value = 0; value < 3; ++value)
    REQUIRE(last.model->submit(row(value), {.cache = CacheMode::skip}, callback<&LastUse::on_answer>(&last)));
  house.engine.stop(Duration{0});
  REQUIRE(last.answer);
}
