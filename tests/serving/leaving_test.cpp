// What a caller that leaves costs the others, and what becomes of its inputs and its place.
#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <serving/hooked_engine.hpp>
#include <serving/simulated_engine.hpp>

using namespace athanor;
using namespace athanor_tests;
using namespace std::chrono_literals;

namespace {

EngineOptions only_workers() {
  EngineOptions options;
  options.caller_runs = CallerRuns::never;
  return options;
}

// A blocking call that borrows its input, and does what a parked thread would when the test says so.
struct Blocking {
  SimulatedEngine& engine;
  std::array<float, 2> values;
  Request request;
  SimulatedEngine::CallType* call;

  Blocking(SimulatedEngine& of, float value, CallOptions const& options = {})
      : engine(of),
        values{value, value},
        request{{"x", Tensor::view(std::span<float const>(values), Shape{1, 2})}},
        call(engine.state->make_call(*engine.served, request, options, SimulatedEnv::now()).value()) {
    engine.state->start(*call);
  }
  // Cancels it and takes the input back.
  void leave() {
    engine.state->abandon(*call, SimulatedEngine::State::taken_back(*call));
    values = {-1000, -1000};
  }
  Result<Answer> collect() {
    engine.state->wait(*call);
    return engine.state->collect(*call);
  }
};

// Makes of a text the number of its first letter, and lets the test act before it
// reads that. The text is the first parameter, or where there is none the input.
struct LetterProcessor {
  static constexpr char const* name = "letter";
  std::function<void()> before;
  struct Opened {
    static constexpr std::array<Port, 1> ports{{{"x", DType::f32}}};
    LetterProcessor& processor;
    std::span<Port const> made() const { return ports; }
    Result<Preprocessed> preprocess(Item const& item) const {
      if (processor.before) std::exchange(processor.before, nullptr)();
      std::string_view const text = item.parameter_count() == 0 ? item.input(0).text_at(0)
                                                                : item.parameter<std::string_view>(0).value();
      std::array<float, 2> const letter{static_cast<float>(text[0]), 0};
      Preprocessed made;
      made.tensors.push_back(Tensor::view<float>(letter, Shape{1, 2}).clone().value());
      return made;
    }
  };
  Result<std::unique_ptr<Opened>> open(std::string_view, std::string_view) {
    return std::make_unique<Opened>(Opened{*this});
  }
};

void check_nothing_held(SimulatedEngine& engine) {
  CHECK(engine.state->routes() == 0);
  CHECK(engine.state->gate().statistics().held_items == 0);
  CHECK(engine.served->lane().snapshot().queued_items == 0);
}

Tensor letter_a() { return Tensor::copy_texts(std::array<std::string_view, 1>{"a"}).value(); }

// A model behind a LetterProcessor, whose only text lies in `memory`.
struct LetterModel {
  LetterProcessor processor;
  ath_processor_table const table = make_table(processor);
  SimulatedEngine engine{"", only_workers()};
  ModelFolder const folder;
  std::string memory = "a";

  explicit LetterModel(std::string const& inputs)
      : folder("", "letters", "1.0.0", inputs + R"("processor": {"name": "letter"},
      "model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
      "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]}],)") {
    REQUIRE(engine.state->add_processor(table));
    engine.served = engine.state->add(folder.path()).value().get();
    REQUIRE(engine.state->loader().load(engine.served->load_record(), 1s));
  }

  // The caller of `borrowing` leaves while the processor runs,
  // and changes `memory`. An equal call waits for the answer.
  void check_that_it_is_copied(Request borrowing, Request equal) {
    auto const owner = engine.submit(std::move(borrowing));
    auto const waiter = engine.submit(std::move(equal));
    processor.before = [&] {
      engine.cancel(*owner);
      memory = "z";
    };
    engine.world.run_until_idle();
    REQUIRE(owner->done());
    CHECK(owner->error().code == Code::cancelled);
    REQUIRE(waiter->has_value());
    CHECK(waiter->y() == 'a' + 1);
    check_nothing_held(engine);
  }
};

}  // namespace

// mutant: a part whose caller leaves fails the whole batch
TEST_CASE("a caller who leaves while its batch is put together costs the others no second run") {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    SimulatedEngine engine(R"("batching": {"max_items": 4},)", only_workers(), seed,
                           {.order = Turns::Order::random, .switch_one_in = 2});
    REQUIRE(engine.infer(row(100)));
    auto const before = engine.control.runs.load();
    std::vector<std::unique_ptr<Blocking>> callers;
    for (float i = 0; i < 4; ++i)
      callers.push_back(std::make_unique<Blocking>(engine, i, CallOptions{.cache = CacheMode::skip}));
    engine.world.spawn([&] {
      SimulatedEnv::Atomic<int> step{0};  // others may go on at each look
      while (step.fetch_add(1) < static_cast<int>(seed % 50)) {
      }
      callers[3]->leave();
    });
    for (std::size_t i = 0; i < 3; ++i) REQUIRE(callers[i]->collect());
    engine.world.run_until_idle();
    static_cast<void>(callers[3]->collect());
    CHECK(engine.control.runs.load() - before == 1);
  }
}

TEST_CASE("a caller who leaves costs its batch nothing but its own part") {
  SimulatedEngine engine(R"("batching": {"max_items": 8},)", only_workers());
  REQUIRE(engine.infer(row(100)));
  std::vector<std::unique_ptr<Blocking>> callers;
  bool first = true;
  engine.control.on_run = [&](ath_batch const&) -> Result<void> {
    if (!std::exchange(first, false)) return {};
    callers[3]->leave();
    return fail(Code::internal, Reason::backend_failure, "the batch is run again by halves");
  };
  for (float i = 0; i < 8; ++i)
    callers.push_back(std::make_unique<Blocking>(engine, i, CallOptions{.cache = CacheMode::skip}));
  auto const before = engine.control.runs.load();
  for (std::size_t i = 0; i < callers.size(); ++i) {
    auto const answer = callers[i]->collect();
    REQUIRE(answer.has_value() == (i != 3));
    if (answer) CHECK(answer->outputs["y"].as<float>()[0] == static_cast<float>(i) + 1);
  }
  engine.world.run_until_idle();
  CHECK(engine.control.largest_batch.load() == 8);
  CHECK(engine.control.runs.load() - before == 3);
  check_nothing_held(engine);
}

// mutant: inputs that may be taken back are viewed
TEST_CASE("the work of an owner who leaves goes on for those who wait, with the inputs that it had") {
  SimulatedEngine engine("", only_workers());
  REQUIRE(engine.infer(row(100)));
  Blocking owner(engine, 7);
  auto const waiter = engine.submit(row(7, 7));
  bool left = false;
  engine.control.on_run = [&](ath_batch const&) {
    if (!std::exchange(left, true)) owner.leave();
    return Result<void>();
  };
  engine.world.run_until_idle();
  CHECK(owner.collect().error().code == Code::cancelled);
  REQUIRE(waiter->has_value());
  CHECK(waiter->y() == 8);
  check_nothing_held(engine);
}

// mutant: copied inputs are said to be gone
TEST_CASE("the work of an owner who leaves before it begins goes on with a copy of its inputs") {
  SimulatedEngine engine("", only_workers());
  REQUIRE(engine.infer(row(100)));
  Blocking owner(engine, 7);
  auto const waiter = engine.submit(row(7, 7));
  owner.leave();
  engine.world.run_until_idle();
  CHECK(owner.collect().error().code == Code::cancelled);
  REQUIRE(waiter->has_value());
  CHECK(waiter->y() == 8);
  check_nothing_held(engine);
}

// mutant: a processor reads the memory of a caller who may leave
TEST_CASE("a processor does not read the memory of a caller who leaves while it runs") {
  LetterModel model(R"("inputs": [{"name": "text", "dtype": "bytes", "shape": ["items"]}],)");
  std::array<std::int64_t, 2> const offsets{0, 1};
  model.check_that_it_is_copied(Request{{"text", Tensor::texts(offsets, model.memory, Shape{1})}},
                                Request{{"text", letter_a()}});
}

// mutant: a processor reads the text of a parameter where its caller has it
TEST_CASE("a processor does not read a parameter's text in the memory of a caller who leaves while it runs") {
  LetterModel model(R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
      "parameters": [{"name": "text", "type": "text"}],
      "self_test": [{"inputs": {"x": [[1, 2]], "text": "a"}, "outputs": {"y": [[98, 1]]}}],)");
  model.check_that_it_is_copied(row(1).set("text", model.memory), row(1).set("text", letter_a()));
}

// mutant: a queued call that is abandoned is not withdrawn from its lane
TEST_CASE("a queued call that ends at its deadline gives its place back at once") {
  SimulatedEngine engine(R"("batching": {"max_items": 1},)", only_workers());
  REQUIRE(engine.infer(row(100)));
  std::unique_ptr<SimulatedEngine::Ticket> queued;
  engine.control.on_run = [&](ath_batch const&) {
    if (queued != nullptr) return Result<void>();
    queued = engine.submit(row(1), {.deadline = 5ms});
    engine.world.advance(5ms);
    while (!queued->done() && engine.world.step_now()) {
    }
    if (!queued->done()) return Result<void>();
    CHECK(queued->error().code == Code::deadline_exceeded);
    CHECK(engine.state->routes() == 1);  // that of the call that runs
    CHECK(engine.state->gate().statistics().held_items == 1);
    CHECK(engine.served->lane().snapshot().queued_items == 0);
    return Result<void>();
  };
  REQUIRE(engine.infer(row(2)));
  check_nothing_held(engine);
  CHECK(engine.control.runs.load() == 2);
}

// mutant: who leaves a failed batch is not told how long it ran
TEST_CASE("a caller whose own part of a failed batch is ready does not wait for the others'") {
  EngineOptions options;
  options.threads = 4;
  SimulatedEngine engine(R"("batching": {"max_items": 8},)", options);
  REQUIRE(engine.infer(row(100)));
  engine.control.on_run = [&](ath_batch const& batch) -> Result<void> {
    engine.world.advance(2ms);
    auto const* x = static_cast<float const*>(batch.inputs[0].data);
    for (std::int64_t item = 0; item < batch.items; ++item) {
      if (x[2 * item] != 3) continue;
      if (batch.items == 1) engine.world.advance(1s);
      return fail(Code::internal, Reason::backend_failure, "three");
    }
    return {};
  };
  auto const culprit = engine.submit(row(3));
  auto const other = engine.submit(row(4));
  TimePoint const start = engine.world.now();
  auto const answer = engine.infer(row(5));
  CHECK(engine.world.now() - start == 4ms);
  REQUIRE(answer);
  CHECK(answer->report.attempts == 2);
  CHECK(answer->report.compute == 4ms);
  CHECK(answer->report.total == 4ms);
  CHECK_FALSE(other->done());
  engine.world.run_until_idle();
  CHECK(other->has_value());
  CHECK(culprit->error().message.find("three") != std::string::npos);
  check_nothing_held(engine);
}

// mutant: inputs are copied where time is kept
// mutant: a call whose deadline has passed waits for a worker, to take its inputs back
TEST_CASE("the inputs of a call whose deadline passes are copied by a worker, if one is idle") {
  for (std::size_t const threads : {2U, 1U}) {
    auto options = only_workers();
    options.threads = threads;
    SimulatedEngine engine(R"("batching": {"max_items": 1},)", options);
    REQUIRE(engine.infer(row(100)));
    std::array<float, 2> memory{7, 0};
    std::unique_ptr<SimulatedEngine::Ticket> owner;
    std::unique_ptr<SimulatedEngine::Ticket> waiter;
    engine.control.on_run = [&](ath_batch const&) {
      if (owner != nullptr) return Result<void>();
      owner = engine.submit(Request{{"x", Tensor::view(std::span<float const>(memory), Shape{1, 2})}},
                            {.deadline = 5ms});
      waiter = engine.submit(row(7));
      engine.world.advance(5ms);
      CHECK(engine.world.step_now());  // the timer
      CHECK(owner->call->inputs.borrowed() == (threads == 2));
      CHECK(owner->done() == (threads == 1));
      while (!owner->done() && engine.world.step_now()) {
      }
      CHECK(owner->error().code == Code::deadline_exceeded);
      memory = {-1000, -1000};
      return Result<void>();
    };
    auto const running = engine.submit(row(2));
    engine.world.run_until_idle();
    CHECK(running->has_value());
    REQUIRE(waiter->has_value());
    CHECK(waiter->y() == 8);
    check_nothing_held(engine);
  }
}

// mutant: a call that waits for a load is not withdrawn from it
TEST_CASE("a call that waits for a load and ends at its deadline gives its place back at once") {
  SimulatedEngine engine;
  SimulatedEngine::Ticket* waiting = nullptr;
  bool checked = false;
  engine.control.on_load = [&](std::string_view) {
    engine.world.advance(10ms);
    while (!waiting->done() && engine.world.step_now()) {
    }
    CHECK(waiting->done());
    check_nothing_held(engine);
    checked = true;
    return Result<void>();
  };
  auto const call = engine.submit(row(1), {.deadline = 5ms});
  waiting = call.get();
  engine.world.run_until_idle();
  CHECK(checked);
  CHECK(call->error().reason == Reason::deadline_waiting);
}

// mutant: a probe may share its batch
TEST_CASE("the probes of a half-open breaker are batches of their own") {
  SimulatedEngine engine(R"("batching": {"max_items": 8},)", only_workers());
  REQUIRE(engine.infer(row(100)));
  bool failing = true;
  engine.control.on_run = [&](ath_batch const&) -> Result<void> {
    if (failing) return fail(Code::internal, Reason::backend_failure, "broken");
    return {};
  };
  for (float i = 0; engine.served->breaker().state() == breaking::State::closed; ++i)
    REQUIRE_FALSE(engine.infer(row(i)));
  failing = false;
  engine.world.advance(10s);
  engine.control.largest_batch = 0;
  auto const first = engine.submit(row(1));
  auto const second = engine.submit(row(2));
  engine.world.run_until_idle();
  CHECK(first->has_value());
  CHECK(second->has_value());
  CHECK(engine.control.largest_batch.load() == 1);
}

// mutant: a caller who ran a batch is thought to be inside for ever
TEST_CASE("a failed run on its caller's thread leaves nobody inside") {
  SimulatedEngine engine;
  engine.control.on_run = [](ath_batch const&) -> Result<void> {
    return fail(Code::internal, Reason::backend_failure, "broken");
  };
  CHECK_FALSE(engine.infer(row(1)));
  CHECK(engine.state->stop(0s) == 0);
}

// mutant: a thread that waits for a lock is not woken
TEST_CASE("a thread that waits for a call's lock parks, and is woken") {
  auto const call = std::make_unique<serving::Call<DefaultServing>>();
  call->lock();
  {
    std::jthread const other([&] {
      call->lock();
      call->unlock();
    });
    while ((call->word.load() & serving::call_bits::lock_wanted) == 0) std::this_thread::yield();
    call->unlock();
  }
  CHECK((call->word.load() & serving::call_bits::locked) == 0);
}

// mutant: only the model itself counts as running here
TEST_CASE("a backend that waits for another which waits for the first is refused at once") {
  Puppet puppet;
  ModelFolder const one("", "one");
  ModelFolder const two("", "two");
  EngineOptions options = only_workers();
  options.backends = {&puppet.table};
  options.threads = 3;
  auto engine = Engine<>::create(options).value();
  auto first = engine.load(one.path()).value();
  auto second = engine.load(two.path()).value();
  std::atomic<int> depth{0};
  std::atomic<Reason> innermost{Reason::none};
  puppet.control.on_run = [&](ath_batch const&) -> Result<void> {
    switch (depth.fetch_add(1)) {
      case 0:
        if (auto answer = second.infer(row(1)); !answer) return tl::unexpected(answer.error());
        return {};
      case 1: innermost = first.infer(row(2)).error().reason; return {};
      default: return {};
    }
  };
  CHECK(first.infer(row(0), {.deadline = 20s}).has_value());
  CHECK(innermost.load() == Reason::reentrant);
}

// mutant: a caller answers all who wait for its work before it returns
// mutant: what is left to an idle thread waits for a busy one
TEST_CASE("a caller with many who wait for its work answers a few and leaves the others to an idle worker") {
  enum class Workers { idle, none, busy };
  for (Workers const workers : {Workers::idle, Workers::none, Workers::busy}) {
    CAPTURE(static_cast<int>(workers));
    EngineOptions options;
    options.threads = 1;
    SimulatedEngine engine("", options);
    REQUIRE(engine.state->loader().load(engine.served->load_record(), 1s));
    std::vector<std::unique_ptr<SimulatedEngine::Ticket>> tickets;
    engine.control.on_run = [&](ath_batch const&) {
      for (int i = 0; i < 100; ++i) tickets.push_back(engine.submit(row(1)));  // join the call that runs
      engine.world.refuse_threads(workers == Workers::none);
      return Result<void>();
    };
    std::ptrdiff_t answered = 0;
    auto const infer = [&] {
      REQUIRE(engine.infer(row(1)));
      engine.world.refuse_threads(false);
      answered = std::ranges::count_if(tickets, [](auto const& ticket) {
        return (ticket->call->word.load() & serving::call_bits::answered) != 0;
      });
    };
    struct Busy : Task {
      std::function<void()> body;
    } busy;
    busy.body = infer;
    busy.run = [](Task& task) noexcept { static_cast<Busy&>(task).body(); };
    if (workers == Workers::busy) {
      REQUIRE(engine.state->executor().post(busy));
      engine.world.run_until_idle();
    } else {
      infer();
    }
    CHECK(answered == (workers == Workers::idle ? 16 : 100));
    engine.world.run_until_idle();
    for (auto const& ticket : tickets) CHECK(ticket->has_value());
    CHECK(engine.control.runs.load() == 1);
  }
}

// mutant: who waits for a caller that is refused is told why, where no worker can go on
TEST_CASE("who waits for a caller that has too little time learns of its own fate only") {
  HookedEngine rig;
  Duration takes = 10ms;
  rig.control.on_run = [&](ath_batch const&) {
    rig.world.advance(takes);
    return Result<void>();
  };
  for (int i = 0; i < 20; ++i) REQUIRE(rig.model.infer(row(static_cast<float>(-i))));
  takes = 9ms;
  REQUIRE_FALSE(rig.model.infer(row(100), {.deadline = 5ms}));  // as a trial, so that the next call is none
  takes = 10ms;
  Outcome waiting;
  int locks = 4;  // the fourth is that of the caller who looks whether others wait
  std::function<void()> const joins = [&] {
    if (--locks > 0) {
      Hooks::before_lock = joins;
      return;
    }
    REQUIRE(rig.model.submit(row(1), {}, waiting.completion()));
    Hooks::no_thread = true;
  };
  Hooks::before_lock = joins;
  REQUIRE_FALSE(rig.model.infer(row(1), {.deadline = 5ms}));  // it is predicted to end too late
  Hooks::no_thread = false;
  rig.world.run_until_idle();
  REQUIRE(waiting.answer);
  REQUIRE_FALSE(*waiting.answer);
  CHECK(waiting.answer->error().message == "puppet@1.0.0: no thread can be started for an asynchronous call");
}

// mutant: a model that fails with the reason of a deadline is taken for a caller that is late
TEST_CASE(
    "a model that fails because another engine was late is not run again for those who share its work") {
  SimulatedEngine engine("", only_workers());
  int runs = 0;
  engine.control.on_run = [&](ath_batch const&) -> Result<void> {
    if (++runs > 5) return {};
    return fail(Code::deadline_exceeded, Reason::deadline_waiting, "the other engine gave no answer");
  };
  auto const owner = engine.submit(row(1), {.deadline = 10s});
  auto const waiter = engine.submit(row(1));
  engine.world.run_until_idle();
  CHECK(runs == 1);
  for (auto const* const ticket : {owner.get(), waiter.get()}) {
    REQUIRE(ticket->done());
    REQUIRE_FALSE(ticket->has_value());
    CHECK(ticket->error().message == "puppet@1.0.0: the other engine gave no answer");
  }
}

// mutant: a child of a fork waits for a lock to free a call
TEST_CASE("in a child of a fork the end of many handles takes no lock") {
  HookedEngine rig;
  std::vector<Outcome> outcomes(200);
  std::vector<Submission<HookedServing>> submissions;
  for (Outcome& outcome : outcomes)
    submissions.push_back(rig.model.submit(row(1), {.cache = CacheMode::skip}, outcome.completion()).value());
  rig.world.run_until_idle();
  bool locked = false;
  {
    Simulation::Child const child(rig.world);
    Hooks::before_lock = [&] { locked = true; };
    submissions.clear();
    Hooks::before_lock = nullptr;
  }
  CHECK_FALSE(locked);
}
