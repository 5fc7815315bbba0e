#include <thread>
#include <vector>

#include <doctest/doctest.h>
#include <athanor/admission/gate.hpp>
#include <athanor/core/simulation.hpp>

using namespace athanor;
using namespace std::chrono_literals;

namespace {

TimePoint at(Duration since) { return TimePoint(1s) + since; }

}  // namespace

// mutant: `amount > limit - held` becomes `amount > limit - held + 1` in Gate::take
TEST_CASE("S1-3 one request more than the limit is refused at once with a time to come back") {
  Simulation world(1);
  auto gate = *Gate<SimulatedEnv>::create({.max_items = 8});
  std::vector<admission::Slot> slots(9);
  for (std::size_t i = 0; i < 8; ++i) REQUIRE(gate.admit_caller(slots[i], 1, 10, at(0s)));
  auto const refused = gate.admit_caller(slots[8], 1, 10, at(0s));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::resource_exhausted);
  CHECK(refused.error().reason == Reason::queue_full);
  CHECK(refused.error().retry_after > 0ns);
  CHECK(refused.error().message == "admission: 8 of 8 items are held, 1 more do not fit");
  CHECK(gate.statistics().held_items == 8);
  CHECK(gate.statistics().refused_queue_full == 1);
  gate.release_quota(slots[0]);
  CHECK(gate.admit_caller(slots[8], 1, 10, at(0s)));
}

// mutant: admit_caller takes less than nothing
TEST_CASE("a request of a negative size is refused, and makes no room for others") {
  Simulation world(1);
  auto gate = *Gate<SimulatedEnv>::create({.max_items = 8, .max_bytes = 100});
  admission::Slot slot;
  CHECK(gate.admit_caller(slot, 1, -1000, at(0s)).error().reason == Reason::value_range);
  CHECK(gate.admit_caller(slot, -1, 10, at(0s)).error().reason == Reason::value_range);
  CHECK(gate.statistics().held_items == 0);
  CHECK(gate.statistics().held_bytes == 0);
}

// mutant: the items are not given back when the bytes do not fit
TEST_CASE("a request refused for its bytes holds no items either") {
  Simulation world(1);
  auto gate = *Gate<SimulatedEnv>::create({.max_items = 100, .max_bytes = 1000});
  admission::Slot first, second;
  REQUIRE(gate.admit_caller(first, 1, 900, at(0s)));
  auto const refused = gate.admit_caller(second, 5, 200, at(0s));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().reason == Reason::memory_full);
  CHECK(gate.statistics().held_items == 1);
  CHECK(gate.statistics().held_bytes == 900);
  gate.release_quota(second);  // a refused slot holds nothing
  CHECK(gate.statistics().held_items == 1);
  gate.release_quota(first);
  gate.release_quota(first);
  CHECK(gate.statistics().held_items == 0);
  CHECK(gate.statistics().held_bytes == 0);
}

// mutant: the too-large refusal gets a retry_after
TEST_CASE("a request that can never fit is told so, without a time to come back") {
  Simulation world(1);
  auto gate = *Gate<SimulatedEnv>::create({.max_items = 4, .max_bytes = 100});
  admission::Slot slot;
  auto const items = gate.admit_caller(slot, 5, 1, at(0s));
  REQUIRE_FALSE(items);
  CHECK(items.error().reason == Reason::too_large);
  CHECK(items.error().retry_after == 0ns);
  auto const bytes = gate.admit_caller(slot, 1, 101, at(0s));
  REQUIRE_FALSE(bytes);
  CHECK(bytes.error().message == "admission: expected at most 100 bytes in one request, got 101");
  CHECK(gate.statistics().refused_too_large == 2);
}

// mutant: create takes a limit below one
TEST_CASE("a gate that could let nobody in is not made") {
  CHECK(Gate<>::create({.max_items = 0}).error().message ==
        "admission: max_items: expected at least 1, got 0");
  CHECK(Gate<>::create({.max_bytes = -1}).error().reason == Reason::option);
}

// mutant: retry_estimate ignores the rate
TEST_CASE("the time to come back follows how fast the gate drains") {
  Simulation world(1);
  auto gate = *Gate<SimulatedEnv>::create({.max_items = 10});
  admission::Slot held;
  // 10 items every 100 ms: 100 items a second.
  for (int i = 0; i < 50; ++i) {
    REQUIRE(gate.admit_caller(held, 10, 0, at(i * 100ms)));
    gate.release_quota(held);
  }
  REQUIRE(gate.admit_caller(held, 10, 0, at(5s)));
  admission::Slot late;
  auto const refused = gate.admit_caller(late, 10, 0, at(5s));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().retry_after >= 90ms);
  CHECK(refused.error().retry_after <= 170ms);
}

TEST_CASE("the time to come back stays within its bounds") {
  CHECK(admission::retry_estimate(1, 1e12, 0) == admission::shortest_retry);
  CHECK(admission::retry_estimate(1'000'000, 1.0, ~0ULL) == admission::longest_retry);
  CHECK(admission::retry_estimate(1, 0.0, 0) == 100ms);
}

// mutant: `predicted_completion <= latest_deadline` becomes `<`
TEST_CASE("work is refused exactly when it would end after the latest deadline") {
  CHECK(admission::admit_work(at(10ms), at(10ms), at(0ms)));
  CHECK(admission::admit_work(at(10ms), no_deadline, at(0ms)));
  auto const refused = admission::admit_work(at(30ms), at(10ms), at(0ms));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::resource_exhausted);
  CHECK(refused.error().reason == Reason::expected_wait);
  CHECK(refused.error().retry_after == 20ms);
  auto const past = admission::admit_work(at(30ms), at(10ms), at(11ms));
  REQUIRE_FALSE(past);
  CHECK(past.error().code == Code::deadline_exceeded);
  CHECK(past.error().reason == Reason::deadline_waiting);
}

// mutant: take adds without comparing
TEST_CASE("threads never hold more than the limit together, and nothing is left when they go") {
  auto gate = *Gate<>::create({.max_items = 5, .max_bytes = 400});
  std::atomic<std::int64_t> held{0};
  std::atomic<bool> over{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 5000; ++i) {
        admission::Slot slot;
        if (!gate.admit_caller(slot, 1 + (i + t) % 3, 100, SystemEnv::now())) continue;
        auto const items = slot.held_items;
        if (held.fetch_add(items) + items > 5) over = true;
        held.fetch_sub(items);
        gate.release_quota(slot);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK_FALSE(over);
  auto const statistics = gate.statistics();
  CHECK(statistics.held_items == 0);
  CHECK(statistics.held_bytes == 0);
  CHECK(statistics.admitted + statistics.refused_queue_full + statistics.refused_memory_full == 20000);
}
