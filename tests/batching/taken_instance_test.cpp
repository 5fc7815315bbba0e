// How a caller waits for an instance that another thread is about to give back.

#include <doctest/doctest.h>

#include "puppet_client.hpp"

using namespace athanor;
using namespace athanor::batching;
using namespace std::chrono_literals;

namespace {

/// Its threads spin, and a pause takes 10 ns.
struct SpinningEnv : SimulatedEnv {
  static constexpr bool simulated = false;
  static inline int pauses = 0;
  static void relax() {
    ++pauses;
    Simulation::current().advance(10ns);
    SimulatedEnv::relax();
  }
};

/// An owner of the only instance, and a caller that comes while it is taken.
struct Contention {
  Simulation world{1, {.order = Turns::Order::random, .switch_one_in = 0}};
  SimulatedExecutor executor{1};
  PuppetClient client;
  Lane<SpinningEnv, Immediate, PuppetClient> lane{{}, {}, client, executor};
  TestCall first;
  TestCall second;
  TimePoint came{};
  bool taken = false;

  explicit Contention(Duration run_time) {
    client.during = [this, run_time](Batch const&) { world.advance(run_time); };
    for (int i = 0; i < 8; ++i) {
      TestCall call;
      lane.enter(call, LendThread::yes);
    }
    client.during = nullptr;
    SpinningEnv::pauses = 0;
  }
  /// Once, by the owner: until the other caller has paused that often, or queues.
  void keep(int pauses) {
    if (std::exchange(taken, true)) return;
    while (SpinningEnv::pauses < pauses && lane.snapshot().queued_requests == 0) SimulatedEnv::relax();
  }
  /// How long after it came the second caller's batch began.
  Duration play() {
    client.executed.clear();
    world.spawn([this] { lane.enter(first, LendThread::yes); });
    world.spawn([this] {
      while (!taken) SimulatedEnv::relax();
      came = world.now();
      lane.enter(second, LendThread::yes);
    });
    world.run_until_idle();
    CHECK(world.actors() == 0);
    CHECK(first.finished == 1);
    CHECK(second.finished == 1);
    return client.executed.back().at - came;
  }
};

}  // namespace

// mutant: a caller looks at a taken instance after every pause
// mutant: a caller looks again and again at an instance that is still taken
TEST_CASE("a caller that finds its instance taken looks at it soon, and then leaves it alone for a while") {
  Contention contention(100ns);
  SUBCASE("given back at once") {
    contention.client.during = [&](Batch const&) { contention.keep(1); };
    CHECK(contention.play() == 160ns);
  }
  SUBCASE("given back after the first look") {
    contention.client.during = [&](Batch const&) { contention.keep(20); };
    CHECK(contention.play() == 1us);
  }
  CHECK(contention.client.executed.back().on_caller);
}

// mutant: a caller queues behind a batch whose size is not published
TEST_CASE("a caller waits for an instance that is taken and whose batch has not begun") {
  Contention contention(100ns);
  contention.client.permit = [&](Batch const&) -> Result<void> {
    contention.keep(1);
    return {};
  };
  CHECK(contention.play() == 160ns);
  CHECK(contention.client.executed.back().on_caller);
}

// mutant: a caller pauses twice as often for an instance
// mutant: a caller waits for a batch that takes long
TEST_CASE("a caller pauses at most 200 times for an instance, and not at all for a batch that takes long") {
  Duration run_time{};
  int pauses = 0;
  SUBCASE("short") { run_time = 100ns, pauses = 200; }
  SUBCASE("long") { run_time = 3us; }
  Contention contention(run_time);
  contention.client.during = [&](Batch const&) { contention.keep(1000); };
  contention.play();
  CHECK(SpinningEnv::pauses == pauses);
  CHECK_FALSE(contention.client.executed.back().on_caller);
}
