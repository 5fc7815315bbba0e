#include <athanor/batching/detail/lane.hpp>

#include <doctest/doctest.h>

#include "lane_bench.hpp"

using namespace athanor;
using namespace athanor::batching;
using namespace std::chrono_literals;

// mutant: a busy instance is taken
TEST_CASE("S1-4 an instance is never entered twice at once, and N instances are entered N-fold") {
  for (std::uint32_t instances : {1U, 3U}) {
    Bench bench({.instances = instances, .max_items = 1});
    bench.client.during = [&](Batch const&) {
      // Others come, and try to run here, while this batch runs.
      if (bench.calls.size() < 40) bench.lane.enter(bench.call(), LendThread::yes);
      bench.world.step_now();
    };
    for (int i = 0; i < 10; ++i) bench.enter();
    bench.world.run_until_idle();
    CHECK_FALSE(bench.client.entered_twice);
    CHECK(bench.client.most_inside == instances);
    CHECK(bench.all_succeeded_once());
  }
}

// mutant: a lane does not arm its timer
TEST_CASE("S3-1 one request alone returns after the delay and its run") {
  Bench<SizeOrDelay> bench({}, SizeOrDelay{.max_items = 8, .max_delay = 5ms});
  TimePoint const start = bench.world.now();
  auto& call = bench.call();
  bench.lane.enter(call, LendThread::yes);
  CHECK(call.finished == 0);
  bench.world.run_until_idle();
  CHECK(call.succeeded);
  CHECK(bench.world.now() - start == 5ms);
  CHECK(bench.lane.snapshot().busy_instances == 0);
}

// mutant: the limit of a batch counts requests instead of items
TEST_CASE("S3-2 batches never exceed their limit in items, also for what comes while one runs") {
  Bench<SizeOrDelay> bench({.max_items = 8}, SizeOrDelay{.max_items = 8, .max_delay = 1ms});
  bench.client.during = [&](Batch const&) {
    if (bench.calls.size() < 30) bench.enter(1 + static_cast<std::uint32_t>(bench.calls.size() % 5));
  };
  for (std::uint32_t i = 0; i < 10; ++i) bench.enter(1 + i % 4);
  bench.world.run_until_idle();
  CHECK(bench.client.limit_breaches == 0);
  CHECK(bench.all_succeeded_once());
}

// mutant: the delay counts from the newest request
TEST_CASE("S3-2 the delay counts from the oldest request") {
  Bench<SizeOrDelay> bench({.max_items = 8}, SizeOrDelay{.max_items = 8, .max_delay = 10ms});
  TimePoint const start = bench.world.now();
  bench.enter();
  bench.world.advance(6ms);
  bench.enter();
  bench.world.run_until_idle();
  REQUIRE(bench.client.executed.size() == 1);
  CHECK(bench.client.executed[0].items == 2);
  CHECK(bench.client.executed[0].at - start == 10ms);
}

namespace {

// Two lanes on one executor thread. Each batch of the busy one takes 0.3 ms of its turn of 1 ms.
struct TwoLanes {
  Simulation world{1};
  SimulatedExecutor executor{1};
  PuppetClient busy;
  PuppetClient other;
  SimulatedLane<Immediate> busy_lane{{.max_items = 1}, {}, busy, executor};
  SimulatedLane<Immediate> other_lane{{.max_items = 1}, {}, other, executor};

  TwoLanes() {
    busy.during = [this](Batch const&) { world.advance(300us); };
  }
  // The busy lane, which has 200 requests by now or in time, leaves the other one its turn.
  void check_turns() {
    TestCall lone;
    other_lane.enter(lone, LendThread::no);
    while (lone.finished == 0 && world.step()) {
    }
    CHECK(busy.finished.size() <= 4);
    world.run_until_idle();
    CHECK(busy.finished.size() == 200);
  }
};

}  // namespace

// mutant: an executor thread's turn has no end
TEST_CASE("S3-2 two lanes on one executor thread do not delay each other") {
  TwoLanes lanes;
  std::deque<TestCall> calls(200);
  for (auto& call : calls) lanes.busy_lane.enter(call, LendThread::no);
  lanes.check_turns();
}

// mutant: an executor thread's turn lasts as long as nothing waits when a batch ends
TEST_CASE("a lane that is filled again after each of its batches lets another one have its turn") {
  TwoLanes lanes;
  struct Again : Task {
    SimulatedLane<Immediate>* lane = nullptr;
    TestCall call;
  } again;
  again.lane = &lanes.busy_lane;
  again.run = [](Task& self) noexcept {
    auto& loop = static_cast<Again&>(self);
    loop.lane->enter(loop.call, LendThread::no);
  };
  lanes.busy.on_finish = [&](TestCall&) {
    if (lanes.busy.finished.size() < 200) lanes.executor.defer(again);
  };
  lanes.busy_lane.enter(again.call, LendThread::no);
  lanes.check_turns();
}

// mutant: a turn that ends with nothing queued leaves a summons behind other tasks
TEST_CASE("a turn that ends with nothing queued leaves the lane, whose destructor may be the next task") {
  Simulation world(1);
  SimulatedExecutor executor(1);
  PuppetClient client;
  SimulatedLane<Immediate> lane({}, {}, client, executor);
  struct Next : Task {
    Simulation* world = nullptr;
    std::uint64_t ran_at = 0;
  } next;
  next.world = &world;
  next.run = [](Task& self) noexcept {
    auto& task = static_cast<Next&>(self);
    task.ran_at = task.world->steps();
  };
  client.during = [&](Batch const&) {
    world.advance(2ms);
    CHECK(executor.post(next));
  };
  TestCall call;
  lane.enter(call, LendThread::no);
  world.run_until_idle();
  CHECK(call.succeeded);
  CHECK(next.ran_at == world.steps());
}

// mutant: a failed batch is not tried again in pieces
// mutant: the second half of a failed batch is not tried
TEST_CASE("S3-5 one poison request in a batch of 32 fails alone and is tried alone at most once") {
  for (std::size_t culprit = 0; culprit < 32; ++culprit) {
    Bench bench({.max_items = 32});
    for (int i = 0; i < 32; ++i) bench.enter();
    bench.calls[culprit].poison = true;
    bench.world.run_until_idle();
    std::uint32_t executed = 0;
    for (std::size_t i = 0; i < 32; ++i) {
      auto const& call = bench.calls[i];
      CHECK(call.finished == 1);
      CHECK(call.succeeded == (i != culprit));
      executed += call.executions;
    }
    CHECK(bench.calls[culprit].lone_executions == 1);
    CHECK(bench.calls[culprit].answer.message == "poison");
    CHECK(executed <= 3 * 32);
    REQUIRE(bench.client.verdicts.size() == 1);
    CHECK(bench.client.verdicts[0] == Verdict::isolated);
    for (std::size_t i = 0; i < 32; ++i) CHECK(bench.client.finished[i] == &bench.calls[i]);
  }
}

// mutant: every error is split
// mutant: the rework has no limit
TEST_CASE("S3-5 a refusal is not tried again in pieces, and a batch of poison stays within its rework") {
  Bench bench({.max_items = 32});
  for (int i = 0; i < 32; ++i) bench.enter().poison = true;
  SUBCASE("refusal") {
    bench.client.failure = {Code::unavailable, Reason::device_lost, "gone", {}};
    bench.world.run_until_idle();
    CHECK(bench.client.executed.size() == 1);
  }
  SUBCASE("all poison") {
    bench.world.run_until_idle();
    std::uint32_t executed = 0;
    for (auto const& call : bench.calls) executed += call.executions;
    CHECK(executed <= 3 * 32);
    for (auto const& call : bench.calls) CHECK(call.lone_executions <= 1);
  }
  CHECK(bench.client.verdicts == std::vector{Verdict::failed});
  for (auto const& call : bench.calls) CHECK((call.finished == 1 && !call.succeeded));
}

// mutant: a withdrawn leader takes its group with it
TEST_CASE("S3-6 when the one who would trigger the batch goes away, the others still get results") {
  Bench<SizeOrDelay> bench({.max_items = 4}, SizeOrDelay{.max_items = 4, .max_delay = 5ms});
  auto& oldest = bench.enter();
  auto& second = bench.enter();
  CHECK(bench.lane.withdraw(oldest));
  auto& third = bench.enter();
  bench.world.run_until_idle();
  CHECK(oldest.finished == 0);
  CHECK((second.succeeded && third.succeeded));
  CHECK(oldest.executions == 0);
}

// mutant: a request that leaves the queue is still counted
TEST_CASE("S3-6 a full batch whose last member leaves before it starts goes back to waiting") {
  Bench<SizeOrDelay> bench({.max_items = 2}, SizeOrDelay{.max_items = 2, .max_delay = 5ms});
  TimePoint const start = bench.world.now();
  auto& first = bench.enter();
  auto& second = bench.enter();
  CHECK(bench.lane.withdraw(second));
  bench.world.run_until_idle();
  CHECK(first.succeeded);
  CHECK(bench.client.executed.back().at - start == 5ms);
}

// mutant: a slot in execution is withdrawn
TEST_CASE("S3-17 a queued request can be withdrawn without another dequeue, a running one cannot") {
  Bench bench({.max_items = 1, .caller_runs = false});
  TestCall* running = &bench.enter();
  TestCall* queued = &bench.enter();
  bench.client.during = [&](Batch const&) {
    if (queued == nullptr) return;
    CHECK(bench.lane.withdraw(*std::exchange(queued, nullptr)));
    CHECK_FALSE(bench.lane.withdraw(*running));
  };
  TestCall* const withdrawn = queued;
  bench.world.run_until_idle();
  CHECK(running->succeeded);
  CHECK(withdrawn->finished == 0);
  CHECK(withdrawn->executions == 0);
  CHECK_FALSE(bench.lane.withdraw(*running));
  CHECK(bench.lane.snapshot().queued_items == 0);
}

// mutant: an expired slot is executed
// mutant: an expired slot is not counted
TEST_CASE("S2-5 what passed its deadline while waiting is answered so and never executed") {
  Bench bench({.max_items = 4});
  auto& late = bench.call();
  late.batch_deadline = bench.world.now() + 1ms;
  auto& patient = bench.call();
  bench.lane.enter(late, LendThread::no);
  bench.lane.enter(patient, LendThread::no);
  bench.world.advance(2ms);
  bench.world.run_until_idle();
  CHECK(late.executions == 0);
  CHECK(late.finished == 1);
  CHECK(late.answer.code == Code::deadline_exceeded);
  CHECK(late.answer.reason == Reason::deadline_waiting);
  CHECK(patient.succeeded);
  CHECK(bench.lane.snapshot().expired == 1);

  auto& dead_on_arrival = bench.call();
  dead_on_arrival.batch_deadline = bench.world.now();
  bench.lane.enter(dead_on_arrival, LendThread::yes);
  CHECK(dead_on_arrival.answer.code == Code::deadline_exceeded);
}

// mutant: a split slot is finished with each of its parts
TEST_CASE("S1-2 an oversize request runs in parts, in order, and is answered once when all ended") {
  for (std::uint32_t instances : {1U, 2U}) {
    Bench bench({.instances = instances, .max_items = 16});
    auto& small = bench.enter(3);
    auto& big = bench.enter(500);
    auto& last = bench.enter(2);
    bench.world.run_until_idle();
    CHECK(bench.all_succeeded_once());
    std::uint32_t next = 0;
    for (Part const& part : big.parts) {
      CHECK(part.first == next);
      next += part.count;
    }
    CHECK(next == 500);
    CHECK(bench.client.limit_breaches == 0);
    // 505 items in batches of 16.
    CHECK(bench.client.executed.size() == 32);
    CHECK(bench.client.finished.front() == &small);
    CHECK(bench.client.finished.back() != &small);
    CHECK(last.succeeded);
  }
}

// mutant: the rest of a failed slot stays in the queue
TEST_CASE("S1-2 an oversize request of which a part fails, fails as a whole, with the first error") {
  Bench bench({.max_items = 4});
  auto& big = bench.enter(20);
  bench.client.during = [&](Batch const& batch) { big.poison = batch.parts[0].first == 8; };
  auto& next = bench.enter(1);
  bench.world.run_until_idle();
  CHECK(big.finished == 1);
  CHECK_FALSE(big.succeeded);
  CHECK(big.answer.message == "poison");
  CHECK(bench.client.executed.size() == 4);
  CHECK(next.succeeded);
}

// mutant: the newest group goes first
TEST_CASE("S1-2 only equal keys share a batch, oldest first") {
  Bench bench({.max_items = 8, .caller_runs = false});
  auto& a = bench.enter(1, 7);
  auto& b = bench.enter(1, 9);
  auto& c = bench.enter(1, 7);
  auto& alone = bench.call(1, 7);
  alone.alone = true;
  bench.lane.enter(alone, LendThread::no);
  auto& d = bench.enter(1, 9);
  bench.world.run_until_idle();
  CHECK(bench.client.limit_breaches == 0);
  CHECK(bench.client.finished == std::vector<TestCall*>{&a, &c, &b, &d, &alone});
  CHECK(bench.client.executed.size() == 3);
}

// mutant: the cost of a batch is compared without the part to be added
// mutant: a request of one item above the cost limit never runs
TEST_CASE("a batch stays under its cost limit, and a single item above it runs alone") {
  Bench bench({.max_items = 8, .max_cost = 100});
  for (std::int64_t cost : {40, 50, 30, 250, 10, 100, 0}) {
    auto& call = bench.call();
    call.batch_cost = cost;
    bench.lane.enter(call, LendThread::no);
  }
  auto& dear = bench.call(5);
  dear.batch_cost = 223;  // items of 45, 45, 45, 44, 44
  bench.lane.enter(dear, LendThread::no);
  bench.world.run_until_idle();
  CHECK(bench.client.limit_breaches == 0);
  CHECK(bench.all_succeeded_once());
  std::vector<std::size_t> parts;
  for (auto const& batch : bench.client.executed) parts.push_back(batch.parts);
  CHECK(parts == std::vector<std::size_t>{2, 1, 1, 1, 2, 1, 1, 1});
}

// mutant: a worker waits until no instance runs
TEST_CASE("S2-9 a long batch does not hold up the other instances") {
  Bench bench({.instances = 2, .max_items = 1});
  auto& first = bench.enter();
  bench.client.during = [&](Batch const& batch) {
    if (batch.parts[0].slot != &first) return;
    for (int i = 0; i < 5; ++i) bench.enter();
    while (bench.world.step_now()) {
    }
    // The first still runs; everybody who came later is done.
    for (std::size_t i = 1; i < bench.calls.size(); ++i) CHECK(bench.calls[i].succeeded);
  };
  bench.world.run_until_idle();
  CHECK(first.succeeded);
}

// mutant: a lone caller's batch is not said to be its own
// mutant: batches that callers ran are not counted
TEST_CASE("a lone caller runs its batch itself, at once") {
  Bench bench;
  auto& call = bench.call();
  bench.lane.enter(call, LendThread::yes);
  CHECK(call.succeeded);
  REQUIRE(bench.client.executed.size() == 1);
  CHECK(bench.client.executed[0].on_caller);
  CHECK(bench.world.steps() == 0);
  CHECK_FALSE(bench.world.step());

  auto& asynchronous = bench.enter();
  CHECK(asynchronous.finished == 0);
  bench.world.run_until_idle();
  CHECK(asynchronous.succeeded);
  CHECK(bench.lane.snapshot().caller_batches == 1);
  CHECK(bench.lane.snapshot().batches == 2);
}

// mutant: a lone caller's batch may end after its deadline
// mutant: deadlines are met without a margin
// mutant: a guess is believed
TEST_CASE("a caller with a deadline runs only what is known to end before it") {
  Bench bench;
  bench.client.during = [&](Batch const&) { bench.world.advance(1ms); };
  auto const enter_with = [&](Duration wait) -> TestCall& {
    auto& call = bench.call();
    call.batch_deadline = bench.world.now() + wait;
    bench.lane.enter(call, LendThread::yes);
    return call;
  };
  CHECK(enter_with(1s).finished == 0);  // nothing is known yet
  bench.world.run_until_idle();
  for (int i = 0; i < 8; ++i) bench.lane.enter(bench.call(), LendThread::yes);
  CHECK(enter_with(1s).finished == 1);
  CHECK(enter_with(1100us).finished == 0);  // inside the margin
  bench.world.run_until_idle();
}

// mutant: a busy instance is taken
TEST_CASE("a batch that enters its own lane neither hangs nor runs inside itself") {
  Bench bench;
  TestCall inner;
  bool once = true;
  bench.client.during = [&](Batch const&) {
    if (!std::exchange(once, false)) return;
    bench.lane.enter(inner, LendThread::yes);
    CHECK(inner.finished == 0);
  };
  bench.lane.enter(bench.call(), LendThread::yes);
  bench.world.run_until_idle();
  CHECK(inner.succeeded);
  CHECK_FALSE(bench.client.entered_twice);
}

// mutant: what nobody waits for is executed
// mutant: a batch keeps the items of those who left
TEST_CASE("what nobody waits for any more is not executed") {
  Bench bench({.max_items = 4});
  auto& first = bench.enter();
  auto& left = bench.enter();
  auto& third = bench.enter();
  left.unwanted = true;
  bench.world.run_until_idle();
  CHECK(left.executions == 0);
  CHECK(left.answer.code == Code::cancelled);
  CHECK((first.succeeded && third.succeeded));
  CHECK(bench.client.executed[0].items == 2);
}

// mutant: a batch that was refused is ended
TEST_CASE("a refusal by begin finishes all slots of the batch with its error") {
  Bench bench({.max_items = 4});
  bench.client.permit = [](Batch const&) { return fail(Code::unavailable, Reason::breaker_open, "open"); };
  for (int i = 0; i < 6; ++i) bench.enter();
  bench.world.run_until_idle();
  CHECK(bench.client.executed.empty());
  CHECK(bench.client.verdicts.empty());
  for (auto const& call : bench.calls) CHECK(call.answer.reason == Reason::breaker_open);
}

// mutant: what enters later is not refused
TEST_CASE("refuse_all answers everything queued and everything later, and leaves what runs") {
  Bench bench({.max_items = 2});
  auto& big = bench.enter(5);
  bool once = true;
  bench.client.during = [&](Batch const&) {
    if (!std::exchange(once, false)) return;
    bench.enter();
    bench.lane.refuse_all(Error{Code::unavailable, Reason::stopping, "stopping", {}});
    CHECK(bench.calls.back().answer.reason == Reason::stopping);
    CHECK(big.finished == 0);  // a part of it runs
  };
  bench.world.run_until_idle();
  CHECK(big.finished == 1);
  CHECK(big.answer.reason == Reason::stopping);
  auto& later = bench.call();
  bench.lane.enter(later, LendThread::yes);
  CHECK(later.answer.reason == Reason::stopping);
  CHECK(bench.client.executed.size() == 1);
}

// mutant: what no thread can run stays in the queue
TEST_CASE("a stopped executor leaves nobody waiting") {
  Bench bench;
  bench.executor.stop(no_deadline);
  auto& call = bench.enter();
  CHECK(call.finished == 1);
  CHECK(call.answer.code == Code::resource_exhausted);
  CHECK(bench.lane.snapshot().busy_instances == 0);
}

// mutant: run times are learned by items, whatever these cost
// mutant: what is queued is predicted by its items, whatever these cost
// mutant: a part of the work costs as much as all of it
// mutant: the largest batch is one of items that cost nothing
TEST_CASE("where batches take as long as they cost, their run times are learned and predicted by that") {
  Bench bench({.max_items = 4, .dearest_item = 64, .caller_runs = false});
  bench.client.during = [&](Batch const& batch) { bench.world.advance(batch.cost * 1ms); };
  auto const enter = [&](int calls, std::uint64_t key, std::int64_t cost) {
    for (int i = 0; i < calls; ++i) {
      auto& call = bench.call(1, key);
      call.batch_cost = cost;
      bench.lane.enter(call, LendThread::no);
    }
  };
  enter(32, 0, 2);
  enter(32, 1, 16);
  bench.world.run_until_idle();
  CHECK(bench.lane.predicted({4, 8}) == 8ms);
  CHECK(bench.lane.predicted({4, 64}) == 64ms);
  CHECK(bench.lane.predicted({1, 64}) == 64ms);
  CHECK(bench.lane.predicted({8, 128}) == 128ms);
  CHECK(bench.lane.largest_batch() >= 256ms);
  enter(4, 0, 2);
  CHECK(bench.lane.snapshot().predicted_wait == 8ms);
  bench.world.run_until_idle();
  enter(4, 1, 16);
  CHECK(bench.lane.snapshot().predicted_wait == 64ms);
  bench.world.run_until_idle();
  CHECK(bench.all_succeeded_once());
}

// mutant: what is queued is not charged
TEST_CASE("the snapshot tells what is queued and how long it will take") {
  Bench bench({.max_items = 4, .caller_runs = false});
  CHECK(bench.lane.snapshot().predicted_wait == 0ns);
  bench.client.during = [&](Batch const&) { bench.world.advance(1ms); };
  for (int i = 0; i < 80; ++i) bench.enter();
  CHECK(bench.lane.snapshot().queued_items == 80);
  bench.world.run_until_idle();
  CHECK(bench.lane.predicted(4) == 1ms);
  CHECK(bench.lane.cost_model().samples(4) == 20);
  for (int i = 0; i < 8; ++i) bench.enter();
  auto const snapshot = bench.lane.snapshot();
  CHECK(snapshot.queued_items == 8);
  CHECK(snapshot.queued_requests == 8);
  CHECK(snapshot.busy_instances == 0);
  CHECK(snapshot.predicted_wait == 2ms);
  bench.world.run_until_idle();
  CHECK(bench.lane.snapshot().predicted_wait == 0ns);
}

TEST_CASE("a lane that could not run anything is refused by name") {
  CHECK(validate({}));
  CHECK(validate({.instances = 0}).error().message ==
        "batching: instances: expected between 1 and 1024, got 0");
  CHECK(validate({.max_items = 0}).error().reason == Reason::option);
  CHECK_FALSE(validate({.max_cost = 0}));
}

// mutant: a lane is retired although its timer is armed
TEST_CASE("a lane is retired once no executor thread is inside or on its way, and the last one tells") {
  Bench<SizeOrDelay> bench({}, SizeOrDelay{.max_items = 8, .max_delay = 10ms});
  struct Left : Task {
    int times = 0;
  } left;
  left.run = [](Task& self) noexcept { ++static_cast<Left&>(self).times; };
  bool inside = true;
  bench.client.during = [&](Batch const&) { inside = !bench.lane.retire(left); };
  bench.enter();
  bench.world.run_until_idle();
  CHECK(inside);
  CHECK(left.times == 1);
  CHECK(bench.lane.retire(left));
  CHECK(left.times == 1);

  Bench<SizeOrDelay> unused({}, SizeOrDelay{.max_items = 8, .max_delay = 10ms});
  auto& call = unused.enter();  // arms the timer
  REQUIRE(unused.lane.withdraw(call));
  CHECK(unused.lane.retire(left));
  CHECK(left.times == 1);
}
