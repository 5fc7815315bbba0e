// Callers that find their instance busy for a moment.
#include <doctest/doctest.h>

#include <array>
#include <chrono>

#include <athanor/batching/batcher.hpp>
#include <athanor/core/simulation.hpp>

#include "puppet_client.hpp"

using namespace athanor;
using namespace athanor::batching;
using namespace std::chrono_literals;

namespace {

/// A caller that finds its instance busy may spin, which a test sees.
struct SpinningEnv : SimulatedEnv {
  static constexpr bool simulated = false;
  static inline int pauses = 0;
  static void relax() noexcept { ++pauses; }
};

/// How often a caller pauses that comes while a batch of another one begins, and while it runs.
struct Pauses {
  int before = 0;
  int inside = 0;
};

Pauses pauses_beside(Duration run_time) {
  Simulation world{1};
  SimulatedExecutor executor{2};
  PuppetClient client;
  Lane<SpinningEnv, Immediate, PuppetClient> lane{{}, {}, client, executor};
  std::array<TestCall, 3> calls;
  client.during = [&](Batch const&) { world.advance(run_time); };
  for (int i = 0; i < 20; ++i) lane.enter(calls[0], LendThread::yes);
  auto const pauses_of = [&](TestCall& call) {
    SpinningEnv::pauses = 0;
    lane.enter(call, LendThread::yes);
    CHECK(call.finished == 0);
    return SpinningEnv::pauses;
  };
  Pauses pauses;
  client.permit = [&](Batch const& batch) -> Result<void> {
    if (batch.parts[0].slot == &calls[0]) pauses.before = pauses_of(calls[1]);
    return {};
  };
  lane.enter(calls[0], LendThread::yes);
  client.permit = nullptr;
  world.run_until_idle();
  client.during = [&](Batch const& batch) {
    if (batch.parts[0].slot == &calls[0]) pauses.inside = pauses_of(calls[2]);
  };
  lane.enter(calls[0], LendThread::yes);
  world.run_until_idle();
  for (TestCall const& call : calls) CHECK(call.succeeded);
  return pauses;
}

}  // namespace

// mutant: a caller queues at once beside a batch that is about to begin
// mutant: a caller spins for as long as a long batch runs
TEST_CASE("a caller waits a moment for an instance whose batch is short, or of no size yet") {
  Pauses const beside_short = pauses_beside(1us);
  CHECK(beside_short.before == athanor::detail::spins_before_parking);
  CHECK(beside_short.inside == athanor::detail::spins_before_parking);
  Pauses const beside_long = pauses_beside(1ms);
  CHECK(beside_long.before == athanor::detail::spins_before_parking);
  CHECK(beside_long.inside == 0);
}
