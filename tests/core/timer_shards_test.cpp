#include <algorithm>
#include <atomic>
#include <optional>
#include <thread>
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

}  // namespace

// mutants: remove that does not let the moved timer rise; remove that does not let it sink; disarm that publishes
// nothing; arm that leaves a timer filed too late; take_first() that fires what is due later, or what was suspended
TEST_CASE("whatever was armed, moved, suspended and disarmed, timers come out in the order of their times") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    CAPTURE(seed);
    Simulation dice(seed);
    TimerShards timers;
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

// mutants: arm() that does not look at `filed` again; take_first() that does not look at `due` again
TEST_CASE("a timer that is armed for less while it is filed for later fires in time") {
  TimerShards timers;
  std::atomic<bool> over{false};
  std::atomic<std::int64_t> clock{0};
  // One thread moves the time and takes what is due, the other arms and suspends for short and for long times.
  std::jthread const taker([&] {
    while (!over.load())
      if (timers.take_due(TimePoint(Duration(clock.load()))) == nullptr) clock.fetch_add(1);
  });
  Timer timer;
  // The threads wait for each other, which takes milliseconds where others want the processors: bounded by time, too.
  TimePoint const enough = after(SystemEnv::now(), std::chrono::seconds(2));
  for (int i = 0; i < 20'000 && SystemEnv::now() < enough; ++i) {
    TimePoint const at{Duration(clock.load() + (i % 2 == 0 ? 3 : 40))};
    REQUIRE(timers.arm(timer, at));
    if (i % 4 != 2 && timers.suspend(timer)) continue;
    // This thread may have rested before it armed the timer: what counts is the time from then on.
    std::int64_t const armed = std::max(clock.load(), at.time_since_epoch().count());
    while (timer.due.load() != Timer::idle && clock.load() < armed + 1000) {
    }
    if (timer.due.load() != Timer::idle) {
      over = true;
      FAIL("late");
    }
  }
  over = true;
}
