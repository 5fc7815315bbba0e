// The lane between any two operations of several threads.
#include <deque>

#include <doctest/doctest.h>

#include <athanor/batching/detail/lane.hpp>
#include <athanor/core/simulation.hpp>

using namespace athanor;
using namespace athanor::batching;
using namespace std::chrono_literals;

namespace {

struct Call : Slot {
  SimulatedWord word;
};

/// Lets others act while a batch runs, and sees whether two are in one instance.
struct Client {
  int inside[2] = {};
  int faults = 0;

  bool wanted(Slot&) noexcept { return true; }
  Result<void> begin(Batch const&) noexcept { return {}; }
  Result<void> execute(Batch const& batch) noexcept {
    if (inside[batch.instance]++ != 0 || batch.items > 3) ++faults;
    SimulatedEnv::relax();
    --inside[batch.instance];
    return {};
  }
  void end(Batch const&, Verdict, TimePoint) noexcept {}
  void finish(Slot& slot, Error const* error, TimePoint) noexcept {
    auto& word = static_cast<Call&>(slot).word;
    if (error != nullptr || word.exchange(1) != 0) ++faults;
    word.wake_all();
  }
};

/// Three threads enter, wait, and withdraw. What did not hold; empty when all did.
template <class Policy>
std::string play(std::uint64_t seed, Turns const& turns, Policy policy) {
  Simulation world(seed, turns);
  SimulatedExecutor executor(2);
  Client client;
  auto const instances = 1 + static_cast<std::uint32_t>(world.below(2));
  Lane<SimulatedEnv, Policy, Client> lane({.instances = instances, .max_items = 3}, policy, client, executor);
  std::deque<Call> calls(15);
  for (std::size_t thread = 0; thread < 3; ++thread)
    world.spawn([&, thread] {
      for (std::size_t i = 5 * thread; i < 5 * thread + 5; ++i) {
        Call& call = calls[i];
        call.batch_key = world.below(2);
        call.batch_items = 1 + static_cast<std::uint32_t>(world.below(4));
        lane.enter(call, world.below(3) == 0 ? LendThread::no : LendThread::yes);
        if (world.below(4) == 0 && lane.withdraw(call)) continue;
        while (call.word.load() == 0) call.word.wait_until(0, no_deadline);
      }
    });
  world.run_until_idle();
  if (world.actors() != 0) return "a thread waits for what never comes";
  if (client.faults != 0) return "an instance was entered twice, or a slot finished twice";
  auto const snapshot = lane.snapshot();
  if (snapshot.queued_items != 0 || snapshot.queued_requests != 0 || snapshot.busy_instances != 0)
    return "something is left";
  return {};
}

}  // namespace

// mutant: who leaves a request in the inbox does not look at the instances again
// mutant: two callers take one idle instance
TEST_CASE(
    "threads that are interrupted between any two operations lose nothing and enter no instance twice") {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    CAPTURE(seed);
    REQUIRE(play(seed, {.order = Turns::Order::random, .switch_one_in = 3}, Immediate{}) == "");
    REQUIRE(play(seed, {.order = Turns::Order::priorities}, Immediate{}) == "");
    REQUIRE(play(seed, {.order = Turns::Order::random, .switch_one_in = 3},
                 SizeOrDelay{.max_items = 3, .max_delay = 100us}) == "");
  }
}
