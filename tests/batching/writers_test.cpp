// Who writes which memory.
#include <doctest/doctest.h>
#include <support/recorded_env.hpp>

#include "puppet_client.hpp"

using namespace athanor;
using athanor_tests::Recorded;
using athanor_tests::Recorder;
using namespace athanor::batching;
using namespace std::chrono_literals;

namespace {

using RecordedEnv = Recorded<SimulatedEnv>;

struct Writers {
  Simulation world{1};
  SimulatedExecutor executor{2};
  PuppetClient client{2};
  Lane<RecordedEnv, Immediate, PuppetClient> lane{{.instances = 2}, {}, client, executor};
  TestCall calls[3];

  /// The callers run inside one another, so that they are there at the same time.
  void overlap(int callers) {
    client.during = [this, callers](Batch const&) {
      world.advance(1us);
      if (Recorder::caller < callers) enter(Recorder::caller + 1);
    };
    enter(1);
  }
  void enter(int caller) {
    int const outer = std::exchange(Recorder::caller, caller);
    calls[caller - 1].finished = 0;
    lane.enter(calls[caller - 1], LendThread::yes);
    Recorder::caller = outer;
  }
};

}  // namespace

// mutant: a lone caller takes the mutex
TEST_CASE("two callers at two instances write no common memory of the lane, a lone one a single line") {
  Writers writers;
  for (int i = 0; i < 20; ++i) writers.overlap(2);
  Recorder::clear();
  for (int i = 0; i < 100; ++i) writers.overlap(2);
  CHECK(Recorder::writers.size() == 2);
  CHECK(Recorder::shared() == 0);
  for (auto const& call : writers.calls) CHECK(call.finished == (&call == &writers.calls[2] ? 0 : 1));

  Recorder::clear();
  for (int i = 0; i < 100; ++i) writers.overlap(1);
  CHECK(Recorder::writers.size() == 1);

  // A third one finds no idle instance, and queues.
  Recorder::clear();
  writers.overlap(3);
  CHECK(Recorder::writers.size() > 2);
  writers.client.during = nullptr;
  writers.world.run_until_idle();
  CHECK(writers.calls[2].finished == 1);
}
