// Many requests in one call: one queue entry, each with its own answer.
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include <serving/simulated_engine.hpp>

using namespace athanor;
using namespace athanor_tests;
using namespace std::chrono_literals;

namespace {

// The face of a model over the simulated engine.
struct ManyEngine : SimulatedEngine {
  Model<SimulatedServing> model{state, *served};

  using SimulatedEngine::SimulatedEngine;
  std::vector<Result<Answer>> run(std::vector<float> const& values, CallOptions const& options = {}) {
    std::vector<Request> requests;
    for (float const value : values) requests.push_back(row(value));
    return model.infer_many(requests, options);
  }
};

// Somebody else holds all the room there is.
struct FullEngine : ManyEngine {
  admission::Slot held;

  FullEngine() : ManyEngine("", {.max_items = 1}) {
    [[maybe_unused]] bool const full = state->gate().admit_caller(held, 1, 1, world.now()).has_value();
  }
};

// Does something on a worker, once somebody waits.
struct Later : Task {
  std::function<void()> act;

  Later(SimulatedEngine& engine, std::function<void()> what) : act(std::move(what)) {
    run = [](Task& task) noexcept { static_cast<Later&>(task).act(); };
    [[maybe_unused]] bool const posted = engine.state->executor().post(*this);
  }
};

// On real threads: the first batch stays inside the backend until it is let go.
struct HeldEngine : Puppet {
  Held held{control};
  ModelFolder folder{R"("batching": {"max_items": 2},)"};
  Engine<> engine = Engine<>::create({.backends = {&table}, .caller_runs = CallerRuns::never}).value();
  Model<> model = engine.load(folder.path()).value();
  std::vector<Request> six;

  HeldEngine() {
    for (int i = 0; i < 6; ++i) six.push_back(row(static_cast<float>(i)));
  }
};

// Room for one request, which a worker runs.
EngineOptions one_at_a_time() {
  EngineOptions options;
  options.max_items = 1;
  options.caller_runs = CallerRuns::never;
  return options;
}

std::vector<float> numbers(std::size_t count) {
  std::vector<float> values;
  for (std::size_t i = 0; i < count; ++i) values.push_back(static_cast<float>(i));
  return values;
}

bool right(std::vector<Result<Answer>> const& answers) {
  bool all = true;
  for (std::size_t i = 0; i < answers.size(); ++i)
    all = all && answers[i] && answers[i]->outputs["y"].as<float>()[0] == static_cast<float>(i) + 1;
  return all;
}

}  // namespace

// mutant: the calls of a group enter the lane one by one
TEST_CASE("many requests to an idle model run on their caller's thread, in full batches") {
  ManyEngine engine(R"("batching": {"max_items": 8},)");
  REQUIRE(engine.model.load());
  auto const before = engine.world.steps();
  auto const answers = engine.run(numbers(20), {.cache = CacheMode::skip});
  CHECK(right(answers));
  CHECK(engine.control.runs.load() == 3);
  CHECK(engine.control.largest_batch.load() == 8);
  CHECK(answers[0]->report.batch_items == 8);
  CHECK(answers[19]->report.batch_items == 4);
  CHECK(engine.world.steps() == before);
  CHECK(engine.state->routes() == 0);
}

// mutant: the numbers of a model are not looked at
// mutant: NaN is looked for in the first output only
TEST_CASE(
    "S0-7 a request for which the model gives infinity fails alone, unless the manifest lets it through") {
  auto const tensors = [](std::string_view more) {
    return R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
      "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]},
                  {"name": "twice", "dtype": "f32", "shape": ["items", 2])" +
           std::string(more) + "}],";
  };
  ManyEngine engine;
  ModelFolder const strict("", "strict", "1.0.0", tensors(""));
  ModelFolder const lenient("", "lenient", "1.0.0", tensors(R"(, "non_finite": "allow")"));
  Model<SimulatedServing> model(engine.state, *engine.state->add(strict.path()).value());
  REQUIRE(model.load());
  std::vector<Request> requests;
  for (float const value : {0.0F, 3e38F, 2.0F}) requests.push_back(row(value));
  auto answers = model.infer_many(requests);
  CHECK(engine.control.runs.load() == 1);
  REQUIRE(answers[0]);
  REQUIRE(answers[2]);
  CHECK(answers[2]->outputs["twice"].as<float>()[0] == 4);
  REQUIRE_FALSE(answers[1]);
  CHECK(answers[1].error().code == Code::internal);
  CHECK(answers[1].error().reason == Reason::non_finite);
  CHECK(answers[1].error().message ==
        "strict@1.0.0: output twice: element 0: expected a finite value, the model gave NaN or infinity");
  CHECK_FALSE(model.infer(requests[1], {.cache = CacheMode::only_if_cached}));

  Model<SimulatedServing> allowing(engine.state, *engine.state->add(lenient.path()).value());
  REQUIRE(allowing.load());
  auto const infinite = allowing.infer(requests[1]);
  REQUIRE(infinite);
  CHECK(std::isinf(infinite->outputs["twice"].as<float>()[0]));
}

// mutant: many requests end with the first that fails
// mutant: answers of many requests come the other way round
TEST_CASE("S1-6 one bad request of many gets its own error, and the others their answers in their places") {
  ManyEngine engine(R"("batching": {"max_items": 8},)");
  engine.control.on_run = [](ath_batch const& batch) {
    auto const* x = static_cast<float const*>(batch.inputs[0].data);
    for (std::int64_t i = 0; i < 2 * batch.items; ++i)
      if (x[i] == 3) return Result<void>(fail(Code::internal, Reason::backend_failure, "three"));
    return Result<void>();
  };
  std::vector<Request> requests;
  for (int i = 0; i < 10; ++i) requests.push_back(row(static_cast<float>(i)));
  float const narrow[1] = {1};
  requests[7] = Request{{"x", Tensor::view<float>(narrow, Shape{1, 1})}};
  auto const answers = engine.model.infer_many(requests);
  REQUIRE(answers.size() == 10);
  for (std::size_t i = 0; i < 10; ++i) {
    bool const bad = i == 3 || i == 7;
    REQUIRE(answers[i].has_value() == !bad);
    if (!bad) CHECK(answers[i]->outputs["y"].as<float>()[0] == static_cast<float>(i) + 1);
  }
  CHECK(answers[3].error().message.find("three") != std::string::npos);
  CHECK(answers[7].error().reason == Reason::shape);
}

// mutant: many requests go past the cache
TEST_CASE("equal requests of one group are computed once") {
  ManyEngine engine;
  auto const answers = engine.run({5, 5, 6, 5});
  REQUIRE(answers.size() == 4);
  for (std::size_t i = 0; i < 4; ++i)
    CHECK(answers[i].value().outputs["y"].as<float>()[0] == (i == 2 ? 7 : 6));
  CHECK(engine.control.items.load() == 2);
  CHECK(answers[1]->report.cache == CacheState::joined);
  CHECK(engine.run({5})[0]->report.cache == CacheState::hit);
}

// mutant: the calls of a group have no deadline in the queue
// mutant: the first answer of a group wakes its caller
TEST_CASE("the deadline of many requests is that of all of them, and each is answered at it") {
  ManyEngine engine(R"("batching": {"max_items": 2},)");
  REQUIRE(engine.model.load());
  engine.control.on_run = [&](ath_batch const&) {
    engine.world.advance(4ms);
    return Result<void>();
  };
  TimePoint const start = engine.world.now();
  auto const answers = engine.run(numbers(6), {.deadline = 6ms, .cache = CacheMode::skip});
  CHECK(engine.world.now() - start <= 8ms);
  std::size_t late = 0;
  for (auto const& answer : answers)
    if (!answer) late += answer.error().code == Code::deadline_exceeded ? 1U : 0U;
  CHECK(late >= 2);
  CHECK(late < 6);
  engine.world.run_until_idle();
  CHECK(engine.state->routes() == 0);
}

// mutant: many requests from inside their own model are let in
TEST_CASE("many requests from inside their own model are refused at once") {
  ManyEngine engine;
  REQUIRE(engine.model.load());
  std::vector<Result<Answer>> inner;
  engine.control.on_run = [&](ath_batch const&) {
    if (inner.empty()) inner = engine.run({1, 2});
    return Result<void>();
  };
  CHECK(engine.run({9})[0].has_value());
  REQUIRE(inner.size() == 2);
  CHECK(inner[0].error().reason == Reason::reentrant);
  CHECK(inner[1].error().reason == Reason::reentrant);
}

// mutant: many requests do not wait for room
TEST_CASE("while others fill the queue, many requests wait for room until their deadline") {
  EngineOptions options;
  options.max_items = 4;
  options.caller_runs = CallerRuns::never;
  ManyEngine engine("", options);
  std::vector<std::unique_ptr<SimulatedEngine::Ticket>> others;
  for (int i = 0; i < 4; ++i) others.push_back(engine.submit(row(100 + static_cast<float>(i))));
  CHECK(right(engine.run(numbers(9))));
  engine.world.run_until_idle();
  for (auto const& other : others) CHECK(other->has_value());
}

// mutant: who waits for room does not look at the cancellation
TEST_CASE("many requests that wait for room end with cancelled when they are taken back") {
  FullEngine engine;
  Cancellation cancellation;
  Later const cancel(engine, [&] { cancellation.cancel(); });
  TimePoint const start = engine.world.now();
  auto const answers = engine.run(numbers(3), {.cancellation = &cancellation});
  CHECK(engine.world.now() == start);
  for (auto const& answer : answers) CHECK(answer.error().code == Code::cancelled);
  CHECK(engine.run(numbers(1), {.cancellation = &cancellation})[0].error().code == Code::cancelled);
  CHECK(engine.world.now() == start);
  CHECK(engine.state->gate().statistics().held_items == 1);
}

// mutant: a stop does not wake who waits for room
TEST_CASE("many requests that wait for room are refused when the engine stops") {
  FullEngine engine;
  Later const stop(engine, [&] { engine.state->stop(Duration{0}); });
  TimePoint const start = engine.world.now();
  for (auto const& answer : engine.run(numbers(2))) CHECK(answer.error().reason == Reason::stopping);
  CHECK(engine.world.now() == start);
}

// mutant: who is given room is not woken
TEST_CASE("many requests that wait for room go on when a call gives it back, and not a nap later") {
  ManyEngine engine("", one_at_a_time());
  REQUIRE(engine.model.load());
  auto const other = engine.submit(row(100));
  TimePoint const start = engine.world.now();
  CHECK(right(engine.run(numbers(3))));
  CHECK(engine.world.now() == start);
  engine.world.run_until_idle();
  CHECK(other->has_value());
  CHECK(engine.state->gate().statistics().held_items == 0);
  CHECK(engine.model.statistics()->requests_with(Code::resource_exhausted) == 0);
}

// mutant: a call that waited for room begins when it has it
TEST_CASE("the time that a request waits for room is in its report, and in the error if it is late") {
  ManyEngine engine("", one_at_a_time());
  REQUIRE(engine.model.load());
  engine.control.on_run = [&](ath_batch const&) {
    engine.world.advance(4ms);
    return Result<void>();
  };
  auto const first = engine.submit(row(100));
  auto const answered = engine.run({1});
  REQUIRE(answered[0]);
  CHECK(answered[0]->report.total == 8ms);
  auto const second = engine.submit(row(101));
  auto const late = engine.run({2}, {.deadline = 6ms});
  REQUIRE_FALSE(late[0]);
  CHECK(late[0].error().code == Code::deadline_exceeded);
  CHECK(late[0].error().message.find("within 6 ms") != std::string::npos);
  engine.world.run_until_idle();
  CHECK(second->has_value());
}

// mutant: what calls give back goes to the gate, not to who waits
TEST_CASE("newcomers do not overtake a call that waits for room") {
  ManyEngine engine("", one_at_a_time());
  REQUIRE(engine.model.load());
  engine.control.on_run = [&](ath_batch const&) {
    engine.world.advance(1ms);
    return Result<void>();
  };
  struct Newcomer {
    ManyEngine& engine;
    int left = 100;
    int refused = 0;
    void ask() {
      while (left > 0) {
        --left;
        auto call = engine.state->submit(engine.state->handle_of(*engine.served), row(200),
                                         {.cache = CacheMode::skip}, callback<&Newcomer::on_answer>(this));
        if (call) return (*call)->unref();
        ++refused;
      }
    }
    void on_answer(Result<Answer>) noexcept { ask(); }
  } newcomer{engine};
  newcomer.ask();
  auto const answers = engine.run(numbers(2), {.deadline = 20ms, .cache = CacheMode::skip});
  CHECK(right(answers));
  newcomer.left = 0;
  engine.world.run_until_idle();
}

// mutant: every window of many requests has the whole deadline
TEST_CASE("all windows of many requests share one deadline, the caller's own or the default") {
  for (bool const own : {true, false}) {
    EngineOptions options;
    options.max_items = 8;  // windows of two
    options.caller_runs = CallerRuns::never;
    if (!own) options.default_deadline = 10ms;
    ManyEngine engine("", options);
    REQUIRE(engine.model.load());
    engine.control.on_run = [&](ath_batch const&) {
      engine.world.advance(4ms);
      return Result<void>();
    };
    CallOptions call{.cache = CacheMode::skip};
    if (own) call.deadline = 10ms;
    auto const answers = engine.run(numbers(8), call);
    for (std::size_t i = 0; i < 4; ++i) CHECK(answers[i]);
    for (std::size_t i = 6; i < 8; ++i) {
      REQUIRE_FALSE(answers[i]);
      CHECK(answers[i].error().code == Code::deadline_exceeded);
    }
    engine.world.run_until_idle();
  }
}

// mutant: the default deadline does not bound the batches of many requests
// mutant: who lends a thread readily runs nothing of which nothing is known
// mutant: who lends a thread readily runs whatever begins before the deadline
TEST_CASE("the caller of many requests begins no batch that is known to end after its deadline") {
  for (bool const own : {true, false}) {
    EngineOptions options;
    if (!own) options.default_deadline = 10ms;
    ManyEngine engine(R"("batching": {"max_items": 2},)", options);
    REQUIRE(engine.model.load());
    std::uint64_t on_caller = 0;
    std::uint64_t before = 0;
    engine.control.on_run = [&](ath_batch const&) {
      on_caller += engine.world.steps() == before ? 1U : 0U;
      engine.world.advance(4ms);
      return Result<void>();
    };
    CallOptions call{.cache = CacheMode::skip};
    if (own) call.deadline = 10ms;
    auto const ran_here = [&](std::size_t count) {
      before = engine.world.steps();
      on_caller = 0;
      std::size_t late = 0;
      for (auto const& answer : engine.run(numbers(count), call)) late += answer ? 0U : 1U;
      engine.world.run_until_idle();
      return std::pair(on_caller, late);
    };
    // Nothing is known: what the engine's default deadline
    // bounds runs here, what the caller's own does on a worker.
    for (int i = 0; i < 8; ++i) CHECK(ran_here(2) == std::pair<std::uint64_t, std::size_t>(own ? 0 : 1, 0));
    CHECK(ran_here(4) == std::pair<std::uint64_t, std::size_t>(2, 0));
    auto const [here, late] = ran_here(8);
    CHECK(here == 2);
    CHECK(late >= 2);
    CHECK(engine.state->routes() == 0);
  }
}

// mutant: many requests enter the lane at the time when their calls were made
TEST_CASE("the time that a caller of many requests spends before its batches counts") {
  ManyEngine engine(R"("batching": {"max_items": 2},)");
  REQUIRE(engine.model.load());
  bool here = false;
  std::uint64_t before = 0;
  engine.control.on_run = [&](ath_batch const&) {
    here = engine.world.steps() == before;
    engine.world.advance(4ms);
    return Result<void>();
  };
  CallOptions const options{.deadline = 10ms, .cache = CacheMode::skip};
  for (int i = 0; i < 8; ++i) CHECK(engine.run(numbers(2), options)[0]);
  for (bool const hurried : {false, true}) {
    here = false;
    auto const requests = std::array{row(1), row(2)};
    std::array<SimulatedEngine::CallType*, 2> calls{};
    for (std::size_t i = 0; i < 2; ++i)
      calls[i] = engine.state->make_call(*engine.served, requests[i], options, engine.world.now()).value();
    if (hurried) engine.world.advance(9ms);  // what hashing large inputs takes
    before = engine.world.steps();
    engine.state->run_group(calls, nullptr);
    CHECK(here != hurried);
    for (auto* call : calls) CHECK(engine.state->collect(*call).has_value() != hurried);
    engine.world.run_until_idle();
  }
}

// mutant: at its deadline only the first call of a group is given up
TEST_CASE("S0-15 many requests end at their deadline while the model still runs") {
  HeldEngine engine;
  auto const answers = engine.model.infer_many(engine.six, {.deadline = 5ms});
  engine.held.let_go();
  for (auto const& answer : answers) {
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == Code::deadline_exceeded);
  }
}

// mutant: a cancellation wakes nobody
TEST_CASE("many requests that are taken back end with cancelled on their caller's thread") {
  HeldEngine engine;
  Cancellation cancellation;
  std::jthread const canceller([&] {
    engine.held.wait_until_inside();
    cancellation.cancel();
  });
  auto const answers = engine.model.infer_many(engine.six, {.cancellation = &cancellation});
  engine.held.let_go();
  for (auto const& answer : answers) {
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == Code::cancelled);
  }
}
