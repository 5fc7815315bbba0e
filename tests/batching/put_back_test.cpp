// Slots that go on after a batch: where they are put back, and with whom they share the next one.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <random>
#include <vector>

#include "puppet_client.hpp"

using namespace athanor;
using namespace athanor::batching;
using namespace std::chrono_literals;

namespace {

struct SteppedCall : TestCall {
  int steps_left = 1;
};

// Answers `again` until a call has made its steps.
struct SteppingClient : PuppetClient {
  std::vector<std::vector<SteppedCall*>> batches{};
  bool keeps = false;  // what goes on is not put back by the lane

  using PuppetClient::PuppetClient;

  Result<void> execute(Batch const& batch) noexcept {
    auto& seen = batches.emplace_back();
    for (Part const& part : batch.parts) seen.push_back(static_cast<SteppedCall*>(part.slot));
    return PuppetClient::execute(batch);
  }
  Finished finish(Slot& slot, Error const* error, TimePoint now) noexcept {
    auto& call = static_cast<SteppedCall&>(slot);
    if (error == nullptr && keeps) return Finished::done;
    if (error == nullptr && --call.steps_left > 0) return Finished::again;
    PuppetClient::finish(slot, error, now);
    return Finished::done;
  }
};

template <class Policy = Immediate>
struct Stepping {
  Simulation world;
  SimulatedExecutor executor{2};
  SteppingClient client;
  Lane<SimulatedEnv, Policy, SteppingClient> lane;
  std::deque<SteppedCall> calls;

  explicit Stepping(LaneOptions options = {}, Policy policy = {}, std::uint64_t seed = 1,
                    Turns const& turns = {})
      : world(seed, turns), client(options.instances), lane(options, policy, client, executor) {
    client.max_items = options.max_items;
  }
  SteppedCall& enter(int steps, std::uint64_t key = 0, TimePoint deadline = no_deadline) {
    auto& call = calls.emplace_back();
    call.steps_left = steps;
    call.batch_key = key;
    call.batch_deadline = deadline;
    lane.enter(call, LendThread::no);
    return call;
  }
  using Batches = std::vector<std::vector<SteppedCall*>>;
};

}  // namespace

TEST_CASE("slots that go on share the next batch with each other and with what has come, oldest first") {
  Stepping bench({.max_items = 4});
  SteppedCall* third = nullptr;
  bench.client.during = [&](Batch const&) {
    if (third == nullptr) third = &bench.enter(1);
  };
  auto& one = bench.enter(3);
  auto& other = bench.enter(2);
  bench.world.run_until_idle();
  CHECK(bench.client.batches == Stepping<>::Batches{{&one, &other}, {&one, &other, third}, {&one}});
  for (auto const& call : bench.calls) CHECK(call.succeeded);
  CHECK(bench.lane.snapshot().queued_requests == 0);
  CHECK(bench.lane.snapshot().queued_items == 0);
}

// mutant: what goes on after a batch is put back one by one
TEST_CASE("slots that go on together stay together, also where a second instance is idle") {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    Stepping bench({.instances = 2, .max_items = 4}, {}, seed,
                   {.order = Turns::Order::random, .switch_one_in = 2});
    bench.client.during = [&](Batch const&) {
      if (bench.calls.size() == 2) bench.enter(9, 7);  // keeps the second instance going
    };
    bench.enter(2);
    bench.enter(2);
    bench.world.run_until_idle();
    CHECK(bench.client.batches.size() == 11);
    for (auto const& batch : bench.client.batches) CHECK(batch.size() == (batch[0]->batch_key == 7 ? 1 : 2));
  }
}

TEST_CASE("what goes on keeps its age: it runs before what entered later, also of another key") {
  Stepping bench({.max_items = 2});
  auto& one = bench.enter(2);
  auto& other = bench.enter(2);
  auto& later = bench.enter(1);
  auto& elsewhere = bench.enter(1, 7);
  bench.world.run_until_idle();
  CHECK(bench.client.batches == Stepping<>::Batches{{&one, &other}, {&one, &other}, {&later}, {&elsewhere}});
}

// mutant: what goes on after a batch is held like what enters
TEST_CASE("a step is not held, and a new call is held again once no step is there") {
  Stepping<SizeOrDelay> bench({.max_items = 8}, SizeOrDelay{.max_items = 8, .max_delay = 10ms});
  bench.enter(3);
  TimePoint const entered = bench.world.now();
  bench.world.run_until_idle();
  CHECK(bench.world.now() - entered == 10ms);
  CHECK(bench.client.executed.size() == 3);
  bench.enter(1);
  bench.world.run_until_idle();
  CHECK(bench.world.now() - entered == 20ms);
}

// mutant: what goes on after a batch has no deadline
TEST_CASE("a slot that is put back can be withdrawn, passes its deadline and is refused like any other") {
  Stepping bench;
  auto& call = bench.enter(9);
  bench.client.keeps = true;
  bench.world.run_until_idle();
  CHECK_FALSE(bench.lane.withdraw(call));
  bench.lane.put_back(call, LendThread::no);
  CHECK(bench.lane.withdraw(call));
  CHECK(bench.client.executed.size() == 1);

  call.batch_deadline = bench.world.now() + 1ms;
  bench.world.advance(1ms);
  bench.lane.put_back(call, LendThread::no);
  CHECK(call.finished == 1);
  CHECK(call.answer.reason == Reason::deadline_waiting);

  bench.client.keeps = false;
  auto& last = bench.enter(9);
  bench.client.during = [&](Batch const&) {
    bench.lane.refuse_all(make_error(Code::unavailable, Reason::stopping, "over"));
  };
  bench.world.run_until_idle();
  CHECK(last.finished == 1);
  CHECK(last.answer.reason == Reason::stopping);
  CHECK(bench.lane.snapshot().queued_requests == 0);
}

// mutant: what has gone on after a batch keeps what follows from being held
TEST_CASE("a call that found no room beside a step is held as long as any other") {
  Stepping<SizeOrDelay> bench({.max_items = 2}, SizeOrDelay{.max_items = 2, .max_delay = 10ms});
  bench.client.during = [&](Batch const&) {
    while (bench.calls.size() < 3) bench.enter(1);
  };
  TimePoint const entered = bench.world.now();
  bench.enter(2);
  bench.world.run_until_idle();
  CHECK(bench.client.batches.size() == 3);
  CHECK(bench.world.now() - entered == 20ms);
}

// mutant: a slot that is put back never runs on the thread that is lent
// mutant: a slot that ran as it was put back, and goes on, is forgotten
TEST_CASE("a slot that is put back runs at once on a thread that is lent, if nothing is queued") {
  Stepping bench;
  auto& call = bench.enter(2);
  bench.client.keeps = true;
  bench.world.run_until_idle();
  bench.client.keeps = false;
  bench.lane.put_back(call, LendThread::yes);
  CHECK(bench.client.executed.size() == 2);
  CHECK(bench.lane.snapshot().caller_batches == 1);
  bench.world.run_until_idle();
  CHECK(call.finished == 1);
  CHECK(bench.client.executed.size() == 3);
}

// mutant: the policy holds a slot that goes on with a thread lent
TEST_CASE("a policy does not hold a slot that is put back with a thread lent") {
  Stepping<SizeOrDelay> bench({.max_items = 8}, SizeOrDelay{.max_items = 8, .max_delay = 10ms});
  auto& call = bench.enter(1);
  bench.client.keeps = true;
  bench.world.run_until_idle();
  bench.client.keeps = false;
  TimePoint const back = bench.world.now();
  bench.lane.put_back(call, LendThread::yes);
  CHECK(call.finished == 1);
  CHECK(bench.world.now() == back);
}

// mutant: what goes on after a batch has lost its age
// mutant: what is put back later than younger ones has lost its age
TEST_CASE("slots that are put back in any order run in the order of age") {
  std::minstd_rand generator(1);
  for (int round = 0; round < 50; ++round) {
    Stepping bench({.max_items = 12});
    bench.client.keeps = true;
    std::vector<SteppedCall*> calls;
    for (int i = 0; i < 12; ++i) calls.push_back(&bench.enter(1));
    bench.world.run_until_idle();
    bench.client.keeps = false;
    auto shuffled = calls;
    std::shuffle(shuffled.begin(), shuffled.end(), generator);
    for (auto* call : shuffled) bench.lane.put_back(*call, LendThread::no);
    bench.world.run_until_idle();
    CHECK(bench.client.batches.back() == calls);
    CHECK(bench.lane.snapshot().queued_items == 0);
  }
}

TEST_CASE("of many slots with many keys each makes its steps, and every batch is in the order of age") {
  for (std::uint32_t seed = 1; seed <= 50; ++seed) {
    Stepping bench({.max_items = 3});
    std::minstd_rand generator(seed);
    auto const below = [&](std::uint32_t bound) { return static_cast<std::uint32_t>(generator() % bound); };
    bench.client.during = [&](Batch const&) {
      if (bench.calls.size() < 40 && below(2) == 0) bench.enter(1 + static_cast<int>(below(5)), below(3));
    };
    for (int i = 0; i < 8; ++i) bench.enter(1 + static_cast<int>(below(5)), below(3));
    bench.world.run_until_idle();
    CHECK(bench.client.limit_breaches == 0);
    for (auto const& batch : bench.client.batches)
      for (std::size_t i = 1; i < batch.size(); ++i) CHECK(batch[i - 1]->sequence < batch[i]->sequence);
    for (auto const& call : bench.calls) {
      CHECK(call.succeeded);
      CHECK(call.finished == 1);
      CHECK(call.steps_left == 0);
    }
  }
}
