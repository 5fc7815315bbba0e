#include <athanor/batching/policy.hpp>

#include <doctest/doctest.h>

#include "puppet_client.hpp"

using namespace athanor;
using namespace athanor::batching;
using namespace std::chrono_literals;

namespace {

/// The least that a policy must be: what the lane is compiled with to show that it asks for no more.
struct ArchetypePolicy {
  BatchDecision decide(QueueSnapshot const&) const noexcept { return BatchDecision::dispatch(1); }
};
static_assert(check_batching_policy<ArchetypePolicy>());

struct ThrowingPolicy {
  BatchDecision decide(QueueSnapshot const&) const { return {}; }
};
struct MutablePolicy {
  BatchDecision decide(QueueSnapshot const&) noexcept { return {}; }
};
struct TimelessPolicy {
  TimePoint decide(QueueSnapshot const&) const noexcept { return {}; }
};
struct UncopyablePolicy : ArchetypePolicy {
  UncopyablePolicy(UncopyablePolicy const&) = delete;
};
static_assert(!BatchingPolicy<ThrowingPolicy> && !BatchingPolicy<MutablePolicy> &&
              !BatchingPolicy<TimelessPolicy> && !BatchingPolicy<UncopyablePolicy>);
static_assert(!ConfigurablePolicy<ArchetypePolicy>);
static_assert(LaneClient<PuppetClient>);

constexpr TimePoint start{1s};
constexpr QueueSnapshot queue(std::uint64_t items, Duration age) {
  return {.now = start + age, .oldest_entered = start, .queued_items = items, .max_items = 16};
}

// Policies decide at compile time: nothing in them knows a clock.
static_assert(ShippedPolicy{}.decide(queue(1, 0ns)) == BatchDecision::dispatch(16));
static_assert(ShippedPolicy{SizeOrDelay{8, 2ms}}.decide(queue(3, 1ms)) ==
              BatchDecision::wait_until(start + 2ms));
static_assert(Immediate{}.decide(queue(1, 0ns)) == BatchDecision::dispatch(16));
static_assert(SizeOrDelay{8, 2ms}.decide(queue(3, 1ms)) == BatchDecision::wait_until(start + 2ms));
static_assert(SizeOrDelay{8, 2ms}.decide(queue(3, 2ms)) == BatchDecision::dispatch(8));
static_assert(SizeOrDelay{8, 2ms}.decide(queue(8, 0ms)) == BatchDecision::dispatch(8));
static_assert(SizeOrDelay{99, 2ms}.decide(queue(16, 0ms)) == BatchDecision::dispatch(16));
static_assert(SizeOrDelay{8, 0ms}.decide(queue(1, 0ms)) == BatchDecision::dispatch(8));
static_assert(SizeOrDelay{8, Duration::max()}.decide(queue(1, 1h)).kind == BatchDecision::Kind::wait);

}  // namespace

TEST_CASE("a lane serves with the least that a policy can be") {
  Simulation world(1);
  SimulatedExecutor executor(1);
  PuppetClient client;
  SimulatedLane<ArchetypePolicy> lane({}, {}, client, executor);
  TestCall calls[3];
  for (auto& call : calls) lane.enter(call, LendThread::no);
  world.run_until_idle();
  CHECK(client.executed.size() == 3);
  for (auto& call : calls) CHECK(call.succeeded);
}

// mutant: a wait for what has passed is believed
TEST_CASE("a policy that waits for the past dispatches") {
  struct Late {
    BatchDecision decide(QueueSnapshot const& seen) const noexcept {
      return BatchDecision::wait_until(seen.now);
    }
  };
  Simulation world(1);
  SimulatedExecutor executor(1);
  PuppetClient client;
  SimulatedLane<Late> lane({}, {}, client, executor);
  TestCall call;
  lane.enter(call, LendThread::no);
  world.run_until_idle();
  CHECK(call.succeeded);
  CHECK(world.steps() <= 2);
}

// mutant: a policy dispatches more than a batch holds
TEST_CASE("a policy that dispatches too much, or nothing, gets batches within the limit") {
  struct Unlimited {
    std::uint64_t items = 0;
    BatchDecision decide(QueueSnapshot const&) const noexcept { return BatchDecision::dispatch(items); }
  };
  for (std::uint64_t const items : {0U, 1000U}) {
    Simulation world(1);
    SimulatedExecutor executor(1);
    PuppetClient client;
    SimulatedLane<Unlimited> lane({.max_items = 4}, Unlimited{items}, client, executor);
    TestCall calls[9];
    for (auto& call : calls) {
      call.batch_items = 2;
      lane.enter(call, LendThread::no);
    }
    world.run_until_idle();
    CHECK(client.executed.size() == (items == 0 ? 9 : 5));
    for (auto& call : calls) CHECK(call.succeeded);
  }
}

// mutant: the p95 is weighted like the median
TEST_CASE("the cost model's quantiles cover what they promise") {
  Simulation world(7);
  CostModel model;
  for (int i = 0; i < 2000; ++i) model.record(4, Duration(500'000 + world.below(1'000'000)));
  auto const p50 = static_cast<double>(model.predicted_p50(4).count());
  auto const p95 = static_cast<double>(model.predicted_p95(4).count());
  CHECK(p50 == doctest::Approx(1'000'000).epsilon(0.1));
  CHECK(p95 == doctest::Approx(1'450'000).epsilon(0.06));
  CHECK(static_cast<double>(model.mean(4).count()) == doctest::Approx(1'000'000).epsilon(0.1));
  CostModel rare;  // a tenth of the samples, none after another: no run makes haste
  for (int i = 0; i < 2000; ++i) rare.record(1, i % 10 == 9 ? 2ms : 1ms);
  CHECK(rare.predicted_p95(1) > 1900us);
}

// mutant: a slowdown is followed at the usual pace
TEST_CASE("the cost model follows a slowdown within a few batches, also from next to nothing") {
  CostModel model;
  for (int i = 0; i < 200; ++i) model.record(1, 100us);
  for (int i = 0; i < 10; ++i) model.record(1, 300us);
  CHECK(model.predicted_p95(1) == 300us);
  CostModel cold;
  cold.record(1, 0ns);
  for (int i = 0; i < 20; ++i) cold.record(1, 30us);
  CHECK(cold.predicted_p95(1) == 30us);
}

TEST_CASE("the cost model interpolates between sizes it knows, scales above them and trusts slowly") {
  CostModel model;
  CHECK(model.predicted_p95(4) == 0ns);
  for (int i = 0; i < 8; ++i) {
    CHECK_FALSE(model.trusts(2));
    model.record(2, 2ms);
    model.record(16, 9ms);
  }
  CHECK(model.trusts(2));
  CHECK(model.samples(2) == 8);
  CHECK(model.samples(8) == 0);
  CHECK(model.predicted_p95(1) == 2ms);
  CHECK(model.predicted_p95(9) == 5500us);
  CHECK(model.predicted_p95(32) == 18ms);
}

// mutant: predicted run times are multiplied without an end
TEST_CASE("what would take longer than a clock can tell is predicted as that, not as the past") {
  CostModel model;
  for (int i = 0; i < 10; ++i) model.record(0xffffffff, Duration::max() / 2);
  BatchLimits const limits{.max_items = 0xffffffff};
  CHECK(predicted_run(model, limits, std::uint64_t{1} << 40) == Duration::max());
  CHECK_FALSE(ends_in_time(model, limits, std::uint64_t{1} << 40, start + 1h, start));
  for (int i = 0; i < 10; ++i) model.record(0xffffffff, Duration::max());
  CHECK(model.time_to_allow(0xffffffff) == Duration::max());
}

// mutant: a policy reserves time for items, whatever these cost
TEST_CASE("a policy that holds a batch reserves the time of what its items cost") {
  CostModel model;
  for (int i = 0; i < 10; ++i) {
    model.record(2, 1ms);
    model.record(32, 10ms);
  }
  auto seen = queue(2, 0ns);
  CHECK(seen.time_to_allow(2) == 0ns);
  seen.cost = &model;
  seen.item_size = 16;
  seen.earliest_deadline = start + 20ms;
  CHECK(seen.time_to_allow(2) == 11050us);
  CHECK(SizeOrDelay{8, 50ms}.decide(seen) == BatchDecision::wait_until(start + 20ms - 11050us));
}

// mutant: a batch of no items is recorded as such
TEST_CASE("a batch of no items teaches what one item takes") {
  CostModel model;
  model.record(0, 5us);
  CHECK(model.mean(0) == 5us);
  CHECK(model.mean(1) == 5us);
  CHECK(model.mean(4) == 20us);
}

namespace {

std::string refusal(auto const& configured) { return configured ? "" : configured.error().message; }

QueueSnapshot const young = queue(3, 1ms);

}  // namespace

// mutant: a choice takes its first policy whatever the name
// mutant: SizeOrDelay takes its own size instead of the lane's limit
TEST_CASE("settings choose one of the shipped policies by its name and configure it") {
  auto const silent = ShippedPolicy::configure({.max_items = 8});
  REQUIRE(silent);
  CHECK(silent->decide(young) == Immediate{}.decide(young));
  CHECK(ShippedPolicy::configure({.policy = "immediate"})->decide(young) == BatchDecision::dispatch(16));
  PolicySettings settings{.policy = "size_or_delay", .parameters = {{"max_delay_us", 2000}}, .max_items = 8};
  auto const chosen = ShippedPolicy::configure(settings);
  REQUIRE(chosen);
  CHECK(chosen->decide(young) == BatchDecision::wait_until(start + 2ms));
  CHECK(chosen->decide(queue(8, 0ns)) == BatchDecision::dispatch(8));
  settings.parameters.clear();
  CHECK(ShippedPolicy::configure(settings)->decide(queue(3, 0ns)) == BatchDecision::wait_until(start + 1ms));
  CHECK(SizeOrDelay::configure({})->max_delay == 1ms);
}

// mutant: a policy does not look at the name in its settings
// mutant: a policy ignores parameters that it does not know
// mutant: a misspelt key of a batching section is not told which there are
// mutant: a parameter of a policy may be out of range
TEST_CASE("S3-22 a policy refuses settings that it would not heed") {
  auto const unknown = ShippedPolicy::configure({.policy = "eager"});
  CHECK(refusal(unknown) == "policy: expected 'immediate' or 'size_or_delay', got 'eager'");
  CHECK(unknown.error().code == Code::invalid_argument);
  CHECK(unknown.error().reason == Reason::manifest);
  CHECK(refusal(SizeOrDelay::configure({.policy = "immediate"})) ==
        "policy: expected 'size_or_delay', got 'immediate'");
  CHECK(refusal(ShippedPolicy::configure({.parameters = {{"max_delay_us", 500}}})) ==
        "unknown key 'max_delay_us'; known: max_items, max_cost, sizes, instances, policy; the policy "
        "'immediate' takes no parameters");
  CHECK(refusal(ShippedPolicy::configure({.policy = "size_or_delay", .parameters = {{"max_costs", 9}}})) ==
        "unknown key 'max_costs'; known: max_items, max_cost, sizes, instances, policy; the policy "
        "'size_or_delay' takes max_delay_us");
  for (std::int64_t const delay : {-1, 60'000'001})
    CHECK(refusal(SizeOrDelay::configure({.parameters = {{"max_delay_us", delay}}})) ==
          "max_delay_us: expected a whole number from 0 to 60000000, got " + std::to_string(delay));
  CHECK(SizeOrDelay::configure({.parameters = {{"max_delay_us", 60'000'000}}}));
}
