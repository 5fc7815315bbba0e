// What the end of a stream leaves behind: no thread that reads
// what its request lends, and none that knows its Cancellation.
#include <doctest/doctest.h>

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include <athanor/core/cancellation.hpp>
#include <serving/simulated_engine.hpp>

using namespace athanor;
using namespace athanor_tests;
using namespace std::chrono_literals;

namespace {

// An engine with one stream, whose input lies in `memory`, and with its call.
struct Lending : SimulatedEngine {
  std::array<float, 2> memory{1, 1};
  std::shared_ptr<serving::PartQueue<SimulatedServing>> queue{};
  CallType* call = nullptr;
  std::optional<Stream<SimulatedServing>> stream{};

  explicit Lending(Turns const& turns = {}, std::size_t threads = 4)
      : SimulatedEngine("", {.threads = threads}, 1, turns) {}

  void open(Request request, CallOptions const& options) {
    auto const model = state->handle_of(*served);
    queue = std::make_shared<serving::PartQueue<SimulatedServing>>(*state);
    call = state->stream(model, std::move(request), options, queue).value();
    stream.emplace(model, *call, queue);
  }
  Request borrowing() const { return {{"x", Tensor::view(std::span<float const>(memory), Shape{1, 2})}}; }
  bool has(std::uint32_t bits) const { return (call->word.load() & bits) != 0; }
};

// Does what a test says when a call that has ended leaves it.
struct WatchedCancellation final : AnyCancellation {
  std::function<void()> on_unlink = [] {};
  void cancel() noexcept override {}
  bool is_cancelled() const noexcept override { return false; }
  bool link(CancelHook&) noexcept override { return true; }
  void unlink(CancelHook&) noexcept override { on_unlink(); }
};

constexpr Turns actors{.order = Turns::Order::random};

}  // namespace

// mutant: a stream is over while another thread takes its inputs back
TEST_CASE("a stream is over only when no thread copies what its request lends") {
  for (bool const reads : {false, true}) {
    CAPTURE(reads);
    Lending engine(actors);
    bool over = false;
    engine.world.spawn([&] {
      engine.open(engine.borrowing(), {.deadline = 5ms});
      engine.call->lock();  // as a worker that copies the input
      while (!engine.has(serving::call_bits::claimed)) engine.world.sleep(1ms);
      if (reads)
        CHECK(engine.queue->put({}, *engine.call, false) != decltype(engine.queue)::element_type::Put::ended);
      engine.world.spawn([&] {
        if (reads) CHECK_FALSE(engine.stream->next());
        if (!reads) engine.stream.reset();
        over = true;
      });
      engine.world.sleep(1ms);
      CHECK_FALSE(over);
      engine.call->unlock();
      engine.world.sleep(1ms);
      CHECK(over);
    });
    engine.world.run_until_idle();
    CHECK(engine.world.actors() == 0);
    CHECK(engine.state->routes() == 0);
  }
}

// mutant: a reader that is parked is not told of a cancellation
TEST_CASE("a parked reader learns of a cancellation while the thread that keeps time is busy") {
  struct Busy : Timer {
    Busy() {
      fire = [](Timer&) noexcept { Simulation::current().sleep(1s); };
    }
  } busy;
  Lending engine(actors);
  engine.control.on_run = [](ath_batch const&) {
    Simulation::current().sleep(1s);
    return Result<void>();
  };
  bool over = false;
  engine.world.spawn([&] {
    engine.open(row(1), {});
    engine.world.spawn([&] {
      CHECK_FALSE(engine.stream->next());
      over = true;
    });
    engine.state->executor().arm(busy, engine.world.now());
    engine.world.sleep(1ms);
    engine.stream->cancel();
    engine.world.sleep(1ms);
    CHECK(over);
  });
  engine.world.run_until_idle();
  CHECK(engine.stream->outcome().error().reason == Reason::cancelled);
  CHECK(engine.state->routes() == 0);
}

// mutant: a call that is given up ends others before it is answered
// mutant: a call that is given up ends those that no worker takes before it is answered
TEST_CASE("a completion may destroy a stream whose call is given up at the same time") {
  bool workers = true;
  SUBCASE("beside a worker") {}
  SUBCASE("while the system gives no thread") { workers = false; }
  Lending engine({}, 1);
  bool ended = false;
  struct Session {
    Lending& engine;
    bool& ended;
    static void on_answer(void* context, Result<Answer>) noexcept {
      auto& self = *static_cast<Session*>(context);
      CHECK(self.engine.has(serving::call_bits::answered));
      self.engine.stream.reset();
      self.ended = true;
    }
  } session{engine, ended};
  engine.control.on_run = [&](ath_batch const&) {
    engine.open(row(1), {.deadline = 5ms});
    auto call = engine.state->submit(engine.state->handle_of(*engine.served), row(2), {.deadline = 5ms},
                                     {&Session::on_answer, &session});
    REQUIRE(call);
    (*call)->unref();
    engine.world.refuse_threads(!workers);
    engine.world.advance(5ms);
    while (engine.world.step_now()) {
    }
    return Result<void>();
  };
  if (workers) {
    auto const running = engine.submit(row(3));
    engine.world.run_until_idle();
    CHECK(running->has_value());
  } else {
    CHECK(engine.infer(row(3)));
    engine.world.run_until_idle();
  }
  CHECK(ended);
  CHECK(engine.state->routes() == 0);
}

// mutant: a stream leaves its Cancellation to whoever delivers the answer
TEST_CASE("a Cancellation may go with its stream, although no worker has delivered the answer") {
  Lending engine;
  WatchedCancellation cancellation;
  bool gone = false;
  int unlinked = 0;
  cancellation.on_unlink = [&] {
    CHECK_FALSE(gone);
    ++unlinked;
  };
  engine.control.on_run = [&](ath_batch const&) {
    engine.world.advance(5ms);
    CHECK(engine.world.step_now());  // the timer
    CHECK(engine.has(serving::call_bits::answered));
    CHECK_FALSE(engine.has(serving::call_bits::delivered));
    engine.stream.reset();
    gone = true;
    return Result<void>();
  };
  engine.open(row(1), {.deadline = 5ms, .cancellation = &cancellation});
  engine.world.run_until_idle();
  CHECK(gone);
  CHECK(unlinked == 1);
  CHECK(engine.state->routes() == 0);
}

// mutant: a stream does not wait for who delivers its answer
TEST_CASE("a stream is over only when no thread is inside its Cancellation") {
  Lending engine(actors);
  WatchedCancellation cancellation;
  bool inside = false;
  cancellation.on_unlink = [&] {
    inside = true;
    engine.world.sleep(5ms);
    inside = false;
  };
  engine.world.spawn([&] {
    engine.open(row(1), {.cancellation = &cancellation});
    while (!inside) engine.world.sleep(1ms);
    engine.stream.reset();
    CHECK_FALSE(inside);
  });
  engine.world.run_until_idle();
  CHECK(engine.world.actors() == 0);
  CHECK(engine.state->routes() == 0);
}

// mutant: a stream waits for the thread that it is destroyed on
TEST_CASE("a stream may be destroyed by who is told of its end, on the thread that delivers it") {
  Lending engine(actors);
  engine.world.spawn([&] {
    engine.open(row(1), {});
    auto const leave = [](void* context) noexcept { static_cast<Lending*>(context)->stream.reset(); };
    CHECK(engine.queue->call_when_ready({leave, &engine}, false));
    static_cast<void>(engine.state->executor().stop(engine.world.now()));  // no worker is there to tell
    engine.state->abandon(*engine.call, Lending::State::taken_back(*engine.call));
    CHECK_FALSE(engine.stream.has_value());
  });
  engine.world.run_until_idle();
  CHECK(engine.world.actors() == 0);
  CHECK(engine.state->routes() == 0);
}
