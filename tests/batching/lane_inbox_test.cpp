// What lies in a lane's inbox, and who admits it.
#include <doctest/doctest.h>

#include <functional>

#include "lane_bench.hpp"

using namespace athanor;
using namespace athanor::batching;

namespace {

/// What others do while the lane asks its policy, which it does with its mutex held.
struct Pushing : Immediate {
  static inline std::function<void()> asked;
  BatchDecision decide(QueueSnapshot const& queue) const noexcept {
    if (asked) asked();
    return Immediate::decide(queue);
  }
};

}  // namespace

// mutant: who empties the inbox goes on while others fill it
TEST_CASE("a thread admits what it finds in the inbox, and not what others add meanwhile") {
  Bench<Pushing> bench({.max_items = 1});
  int pushed = 0;
  bench.client.during = [&](Batch const&) {
    bench.client.during = nullptr;
    auto& first = bench.enter();
    Pushing::asked = [&] {
      if (pushed < 100) ++pushed, bench.enter();
    };
    CHECK(bench.lane.withdraw(first));
    Pushing::asked = nullptr;
  };
  bench.lane.enter(bench.call(), LendThread::yes);
  CHECK(pushed > 0);
  CHECK(pushed <= 4);
  bench.world.run_until_idle();
}

// mutant: a caller admits what lies in the inbox before it returns
// mutant: a caller leaves what lies in the inbox to nobody
TEST_CASE("a caller whose own answer is ready leaves what lies in the inbox to a worker") {
  Bench<Pushing> bench({.max_items = 4});
  int asked = 0;
  bench.client.during = [&](Batch const&) {
    bench.client.during = nullptr;
    for (int i = 0; i < 1000; ++i) bench.enter();
    Pushing::asked = [&] { ++asked; };
  };
  SUBCASE("alone") { bench.lane.enter(bench.call(), LendThread::yes); }
  SUBCASE("as a group") {
    SlotList slots;
    for (int i = 0; i < 3; ++i) slots.append(bench.call());
    bench.lane.enter_all(slots, LendThread::yes);
  }
  SUBCASE("with another group of the queue before it") {
    bench.enter(1, 7);
    bench.lane.enter(bench.call(), LendThread::yes);
  }
  CHECK(asked < 10);
  bench.world.run_until_idle();
  Pushing::asked = nullptr;
  CHECK(asked >= 1000);
  CHECK(bench.all_succeeded_once());
}
