// Who answers a call, and when: inside submit, late answers, and what a failed call leaves behind.
#include <doctest/doctest.h>

#include <limits>

#include <sys/wait.h>
#include <unistd.h>

#include <serving/hooked_engine.hpp>
#include <serving/simulated_engine.hpp>

using namespace athanor;
using namespace athanor_tests;
using namespace std::chrono_literals;

namespace {

// With a request of 8 KiB.
struct WideEngine : HookedEngine {
  std::vector<float> const values = std::vector<float>(2048);
  Request const request{{"x", Tensor::view(std::span<float const>(values), Shape{1, 2048})}};

  WideEngine()
      : HookedEngine({}, R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2048]}],
                            "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2048]}],)") {}
};

}  // namespace

// mutant: an answer is completed although its submitter is still inside
TEST_CASE(
    "a call that is answered while submit runs is completed afterwards, and not linked to its cancellation") {
  HookedEngine rig;
  auto cancellation = std::make_unique<Cancellation>();
  Outcome outcome;
  outcome.then = [&] { cancellation.reset(); };
  bool inside = false;
  Hooks::after_post = [&] {
    rig.world.run_until_idle();
    inside = outcome.answer.has_value();
  };
  CallOptions options;
  options.cancellation = cancellation.get();
  auto const submitted = rig.model.submit(row(1), options, outcome.completion());
  CHECK_FALSE(inside);
  REQUIRE(submitted);
  CHECK_FALSE(outcome.answer.has_value());
  rig.world.run_until_idle();
  REQUIRE(outcome.answer.has_value());
  CHECK(outcome.answer->has_value());
  CHECK(cancellation == nullptr);
}

// mutant: a submitter does not look for a cancellation before it comes out
TEST_CASE("a call that is cancelled while submit runs ends with cancelled") {
  HookedEngine rig;
  Cancellation cancellation;
  Outcome outcome;
  Hooks::before_lock = [&] { cancellation.cancel(); };
  CallOptions options;
  options.cancellation = &cancellation;
  auto const submitted = rig.model.submit(row(1), options, outcome.completion());
  REQUIRE(submitted);
  rig.world.run_until_idle();
  REQUIRE(outcome.answer.has_value());
  CHECK(outcome.reason() == Reason::cancelled);
  CHECK(rig.control.runs.load() == 0);
}

// mutant: a blocking call is not linked to its cancellation
TEST_CASE("a blocking call that is cancelled while it starts ends with cancelled") {
  EngineOptions options;
  options.caller_runs = CallerRuns::never;
  HookedEngine rig(options);
  Cancellation cancellation;
  Hooks::before_lock = [&] { cancellation.cancel(); };
  CallOptions call;
  call.cancellation = &cancellation;
  auto const answer = rig.model.infer(row(1), call);
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Code::cancelled);
}

// mutant: the time of reading large inputs is charged to the model
TEST_CASE("the reading of large inputs is not charged to the queue or to the model") {
  WideEngine rig;
  Hooks::before_lock = [&] { rig.world.advance(100ms); };  // the cache's, once the key is hashed
  auto const answer = rig.model.infer(rig.request);
  REQUIRE(answer);
  CHECK(answer->report.total == 100ms);
  CHECK(answer->report.queue == 0ms);
  CHECK(answer->report.compute == 0ms);
}

// mutant: the check of a large answer is not on its caller's clock
TEST_CASE("a large answer whose check outlasts the deadline of its lone caller is late") {
  WideEngine rig;
  rig.control.on_run = [&](ath_batch const&) {
    Hooks::after_look = [&] {  // the end of the run, then that of the batch
      Hooks::after_look = [&] { rig.world.advance(100ms); };
    };
    return Result<void>();
  };
  CallOptions options{.deadline = 50ms, .cache = CacheMode::skip};
  auto const late = rig.model.infer(rig.request, options);
  REQUIRE_FALSE(late);
  CHECK(late.error().reason == Reason::deadline_running);
  options.deadline = 1s;
  auto const answer = rig.model.infer(rig.request, options);
  REQUIRE(answer);
  CHECK(answer->report.compute == 0ms);
  CHECK(answer->report.delivered == 100ms);
}

// mutant: an answer is not compared with the deadline
TEST_CASE("an answer that is ready after its deadline is not delivered as a success") {
  SimulatedEngine engine;
  engine.control.on_run = [&](ath_batch const&) {
    engine.world.advance(10ms);
    return Result<void>();
  };
  auto const late = engine.infer(row(1), {.deadline = 5ms});
  REQUIRE_FALSE(late);
  CHECK(late.error().code == Code::deadline_exceeded);
  CHECK(late.error().reason == Reason::deadline_running);
  auto const counts = engine.state->statistics(*engine.served).value();
  CHECK(counts.requests_with(Code::ok) == 0);
  CHECK(counts.requests_with(Code::deadline_exceeded) == 1);
  auto const in_time = engine.infer(row(2), {.deadline = 1s});
  REQUIRE(in_time);
  CHECK(in_time->report.delivered >= 10ms);
  CHECK(in_time->report.delivered <= 1s);
}

// mutant: a ready answer that waits for a worker is not delivered at its deadline
TEST_CASE("a ready answer that waits for a worker ends at its deadline") {
  EngineOptions options;
  options.threads = 1;
  SimulatedEngine engine("", options);
  REQUIRE(engine.infer(row(1)));
  engine.world.run_until_idle();
  std::unique_ptr<SimulatedEngine::Ticket> waiting;
  engine.control.on_run = [&](ath_batch const&) {
    if (waiting == nullptr) waiting = engine.submit(row(2), {.deadline = 50ms});  // joins the call that runs
    return Result<void>();
  };
  struct Busy : Task {
    SimulatedEngine* engine;
    std::unique_ptr<SimulatedEngine::Ticket>* waiting;
  } busy;
  busy.engine = &engine;
  busy.waiting = &waiting;
  // The only worker is inside this task, whose call answers the one that waits.
  busy.run = [](Task& task) noexcept {
    auto const& self = static_cast<Busy&>(task);
    Simulation& world = self.engine->world;
    TimePoint const start = world.now();
    CHECK(self.engine->infer(row(2)));
    CHECK_FALSE((*self.waiting)->done());
    world.step();
    CHECK((*self.waiting)->done());
    CHECK(world.now() - start == 50ms);
  };
  engine.state->executor().post(busy);
  engine.world.step_now();
  CHECK(waiting->done());
}

// mutant: a call that fails with an exception keeps what it held
TEST_CASE("a call that fails with an exception gives back everything") {
  SimulatedEngine engine;
  REQUIRE(engine.infer(row(1)));
  // Its error cannot be made.
  std::string_view const endless("x", std::numeric_limits<std::size_t>::max() / 2);
  std::array const outputs{endless};
  CHECK_THROWS(static_cast<void>(engine.infer(row(2), {.outputs = outputs})));
  CHECK(engine.state->routes() == 0);
  CHECK(engine.state->gate().statistics().held_items == 0);
  TimePoint const before = engine.world.now();
  CHECK(engine.state->stop(1s) == 0);
  CHECK(engine.world.now() == before);
}

// mutant: completions run on the thread that keeps time
TEST_CASE("the completion of a call that ends at its deadline runs on a worker while one is idle") {
  EngineOptions options;
  options.caller_runs = CallerRuns::never;
  options.threads = 2;
  HookedEngine rig(options);
  Outcome first;
  Outcome second;
  bool on_timer_thread = true;
  second.then = [&] { on_timer_thread = HookedExecutor::on_timer_thread(); };
  bool began = false;
  rig.control.on_run = [&](ath_batch const&) {
    if (std::exchange(began, true)) return Result<void>();
    CHECK(rig.model.submit(row(2), {.deadline = 5ms}, second.completion()).has_value());
    rig.world.advance(5ms);
    while (!second.answer.has_value() && rig.world.step_now()) {
    }
    return Result<void>();
  };
  REQUIRE(rig.model.submit(row(1), {}, first.completion()));
  rig.world.run_until_idle();
  CHECK(first.reason() == Reason::none);
  REQUIRE(second.answer.has_value());
  CHECK(second.reason() == Reason::deadline_waiting);
  CHECK_FALSE(on_timer_thread);
}

// mutant: a call is accepted although nobody keeps its deadline
TEST_CASE("an asynchronous call whose deadline no thread keeps is told so, although there is a worker") {
  HookedEngine rig({.caller_runs = CallerRuns::never});
  REQUIRE(rig.model.infer(row(1)));
  Outcome outcome;
  Hooks::no_timekeeper = true;
  auto const submitted = rig.model.submit(row(2), {}, outcome.completion());
  Hooks::no_timekeeper = false;
  CHECK(submitted);
  rig.world.run_until_idle();
  REQUIRE(outcome.answer);
  REQUIRE_FALSE(*outcome.answer);
  CHECK(outcome.answer->error().code == Code::resource_exhausted);
}

TEST_CASE("an asynchronous call that no thread could run is refused, and leaves nothing behind") {
  SimulatedEngine engine;
  engine.world.refuse_threads(true);
  auto const refused = engine.submit(row(2));
  REQUIRE(refused->refusal.has_value());
  CHECK(refused->error().code == Code::resource_exhausted);
  CHECK(engine.state->routes() == 0);
  CHECK(engine.state->gate().statistics().held_items == 0);
  engine.world.refuse_threads(false);
  auto const accepted = engine.submit(row(3));
  engine.world.run_until_idle();
  CHECK(accepted->has_value());
}

// mutant: a child of a fork is served like its parent
// mutant: a call of the parent is cancelled in a child
TEST_CASE("in a child of a fork calls are refused with a sentence, and the engine stops at once") {
  Puppet puppet;
  Held held(puppet.control);
  ModelFolder const folder;
  auto engine = std::make_optional(Engine<>::create({.backends = {&puppet.table}}).value());
  auto model = engine->load(folder.path()).value();
  Outcome outcome;
  auto submitted = model.submit(row(1), {}, outcome.completion());
  REQUIRE(submitted);
  held.wait_until_inside();
  auto const refused = [](Error const& error) {
    return error.code == Code::failed_precondition && error.message.find("fork") != std::string::npos;
  };
  ::pid_t const child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::alarm(20);
    Outcome never;
    std::array const requests{row(4)};
    bool right = refused(model.infer(row(2)).error());
    right = right && refused(model.submit(row(3), {}, never.completion()).error());
    right = right && refused(model.infer_many(requests)[0].error());
    right = right && refused(model.load().error()) && refused(model.unload().error());
    right =
        right && refused(engine->add(folder.path()).error()) && refused(engine->load(folder.path()).error());
    right = right && refused(engine->model("m").error()) && refused(engine->remove("m@1").error());
    right =
        right && refused(model.statistics().error()) && refused(engine->add_backend(puppet.table).error());
    submitted->cancel();
    right = right && !outcome.answer;
    model.forget_answers();
    right = right && !engine->health().live && engine->metrics_text().empty() && !engine->describe().empty();
    right = right && engine->stop(10s) == 0;
    { auto const last = std::move(model); }
    engine.reset();
    ::_exit(right ? 0 : 1);
  }
  int status = 0;
  CHECK(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  held.let_go();
  CHECK(engine->stop(10s) == 0);
  CHECK(outcome.answer->has_value());
}
