// What a lane does for, and to, the threads that callers lend it.

#include <doctest/doctest.h>

#include "lane_bench.hpp"

using namespace athanor;
using namespace athanor::batching;
using namespace std::chrono_literals;

namespace {

/// Makes the lane learn what a batch takes; `during` of the client stays so.
template <class Bench>
void learn(Bench& bench, Duration run_time, int batches = 8) {
  bench.client.during = [&bench, run_time](Batch const&) { bench.world.advance(run_time); };
  for (int i = 0; i < batches; ++i) bench.lane.enter(bench.call(), LendThread::yes);
  bench.world.run_until_idle();
}

std::size_t executions(PuppetClient const& client) { return client.executed.size(); }

}  // namespace

// mutant: an executor thread keeps its instance while it finishes
TEST_CASE("an instance is given back before anybody gets an answer") {
  Bench bench({.max_items = 4, .caller_runs = true});
  std::uint32_t busy = 0;
  bench.client.on_finish = [&](TestCall&) { busy += bench.lane.snapshot().busy_instances; };
  SUBCASE("run by its caller") { bench.lane.enter(bench.call(), LendThread::yes); }
  SUBCASE("run by a worker") { bench.enter(); }
  SUBCASE("several, one of which fails") {
    for (int i = 0; i < 4; ++i) bench.enter();
    bench.calls[2].poison = true;
  }
  SUBCASE("one in parts") { bench.enter(9); }
  SUBCASE("one whose batch is refused") {
    bench.client.permit = [](Batch const&) { return fail(Code::unavailable, Reason::breaker_open, "open"); };
    bench.enter();
  }
  SUBCASE("a group of its caller's") {
    SlotList slots;
    for (int i = 0; i < 3; ++i) slots.append(bench.call());
    bench.lane.enter_all(slots, LendThread::yes);
  }
  bench.world.run_until_idle();
  for (auto const& call : bench.calls) CHECK(call.finished == 1);
  CHECK(busy == 0);
}

TEST_CASE("who submits the next call when the last one is answered finds an idle instance and no wait") {
  Bench bench;
  learn(bench, 22ms);
  int left = 30;
  bench.client.on_finish = [&](TestCall&) {
    if (left-- == 0) return;
    CHECK(bench.lane.predicted_wait(bench.world.now()) == 0ns);
    auto& next = bench.call();
    next.batch_deadline = bench.world.now() + 29ms;
    bench.lane.enter(next, LendThread::no);
  };
  bench.enter();
  bench.world.run_until_idle();
  CHECK(bench.all_succeeded_once());
}

// mutant: the running batch is charged as a whole
// mutant: a few batches are believed
TEST_CASE("the predicted wait is what is left of the batch that runs, once batches are known") {
  Bench bench({.max_items = 1});
  auto const waits_after = [&](Duration elapsed) {
    Duration wait{-1};
    bench.client.during = [&](Batch const&) {
      bench.world.advance(elapsed);
      wait = bench.lane.predicted_wait(bench.world.now());
      bench.world.advance(20ms - std::min<Duration>(elapsed, 20ms));
    };
    bench.lane.enter(bench.call(), LendThread::yes);
    return wait;
  };
  for (int batch = 0; batch < 8; ++batch) CHECK(waits_after(5ms) == 0ns);
  CHECK(waits_after(0ms) == 20ms);
  CHECK(waits_after(15ms) == 5ms);
  CHECK(waits_after(20ms) == 0ns);
  CHECK(waits_after(2s) == 0ns);  // it should have ended long ago: nothing is known of when it will

  Duration const batch = bench.lane.cost_model().predicted_p50(1);
  bench.client.during = [&](Batch const&) {
    bench.enter();
    bench.world.advance(5ms);
    CHECK(bench.lane.predicted_wait(bench.world.now()) == 2 * batch - 5ms);
    bench.client.during = nullptr;
  };
  bench.lane.enter(bench.call(), LendThread::yes);
  bench.world.run_until_idle();
}

// mutant: the predicted wait is multiplied without an end
TEST_CASE("a wait longer than a clock can tell is predicted as that") {
  Bench bench({.max_items = 1});
  learn(bench, 100'000h);
  auto& endless = bench.enter(0xffffffff);
  CHECK(bench.lane.predicted_wait(bench.world.now()) == Duration::max());
  CHECK(bench.lane.withdraw(endless));
}

// mutant: a caller runs a batch that holds nothing of its own
TEST_CASE("a caller whose request is not of the next batch leaves that to a worker") {
  Bench bench({.max_items = 1});
  learn(bench, 1us, 200);
  bench.enter();
  bench.enter();
  std::size_t const before = executions(bench.client);
  auto& own = bench.call();
  own.batch_deadline = bench.world.now() + 500ms;
  bench.lane.enter(own, LendThread::yes);
  CHECK(executions(bench.client) == before);
  bench.world.run_until_idle();
  CHECK(bench.all_succeeded_once());
}

TEST_CASE("a caller whose own answer is ready runs nothing for others") {
  Bench bench({.max_items = 1});
  learn(bench, 1us, 200);
  int arrivals = 5;
  std::size_t before = executions(bench.client);
  bench.client.during = [&](Batch const&) {
    while (arrivals > 0) {
      --arrivals;
      bench.enter();
    }
  };
  SUBCASE("alone") {
    auto& own = bench.call();
    own.batch_deadline = bench.world.now() + 500ms;
    bench.lane.enter(own, LendThread::yes);
    CHECK(own.succeeded);
    CHECK(executions(bench.client) == before + 1);
  }
  SUBCASE("one of a group") {
    SlotList slots;
    for (int i = 0; i < 3; ++i) slots.append(bench.call());
    bench.lane.enter_all(slots, LendThread::yes);
    CHECK(executions(bench.client) == before + 3);
    for (int i = 0; i < 3; ++i) CHECK(bench.calls[200U + static_cast<unsigned>(i)].succeeded);
  }
  CHECK(bench.lane.snapshot().busy_instances == 0);
  bench.client.during = nullptr;
  bench.world.run_until_idle();
  CHECK(bench.all_succeeded_once());
}

// mutant: a caller leaves an instance to the worker that was summoned
TEST_CASE("a caller runs its own request though a worker was summoned that does not come") {
  Bench bench({.max_items = 8});
  auto& submitted = bench.enter();
  auto& own = bench.call();
  SUBCASE("in the company of what is queued") {
    bench.lane.enter(own, LendThread::yes);
    CHECK((submitted.succeeded && own.succeeded));
    CHECK(executions(bench.client) == 1);
  }
  SUBCASE("ahead of what may not share its batch") {
    own.batch_key = 1;
    bench.lane.enter(own, LendThread::yes);
    CHECK(own.succeeded);
    CHECK_FALSE(submitted.succeeded);
  }
  SUBCASE("as a group") {
    SlotList slots;
    slots.append(own);
    slots.append(bench.call());
    bench.lane.enter_all(slots, LendThread::yes);
    CHECK(bench.all_succeeded_once());
  }
  bench.world.run_until_idle();
  CHECK(bench.all_succeeded_once());
}

// mutant: callers overtake without end
TEST_CASE("callers overtake an older batch a bounded number of times") {
  Bench bench({.max_items = 8});
  auto& old = bench.enter();
  std::uint32_t ran = 0;
  for (int i = 0; i < 100; ++i) {
    auto& own = bench.call(1, 1);
    bench.lane.enter(own, LendThread::yes);
    ran += own.succeeded ? 1U : 0U;
  }
  CHECK(ran == QueueMachine<Immediate>::most_overtakes);
  CHECK_FALSE(old.succeeded);
  bench.world.run_until_idle();
  CHECK(bench.client.finished[ran] == &old);
  CHECK(bench.all_succeeded_once());
}

// mutant: a caller looks for the culprit among all parts of its failed batch
// mutant: a caller leaves no failed batch
// mutant: a caller's own parts stay where they are in its failed batch
// mutant: the slots of a batch that its caller left are not finished
// mutant: a failed batch that its caller left is not counted
TEST_CASE(
    "a caller whose batch failed in company runs its own request again and leaves the others to a worker") {
  for (std::size_t culprit = 0; culprit < 5; ++culprit) {
    Bench bench({.max_items = 8});
    for (int i = 0; i < 2; ++i) bench.enter();
    auto& own = bench.call();
    for (int i = 0; i < 2; ++i) bench.call();
    bench.calls[culprit].poison = true;
    bench.client.during = [&](Batch const&) {
      bench.world.advance(1ms);
      if (bench.client.executed.size() != 1) return;
      for (std::size_t i = 3; i < 5; ++i) bench.lane.enter(bench.calls[i], LendThread::no);  // the next batch
    };
    bench.lane.enter(own, LendThread::yes);
    CHECK(own.finished == 1);
    CHECK(own.succeeded == (culprit != 2));
    bool const failed = culprit <= 2;
    CHECK(executions(bench.client) == (failed ? 2 : 1));
    CHECK(bench.client.finished.size() == (failed ? 1 : 3));
    CHECK(bench.lane.snapshot().busy_instances == (failed ? 1 : 0));
    bench.world.run_until_idle();
    for (std::size_t i = 0; i < 5; ++i) {
      CHECK(bench.calls[i].finished == 1);
      CHECK(bench.calls[i].succeeded == (i != culprit));
    }
    CHECK(bench.client.open == 0);
    CHECK(bench.client.verdicts.size() == 2);
    if (failed) CHECK(bench.client.verdicts[0] == Verdict::isolated);
    auto const after = bench.lane.snapshot();
    CHECK(after.batches == 2);
    CHECK(after.batch_items == 5);
    CHECK(after.failed_batches == 1);
    CHECK(after.reruns == (culprit < 2 ? 4 : 2));
    CHECK(after.busy_instances == 0);
  }
}

// mutant: the rest of a failed batch runs for callers who have left
// mutant: a failed batch is counted without those who left it before it ran again
TEST_CASE(
    "the rest of a failed batch runs again only for callers who are still there when its worker comes") {
  for (std::size_t const gone : {1U, 2U}) {
    Bench bench({.max_items = 8});
    for (int i = 0; i < 2; ++i) bench.enter();
    auto& own = bench.call();
    own.poison = true;
    bench.lane.enter(own, LendThread::yes);
    CHECK(executions(bench.client) == 2);
    for (std::size_t i = 0; i < gone; ++i) bench.calls[i].unwanted = true;
    bench.world.run_until_idle();
    CHECK(executions(bench.client) == 4 - gone);
    for (std::size_t i = 0; i < 2; ++i) {
      CHECK(bench.calls[i].finished == 1);
      CHECK(bench.calls[i].succeeded == (i >= gone));
      if (i < gone) CHECK(bench.calls[i].answer.reason == Reason::cancelled);
    }
    CHECK(bench.client.open == 0);
    auto const after = bench.lane.snapshot();
    CHECK(after.batches == 1);
    CHECK(after.batch_items == 3);
    CHECK(after.reruns == 3 - gone);
    CHECK(after.busy_instances == 0);
  }
}

// mutant: a caller leaves a failed batch although no worker is idle
TEST_CASE("a caller whose batch failed runs the others' requests again while no worker is idle") {
  Bench bench({.max_items = 8}, Immediate{}, 1);  // one worker, and it is on its way for the first request
  for (int i = 0; i < 2; ++i) bench.enter();
  bench.calls[1].poison = true;
  auto& own = bench.call();
  bench.lane.enter(own, LendThread::yes);
  for (auto const& call : bench.calls) CHECK(call.finished == 1);
  CHECK(bench.calls[0].succeeded);
  CHECK(own.succeeded);
  CHECK(bench.calls[1].answer.message == "poison");
  bench.world.run_until_idle();
  CHECK(bench.lane.snapshot().busy_instances == 0);
  CHECK(bench.client.verdicts == std::vector{Verdict::isolated});
}

// mutant: a caller whose requests fill their failed batch isolates as in company
TEST_CASE(
    "the caller of a group, all of whose requests share the failed batch, isolates the culprit itself") {
  Bench bench({.max_items = 8});
  SlotList slots;
  for (int i = 0; i < 4; ++i) slots.append(bench.call());
  bench.calls[2].poison = true;
  std::size_t runs = 5;  // all four, both halves, and each of the half that fails
  SUBCASE("alone") {}
  SUBCASE("in the company of what is queued") {
    bench.enter();
    runs = 7;  // all five, the four again, and so on; at last the fifth
  }
  bench.client.max_items = 8;
  bench.lane.enter_all(slots, LendThread::yes);
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(bench.calls[i].finished == 1);
    CHECK(bench.calls[i].succeeded == (i != 2));
  }
  bench.world.run_until_idle();
  for (auto const& call : bench.calls) CHECK(call.finished == 1);
  CHECK(executions(bench.client) == runs);
  CHECK(bench.lane.snapshot().busy_instances == 0);
}

// mutant: a worker that finds nothing keeps its instance
TEST_CASE("a worker whose batch is gone leaves, and leaves nothing behind") {
  Bench bench({.instances = 2, .max_items = 8});
  bench.enter();
  bench.lane.enter(bench.call(), LendThread::yes);
  CHECK(bench.all_succeeded_once());
  std::size_t const before = executions(bench.client);
  bench.world.run_until_idle();
  CHECK(executions(bench.client) == before);
  CHECK(bench.lane.snapshot().busy_instances == 0);
  bench.enter();
  bench.world.run_until_idle();
  CHECK(bench.all_succeeded_once());
}

// mutant: a group's latest deadline counts
// mutant: a caller's batch may end after its deadline
TEST_CASE("a group's caller begins no batch that might end after the earliest of its deadlines") {
  Bench bench({.max_items = 1});
  learn(bench, 1ms);
  auto const group = [&](Duration first, Duration last) {
    SlotList slots;
    TestCall* calls[3];
    for (auto& call : calls) {
      call = &bench.call();
      call->batch_deadline = bench.world.now() + first;
      slots.append(*call);
    }
    calls[2]->batch_deadline = bench.world.now() + last;
    std::size_t const before = executions(bench.client);
    bench.lane.enter_all(slots, LendThread::yes);
    return executions(bench.client) - before;
  };
  CHECK(group(10ms, 10ms) == 3);
  CHECK(group(10ms, 500us) == 0);
  bench.world.run_until_idle();
  CHECK(group(500us, 10ms) == 0);
  bench.world.run_until_idle();
  // The first batch stalls, which no prediction told: the rest is for the workers.
  bool stalls = true;
  bench.client.during = [&](Batch const&) { bench.world.advance(std::exchange(stalls, false) ? 9ms : 1ms); };
  CHECK(group(10ms, 10ms) == 1);
  bench.world.run_until_idle();
}

// mutant: a lone caller runs what the policy holds
TEST_CASE("a policy that holds is asked about a lone caller, too") {
  Bench<SizeOrDelay> bench({}, SizeOrDelay{.max_items = 4, .max_delay = 5ms});
  auto& held = bench.call();
  bench.lane.enter(held, LendThread::yes);
  CHECK(held.finished == 0);
  auto& full = bench.call(4);
  bench.lane.enter(full, LendThread::yes);
  bench.world.run_until_idle();
  CHECK(bench.all_succeeded_once());
  bench.lane.enter(bench.call(4), LendThread::yes);
  CHECK(bench.calls.back().succeeded);  // full by itself
}

// mutant: who ran alone leaves what came meanwhile
TEST_CASE("a caller who runs alone leaves nothing that came meanwhile") {
  Bench bench({.max_items = 2}, Immediate{}, 1);
  bench.client.during = [&](Batch const&) {
    if (bench.calls.size() < 6) bench.lane.enter(bench.call(), LendThread::no);
  };
  bench.lane.enter(bench.call(), LendThread::yes);
  bench.world.run_until_idle();
  CHECK(bench.calls.size() == 6);
  CHECK(bench.all_succeeded_once());
}

// mutant: the inbox is emptied with the newest first
// mutant: a request in the inbox is not withdrawn
// mutant: what was in the inbox is counted twice
TEST_CASE("what enters while every instance is busy is queued like everything else") {
  Bench bench({.max_items = 4});
  bool refuses = false;
  bench.client.during = [&](Batch const&) {
    if (bench.calls.size() > 1 && !refuses) return;
    std::size_t const first = bench.calls.size();
    for (std::uint32_t i = 0; i < 6; ++i) bench.enter(1 + i % 2);
    CHECK(bench.lane.snapshot().queued_requests == 6);
    CHECK(bench.lane.snapshot().queued_items == 9);
    CHECK(bench.lane.withdraw(bench.calls[first + 2]));
    CHECK_FALSE(bench.lane.withdraw(bench.calls[first + 2]));
    CHECK(bench.lane.snapshot().queued_items == 8);
    bench.enter(3);
    CHECK(bench.lane.snapshot().queued_requests == 6);
    CHECK(bench.lane.snapshot().queued_items == 11);
    if (refuses) bench.lane.refuse_all(make_error(Code::unavailable, Reason::stopping, "over"));
  };
  bench.lane.enter(bench.call(), LendThread::yes);
  bench.world.run_until_idle();
  CHECK(bench.client.finished == std::vector<TestCall*>{&bench.calls[0], &bench.calls[1], &bench.calls[2],
                                                        &bench.calls[4], &bench.calls[5], &bench.calls[6],
                                                        &bench.calls[7]});
  CHECK(bench.lane.snapshot().queued_requests == 0);
  CHECK(bench.lane.snapshot().queued_items == 0);
  CHECK(bench.lane.snapshot().queued_cost == 0);
  refuses = true;
  bench.lane.enter(bench.call(), LendThread::yes);
  bench.world.run_until_idle();
  for (std::size_t i = 9; i < bench.calls.size(); ++i)
    CHECK(bench.calls[i].answer.reason == (i == 11 ? Reason::none : Reason::stopping));
  CHECK(bench.lane.snapshot().queued_requests == 0);
  CHECK(bench.lane.snapshot().queued_items == 0);
  CHECK(bench.calls.size() == 16);
}

namespace {

/// Takes no task while `full`, like one for which no thread can be started.
class FullExecutor : public SimulatedExecutor {
 public:
  using SimulatedExecutor::SimulatedExecutor;
  bool full = false;
  bool timeless = false;  // and then it keeps no time
  bool post(Task& task) noexcept { return !full && SimulatedExecutor::post(task); }
  bool post_if_idle(Task& task) noexcept { return idle() && post(task); }
  bool arm(Timer& timer, TimePoint at) noexcept { return !timeless && SimulatedExecutor::arm(timer, at); }
};
struct FullEnv : SimulatedEnv {
  using Executor = FullExecutor;
};

}  // namespace

// mutant: a lane that found no thread refuses everything from then on
TEST_CASE("what no thread can run is refused, and later requests are served") {
  Simulation world(1);
  FullExecutor executor(1);
  PuppetClient client;
  Lane<FullEnv, Immediate, PuppetClient> lane({}, {}, client, executor);
  TestCall refused, here, later;
  executor.full = true;
  lane.enter(refused, LendThread::no);
  CHECK(refused.answer.code == Code::resource_exhausted);
  lane.enter(here, LendThread::yes);
  CHECK(here.succeeded);
  executor.full = false;
  lane.enter(later, LendThread::no);
  world.run_until_idle();
  CHECK(later.succeeded);
  CHECK(lane.snapshot().queued_requests == 0);
}

// mutant: the rest of a failed batch is thought to be taken by a thread that does not exist
TEST_CASE("a caller that no thread can relieve of a failed batch runs it again as a whole") {
  Simulation world(1);
  FullExecutor executor(4);
  PuppetClient client;
  Lane<FullEnv, Immediate, PuppetClient> lane({}, {}, client, executor);
  TestCall other, own;
  other.poison = true;
  lane.enter(other, LendThread::no);
  executor.full = true;
  lane.enter(own, LendThread::yes);
  CHECK(own.succeeded);
  CHECK(other.answer.message == "poison");
  executor.full = false;
  world.run_until_idle();
  CHECK(own.finished == 1);
  CHECK(other.finished == 1);
  CHECK(lane.snapshot().busy_instances == 0);
  CHECK(client.verdicts == std::vector{Verdict::isolated});
}

// mutant: a hold whose time nobody keeps waits for the deadlines
// mutant: after a hold whose time nobody kept nothing is held any more
TEST_CASE("a hold whose time nobody keeps is no hold, until the queue has been empty") {
  Simulation world(1);
  FullExecutor executor(1);
  PuppetClient client;
  Lane<FullEnv, SizeOrDelay, PuppetClient> lane({}, {.max_items = 32, .max_delay = 1ms}, client, executor);
  TimePoint const start = world.now();
  TestCall at_once, with_it, held;
  executor.timeless = true;
  lane.enter(at_once, LendThread::no);
  lane.enter(with_it, LendThread::no);
  world.run_until_idle();
  CHECK(at_once.succeeded);
  CHECK(with_it.succeeded);
  CHECK(world.now() == start);
  executor.timeless = false;
  lane.enter(held, LendThread::no);
  while (world.step_now()) {
  }
  CHECK_FALSE(held.succeeded);
  world.run_until_idle();
  CHECK(held.succeeded);
  CHECK(world.now() == start + 1ms);
}

// mutant: a failed batch teaches the cost model
// mutant: pieces of a failed batch are not counted
TEST_CASE("a failed batch teaches nothing about time, and its pieces are counted once") {
  Bench bench({.max_items = 4});
  for (int i = 0; i < 4; ++i) bench.enter();
  bench.calls[1].poison = true;
  bench.world.run_until_idle();
  CHECK(bench.lane.cost_model().recorded() == 0);
  CHECK(bench.lane.largest_batch() == 0ns);
  auto const reruns = bench.lane.snapshot().reruns;
  CHECK(reruns == 4);  // both halves, and the culprit's in two
  bench.enter().poison = true;
  bench.world.run_until_idle();
  CHECK(bench.lane.snapshot().reruns == reruns);
  CHECK(bench.lane.snapshot().failed_batches == 2);
}

// mutant: the largest batch is raised only when it is far too short
// mutant: the largest batch is never lowered
TEST_CASE("the largest batch is foretold never too short and at most about four times too long") {
  Bench bench({.max_items = 8});
  auto const run = [&](Duration run_time) {
    bench.client.during = [&bench, run_time](Batch const&) { bench.world.advance(run_time); };
    bench.lane.enter(bench.call(8), LendThread::yes);
  };
  for (Duration const run_time : {1000us, 3000us, 100us, 200us}) {
    for (int i = 0; i < 400; ++i) {
      run(run_time);
      REQUIRE(bench.lane.largest_batch() >= bench.lane.cost_model().predicted_p95(8));
    }
    CHECK(bench.lane.largest_batch() <= 5 * bench.lane.cost_model().predicted_p95(8));
  }
}

// mutant: an executor thread keeps its instance while it finishes
TEST_CASE("while an executor thread finishes a batch, a caller finds the instance idle") {
  Bench bench({.max_items = 2});
  TestCall& mine = bench.call();
  bool idle = false;
  bench.client.on_finish = [&](TestCall& call) {
    if (&call != &bench.calls[1]) return;
    idle = bench.lane.snapshot().idle_instances == 1;
    bench.lane.enter(mine, LendThread::yes);
    CHECK(mine.finished == 1);
  };
  for (int i = 0; i < 3; ++i) bench.enter();
  bench.world.run_until_idle();
  CHECK(idle);
  CHECK(mine.succeeded);
  CHECK(bench.all_succeeded_once());
  CHECK(executions(bench.client) == 2);
}

// mutant: what a lone caller does for others is not on its clock
TEST_CASE("a lone caller that also ended what had been queued meanwhile is told the time after that") {
  Simulation world(1);
  FullExecutor executor(1);
  PuppetClient client;
  Lane<FullEnv, Immediate, PuppetClient> lane({}, {}, client, executor);
  TestCall mine, refused;
  client.during = [&](Batch const&) {
    executor.full = true;
    lane.enter(refused, LendThread::no);
    world.advance(10ms);
  };
  client.on_finish = [&](TestCall& call) {
    if (&call == &refused) world.advance(5ms);
  };
  TimePoint const began = world.now();
  lane.enter(mine, LendThread::yes);
  CHECK(refused.finished == 1);
  CHECK_FALSE(refused.succeeded);
  CHECK(mine.succeeded);
  CHECK(mine.ended == began + 15ms);
}
