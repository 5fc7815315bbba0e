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

}  // namespace
