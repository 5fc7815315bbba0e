// Order, and what it costs, with many keys.
#include <bit>
#include <deque>

#include <doctest/doctest.h>

#include "lane_bench.hpp"

using namespace athanor;
using namespace athanor::batching;
using namespace std::chrono_literals;

namespace {

struct Number {
  std::uint64_t value = 0;
  HeapLinks<Number> links;
};
struct CountedLess {
  static inline std::uint64_t comparisons = 0;
  bool operator()(Number const& left, Number const& right) const {
    ++comparisons;
    return left.value < right.value;
  }
};
using Heap = PairingHeap<Number, &Number::links, CountedLess>;

/// SizeOrDelay that counts its questions.
struct CountingPolicy : SizeOrDelay {
  static inline std::uint64_t questions = 0;
  BatchDecision decide(QueueSnapshot const& queue) const noexcept {
    ++questions;
    return SizeOrDelay::decide(queue);
  }
};

}  // namespace

// mutant: a removed node's next sibling keeps its way back
// mutant: a heap's children are not paired
TEST_CASE("a heap gives its least node whatever was added and removed, in logarithmic time") {
  Simulation random(3);
  std::deque<Number> numbers(4096);
  std::vector<Number*> inside;
  Number* root = nullptr;
  CountedLess::comparisons = 0;
  std::uint64_t operations = 0;
  for (auto& number : numbers) {
    number.value = random.below(1'000'000);
    Heap::add(root, number);
    inside.push_back(&number);
    operations += 2;
  }
  for (std::size_t left = inside.size(); left > 0; --left) {
    auto const least =
        std::min_element(inside.begin(), inside.end(), [](auto* a, auto* b) { return a->value < b->value; });
    REQUIRE(root->value == (*least)->value);
    auto const gone = random.below(3) == 0 ? least : inside.begin() + static_cast<long>(random.below(left));
    Heap::remove(root, **gone);
    inside.erase(gone);
  }
  CHECK(root == nullptr);
  CHECK(CountedLess::comparisons < 2 * operations * static_cast<std::uint64_t>(std::bit_width(4096U)));
}

TEST_CASE("with thousands of keys on hold a request costs a few questions, not one for each key") {
  Bench<CountingPolicy> bench({}, CountingPolicy{{.max_items = 8, .max_delay = 1s}});
  std::deque<TestCall> calls(4000);
  for (std::uint64_t key = 0; auto& call : calls) {
    call.batch_key = key++ << 32;
    CountingPolicy::questions = 0;
    bench.lane.enter(call, LendThread::yes);
    REQUIRE(CountingPolicy::questions <= 4);
  }
  for (std::size_t i = 0; i < calls.size(); i += 2) {
    CountingPolicy::questions = 0;
    REQUIRE(bench.lane.withdraw(calls[i]));
    REQUIRE(CountingPolicy::questions <= 2);
  }
  CountingPolicy::questions = 0;
  bench.world.run_until_idle();
  CHECK(CountingPolicy::questions <= 8 * 2000);
  for (std::size_t i = 0; i < calls.size(); ++i) CHECK(calls[i].succeeded == (i % 2 == 1));
}

// mutant: a leader's successor keeps the place of the older one, so that a busy key starves others
TEST_CASE("a key that is always busy does not starve older requests of others") {
  Bench bench({.max_items = 1, .caller_runs = false});
  auto& a1 = bench.enter(1, 1);
  auto& b = bench.enter(1, 2);
  auto& a2 = bench.enter(1, 1);
  auto& c = bench.enter(1, 3);
  auto& a3 = bench.enter(1, 1);
  bench.world.run_until_idle();
  CHECK(bench.client.finished == std::vector<TestCall*>{&a1, &b, &a2, &c, &a3});
}

// mutant: the group held longest wakes first
TEST_CASE("each key is held for its own time") {
  Bench<SizeOrDelay> bench({}, SizeOrDelay{.max_items = 8, .max_delay = 10ms});
  TimePoint const start = bench.world.now();
  for (std::uint64_t key : {5U, 3U, 9U, 1U}) {
    bench.enter(1, key);
    bench.world.advance(2ms);
  }
  bench.world.run_until_idle();
  REQUIRE(bench.client.executed.size() == 4);
  for (std::size_t i = 0; i < 4; ++i)
    CHECK(bench.client.executed[i].at - start == 10ms + 2ms * static_cast<int>(i));
}

// mutant: the rest of a group is not asked about when a batch is formed
TEST_CASE("what a full batch leaves is held again, and nobody is summoned for it meanwhile") {
  Bench<SizeOrDelay> bench({.instances = 2}, SizeOrDelay{.max_items = 8, .max_delay = 10ms});
  for (int i = 0; i < 12; ++i) bench.enter();
  bench.world.run_until_idle();
  CHECK(bench.all_succeeded_once());
  REQUIRE(bench.client.executed.size() == 2);
  CHECK(bench.client.executed[1].at - bench.client.executed[0].at == 10ms);
  CHECK(bench.world.steps() == 5);  // a worker and its next look, the timer, a worker and its next look
}

namespace {

template <class Policy>
void learn_millisecond(Bench<Policy>& bench) {
  bench.client.during = [&bench](Batch const&) { bench.world.advance(1ms); };
  for (int i = 0; i < 8; ++i) bench.enter();
  bench.world.run_until_idle();
  for (int i = 0; i < 8; ++i) {
    bench.enter();
    bench.world.run_until_idle();
  }
}

}  // namespace

// mutant: SizeOrDelay does not look at deadlines
// mutant: the latest deadline of a group counts
// mutant: a withdrawn request's deadline still counts
TEST_CASE("a held batch runs before the earliest deadline of those that are in it") {
  Bench<SizeOrDelay> bench({}, SizeOrDelay{.max_items = 8, .max_delay = 50ms});
  learn_millisecond(bench);
  TimePoint const start = bench.world.now();
  auto& patient = bench.enter();
  auto& hurried = bench.call();
  hurried.batch_deadline = start + 10ms;
  auto& calm = bench.call();
  calm.batch_deadline = start + 30ms;
  bench.lane.enter(calm, LendThread::no);
  bench.lane.enter(hurried, LendThread::yes);
  SUBCASE("the earliest") {
    bench.world.run_until_idle();
    CHECK(hurried.succeeded);
    CHECK(bench.world.now() <= hurried.batch_deadline);
    CHECK(bench.world.now() > start + 8ms);
  }
  SUBCASE("the next, when it has left") {
    CHECK(bench.lane.withdraw(hurried));
    bench.world.run_until_idle();
    CHECK(bench.world.now() <= calm.batch_deadline);
    CHECK(bench.world.now() > start + 28ms);
  }
  CHECK((patient.succeeded && calm.succeeded));
  CHECK(bench.client.executed.back().parts == (hurried.succeeded ? 3 : 2));
}
