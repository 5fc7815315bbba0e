#include <deque>

#include <doctest/doctest.h>

#include "puppet_client.hpp"

using namespace athanor;
using namespace athanor::batching;
using namespace std::chrono_literals;

namespace {

/// One seeded life of a lane: entries, withdrawals, deadlines, poison, refusals, departures and a stop, in
/// any order, also while batches run.
template <class Policy>
class Schedule {
 public:
  Schedule(std::uint64_t seed, Policy policy)
      : world_(seed),
        options_{.instances = 1 + pick(3),
                 .max_items = 1 + pick(9),
                 .max_cost = 3 + static_cast<std::int64_t>(pick(40)),
                 .caller_runs = pick(2) == 0,
                 .rework_limit = pick(3)},
        executor_(1 + pick(3)),
        client_(options_.instances),
        lane_(options_, policy, client_, executor_) {
    client_.max_items = options_.max_items;
    client_.max_cost = options_.max_cost;
    client_.during = [this](Batch const& batch) { while_running(batch); };
    client_.permit = [this](Batch const&) -> Result<void> {
      if (pick(20) == 0) return fail(Code::unavailable, Reason::breaker_open, "open");
      return {};
    };
  }

  void play() {
    for (int i = 0; i < 60; ++i) act();
    if (pick(4) == 0) lane_.refuse_all(Error{Code::unavailable, Reason::stopping, "stopping", {}});
    world_.run_until_idle();
  }

  void check() {
    for (auto const& call : calls_) {
      CHECK(call.finished == (call.withdrawn ? 0 : 1));
      if (call.withdrawn) CHECK(call.executions == 0);
      std::uint32_t next = 0;
      for (Part const& part : call.parts) {
        if (call.succeeded && options_.instances == 1) CHECK(part.first == next);
        next += part.count;
      }
      if (call.succeeded) CHECK(next == call.batch_items);
      if (call.finished == 1 && !call.succeeded) CHECK(call.answer.code != Code::unknown);
    }
    CHECK(client_.limit_breaches == 0);
    CHECK_FALSE(client_.entered_twice);
    CHECK(client_.most_inside <= options_.instances);
    CHECK(client_.open == 0);
    auto const snapshot = lane_.snapshot();
    CHECK(snapshot.queued_items == 0);
    CHECK(snapshot.queued_requests == 0);
    CHECK(snapshot.queued_cost == 0);
    CHECK(snapshot.busy_instances == 0);
    CHECK(snapshot.batches == client_.verdicts.size());
  }

 private:
  struct Call : TestCall {
    bool withdrawn = false;
  };

  std::uint32_t pick(std::uint64_t bound) { return static_cast<std::uint32_t>(world_.below(bound)); }

  void act() {
    switch (pick(11)) {
      case 0:
      case 1:
      case 2:
      case 3: enter(); break;
      case 4: withdraw(); break;
      case 5:
        if (!calls_.empty() && pick(4) == 0) calls_[pick(calls_.size())].unwanted = true;
        break;
      case 6: world_.advance(Duration{pick(300'000)}); break;
      case 7: enter_group(); break;
      default: world_.step();
    }
  }

  void enter() { lane_.enter(make(), lend()); }

  void enter_group() {
    SlotList slots;
    for (std::uint32_t left = 1 + pick(6); left > 0; --left) slots.append(make());
    lane_.enter_all(slots, lend());
  }

  LendThread lend() { return pick(2) == 0 ? LendThread::yes : LendThread::no; }

  Call& make() {
    auto& call = calls_.emplace_back();
    call.batch_key = pick(3);
    call.batch_items = pick(8) == 0 ? 1 + pick(40) : 1 + pick(4);
    call.batch_cost = pick(30);
    call.alone = pick(10) == 0;
    call.poison = pick(12) == 0;
    if (pick(4) == 0) call.batch_deadline = world_.now() + Duration{pick(400'000)};
    return call;
  }

  void withdraw() {
    if (calls_.empty()) return;
    auto& call = calls_[pick(calls_.size())];
    if (call.finished != 0 || call.withdrawn) return;
    call.withdrawn = lane_.withdraw(call);
  }

  void while_running(Batch const&) {
    world_.advance(Duration{pick(200'000)});
    if (depth_ >= 4) return;
    ++depth_;
    for (std::uint32_t i = pick(3); i > 0; --i) {
      if (calls_.size() < 100) act();
      if (pick(2) == 0) world_.step_now();
    }
    --depth_;
  }

  Simulation world_;
  LaneOptions options_;
  SimulatedExecutor executor_;
  PuppetClient client_;
  SimulatedLane<Policy> lane_;
  std::deque<Call> calls_;
  int depth_ = 0;
};

template <class Policy>
void play_all(std::uint64_t seeds, Policy policy) {
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    CAPTURE(seed);
    Schedule<Policy> schedule(seed, policy);
    schedule.play();
    schedule.check();
  }
}

}  // namespace

// mutant: the second half of a failed batch is not tried
// mutant: a split slot is finished with each of its parts
// mutant: a request that leaves the queue is still counted
TEST_CASE(
    "any schedule: each slot is finished once or withdrawn, no limit is exceeded, every counter returns to "
    "zero") {
  SUBCASE("immediate") { play_all(2000, Immediate{}); }
  SUBCASE("size or delay") { play_all(2000, SizeOrDelay{.max_items = 6, .max_delay = 200us}); }
}
