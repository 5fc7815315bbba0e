#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include <doctest/doctest.h>
#include <athanor/core/simulation.hpp>

#include "../../lib/core/timer_shards.hpp"

using namespace athanor;
using namespace std::chrono_literals;

namespace {

/// A timer, and when it is to come out of the shards.
struct Alarm : Timer {
  std::optional<TimePoint> wanted;
};

/// What the shards need of a Timer, interleaved by the simulator; and when it came out of the shards.
struct InterleavedTimer {
  static constexpr TimePoint idle = Timer::idle;
  static constexpr TimePoint suspended = Timer::suspended;
  static constexpr std::size_t unarmed = Timer::unarmed;
  SimulatedAtomic<TimePoint> due{idle};
  SimulatedAtomic<TimePoint> filed{idle};
  std::size_t place = unarmed;
  std::optional<TimePoint> fired;
};

/// Arms the timer, perhaps more than once, perhaps suspends it, and looks when it
/// fires. The clock rests while anybody can go on, so a timer fires at the very moment.
void arm_and_wait(Simulation& world, auto& timers, InterleavedTimer& timer) {
  timer.fired.reset();
  TimePoint at{};
  do {
    at = world.now() + Duration(world.below(4));
    REQUIRE(timers.arm(timer, at));
    world.sleep(Duration(world.below(3)));
  } while (world.below(3) != 0);
  bool const suspended = world.below(3) == 0 && timers.suspend(timer);
  TimePoint const then = world.now();
  world.sleep(Duration(4));
  if (!suspended) CHECK(timer.fired == at);
  if (suspended && at > then) CHECK(timer.fired != at);  // the arms before may have fired until then
}

/// Three actors arm a timer each, a fourth one takes them out.
template <Environment Env>
void keep_time(std::uint64_t seed, Turns const& turns) {
  Simulation world(seed, turns);
  TimerShards<Env, InterleavedTimer> timers;
  std::array<InterleavedTimer, 3> all;
  std::size_t at_work = all.size();
  for (InterleavedTimer& timer : all)
    world.spawn([&] {
      for (int i = 0; i < 8; ++i) arm_and_wait(world, timers, timer);
      if (--at_work == 0) timers.wake();
    });
  world.spawn([&] {
    // NOLINTNEXTLINE(bugprone-infinite-loop): the other actors change it
    while (at_work != 0)
      if (InterleavedTimer* const timer = timers.take_due(world.now())) {
        timer->fired = world.now();
      } else {
        timers.wait();
      }
  });
  world.run_until_idle();
  REQUIRE(world.actors() == 0);
}

/// The actors are interleaved where they touch a timer, a mutex or a
/// word: more often there than among the many times of the shards.
struct TimersInterleaved : SimulatedEnv {
  template <class T>
  using Atomic = std::atomic<T>;
};

}  // namespace

// mutant: a timer moved in the heap does not rise
// mutant: a timer moved in the heap does not sink
// mutant: a timer that is armed for less stays filed for later
// mutant: a suspended timer fires
// mutant: a timer that was armed again for later fires at its former time
TEST_CASE("whatever was armed, moved, suspended and disarmed, timers come out in the order of their times") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    CAPTURE(seed);
    Simulation dice(seed);
    TimerShards<SystemEnv> timers;
    std::vector<Alarm> all(600);
    TimePoint now{};
    auto const take_due = [&] {
      TimePoint last{};
      while (Timer* const timer = timers.take_due(now)) {
        auto& alarm = static_cast<Alarm&>(*timer);
        REQUIRE(alarm.wanted);
        CHECK(*alarm.wanted >= last);
        CHECK(*alarm.wanted <= now);
        CHECK(alarm.place == Timer::unarmed);
        last = *alarm.wanted;
        alarm.wanted.reset();
      }
    };
    for (int step = 0; step < 3000; ++step) {
      Alarm& alarm = all[dice.below(all.size())];
      auto const choice = dice.below(8);
      if (choice == 0) {
        CHECK(timers.disarm(alarm) == alarm.wanted.has_value());
        alarm.wanted.reset();
      } else if (choice < 4) {
        CHECK(timers.suspend(alarm) == alarm.wanted.has_value());
        alarm.wanted.reset();
      } else {
        alarm.wanted = now + Duration(dice.below(1000));
        CHECK(timers.arm(alarm, *alarm.wanted));
      }
      if (dice.below(20) != 0) continue;
      now += Duration(dice.below(30));
      take_due();
    }
    now += 1us;
    take_due();
    for (Alarm const& alarm : all) CHECK_FALSE(alarm.wanted);
  }
}

// mutant: arm does not see that the timer has just been filed for later
// mutant: the thread that keeps time does not see that a timer has just been armed for less
// mutant: the thread that keeps time does not look at the timers again before it sleeps
// mutant: an earlier timer does not wake the thread that keeps time
TEST_CASE("a timer fires at its time, whatever is armed, suspended and filed meanwhile") {
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    CAPTURE(seed);  // which shard a timer is in depends on its address, so other runs of a seed may differ
    keep_time<TimersInterleaved>(seed, {.order = Turns::Order::random, .switch_one_in = 2});
    keep_time<SimulatedEnv>(seed, {.order = Turns::Order::random, .switch_one_in = 20});
  }
}

// mutant: arm does not see that the timer has fired since it was brought forward
TEST_CASE("a timer that is brought forward while it is filed for later fires once") {
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    CAPTURE(seed);
    Simulation world(seed, {.order = Turns::Order::random, .switch_one_in = 2});
    TimerShards<TimersInterleaved, InterleavedTimer> timers;
    InterleavedTimer timer;
    int fired = 0;
    bool over = false;
    world.spawn([&] {
      REQUIRE(timers.arm(timer, world.now() + 1ms));
      REQUIRE(timers.arm(timer, world.now() + 1s));  // is filed for that when the first time has come
      world.sleep(1ms);
      REQUIRE(timers.arm(timer, world.now()));
      world.sleep(1ms);
      over = true;
      timers.wake();
    });
    world.spawn([&] {
      while (!over)
        if (timers.take_due(world.now()) != nullptr) {
          ++fired;
        } else {
          timers.wait();
        }
    });
    world.run_until_idle();
    REQUIRE(world.actors() == 0);
    CHECK(fired == 1);
  }
}
