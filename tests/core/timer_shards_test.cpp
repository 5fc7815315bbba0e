#include <vector>

#include <doctest/doctest.h>
#include <athanor/core/simulation.hpp>

#include "../../lib/core/timer_shards.hpp"

using namespace athanor;

// mutants: remove that does not let the moved timer rise; remove that does not let it sink; disarm that publishes
// nothing
TEST_CASE("whatever was armed, moved and disarmed, timers come out in the order of their times") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    CAPTURE(seed);
    Simulation dice(seed);
    TimerShards timers;
    std::vector<Timer> all(600);
    std::size_t armed = 0;
    for (int step = 0; step < 3000; ++step) {
      Timer& timer = all[dice.below(all.size())];
      bool const was_armed = timer.place != Timer::unarmed;
      if (dice.below(3) == 0) {
        CHECK(timers.disarm(timer) == was_armed);
        armed -= was_armed ? 1 : 0;
      } else {
        CHECK(timers.arm(timer, TimePoint(Duration(dice.below(1000)))));
        armed += was_armed ? 0 : 1;
      }
    }
    std::size_t taken = 0;
    TimePoint last{};
    for (Duration const until : {Duration(499), Duration(1000)}) {
      while (Timer* const timer = timers.take_due(TimePoint(until))) {
        CHECK(timer->at >= last);
        CHECK(timer->at <= TimePoint(until));
        CHECK(timer->place == Timer::unarmed);
        last = timer->at;
        ++taken;
      }
    }
    CHECK(taken == armed);
  }
}
