// Whom a stop of an executor waits for, whom it abandons, and who runs what is left.
#include <athanor/core/env.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <memory>

namespace {

using namespace athanor;

/// A task that blocks its worker until it is let go. Must outlive the test, as what the
/// tests watch: an abandoned worker may still be on its way out when the test ends.
class Blocked : public Task {
 public:
  Blocked() {
    run = [](Task& self) noexcept {
      auto& phase = static_cast<Blocked&>(self).phase_;
      phase = 1;
      phase.notify_all();
      phase.wait(1);
    };
  }
  void wait_until_inside() { phase_.wait(0); }
  void let_go() {
    phase_ = 2;
    phase_.notify_all();
  }

 private:
  std::atomic<int> phase_{0};
};

// mutant: a stop joins the threads that it abandons
// mutant: a thread of an executor does not keep its owner alive
TEST_CASE("a worker blocked in its task is abandoned at the deadline, counted, and keeps its owner alive") {
  static std::atomic<bool> owner_gone{false};
  struct Owner {
    ~Owner() {
      owner_gone = true;
      owner_gone.notify_all();
    }
  };
  static Blocked blocked;
  auto owner = std::make_shared<Owner>();
  {
    SystemExecutor executor(1);
    executor.keep_alive_with(owner);
    CHECK(executor.post(blocked));
    blocked.wait_until_inside();
    CHECK(executor.stop(SystemEnv::now()) == 1);
  }
  owner.reset();
  CHECK_FALSE(owner_gone.load());
  blocked.let_go();
  owner_gone.wait(false);
  CHECK(owner_gone.load());
}

// mutant: what was posted behind an abandoned task is dropped
TEST_CASE("what was posted behind an abandoned task is run by who stops the executor") {
  static std::atomic<bool> ran{false};
  static Blocked blocked;
  static Task behind;
  behind.run = [](Task&) noexcept { ran = true; };
  SystemExecutor executor(1);
  CHECK(executor.post(blocked));
  blocked.wait_until_inside();
  CHECK(executor.post(behind));
  CHECK(executor.stop(SystemEnv::now()) == 1);
  CHECK(ran.load());
  blocked.let_go();
}

// mutant: what an abandoned worker deferred is dropped
TEST_CASE("what an abandoned worker deferred is run by who stops the executor") {
  static std::atomic<bool> ran{false};
  static SystemExecutor* executor = nullptr;
  static Blocked blocked;
  static Task behind;
  behind.run = [](Task&) noexcept { ran = true; };
  static Task first;
  first.run = [](Task&) noexcept {
    executor->defer(blocked);
    executor->defer(behind);
  };
  SystemExecutor stopped(1);
  executor = &stopped;
  CHECK(stopped.post(first));
  blocked.wait_until_inside();
  CHECK(stopped.stop(SystemEnv::now()) == 1);
  CHECK(ran.load());
  blocked.let_go();
}

// mutant: a worker that stops its executor leaves what is posted to others
// mutant: a worker that stops its executor forgets what it deferred
// mutant: a stop on a worker counts that worker as abandoned
TEST_CASE(
    "a worker that stops its executor runs what is left, and neither waits for itself nor counts itself") {
  struct Stop : Task {
    SystemExecutor executor{1};
    Task posted;
    Task deferred;
    int ran = 0;
    std::size_t abandoned = 99;
    std::atomic<bool> over{false};
  };
  static Stop stop;
  stop.posted.run = stop.deferred.run = [](Task&) noexcept { ++stop.ran; };
  stop.run = [](Task&) noexcept {
    stop.executor.post(stop.posted);
    stop.executor.defer(stop.deferred);
    stop.abandoned = stop.executor.stop(no_deadline);
    CHECK(stop.ran == 2);
    stop.over = true;
    stop.over.notify_all();
  };
  REQUIRE(stop.executor.post(stop));
  stop.over.wait(false);
  CHECK(stop.abandoned == 0);
}

// mutant: a stop on the thread of timers counts it as abandoned
TEST_CASE("a timer that stops its executor waits for the workers, and not for itself") {
  struct Stop : Timer {
    SystemExecutor executor{1};
    Task posted;
    std::atomic<bool> ran{false};
    std::size_t abandoned = 99;
    std::atomic<bool> over{false};
  };
  static Stop stop;
  stop.posted.run = [](Task&) noexcept { stop.ran = true; };
  stop.fire = [](Timer&) noexcept {
    stop.executor.post(stop.posted);
    stop.abandoned = stop.executor.stop(no_deadline);
    CHECK(stop.ran.load());
    stop.over = true;
    stop.over.notify_all();
  };
  REQUIRE(stop.executor.arm(stop, SystemEnv::now()));
  stop.over.wait(false);
  CHECK(stop.abandoned == 0);
}

}  // namespace
