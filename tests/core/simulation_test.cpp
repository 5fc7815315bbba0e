#include <athanor/core/simulation.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <vector>

namespace {

using namespace athanor;
using namespace std::chrono_literals;

/// A task and a timer that write their letter into a log.
struct Actor : Task, Timer {
  Actor(std::string& log_, char letter_) : log(log_), letter(letter_) {
    run = [](Task& self) noexcept { static_cast<Actor&>(self).act(); };
    fire = [](Timer& self) noexcept { static_cast<Actor&>(self).act(); };
  }
  void act() { log += letter; }
  Task& task() { return *this; }
  Timer& timer() { return *this; }
  std::string& log;
  char letter;
};

/// The order in which eight tasks and eight timers of two executors act under `seed`.
std::string schedule_of(std::uint64_t seed) {
  Simulation world(seed);
  SimulatedExecutor first(1);
  SimulatedExecutor second(3);
  std::string log;
  std::vector<std::unique_ptr<Actor>> actors;
  for (char letter = 'a'; letter < 'q'; ++letter) {
    auto& actor = *actors.emplace_back(std::make_unique<Actor>(log, letter));
    auto& executor = letter % 2 == 0 ? first : second;
    if (letter < 'i') {
      executor.post(actor.task());
    } else {
      executor.arm(actor.timer(), world.now());
    }
  }
  world.run_until_idle();
  return log;
}

// mutant: a random number from anywhere but the seed
TEST_CASE("a schedule is decided by its seed alone") {
  std::string const one = schedule_of(1);
  CHECK(one.size() == 16);
  CHECK(schedule_of(1) == one);
  int different = 0;
  for (std::uint64_t seed = 2; seed < 12; ++seed) different += schedule_of(seed) != one ? 1 : 0;
  CHECK(different == 10);
}

// mutant: another constant or shift in Simulation::random
TEST_CASE("the bits of a simulation are those of SplitMix64") {
  Simulation world(1234567 ^ 0x9e3779b97f4a7c15ULL);
  CHECK(world.random() == 6457827717110365317ULL);
  CHECK(world.random() == 3203168211198807973ULL);
  CHECK(world.random() == 9817491932198370423ULL);
  CHECK(SimulatedEnv::random() == 4593380528125082431ULL);
}

// mutant: step that moves the clock while a task is runnable
TEST_CASE("the clock moves only when nothing is runnable, and then to the next timer") {
  Simulation world(7);
  SimulatedExecutor executor(1);
  std::string log;
  Actor late(log, 'l');
  Actor soon(log, 's');
  Actor now(log, 'n');
  TimePoint const start = world.now();
  executor.arm(late.timer(), start + 5ms);
  executor.arm(soon.timer(), start + 2ms);
  executor.post(now.task());
  CHECK(world.step());
  CHECK(log == "n");
  CHECK(world.now() == start);
  CHECK_FALSE(world.step_now());
  CHECK(world.step());
  CHECK(log == "ns");
  CHECK(world.now() == start + 2ms);
  world.advance(10ms);
  CHECK(world.step_now());
  CHECK(log == "nsl");
  CHECK(SimulatedEnv::now() == start + 12ms);
  CHECK_FALSE(world.step());
  CHECK(world.steps() == 3);
}

// mutant: has_room that does not look at the number of threads
TEST_CASE("an executor runs no more tasks at once than it has threads") {
  for (std::size_t const threads : {1U, 2U, 3U}) {
    Simulation world(3);
    SimulatedExecutor executor(threads);
    struct Nested : Task {
      Simulation* world = nullptr;
      std::size_t* depth = nullptr;
      std::size_t* most = nullptr;
    };
    std::size_t depth = 0;
    std::size_t most = 0;
    std::array<Nested, 5> tasks;
    for (auto& task : tasks) {
      task.world = &world;
      task.depth = &depth;
      task.most = &most;
      task.run = [](Task& self) noexcept {
        auto& nested = static_cast<Nested&>(self);
        *nested.most = std::max(*nested.most, ++*nested.depth);
        nested.world->step_now();
        --*nested.depth;
      };
      executor.post(task);
    }
    world.run_until_idle();
    CHECK(most == threads);
    CHECK(world.steps() == tasks.size());
  }
}

// mutant: disarm that always says true, or stop that drops what is posted
TEST_CASE("a simulated executor arms, disarms and stops as a real one does") {
  Simulation world(5);
  std::string log;
  Actor armed(log, 'a');
  Actor posted(log, 'p');
  SimulatedExecutor executor(1);
  CHECK_FALSE(executor.disarm(armed.timer()));
  executor.arm(armed.timer(), world.now());
  executor.arm(armed.timer(), world.now() + 1ms);
  CHECK(executor.disarm(armed.timer()));
  CHECK_FALSE(executor.disarm(armed.timer()));
  executor.arm(armed.timer(), world.now());
  executor.post(posted.task());
  CHECK(executor.stop(no_deadline) == 0);
  CHECK(log == "p");
  CHECK_FALSE(executor.post(posted.task()));
  executor.arm(armed.timer(), world.now());
  world.run_until_idle();
  CHECK(log == "p");
  executor.disarm(armed.timer());
  CHECK(armed.place == Timer::unarmed);
}

// mutants: a simulated post, or arm, that does not ask for a thread
TEST_CASE("a simulation can have no thread to give, and can be a child of a fork") {
  Simulation world(5);
  std::string log;
  Actor first(log, 'f');
  Actor second(log, 's');
  SimulatedExecutor executor(1);
  world.refuse_threads(true);
  CHECK_FALSE(executor.post(first.task()));
  CHECK_FALSE(executor.arm(first.timer(), world.now()));
  world.refuse_threads(false);
  CHECK(executor.idle());
  CHECK(executor.post(first.task()));
  CHECK_FALSE(executor.idle());
  CHECK(executor.arm(first.timer(), world.now()));
  world.refuse_threads(true);  // both threads are there by now
  CHECK(executor.post(second.task()));
  CHECK(executor.arm(second.timer(), world.now()));
  world.run_until_idle();
  CHECK(log.size() == 4);
  CHECK(executor.arm(second.timer(), world.now()));
  world.fork();
  CHECK(SimulatedEnv::forks() == 1);
  CHECK_FALSE(executor.post(first.task()));
  CHECK_FALSE(executor.arm(first.timer(), world.now()));
  CHECK_FALSE(executor.idle());
  world.run_until_idle();
  CHECK(log.size() == 4);
  CHECK(executor.stop(no_deadline) == 0);
}

// mutant: wait_until that goes on past its deadline, or that moves the clock too far
TEST_CASE("parking lets the others act until the word changes or the deadline is there") {
  Simulation world(9);
  SimulatedExecutor executor(1);
  struct Setter : Timer {
    SimulatedWord* word = nullptr;
  };
  SimulatedWord word;
  Setter setter;
  setter.word = &word;
  setter.fire = [](Timer& self) noexcept { static_cast<Setter&>(self).word->store(1); };
  TimePoint const start = world.now();
  CHECK_FALSE(word.wait_until(0, start + 3ms));
  CHECK(world.now() == start + 3ms);
  executor.arm(setter, start + 5ms);
  CHECK(word.wait_until(0, start + 1h));
  CHECK(world.now() == start + 5ms);
  CHECK(word.wait_until(0, no_deadline));
  // Nobody is left who could change it: a wait without end returns instead of hanging.
  CHECK(word.wait_until(1, no_deadline));
  CHECK(word.load() == 1);
}

// mutant: a destructor that leaves no simulation behind
TEST_CASE("simulations nest, and the inner one is current while it lives") {
  Simulation outer(1);
  {
    Simulation const inner(2);
    CHECK(&Simulation::current() == &inner);
  }
  CHECK(&Simulation::current() == &outer);
}

// mutant: try_lock that does not keep the lock
TEST_CASE("a simulated mutex is held by one") {
  SimulatedMutex mutex;
  auto const taken_by_another = [&] {
    if (!mutex.try_lock()) return true;
    mutex.unlock();
    return false;
  };
  if (mutex.try_lock()) {
    CHECK(taken_by_another());
    mutex.unlock();
  } else {
    FAIL_CHECK("a free mutex is not taken");
  }
  CHECK_FALSE(taken_by_another());
  mutex.lock();
  CHECK(taken_by_another());
  mutex.unlock();
}

}  // namespace
