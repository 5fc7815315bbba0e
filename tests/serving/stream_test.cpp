// Streams of models that answer in one piece: reading, leaving, and the one end that each has.
#include <doctest/doctest.h>

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <athanor/core/cancellation.hpp>
#include <serving/simulated_engine.hpp>
#include <support/detached.hpp>

using namespace athanor;
using namespace athanor_tests;
using namespace std::chrono_literals;

namespace {

using Parts = Stream<SimulatedServing>;

struct Streams : SimulatedEngine {
  Model<SimulatedServing> model{state->handle_of(*served)};
  explicit Streams(EngineOptions const& options = {}, Turns const& turns = {})
      : SimulatedEngine("", options, 1, turns) {}
  Parts open(CallOptions const& options = {}) { return model.stream(row(1), options).value(); }
};

float first_of(Outputs const& part) { return part["y"].as<float>()[0]; }

// What a reader with callbacks has seen.
struct Callbacks {
  std::vector<float> parts{};
  std::vector<Result<Report>> ends{};
  std::vector<std::string> models{};
  TimePoint ended{};
  std::function<void()> on_part = [] {};
  void part(Outputs part) noexcept {
    parts.push_back(first_of(part));
    on_part();
  }
  void end(Result<Report> outcome) noexcept {
    if (outcome) models.emplace_back(outcome->model);
    ended = SimulatedEnv::now();
    ends.push_back(std::move(outcome));
  }
  StreamCallbacks callbacks() { return stream_callbacks<&Callbacks::part, &Callbacks::end>(this); }
};

Detached read_all(Parts stream, std::vector<float>& parts, std::optional<Result<Report>>& outcome) {
  while (auto part = co_await stream.next_async()) parts.push_back(first_of(*part));
  outcome.emplace(stream.outcome());
}

void check_ends(Parts& stream, Code code, Reason reason) {
  CHECK_FALSE(stream.next());
  CHECK_FALSE(stream.next());
  auto const outcome = stream.outcome();
  REQUIRE_FALSE(outcome);
  CHECK(outcome.error().code == code);
  CHECK(outcome.error().reason == reason);
}

}  // namespace

// mutant: the last part of a stream is lost
TEST_CASE("a model that answers in one piece has a stream of one part, and then the report") {
  Streams streams;
  auto stream = streams.open();
  std::vector<float> parts;
  CHECK_FALSE(stream.outcome());
  for (Outputs const& part : stream) {
    parts.push_back(first_of(part));
    auto const early = stream.outcome();
    REQUIRE_FALSE(early);
    CHECK(early.error().code == Code::failed_precondition);
  }
  CHECK(parts == std::vector<float>{2});
  CHECK_FALSE(stream.next());
  auto const report = stream.outcome();
  REQUIRE(report);
  CHECK(report->model == "puppet@1.0.0");
  CHECK(report->attempts == 1);
}

// mutant: a stream uses the response cache
TEST_CASE("S3-9 a stream is neither answered from the cache nor stored, and joins no equal request") {
  Streams streams;
  REQUIRE(streams.infer(row(1)));
  auto one = streams.open();
  auto other = streams.open();
  CHECK(first_of(*one.next()) == 2);
  CHECK(first_of(*other.next()) == 2);
  CHECK_FALSE(one.next());
  CHECK(one.outcome()->cache == CacheState::off);
  CHECK(streams.control.items == 3);
  auto const refused = streams.model.stream(row(1), {.cache = CacheMode::only_if_cached});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().reason == Reason::not_cached);
}

TEST_CASE("a request that is refused opens no stream") {
  Streams streams;
  auto const wrong = streams.model.stream({{"z", Tensor::text("5")}});
  REQUIRE_FALSE(wrong);
  CHECK(wrong.error().reason == Reason::missing_input);
  streams.state->stop(0ms);
  auto const stopped = streams.model.stream(row(1));
  REQUIRE_FALSE(stopped);
  CHECK(stopped.error().reason == Reason::stopping);
}

// mutant: the error of a stream's model is lost
TEST_CASE("a model that fails ends the stream with its error, once") {
  Streams streams;
  streams.control.on_run = [](ath_batch const&) -> Result<void> {
    return fail(Code::internal, Reason::backend_failure, "a fault");
  };
  auto stream = streams.open();
  check_ends(stream, Code::internal, Reason::backend_failure);
}

// mutant: a slow reader gets parts after the deadline
TEST_CASE("S3-24 the deadline ends a stream that is late, whether the model or its reader is") {
  Streams streams;
  auto slow_reader = streams.open({.deadline = 10ms});
  while (streams.world.step_now()) {
  }
  CHECK(slow_reader.ready());
  streams.world.advance(11ms);
  check_ends(slow_reader, Code::deadline_exceeded, Reason::deadline_running);
  streams.control.on_run = [&](ath_batch const&) {
    streams.world.advance(11ms);
    return Result<void>();
  };
  auto slow_model = streams.open({.deadline = 10ms});
  check_ends(slow_model, Code::deadline_exceeded, Reason::deadline_running);
}

// mutant: a stream that is left goes on
TEST_CASE("S3-24 a stream that is cancelled or left ends its call, which is not executed") {
  Streams streams;
  REQUIRE(streams.infer(row(5)));
  auto cancelled = streams.open();
  cancelled.cancel();
  check_ends(cancelled, Code::cancelled, Reason::cancelled);
  { auto const left = streams.open(); }
  streams.world.run_until_idle();
  CHECK(streams.control.runs == 1);
  BasicCancellation<SimulatedEnv> token;
  streams.control.on_run = [&](ath_batch const&) {
    token.cancel();
    while (streams.world.step_now()) {
    }
    return Result<void>();
  };
  auto by_token = streams.open({.cancellation = &token});
  check_ends(by_token, Code::cancelled, Reason::cancelled);
  streams.world.run_until_idle();
  CHECK(streams.state->routes() == 0);
}

// mutant: a cancellation leaves the parts that wait when the model is done
// mutant: a stream's cancellation is not looked at once the model is done
TEST_CASE("S3-24 a stream that is cancelled when its model is done gives no part that waits") {
  Streams streams;
  auto stream = streams.open();
  streams.world.run_until_idle();
  CHECK(stream.ready());
  stream.cancel();
  CHECK(stream.ready());
  check_ends(stream, Code::cancelled, Reason::cancelled);

  auto read = streams.open();
  CHECK(first_of(*read.next()) == 2);
  read.cancel();
  CHECK_FALSE(read.next());
  CHECK(read.outcome());  // it had nothing left to give

  BasicCancellation<SimulatedEnv> token;
  auto by_token = streams.open({.cancellation = &token});
  streams.world.run_until_idle();
  token.cancel();
  check_ends(by_token, Code::cancelled, Reason::cancelled);
}

TEST_CASE("a part that comes when its reader has left goes back to the pool") {
  Streams streams;
  std::optional<Parts> stream;
  streams.control.on_run = [&](ath_batch const&) {
    stream.reset();
    return Result<void>();
  };
  stream.emplace(streams.open());
  streams.world.run_until_idle();
  CHECK(streams.state->routes() == 0);
  CHECK(streams.control.runs == 1);
}

TEST_CASE("a stream outlives its model's memory, and one that was opened before a stop is ended by it") {
  Streams streams;
  auto stream = streams.open();
  while (streams.world.step_now()) {
  }
  REQUIRE(streams.model.unload());
  CHECK(first_of(*stream.next()) == 2);
  auto after = streams.open();
  CHECK(first_of(*after.next()) == 2);
  CHECK(streams.control.loads == 2);
  auto done = streams.open();
  while (streams.world.step_now()) {
  }
  auto waits = streams.open();
  streams.state->stop(0ms);
  check_ends(waits, Code::unavailable, Reason::stopping);
  CHECK(first_of(*done.next()) == 2);
}

// mutant: callbacks begin inside the function that opens their stream
TEST_CASE("callbacks get every part and one end, and never inside the function that opens the stream") {
  Streams streams;
  Callbacks seen;
  auto const opened = streams.model.stream(row(1), {}, seen.callbacks());
  REQUIRE(opened);
  CHECK(seen.ends.empty());
  streams.world.run_until_idle();
  CHECK(seen.parts == std::vector<float>{2});
  REQUIRE(seen.ends.size() == 1);
  CHECK(seen.ends[0]);

  Callbacks cancelled;
  auto submission = streams.model.stream(row(1), {}, cancelled.callbacks());
  submission->cancel();
  streams.world.run_until_idle();
  CHECK(cancelled.parts.empty());
  REQUIRE(cancelled.ends.size() == 1);
  CHECK(cancelled.ends[0].error().code == Code::cancelled);

  Callbacks stopped;
  auto const last = streams.model.stream(row(1), {}, stopped.callbacks());
  streams.state->stop(0ms);
  REQUIRE(stopped.ends.size() == 1);
  CHECK(stopped.ends[0].error().reason == Reason::stopping);
}

TEST_CASE("a stream without both callbacks is refused") {
  Streams streams;
  auto const refused = streams.model.stream(row(1), {}, StreamCallbacks{});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message == "puppet@1.0.0: stream: expected two callbacks, got null");
}

TEST_CASE("a callback may stop the engine") {
  Streams streams;
  Callbacks seen;
  seen.on_part = [&] { CHECK(streams.state->stop(0ms) == 0); };
  REQUIRE(streams.model.stream(row(1), {}, seen.callbacks()));
  streams.world.run_until_idle();
  CHECK(seen.parts.size() == 1);
  CHECK(seen.ends.size() == 1);
}

// mutant: a stop does not wait for who reads a stream
TEST_CASE("a stop waits for a callback of a stream that takes long, and counts nothing as abandoned") {
  Streams streams({}, {.order = Turns::Order::random});
  Callbacks seen;
  bool inside = false;
  bool stopped = false;
  seen.on_part = [&] {
    inside = true;
    streams.world.sleep(1min);
  };
  streams.world.spawn([&] {
    REQUIRE(streams.model.stream(row(1), {}, seen.callbacks()));
    while (!inside) streams.world.sleep(1ms);
    CHECK(streams.state->stop(0s) == 0);
    CHECK(seen.ends.size() == 1);
    stopped = true;
  });
  streams.world.run_until_idle();
  CHECK(stopped);
}

namespace {

// A stream with callbacks while the only worker is inside the backend for a minute.
struct Busy : Streams {
  Callbacks seen{};
  std::unique_ptr<Ticket> other{};
  bool inside = false;

  Busy() : Streams({.threads = 1}, {.order = Turns::Order::random}) {
    control.on_run = [this](ath_batch const&) {
      inside = true;
      world.sleep(1min);
      return Result<void>();
    };
  }
  Submission<SimulatedServing> open_beside_batch(CallOptions const& options) {
    other = submit(row(2));
    while (!inside) world.sleep(1ms);
    return model.stream(row(1), options, seen.callbacks()).value();
  }
};

}  // namespace

TEST_CASE("a stop whose workers are all inside a backend calls the readers of streams itself") {
  Busy streams;
  bool stopped = false;
  streams.world.spawn([&] {
    auto const submission = streams.open_beside_batch({});
    CHECK(streams.state->stop(0s) == 1);
    CHECK(streams.seen.ends.size() == 1);
    stopped = true;
  });
  streams.world.run_until_idle();
  CHECK(stopped);
}

// mutant: who waits for a stream is not told when its time is up
// mutant: a stream that is cancelled calls its reader on the thread that cancels it
TEST_CASE("S3-24 a stream's end is told in time while every worker is inside a backend") {
  for (bool const cancels : {false, true}) {
    CAPTURE(cancels);
    Busy streams;
    TimePoint due{};
    streams.world.spawn([&] {
      auto submission = streams.open_beside_batch({.deadline = 10ms});
      due = streams.world.now() + (cancels ? 0ms : 10ms);
      if (cancels) submission.cancel();
      CHECK(streams.seen.ends.empty());
    });
    streams.world.run_until_idle();
    REQUIRE(streams.seen.ends.size() == 1);
    REQUIRE_FALSE(streams.seen.ends[0]);
    CHECK(streams.seen.ends[0].error().code == (cancels ? Code::cancelled : Code::deadline_exceeded));
    CHECK(streams.seen.ended == due);
  }
}

// AddressSanitizer sees a name that is gone.
TEST_CASE("the model that a stream's report names is there until its end has been told") {
  Simulation world(1);
  Puppet puppet;
  ModelFolder const folder;
  auto engine = Engine<SimulatedServing>::create({.backends = {&puppet.table}}).value();
  Callbacks seen;
  {
    auto const model = engine.load(folder.path()).value();
    REQUIRE(model.stream(row(1), {}, seen.callbacks()));
  }
  REQUIRE(engine.remove("puppet@1.0.0"));
  world.run_until_idle();
  CHECK(seen.models == std::vector<std::string>{"puppet@1.0.0"});
}

// mutant: who waits for a stream is not told
TEST_CASE("a coroutine reads a stream without a thread of its own") {
  Streams streams;
  std::vector<float> parts;
  std::optional<Result<Report>> outcome;
  read_all(streams.open(), parts, outcome);
  CHECK(parts.empty());
  streams.world.run_until_idle();
  CHECK(parts == std::vector<float>{2});
  REQUIRE(outcome.has_value());
  CHECK(*outcome);
}

// mutant: who has left a stream is called
TEST_CASE("a stream that is destroyed while something waits for it calls nobody") {
  Streams streams;
  bool called = false;
  std::optional<Parts> stream(streams.open());
  struct Frame {
    bool& called;
  } frame{called};
  auto const waiter = [](void* context) noexcept { static_cast<Frame*>(context)->called = true; };
  auto queue = std::make_shared<serving::PartQueue<SimulatedServing>>(*streams.state);
  CHECK(queue->call_when_ready({waiter, &frame}, false));
  queue->end(fail(Code::internal, Reason::none, "over"), false);
  queue->leave();
  streams.world.run_until_idle();
  CHECK_FALSE(called);
}

TEST_CASE("inside a backend a stream that would wait for itself ends at once") {
  Streams streams;
  std::optional<Code> code;
  streams.control.on_run = [&](ath_batch const&) {
    if (code) return Result<void>();
    auto stream = streams.open();
    CHECK_FALSE(stream.next());
    code = stream.outcome().error().code;
    return Result<void>();
  };
  REQUIRE(streams.infer(row(1)));
  CHECK(code == Code::failed_precondition);
}

TEST_CASE("in the child of a fork a stream ends at once, and its end harms nothing") {
  Streams streams;
  auto stream = streams.open();
  {
    Simulation::Child const child(streams.world);
    check_ends(stream, Code::failed_precondition, Reason::none);
  }
  streams.world.run_until_idle();
}

// On threads of the system.
TEST_CASE("streams on many threads, read, left and cancelled, each end once") {
  Puppet puppet;
  ModelFolder const folder;
  auto engine = Engine<>::create({.backends = {&puppet.table}}).value();
  auto const model = engine.load(folder.path()).value();
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int number = 0; number < 4; ++number)
    threads.emplace_back([&, number] {
      for (int round = 0; round < 100; ++round) {
        auto stream = model.stream(row(static_cast<float>(number))).value();
        if (round % 5 == 1) continue;
        if (round % 5 == 2) stream.cancel();
        int parts = 0;
        for (Outputs const& part : stream) {
          ++parts;
          if (first_of(part) != static_cast<float>(number + 1)) ++wrong;
        }
        if ((parts == 1) != stream.outcome().has_value()) ++wrong;
      }
    });
  for (auto& thread : threads) thread.join();
  CHECK(wrong == 0);
}

// mutant: a stream that another one takes the place of goes on in that one's object
TEST_CASE("a stream that another one takes the place of has ended, and lets go of its request") {
  Streams streams;
  float const values[2] = {1, 2};
  auto const opened = [&](float const* lent) {
    return streams.model
        .stream(Request{{"x", Tensor::view<float>(std::span(lent, 2), Shape{1, 2})}}, {.deadline = 1h})
        .value();
  };
  auto lent = std::make_unique<float[]>(2);
  auto one = opened(lent.get());
  auto other = opened(values);
  one = std::move(other);
  lent.reset();  // nobody reads it any more
  CHECK(streams.state->routes() == 1);
  CHECK(first_of(*one.next()) == 2);
  one = std::move(*&one);  // changes nothing
  CHECK_FALSE(one.next());
  CHECK(one.outcome());
}
