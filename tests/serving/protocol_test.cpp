// Who answers a call, and when: inside submit, around a stop, late answers, and what a failed call leaves behind.
#include <doctest/doctest.h>

#include <limits>
#include <thread>

#include <sys/wait.h>
#include <unistd.h>

#include <serving/simulated_engine.hpp>

using namespace athanor;
using namespace athanor_tests;
using namespace std::chrono_literals;

namespace {

// Lets a test act where another thread could: before the next mutex is locked, after the next task is posted, and after
// the clock is read. Counts the atomics that are read.
struct Hooks {
  static inline bool no_thread = false;      // executors take nothing
  static inline bool no_timekeeper = false;  // executors take no timer
  static inline std::function<void()> after_look;
  static inline std::function<void()> before_lock;
  static inline std::function<void()> after_post;
  static inline std::uint64_t loads = 0;
  static void run(std::function<void()>& hook) {
    if (auto const once = std::exchange(hook, nullptr)) once();
  }
};

class ATH_CAPABILITY("mutex") HookedMutex {
 public:
  void lock() ATH_ACQUIRE() {
    Hooks::run(Hooks::before_lock);
    mutex_.lock();
  }
  bool try_lock() ATH_TRY_ACQUIRE(true) { return mutex_.try_lock(); }
  void unlock() ATH_RELEASE() { mutex_.unlock(); }

 private:
  SimulatedMutex mutex_;
};

struct HookedExecutor : SimulatedExecutor {
  using SimulatedExecutor::SimulatedExecutor;
  bool arm(Timer& timer, TimePoint at) noexcept {
    return !Hooks::no_thread && !Hooks::no_timekeeper && SimulatedExecutor::arm(timer, at);
  }
  bool post(Task& task) noexcept {
    bool const taken = !Hooks::no_thread && SimulatedExecutor::post(task);
    Hooks::run(Hooks::after_post);
    return taken;
  }
  bool post_if_idle(Task& task) noexcept { return idle() && post(task); }
};

template <class T>
struct CountedAtomic : SimulatedAtomic<T> {
  using SimulatedAtomic<T>::SimulatedAtomic;
  T load(std::memory_order order = std::memory_order_seq_cst) const noexcept {
    ++Hooks::loads;
    return SimulatedAtomic<T>::load(order);
  }
};

struct HookedEnv : SimulatedEnv {
  template <class T>
  using Atomic = CountedAtomic<T>;
  using Mutex = HookedMutex;
  using Executor = HookedExecutor;
  static TimePoint now() noexcept {
    TimePoint const seen = SimulatedEnv::now();
    Hooks::run(Hooks::after_look);
    return seen;
  }
};

struct HookedServing : DefaultServing {
  using Env = HookedEnv;
};

struct HookedEngine : Puppet {
  Simulation world{1};
  ModelFolder folder;
  Engine<HookedServing> engine;
  Model<HookedServing> model;

  explicit HookedEngine(EngineOptions options = {}, std::string_view tensors = puppet_tensors)
      : folder("", "puppet", "1.0.0", tensors),
        engine(make(table, std::move(options))),
        model(engine.load(folder.path()).value()) {}

  static Engine<HookedServing> make(ath_backend_table const& table, EngineOptions options) {
    options.backends = {&table};
    return Engine<HookedServing>::create(std::move(options)).value();
  }
};

// With a request of 8 KiB.
struct WideEngine : HookedEngine {
  std::vector<float> const values = std::vector<float>(2048);
  Request const request{{"x", Tensor::view(std::span<float const>(values), Shape{1, 2048})}};

  WideEngine()
      : HookedEngine({}, R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2048]}],
                            "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2048]}],)") {}
};

// What one completion got.
struct Outcome {
  std::optional<Result<Answer>> answer;
  std::function<void()> then;
  static void on_answer(void* context, Result<Answer> answer) noexcept {
    auto& outcome = *static_cast<Outcome*>(context);
    outcome.answer.emplace(std::move(answer));
    if (outcome.then) outcome.then();
  }
  Completion completion() { return {&on_answer, this}; }
  Reason reason() const { return answer->has_value() ? Reason::none : answer->error().reason; }
};

}  // namespace

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
  auto const looks = [](std::size_t count) {
    HookedEngine rig({.caller_runs = CallerRuns::never, .max_items = 2000});
    REQUIRE(rig.model.load());
    std::vector<Outcome> outcomes(count);
    for (std::size_t i = 0; i < count; ++i)
      REQUIRE(rig.model.submit(row(static_cast<float>(i)), {}, outcomes[i].completion()));
    Hooks::loads = 0;
    rig.engine.stop(0s);
    std::uint64_t const loads = Hooks::loads;
    for (auto const& outcome : outcomes) CHECK(outcome.reason() == Reason::stopping);
    return loads;
  };
  CHECK(looks(1600) < 6 * looks(400));  // more than the pool of calls keeps
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
