// A completion that blocks: whom it may keep waiting, and whom not.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include <serving/simulated_engine.hpp>

using namespace athanor;
using namespace athanor_tests;
using namespace std::chrono_literals;

namespace {

constexpr std::string_view in_fours = R"("batching": {"max_items": 4},)";

EngineOptions workers(std::size_t threads) {
  EngineOptions options;
  options.caller_runs = CallerRuns::never;
  options.threads = threads;
  return options;
}

// A call whose completion returns only once `let_go` is true; meanwhile the rest of the world goes on.
struct Blocking {
  SimulatedEngine& engine;
  std::function<bool()> let_go;
  bool released = false;
  SimulatedEngine::CallType* call = nullptr;

  Blocking(SimulatedEngine& of, Request request, std::function<bool()> when, CallOptions const& options = {})
      : engine(of), let_go(std::move(when)) {
    call =
        engine.state
            ->submit(engine.state->handle_of(*engine.served), std::move(request), options, {&on_answer, this})
            .value();
  }
  ~Blocking() { call->unref(); }

  static void on_answer(void* context, Result<Answer>) noexcept {
    auto& self = *static_cast<Blocking*>(context);
    while (!self.let_go() && self.engine.world.step()) {
    }
    self.released = self.let_go();
  }
};

using Tickets = std::vector<std::unique_ptr<SimulatedEngine::Ticket>>;

bool all_done(Tickets const& tickets) {
  return std::ranges::all_of(tickets, &SimulatedEngine::Ticket::has_value,
                             [](auto const& ticket) -> auto const& { return *ticket; });
}

}  // namespace

// mutant: a worker runs completions before it has given back what the batch holds
// mutant: an executor thread keeps its instance while it finishes
TEST_CASE("a completion that blocks delays neither the other answers of its batch nor the next batch") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SimulatedEngine engine(in_fours, workers(2), seed);
    Tickets others;
    Blocking const blocking(engine, row(0), [&] { return all_done(others); });
    for (int i = 1; i < 8; ++i) others.push_back(engine.submit(row(static_cast<float>(i))));
    engine.world.run_until_idle();
    CHECK(blocking.released);
    CHECK(engine.control.runs.load() == 2);
    CHECK(engine.control.largest_batch.load() == 4);
    for (auto const& ticket : others) CHECK(ticket->has_value());
  }
}

// mutant: a worker runs completions before it has given back what the batch holds
TEST_CASE("a blocking caller does not wait for the completion of a call that shared its batch") {
  SimulatedEngine engine(in_fours, workers(1));
  SimulatedEngine::CallType* caller = nullptr;
  Blocking const blocking(engine, row(0),
                          [&] { return (caller->word.load() & serving::call_bits::answered) != 0; });
  auto const request = row(1);
  caller = engine.state->make_call(*engine.served, request, {}, SimulatedEnv::now()).value();
  engine.state->start(*caller);
  engine.world.run_until_idle();
  CHECK(blocking.released);
  CHECK(engine.control.largest_batch.load() == 2);
  engine.state->wait(*caller);
  CHECK(engine.state->collect(*caller).has_value());
}

// mutant: a worker runs completions before it has given back what the batch holds
TEST_CASE("a completion that blocks delays nobody who waits for the same computation") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SimulatedEngine engine(in_fours, workers(2), seed);
    Tickets others;
    others.push_back(engine.submit(row(5)));  // owns the computation
    Blocking const blocking(engine, row(5), [&] { return all_done(others); });
    for (int i = 0; i < 3; ++i) others.push_back(engine.submit(row(5)));
    engine.world.run_until_idle();
    CHECK(blocking.released);
    CHECK(engine.control.runs.load() == 1);
  }
}

// mutant: an executor thread keeps its instance while it finishes
TEST_CASE(
    "while every worker is inside a completion, a caller's thread runs the model, and deadlines are kept") {
  auto options = workers(1);
  options.caller_runs = CallerRuns::when_idle;
  SimulatedEngine engine(in_fours, options);
  std::unique_ptr<SimulatedEngine::Ticket> waiting;
  bool ran = false;
  Blocking const blocking(engine, row(0), [&] {
    if (waiting == nullptr) waiting = engine.submit(row(2), {.deadline = 5ms});
    if (!ran) ran = engine.infer(row(1)).has_value();
    return waiting->done();
  });
  engine.world.run_until_idle();
  CHECK(blocking.released);
  CHECK(ran);
  CHECK(waiting->done());
}

// mutant: the thread that keeps time delivers an answer for which a worker is on its way
TEST_CASE("an answer that is ready at its deadline is delivered by a worker, if one is idle") {
  struct Place {
    std::optional<bool> keeps_time;
    static void on_answer(void* context, Result<Answer>) noexcept {
      static_cast<Place*>(context)->keeps_time = SimulatedExecutor::on_timer_thread();
    }
  };
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    auto options = workers(4);
    options.caller_runs = CallerRuns::when_idle;
    SimulatedEngine engine(in_fours, options, seed);
    REQUIRE(engine.infer(row(100)));
    Place place;
    auto* const call = engine.state
                           ->submit(engine.state->handle_of(*engine.served), row(0), {.deadline = 5ms},
                                    {&Place::on_answer, &place})
                           .value();
    REQUIRE(engine.infer(row(1)));  // in the company of the other one, whose answer is then ready
    CHECK((call->word.load() & serving::call_bits::answered) != 0);
    CHECK_FALSE(place.keeps_time.has_value());
    engine.world.advance(5ms);
    engine.world.run_until_idle();
    call->unref();
    CHECK(place.keeps_time == false);
    CHECK(engine.state->routes() == 0);
  }
}

// mutant: an answer that is ready at its deadline waits for a worker
TEST_CASE("an answer that is ready at its deadline is delivered while every worker is inside a completion") {
  auto options = workers(1);
  options.caller_runs = CallerRuns::when_idle;
  SimulatedEngine engine(in_fours, options);
  std::unique_ptr<SimulatedEngine::Ticket> ready;
  Blocking const blocking(engine, row(0), [&] {
    if (ready == nullptr) {
      ready = engine.submit(row(2), {.deadline = 5ms});
      CHECK(engine.infer(row(1)));
      engine.world.advance(5ms);
    }
    return ready->done();
  });
  engine.world.run_until_idle();
  CHECK(blocking.released);
  CHECK(ready->has_value());
}

// Real threads, and the worker that others take over from.
// mutant: a worker's backlog is watched by nobody
TEST_CASE("on real threads, too, a batch is delivered and the next one run while a completion blocks") {
  Puppet puppet;
  ModelFolder const folder(in_fours);
  auto engine = Engine<>::create({.backends = {&puppet.table}, .threads = 2, .cache_bytes = 0}).value();
  auto const model = engine.load(folder.path()).value();
  struct Shared {
    std::atomic<int> answered{0};
    std::atomic<bool> in_time{false};
  } shared;
  constexpr int others = 7;
  auto const blocks = [](void* context, Result<Answer>) noexcept {
    auto& state = *static_cast<Shared*>(context);
    TimePoint const limit = after(SystemEnv::now(), 20s);  // never reached when the code is right
    while (state.answered.load() != others && SystemEnv::now() < limit) std::this_thread::sleep_for(100us);
    state.in_time = state.answered.load() == others;
  };
  auto const counts = [](void* context, Result<Answer> answer) noexcept {
    if (answer) static_cast<Shared*>(context)->answered.fetch_add(1);
  };
  Held held(puppet.control);
  REQUIRE(model.submit(row(-1), {}, {counts, &shared}));
  held.wait_until_inside();
  REQUIRE(model.submit(row(0), {}, {blocks, &shared}));
  for (int i = 1; i < others; ++i) REQUIRE(model.submit(row(static_cast<float>(i)), {}, {counts, &shared}));
  held.let_go();
  CHECK(engine.stop(30s) == 0);
  CHECK(shared.in_time.load());
}

// mutant: a call without a completion is taken on
TEST_CASE("a call without a completion is refused, counted and leaves nothing behind") {
  SimulatedEngine engine;
  auto const handle = engine.state->handle_of(*engine.served);
  auto const call = engine.state->submit(handle, row(1), {}, Completion{});
  if (call) (*call)->unref();  // at its deadline the process ends
  REQUIRE_FALSE(call);
  CHECK(call.error().code == Code::invalid_argument);
  CHECK(call.error().reason == Reason::option);
  CHECK(call.error().message == "puppet@1.0.0: submit: expected a completion, got null");
  CHECK(engine.state->metrics_text().find(
            "athanor_requests_total{model=\"puppet\",version=\"1.0.0\",outcome=\"invalid_argument\"} 1\n") !=
        std::string::npos);
  CHECK(engine.control.runs.load() == 0);
}
