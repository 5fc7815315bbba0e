// A stop or a close runs calls within its grace, answers the rest, and waits for their completions.
#include <doctest/doctest.h>

#include <atomic>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <serving/hooked_engine.hpp>
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

// mutant: a stop runs completions before all calls are answered
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
    bool stopped = false;
    engine.world.spawn([&] {
      engine.state->stop(0s);
      stopped = true;
    });
    while (engine.world.step_now()) {
    }
    CHECK(stopped);  // without any deadline
    engine.world.run_until_idle();
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

// mutant: a stop answers a call although its caller still moves it
TEST_CASE("a stop beside submit leaves the call to its submitter, who refuses it") {
  HookedEngine rig;
  REQUIRE(rig.model.infer(row(0)));  // with a call in the pool, the first lock is the cache's
  Outcome outcome;
  bool inside = false;
  Hooks::before_lock = [&] {
    rig.engine.stop(0s);
    inside = outcome.answer.has_value();
  };
  auto const submitted = rig.model.submit(row(1), {}, outcome.completion());
  CHECK_FALSE(inside);
  REQUIRE_FALSE(submitted);
  CHECK(submitted.error().reason == Reason::stopping);
  rig.world.run_until_idle();
  CHECK_FALSE(outcome.answer.has_value());
}

// mutant: who comes out does not look for a stop
TEST_CASE("a stop beside a blocking call that waits for another's answer answers it") {
  HookedEngine rig;
  Outcome outcome;
  REQUIRE(rig.model.submit(row(1), {}, outcome.completion()));
  Hooks::before_lock = [&] { rig.engine.stop(0s); };
  auto const answer = rig.model.infer(row(2), {.cache = CacheMode::use});
  REQUIRE_FALSE(answer);
  CHECK(answer.error().reason == Reason::stopping);
  CHECK(outcome.reason() == Reason::stopping);
}

// mutant: who comes out does not look for a stop
TEST_CASE("a stop answers a caller whose batch hangs, also one that is still inside its own call") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    Simulation world(seed, {.order = Turns::Order::priorities, .changes = 3, .length = 400});
    Puppet puppet;
    ModelFolder const folder;
    auto engine =
        Engine<SimulatedServing>::create({.backends = {&puppet.table}, .caller_runs = CallerRuns::never})
            .value();
    auto model = engine.load(folder.path()).value();
    puppet.control.on_run = [&](ath_batch const&) {
      world.spawn([&] { engine.stop(0s); });
      world.sleep(1h);
      return Result<void>();
    };
    Reason reason = Reason::none;
    world.spawn([&] {
      REQUIRE(model.load());
      auto const answer = model.infer(row(1), {.deadline = 1min});
      if (!answer) reason = answer.error().reason;
    });
    world.run_until_idle();
    CHECK(reason == Reason::stopping);
  }
}

// mutant: a model is destroyed while a stop visits it
TEST_CASE(
    "a removed model whose last handle goes away while a stop visits the models is there until that is "
    "over") {
  HookedEngine rig({.caller_runs = CallerRuns::never});
  auto const load_and_remove = [&](std::string_view name) {
    ModelFolder const loaded("", name);
    std::optional model = rig.engine.load(loaded.path()).value();
    REQUIRE(rig.engine.remove(model->id()));
    return model;
  };
  auto reaped = load_and_remove("reaped");
  auto visited = load_and_remove("visited");
  auto const visited_first = load_and_remove("visited-first");
  Outcome outcome;
  REQUIRE(visited_first->submit(row(1), {}, outcome.completion()));
  reaped.reset();  // the task that destroys it has not begun
  std::uint64_t gone = 0;
  Hooks::after_post = [&] {  // of the answer of the call that the stop refuses
    visited.reset();
    while (rig.world.step_now()) {
    }
    gone = rig.control.unloads.load();
  };
  CHECK(rig.engine.stop(0s) == 0);
  CHECK_FALSE(visited);
  CHECK(gone == 0);
  CHECK(outcome.reason() == Reason::stopping);
}

// mutant: the end of each call of a stop walks over all calls
TEST_CASE("what a stop costs grows with its calls, and not with their square") {
  struct Kind {
    Duration grace;
    Reason reason;  // of each answer
  };
  for (Kind const& kind : {Kind{0s, Reason::stopping}, Kind{10s, Reason::none}}) {
    CAPTURE(kind.grace.count());
    auto const looks = [&](std::size_t count) {
      HookedEngine rig({.caller_runs = CallerRuns::never, .max_items = 2000});
      REQUIRE(rig.model.load());
      std::vector<Outcome> outcomes(count);
      for (std::size_t i = 0; i < count; ++i)
        REQUIRE(rig.model.submit(row(static_cast<float>(i)), {}, outcomes[i].completion()));
      Hooks::loads = 0;
      rig.engine.stop(kind.grace);
      std::uint64_t const loads = Hooks::loads;
      for (auto const& outcome : outcomes) CHECK(outcome.reason() == kind.reason);
      return loads;
    };
    std::uint64_t const many = looks(1600);  // more than the pool of calls keeps
    CHECK(many < 6 * looks(400));
    CHECK(many < 60 * 1600);  // each call that ends looks at few others
  }
}

// mutant: a second stop returns at once
TEST_CASE("a second stop waits for the first and returns its count") {
  Puppet puppet;
  Held held(puppet.control);
  ModelFolder const folder;
  auto engine = Engine<>::create({.backends = {&puppet.table}}).value();
  auto model = engine.load(folder.path()).value();
  Outcome outcome;
  REQUIRE(model.submit(row(1), {}, outcome.completion()));
  held.wait_until_inside();
  std::jthread const first([&] { CHECK(engine.stop(20s) == 0); });
  while (model.infer(row(2), {.deadline = 0s}).error().reason != Reason::stopping) std::this_thread::yield();
  std::atomic<bool> early{false};
  std::jthread const second([&] {
    CHECK(engine.stop(0s) == 0);
    early = !held.left();
  });
  for (int i = 0; i < 1000; ++i) std::this_thread::yield();
  held.let_go();
  const_cast<std::jthread&>(second).join();
  CHECK_FALSE(early.load());
}

// mutant: a stop does not wait for completions
TEST_CASE("a stop waits for a completion that takes long, and counts nothing as abandoned") {
  Simulation world(1, {.order = Turns::Order::random});
  Puppet puppet;
  ModelFolder const folder;
  auto engine = Engine<SimulatedServing>::create({.backends = {&puppet.table}}).value();
  auto model = engine.load(folder.path()).value();
  bool inside = false;
  bool over = false;
  bool stopped = false;
  Outcome outcome;
  outcome.then = [&] {
    inside = true;
    world.sleep(1min);
    over = true;
  };
  world.spawn([&] {
    REQUIRE(model.submit(row(1), {}, outcome.completion()));
    while (!inside) world.sleep(1ms);
    CHECK(engine.stop(0s) == 0);
    CHECK(over);
    stopped = true;
  });
  world.run_until_idle();
  CHECK(stopped);
}

// mutant: an engine that is closed in its own completion stops at once
TEST_CASE("an engine that is destroyed in its own completion stops afterwards") {
  Puppet puppet;
  ModelFolder const folder;
  auto engine = std::make_optional(Engine<>::create({.backends = {&puppet.table}}).value());
  auto model = std::make_optional(engine->load(folder.path()).value());
  std::atomic<bool> closed{false};
  bool inside = true;
  Outcome outcome;
  outcome.then = [&] {
    engine->close(
        [](void* context) noexcept {
          auto& flag = *static_cast<std::atomic<bool>*>(context);
          flag = true;
          flag.notify_all();
        },
        &closed);
    engine.reset();
    model.reset();
    inside = closed.load();
  };
  REQUIRE(model->submit(row(1), {}, outcome.completion()));
  closed.wait(false);
  CHECK_FALSE(inside);
  CHECK(outcome.answer->has_value());
  while (puppet.control.unloads.load() == 0) std::this_thread::yield();
}

// mutant: a stop on a worker counts that worker as abandoned
TEST_CASE("an engine that is closed in its own completion leaves no thread behind") {
  struct Told {
    std::atomic<bool> abandoned{false};
    std::atomic<bool> closed{false};
  };
  Told told;
  Puppet puppet;
  ModelFolder const folder;
  EngineOptions options;
  options.backends = {&puppet.table};
  options.sink = {[](void* context, Level, std::string_view message) noexcept {
                    if (message.find("still inside a backend") != std::string_view::npos)
                      static_cast<Told*>(context)->abandoned = true;
                  },
                  &told};
  auto engine = std::make_optional(Engine<>::create(options).value());
  auto model = std::make_optional(engine->load(folder.path()).value());
  Outcome outcome;
  outcome.then = [&] {
    engine->close(
        [](void* context) noexcept {
          auto& flag = static_cast<Told*>(context)->closed;
          flag = true;
          flag.notify_all();
        },
        &told);
    engine.reset();
    model.reset();
  };
  REQUIRE(model->submit(row(1), {}, outcome.completion()));
  told.closed.wait(false);
  CHECK_FALSE(told.abandoned.load());
  while (puppet.control.unloads.load() == 0) std::this_thread::yield();
}

// mutant: a stop inside a backend waits for its own call
TEST_CASE("a stop inside a backend or a load only begins, and the engine stops once no call is left") {
  for (bool const loads : {false, true}) {
    for (auto const runs : {CallerRuns::never, CallerRuns::when_idle}) {
      CAPTURE(loads);
      CAPTURE(runs == CallerRuns::never);
      Simulation world(1, {.order = Turns::Order::random});
      Puppet puppet;
      ModelFolder const folder;
      auto engine =
          Engine<SimulatedServing>::create({.backends = {&puppet.table}, .caller_runs = runs}).value();
      auto const model = engine.add(folder.path()).value();
      auto const stop = [&] {
        CHECK(engine.stop(1h) == 0);
        return Result<void>();
      };
      if (loads) puppet.control.on_load = [&](std::string_view) { return stop(); };
      if (!loads) puppet.control.on_run = [&](ath_batch const&) { return stop(); };
      bool stopped = false;
      TimePoint const before = world.now();
      world.spawn([&] {
        CHECK(model.infer(row(1)));
        CHECK(engine.stop(0s) == 0);  // the first one's count
        stopped = true;
      });
      world.run_until_idle();
      CHECK(stopped);
      CHECK(world.now() - before < 1s);
    }
  }
}

// mutant: a close that a backend has left is forgotten
TEST_CASE("an engine that is closed in its backend, where no thread can be had, stops after that call") {
  HookedEngine rig;
  bool closed = false;
  rig.control.on_run = [&](ath_batch const&) {
    Hooks::no_thread = true;
    rig.engine.close([](void* context) noexcept { *static_cast<bool*>(context) = true; }, &closed);
    CHECK_FALSE(closed);
    return Result<void>();
  };
  CHECK(rig.model.infer(row(1)));
  Hooks::no_thread = false;
  CHECK(closed);
}

// mutant: a close in a completion waits for its whole grace
TEST_CASE("an engine that is closed in a completion stops as soon as no call is left") {
  HookedEngine rig;
  bool closed = false;
  Outcome outcome;
  outcome.then = [&] {
    rig.engine.close([](void* context) noexcept { *static_cast<bool*>(context) = true; }, &closed);
    CHECK_FALSE(closed);
  };
  REQUIRE(rig.model.submit(row(1), {}, outcome.completion()));
  TimePoint const before = rig.world.now();
  rig.world.run_until_idle();
  CHECK(closed);
  CHECK(rig.world.now() - before < 1s);
  CHECK(rig.model.infer(row(2)).error().reason == Reason::stopping);
}

// mutant: a close that no thread can follow waits for the completion that it is in
// mutant: a close that no thread can follow is forgotten
TEST_CASE(
    "an engine that is closed in a completion, where no thread can be had, stops once that has returned") {
  HookedEngine rig({.caller_runs = CallerRuns::never});
  bool closed = false;
  Outcome outcome;
  outcome.then = [&] {
    Hooks::no_thread = true;
    rig.engine.close([](void* context) noexcept { *static_cast<bool*>(context) = true; }, &closed);
    CHECK_FALSE(closed);
  };
  auto submitted = rig.model.submit(row(1), {}, outcome.completion());
  REQUIRE(submitted);
  submitted->cancel();
  Hooks::no_thread = false;
  CHECK(outcome.reason() == Reason::cancelled);
  CHECK(closed);
}

// mutant: a close that a reader of a stream has left is forgotten
TEST_CASE(
    "an engine that is closed by a stream's callback, where no thread can be had, stops once that has "
    "returned") {
  struct Reader {
    HookedEngine& rig;
    bool closed = false;
    bool early = false;
    std::optional<Result<Report>> outcome{};
    void part(Outputs) noexcept {}
    void end(Result<Report> told) noexcept {
      outcome.emplace(std::move(told));
      rig.engine.close([](void* context) noexcept { *static_cast<bool*>(context) = true; }, &closed);
      early = closed;
    }
  };
  HookedEngine rig({.caller_runs = CallerRuns::never});
  Reader reader{rig};
  auto const run_now = [&] {
    while (rig.world.step_now()) {
    }
  };
  // The call is over when the first callback is about to be asked for, and there is no thread to call it.
  Hooks::after_post = [&] {
    run_now();
    Hooks::after_post = [&] {
      run_now();
      Hooks::no_thread = true;
    };
  };
  CHECK(rig.model.stream(row(1), {}, stream_callbacks<&Reader::part, &Reader::end>(&reader)));
  Hooks::no_thread = false;
  REQUIRE(reader.outcome.has_value());
  CHECK(*reader.outcome);
  CHECK_FALSE(reader.early);
  CHECK(reader.closed);
}
