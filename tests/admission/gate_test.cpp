#include <array>
#include <atomic>
#include <functional>
#include <latch>
#include <limits>
#include <mutex>
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

// mutant: one item more than the limit is admitted
// mutant: the refusal counters are swapped
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

// mutant: negative sizes are admitted
TEST_CASE("a request of a negative size is refused, and makes no room for others") {
  Simulation world(1);
  auto gate = *Gate<SimulatedEnv>::create({.max_items = 8, .max_bytes = 100});
  admission::Slot slot;
  CHECK(gate.admit_caller(slot, 1, -1000, at(0s)).error().reason == Reason::value_range);
  CHECK(gate.admit_caller(slot, -1, 10, at(0s)).error().reason == Reason::value_range);
  CHECK(gate.statistics().held_items == 0);
  CHECK(gate.statistics().held_bytes == 0);
}

// mutant: what is refused is held all the same
// mutant: a second release gives back twice
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

// mutant: a request that can never fit is told to come back
TEST_CASE("a request that can never fit is told so, without a time to come back") {
  Simulation world(1);
  auto gate = *Gate<SimulatedEnv>::create({.max_items = 4, .max_bytes = 100});
  admission::Slot slot;
  auto const items = gate.admit_caller(slot, 5, 1, at(0s));
  REQUIRE_FALSE(items);
  CHECK(items.error().reason == Reason::too_large);
  CHECK(items.error().message == "admission: expected at most 4 items in one request (max_items), got 5");
  CHECK(items.error().retry_after == 0ns);
  auto const bytes = gate.admit_caller(slot, 1, 101, at(0s));
  REQUIRE_FALSE(bytes);
  CHECK(bytes.error().message == "admission: expected at most 100 bytes in one request (max_bytes), got 101");
  CHECK(gate.statistics().refused_too_large == 2);
}

// mutant: more bytes are not counted
// mutant: more bytes fit whatever the slot holds
TEST_CASE("a slot that holds something may hold more, within the same limit") {
  Simulation world(1);
  auto gate = *Gate<SimulatedEnv>::create({.max_items = 100, .max_bytes = 1000});
  admission::Slot first, second;
  REQUIRE(gate.admit_caller(first, 2, 100, at(0s)));
  REQUIRE(gate.admit_more(first, 500, at(0s)));
  CHECK(first.held_bytes == 600);
  CHECK(gate.statistics().held_bytes == 600);
  CHECK(gate.statistics().held_items == 2);
  CHECK(gate.statistics().admitted == 1);
  auto const large = gate.admit_more(first, 401, at(0s));
  REQUIRE_FALSE(large);
  CHECK(large.error().reason == Reason::too_large);
  CHECK(large.error().message ==
        "admission: expected at most 1000 bytes in one request (max_bytes), got 1001");
  CHECK(large.error().retry_after == 0ns);
  CHECK(gate.admit_more(first, std::numeric_limits<std::int64_t>::max(), at(0s)).error().reason ==
        Reason::too_large);
  REQUIRE(gate.admit_caller(second, 1, 350, at(0s)));
  auto const full = gate.admit_more(second, 60, at(0s));
  REQUIRE_FALSE(full);
  CHECK(full.error().reason == Reason::memory_full);
  CHECK(full.error().retry_after > 0ns);
  CHECK(second.held_bytes == 350);
  gate.release_quota(first);
  CHECK(gate.admit_more(second, 60, at(0s)));
  gate.release_quota(second);
  CHECK(gate.statistics().held_bytes == 0);
  CHECK(gate.statistics().held_items == 0);
}

// mutant: a gate of no items is accepted
// mutant: a gate of no bytes is accepted
TEST_CASE("options of a gate that would admit nothing are refused") {
  CHECK(Gate<>::create({.max_items = 0}).error().message ==
        "admission: max_items: expected at least 1, got 0");
  CHECK(Gate<>::create({.max_bytes = 0}).error().reason == Reason::option);
  CHECK(Gate<>::create({.max_bytes = -1}).error().reason == Reason::option);
  CHECK(Gate<>::create({.max_items = 1, .max_bytes = 1}));
}

// mutant: the drain is not measured
// mutant: the first measured rate is halved
// mutant: a window never moves
// mutant: retry_after by all that is wanted
TEST_CASE("the time to come back follows how fast the gate drains, and what is too much") {
  Simulation world(1);
  auto gate = *Gate<SimulatedEnv>::create({.max_items = 10});
  std::vector<admission::Slot> held(10);
  for (auto& slot : held) REQUIRE(gate.admit_caller(slot, 1, 0, at(0s)));
  auto const refusal = [&](std::int64_t items, Duration when) {
    admission::Slot late;
    auto const refused = gate.admit_caller(late, items, 0, at(when));
    REQUIRE_FALSE(refused);
    return refused.error().retry_after;
  };
  // From here on 4 items every 100 ms, 40 a second.
  CHECK(refusal(10, 0s) >= 100ms);
  for (Duration when : {100ms, 200ms, 300ms}) {
    for (std::size_t i = 0; i < 4; ++i) gate.release_quota(held[i]);
    for (std::size_t i = 0; i < 4; ++i) REQUIRE(gate.admit_caller(held[i], 1, 0, at(when)));
    auto const all = refusal(10, when);
    CHECK(all >= 250ms);
    CHECK(all <= 375ms);
  }
  // Nothing is given back for 100 ms: halfway to a rate of nothing, 20 a second.
  auto const slower = refusal(10, 400ms);
  CHECK(slower >= 500ms);
  CHECK(slower <= 750ms);
  // Six are held, and eight would be four too many.
  for (std::size_t i = 0; i < 4; ++i) gate.release_quota(held[i]);
  auto const few = refusal(8, 410ms);
  CHECK(few >= 200ms);
  CHECK(few <= 300ms);
}

// mutant: a window goes on while the gate is not full
TEST_CASE("time in which nobody was refused says nothing about how fast the gate drains") {
  Simulation world(1);
  auto gate = *Gate<SimulatedEnv>::create({.max_items = 10});
  admission::Slot held, late;
  REQUIRE(gate.admit_caller(held, 10, 0, at(0s)));
  REQUIRE_FALSE(gate.admit_caller(late, 10, 0, at(0s)));
  gate.release_quota(held);
  REQUIRE(gate.admit_caller(held, 10, 0, at(1h)));
  auto const refused = gate.admit_caller(late, 10, 0, at(1h));
  CHECK(refused.error().retry_after >= 100ms);
  CHECK(refused.error().retry_after <= 150ms);
}

// mutant: the time to come back is not spread
// mutant: the time to come back has no upper limit
TEST_CASE("the time to come back is spread over half of itself, and stays within its bounds") {
  CHECK(admission::retry_estimate(10, 10.0, 0) == 1s);
  CHECK(admission::retry_estimate(10, 10.0, ~0ULL) > 1499ms);
  CHECK(admission::retry_estimate(10, 10.0, ~0ULL) <= 1500ms);
  CHECK(admission::retry_estimate(1, 1e12, 0) == admission::shortest_retry);
  CHECK(admission::retry_estimate(1'000'000, 1.0, ~0ULL) == admission::longest_retry);
  CHECK(admission::retry_estimate(1, 0.0, 0) == 100ms);
}

// mutant: work that ends at its deadline is refused
// mutant: a deadline of now has not passed
// mutant: a refusal by the expected wait tells no time to come back
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
  // A deadline of this moment has passed, whatever is predicted.
  CHECK(admission::admit_work(at(11ms), at(11ms), at(11ms)).error().code == Code::deadline_exceeded);
}

/// Runs `act` on as many threads as there are cells, one after the other, while all of them live.
void on_each_cell(std::function<void()> const& act) {
  std::latch numbered(8);
  std::mutex turn;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      static_cast<void>(athanor::detail::thread_number());
      numbered.arrive_and_wait();
      std::lock_guard const lock(turn);
      act();
    });
  }
  for (auto& thread : threads) thread.join();
}

struct CountingEnv : SystemEnv {
  static inline std::atomic<int> locked{0};
  struct ATH_CAPABILITY("mutex") Mutex : SystemMutex {
    void lock() ATH_ACQUIRE() ATH_NO_THREAD_SAFETY_ANALYSIS {  // the base class is what is annotated
      ++locked;
      SystemMutex::lock();
    }
  };
};

// mutant: credit that lies idle refuses callers
// mutant: closing a cell loses its items
// mutant: closing a cell loses its bytes
TEST_CASE("credit that other threads do not use refuses nobody, in items and in bytes") {
  for (bool const of_items : {true, false}) {
    auto gate =
        *Gate<>::create({.max_items = of_items ? 160 : 1'000'000, .max_bytes = of_items ? 1'000'000 : 160});
    std::int64_t const items = of_items ? 1 : 0;
    std::int64_t const bytes = of_items ? 0 : 1;
    on_each_cell([&] {
      admission::Slot slot;
      REQUIRE(gate.admit_caller(slot, items, bytes, SystemEnv::now()));
      gate.release_quota(slot);
    });
    CHECK(gate.statistics().held_items == 0);
    CHECK(gate.statistics().held_bytes == 0);
    std::vector<admission::Slot> slots(160);
    for (auto& slot : slots) REQUIRE(gate.admit_caller(slot, items, bytes, SystemEnv::now()));
    on_each_cell([&] {
      admission::Slot slot;
      auto const refused = gate.admit_caller(slot, items, bytes, SystemEnv::now());
      REQUIRE_FALSE(refused);
      CHECK(refused.error().reason == (of_items ? Reason::queue_full : Reason::memory_full));
    });
    gate.release_quota(slots[0]);
    REQUIRE(gate.admit_caller(slots[0], items, bytes, SystemEnv::now()));
    for (auto& slot : slots) gate.release_quota(slot);
    CHECK(gate.statistics().held_items == 0);
    CHECK(gate.statistics().held_bytes == 0);
  }
}

// mutant: no call takes credit from its cell
// mutant: no call gives credit back to its cell
// mutant: the cells stay closed
TEST_CASE("below half of the limits a call takes no lock, also after the gate was full") {
  auto gate = *Gate<CountingEnv>::create({.max_items = 160, .max_bytes = 16'000});
  auto const locks_of_a_call = [&] {
    int const before = CountingEnv::locked;
    admission::Slot slot;
    REQUIRE(gate.admit_caller(slot, 5, 500, SystemEnv::now()));
    gate.release_quota(slot);
    return CountingEnv::locked - before;
  };
  on_each_cell([&] {
    CHECK(locks_of_a_call() == 1);  // the cell is filled
    CHECK(locks_of_a_call() == 0);
  });
  std::vector<admission::Slot> slots(160);
  for (auto& slot : slots) REQUIRE(gate.admit_caller(slot, 1, 0, SystemEnv::now()));
  admission::Slot late;
  REQUIRE_FALSE(gate.admit_caller(late, 1, 0, SystemEnv::now()));
  CHECK(gate.statistics().held_items == 160);
  for (std::size_t i = 0; i < 119; ++i) gate.release_quota(slots[i]);
  CHECK(locks_of_a_call() == 2);  // 41 are held: counted on one word
  for (auto& slot : slots) gate.release_quota(slot);
  on_each_cell([&] {
    CHECK(locks_of_a_call() >= 1);
    CHECK(locks_of_a_call() == 0);
  });
  CHECK(gate.statistics().held_items == 0);
  CHECK(gate.statistics().held_bytes == 0);
}

// mutant: a cell keeps more than its share
TEST_CASE("a thread that held much does not keep it as credit, and others get theirs") {
  auto gate = *Gate<CountingEnv>::create({.max_items = 160});
  std::vector<admission::Slot> slots(150);
  for (auto& slot : slots) REQUIRE(gate.admit_caller(slot, 1, 0, SystemEnv::now()));
  for (auto& slot : slots) gate.release_quota(slot);
  CHECK(gate.statistics().held_items == 0);
  on_each_cell([&] {
    // As much as two cells may keep: if one of them had kept
    // more, that would not fit, and all would be closed.
    std::array<admission::Slot, 2> full;
    for (auto& slot : full) REQUIRE(gate.admit_caller(slot, 10, 0, SystemEnv::now()));
    for (int const locks : {1, 0}) {
      int const before = CountingEnv::locked;
      admission::Slot slot;
      REQUIRE(gate.admit_caller(slot, 1, 0, SystemEnv::now()));
      gate.release_quota(slot);
      CHECK(CountingEnv::locked - before == locks);
    }
    for (auto& slot : full) gate.release_quota(slot);
  });
}

// mutant: cells are filled above half of the limits
// mutant: cells are filled above half of the bytes
TEST_CASE("above half of either limit every call is counted on the one word") {
  for (bool const of_items : {true, false}) {
    auto gate = *Gate<CountingEnv>::create(
        {.max_items = of_items ? 160 : 1'000'000, .max_bytes = of_items ? 1'000'000 : 160});
    auto const admit = [&](admission::Slot& slot) {
      REQUIRE(gate.admit_caller(slot, of_items ? 1 : 0, of_items ? 0 : 1, SystemEnv::now()));
    };
    std::vector<admission::Slot> slots(81);
    for (auto& slot : slots) admit(slot);
    on_each_cell([&] {
      int const before = CountingEnv::locked;
      std::array<admission::Slot, 3> more;
      for (auto& slot : more) admit(slot);
      CHECK(CountingEnv::locked - before == 3);
      for (auto& slot : more) gate.release_quota(slot);
    });
    for (auto& slot : slots) gate.release_quota(slot);
    CHECK(gate.statistics().held_items == 0);
    CHECK(gate.statistics().held_bytes == 0);
  }
}

// mutant: cells are filled with what they have already
TEST_CASE("threads that together want no more than the limit are never refused") {
  auto gate = *Gate<>::create({.max_items = 64, .max_bytes = 6'400});
  std::atomic<int> refused{0};
  std::vector<std::thread> threads;
  for (std::int64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::vector<admission::Slot> slots(4);
      for (std::int64_t i = 0; i < 20'000; ++i) {
        // At most four times 4 items and 400 bytes at a time, a quarter of the limits.
        auto& slot = slots[static_cast<std::size_t>(i * 7 + t) % 4];
        gate.release_quota(slot);
        std::int64_t const items = 1 + (i * 5 + t) % 4;
        if (!gate.admit_caller(slot, items, items * 100, SystemEnv::now())) ++refused;
      }
      for (auto& slot : slots) gate.release_quota(slot);
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(refused == 0);
  CHECK(gate.statistics().held_items == 0);
  CHECK(gate.statistics().held_bytes == 0);
}

// mutant: one item more than the limit is admitted
TEST_CASE("threads never hold more than the limit together, and nothing is left when they go") {
  for (std::int64_t const limit : {5, 64}) {
    auto gate = *Gate<>::create({.max_items = limit, .max_bytes = limit * 80});
    std::atomic<std::int64_t> held{0};
    std::atomic<bool> over{false};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 5000; ++i) {
          std::array<admission::Slot, 4> slots;
          for (auto& slot : slots) {
            if (!gate.admit_caller(slot, 1 + (i + t) % (limit / 2), 100, SystemEnv::now())) continue;
            if (held.fetch_add(slot.held_items) + slot.held_items > limit) over = true;
          }
          for (auto& slot : slots) {
            held.fetch_sub(slot.held_items);
            gate.release_quota(slot);
          }
        }
      });
    }
    for (auto& thread : threads) thread.join();
    CHECK_FALSE(over);
    auto const statistics = gate.statistics();
    CHECK(statistics.held_items == 0);
    CHECK(statistics.held_bytes == 0);
    CHECK(statistics.refused_queue_full + statistics.refused_memory_full > 0);
    CHECK(statistics.admitted + statistics.refused_queue_full + statistics.refused_memory_full == 80'000);
  }
}
