#include <array>
#include <vector>

#include <doctest/doctest.h>
#include <athanor/core/simulation.hpp>

#include "../../lib/core/backlog.hpp"

using namespace athanor;

namespace {

struct Numbered : Task {
  std::size_t number = 0;
  int runs = 0;
};

/// A worker that defers tasks and runs what is left of them, and two threads that take over what is open.
class Work {
 public:
  Work(std::uint64_t seed, Turns const& turns) : world_(seed, turns) {
    for (std::size_t i = 0; i < tasks_.size(); ++i) tasks_[i].number = i;
    world_.spawn([this] { serve(); });
    for (int i = 0; i < 2; ++i) world_.spawn([this] { take_over(); });
    world_.run_until_idle();
    REQUIRE(world_.actors() == 0);
    for (Numbered const& task : tasks_) CHECK(task.runs == 1);
  }

 private:
  void serve() {
    while (added_ < tasks_.size()) {
      add_some();
      std::size_t last = 0;
      while (Task* const task = backlog_.next()) {
        std::size_t const number = run(*task);
        CHECK(number + 1 > last);  // in the order of deferring
        last = number + 1;
        if (world_.below(2) == 0) world_.sleep(Duration(1 + world_.below(3)));
        if (world_.below(3) == 0) add_some();
      }
      CHECK(!backlog_.has_open());
    }
    done_ = true;
  }
  void add_some() {
    for (std::uint64_t i = 1 + world_.below(3); i > 0 && added_ < tasks_.size(); --i)
      backlog_.add(tasks_[added_++]);
  }
  void take_over() {
    while (!done_) {
      for (Task* task = backlog_.take_over(); task != nullptr;) {
        Task* const next = task->next;
        std::size_t const number = run(*task);
        if (next != nullptr) CHECK(static_cast<Numbered const*>(next)->number > number);
        task = next;
      }
      world_.sleep(Duration(1 + world_.below(2)));
    }
  }
  std::size_t run(Task& task) {
    auto const* const first = static_cast<Task const*>(&tasks_.front());
    auto const* const last = static_cast<Task const*>(&tasks_.back());
    REQUIRE((&task >= first && &task <= last));
    auto& numbered = static_cast<Numbered&>(task);
    ++numbered.runs;
    return numbered.number;
  }

  Simulation world_;
  Backlog<SimulatedEnv> backlog_;
  std::array<Numbered, 12> tasks_{};
  std::size_t added_ = 0;
  bool done_ = false;
};

}  // namespace

// mutant: others take over what a worker is about to put back
// mutant: a worker that takes its next task forgets that it runs behind others
// mutant: a worker takes its next task beside those who take over
TEST_CASE(
    "every deferred task is run once, by its worker or by who takes over, however they are interleaved") {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    Work(seed, {.order = Turns::Order::random, .switch_one_in = 3});
    Work(seed, {.order = Turns::Order::priorities, .changes = 4, .length = 300});
  }
}
