#include <athanor/core/simulation.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <exception>
#include <memory>
#include <set>
#include <string>
#include <utility>
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

// mutant: simulations of one seed differ
TEST_CASE("a schedule is decided by its seed alone") {
  std::string const one = schedule_of(1);
  CHECK(one.size() == 16);
  CHECK(schedule_of(1) == one);
  int different = 0;
  for (std::uint64_t seed = 2; seed < 12; ++seed) different += schedule_of(seed) != one ? 1 : 0;
  CHECK(different == 10);
}

// mutant: the random numbers of a simulation are others
TEST_CASE("the bits of a simulation are those of SplitMix64") {
  Simulation world(1234567 ^ 0x9e3779b97f4a7c15ULL);
  CHECK(world.random() == 6457827717110365317ULL);
  CHECK(world.random() == 3203168211198807973ULL);
  CHECK(world.random() == 9817491932198370423ULL);
  CHECK(SimulatedEnv::random() == 4593380528125082431ULL);
}

// mutant: simulated time passes although something can run
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

// mutant: a simulated executor has any number of threads
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

// mutant: any simulated timer is said to have been disarmed
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

// mutant: a simulated post needs no thread
// mutant: a simulated task that is to begin at once waits for a thread
// mutant: a simulated timer needs no thread
TEST_CASE("a simulation can have no thread to give, and can be a child of a fork") {
  Simulation world(5);
  std::string log;
  Actor first(log, 'f');
  Actor second(log, 's');
  SimulatedExecutor executor(1);
  world.refuse_threads(true);
  CHECK_FALSE(executor.post(first.task()));
  CHECK_FALSE(executor.arm(first.timer(), world.now()));
  CHECK_FALSE(executor.idle());
  world.refuse_threads(false);
  CHECK(executor.post_if_idle(first.task()));
  CHECK_FALSE(executor.idle());
  CHECK_FALSE(executor.post_if_idle(second.task()));
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

// mutant: any simulated task begins although no worker can be started for it
// mutant: a simulated executor is idle although it gets no further thread
TEST_CASE("a simulated worker that cannot be started is no room, beside one that is busy") {
  Simulation world(5, {.order = Turns::Order::random});
  SimulatedExecutor executor(2);
  struct Step : Task {
    TimePoint began{};
    Step() {
      run = [](Task& self) noexcept {
        static_cast<Step&>(self).began = Simulation::current().now();
        Simulation::current().sleep(1ms);
      };
    }
  };
  std::array<Step, 3> steps;
  CHECK(executor.post(steps[0]));
  world.refuse_threads(true);
  CHECK_FALSE(executor.post_if_idle(steps[1]));
  CHECK_FALSE(executor.idle());
  CHECK(executor.post(steps[1]));
  TimePoint const start = world.now();
  world.run_until_idle();
  CHECK(steps[1].began == start + 1ms);
  world.refuse_threads(false);
  CHECK(executor.post(steps[0]));
  CHECK(executor.post_if_idle(steps[2]));
  world.run_until_idle();
  CHECK(steps[2].began == steps[0].began);
}

// mutant: other actors run beside the child of a fork
// mutant: executors of the parent work in the child of a fork
TEST_CASE("an actor acts as the child of a fork, and goes on as the parent") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    CAPTURE(seed);
    Simulation world(seed, {.order = Turns::Order::random});
    SimulatedExecutor executor(1);
    std::string log;
    Actor posted(log, 'p');
    SimulatedMutex held;
    held.lock();
    bool others_ran = false;
    world.spawn([&] {
      {
        Simulation::Child const child(world);
        CHECK(SimulatedEnv::forks() == 1);
        CHECK_FALSE(executor.post(posted.task()));
        CHECK_FALSE(held.try_lock());
        world.sleep(1ms);
      }
      CHECK(SimulatedEnv::forks() == 0);
      CHECK(executor.post(posted.task()));
    });
    for (int i = 0; i < 8; ++i) world.spawn([&] { others_ran = others_ran || SimulatedEnv::forks() != 0; });
    world.run_until_idle();
    CHECK_FALSE(others_ran);
    CHECK(world.actors() == 0);
    CHECK(log == "p");
    held.unlock();
  }
}

// mutant: a simulated wait moves the clock past its deadline
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

// mutant: the end of a simulation leaves none behind
TEST_CASE("simulations nest, and the inner one is current while it lives") {
  Simulation outer(1);
  {
    Simulation const inner(2);
    CHECK(&Simulation::current() == &inner);
  }
  CHECK(&Simulation::current() == &outer);
}

// mutant: a simulated try_lock does not lock
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

/// Who enters first, of four actors that each lock a mutex twice, as letters.
std::string order_of(std::uint64_t seed, Turns const& turns) {
  Simulation world(seed, turns);
  SimulatedMutex mutex;
  std::string order;
  bool inside = false;
  for (char letter = 'a'; letter < 'e'; ++letter) {
    world.spawn([&, letter] {
      for (int i = 0; i < 2; ++i) {
        mutex.lock();
        CHECK_FALSE(std::exchange(inside, true));
        world.sleep(1us);
        order += letter;
        inside = false;
        mutex.unlock();
      }
    });
  }
  world.run_until_idle();
  CHECK(world.actors() == 0);
  return order;
}

// mutant: a simulated lock does not lock
TEST_CASE("actors exclude each other, in an order that the seed alone decides") {
  for (Turns const& turns :
       {Turns{.order = Turns::Order::random}, Turns{.order = Turns::Order::random, .switch_one_in = 2},
        Turns{.order = Turns::Order::priorities, .length = 16}}) {
    int different = 0;
    for (std::uint64_t seed = 1; seed < 20; ++seed) {
      std::string const order = order_of(seed, turns);
      CHECK(order.size() == 8);
      CHECK(order_of(seed, turns) == order);
      different += order != order_of(1, turns) ? 1 : 0;
    }
    CHECK(different > 5);
  }
}

// mutant: a store wakes who is parked on a simulated word
TEST_CASE("an actor stays parked until it is woken, and is counted meanwhile") {
  Simulation world(1, {.order = Turns::Order::priorities});
  SimulatedWord word;
  bool woken = false;
  world.spawn([&] {
    word.wait_until(0, no_deadline);
    woken = true;
  });
  world.run_until_idle();
  word.store(1);
  world.run_until_idle();
  CHECK_FALSE(woken);
  CHECK(world.actors() == 1);
  word.wake_all();
  world.run_until_idle();
  CHECK(woken);
  CHECK(world.actors() == 0);
}

// mutant: actors of a random order are never interrupted
TEST_CASE("an interrupted actor loses an update that is not atomic") {
  int lost = 0;
  for (std::uint64_t seed = 1; seed < 100; ++seed) {
    Simulation world(seed, {.order = Turns::Order::random, .switch_one_in = 2});
    SimulatedAtomic<int> count{0};
    for (int i = 0; i < 2; ++i) world.spawn([&] { count.store(count.load() + 1); });
    world.run_until_idle();
    lost += count.load() == 1 ? 1 : 0;
  }
  CHECK(lost > 10);
  CHECK(lost < 90);
}

thread_local int of_each_actor = 0;

// mutant: the main thread goes on with the values of an actor
TEST_CASE("each actor has its own thread-local variables and its own exceptions") {
  Simulation world(1, {.order = Turns::Order::random});
  world.give_each_actor(of_each_actor);
  of_each_actor = 7;
  for (int i = 0; i < 3; ++i) {
    world.spawn([&world, i] {
      CHECK(of_each_actor == 0);
      of_each_actor = i;
      try {
        throw i;
      } catch (int caught) {
        world.sleep(1ms);
        CHECK(caught == i);
        CHECK(std::uncaught_exceptions() == 0);
      }
      CHECK(of_each_actor == i);
    });
  }
  world.run_until_idle();
  CHECK(of_each_actor == 7);
}

struct Depth {
  using Value = int;
};
struct Place {
  using Value = void const*;
};

// mutant: all actors have the variables of what is outside of them
TEST_CASE("each actor has its own variables of the environment, and what is outside of actors has others") {
  Simulation world(1, {.order = Turns::Order::random});
  SimulatedEnv::local<Depth>() = 7;
  for (int i = 1; i <= 3; ++i) {
    world.spawn([&world, i] {
      CHECK(SimulatedEnv::local<Depth>() == 0);
      CHECK(SimulatedEnv::local<Place>() == nullptr);
      SimulatedEnv::local<Depth>() = i;
      SimulatedEnv::local<Place>() = &world;
      world.sleep(1ms);
      CHECK(SimulatedEnv::local<Depth>() == i);
    });
  }
  world.run_until_idle();
  CHECK(SimulatedEnv::local<Depth>() == 7);
  CHECK(SimulatedEnv::local<Place>() == nullptr);
}

TEST_CASE("outside of a simulation a variable of the environment is the thread's") {
  detail::local<SimulatedEnv, Depth>() = 3;
  CHECK(detail::local<SystemEnv, Depth>() == 3);
  detail::local<SystemEnv, Depth>() = 0;
}

// mutant: all actors have one thread number
TEST_CASE("an actor has the number of a thread, its own or shared, and keeps it") {
  Simulation world(1, {.order = Turns::Order::random});
  std::set<std::size_t> numbers;
  for (int i = 0; i < 32; ++i)
    world.spawn([&] {
      std::size_t const number = SimulatedEnv::thread_number();
      world.sleep(1ms);
      CHECK(SimulatedEnv::thread_number() == number);
      numbers.insert(number);
    });
  world.run_until_idle();
  CHECK(numbers == std::set<std::size_t>{0, 1, 2, 3});
  CHECK(SimulatedEnv::thread_number() == 0);
}

// mutant: a simulated stop abandons nobody
TEST_CASE("an executor of actors abandons who is inside at the deadline") {
  Simulation world(1, {.order = Turns::Order::random});
  SimulatedExecutor executor(2);
  struct Sleeper : Task {
    Duration time{};
  };
  Sleeper quick;
  Sleeper slow;
  quick.time = 1ms;
  slow.time = 5ms;
  for (Sleeper* sleeper : {&quick, &slow}) {
    sleeper->run = [](Task& self) noexcept { Simulation::current().sleep(static_cast<Sleeper&>(self).time); };
    executor.post(*sleeper);
  }
  std::size_t abandoned = 99;
  world.spawn([&] {
    world.sleep(100us);
    abandoned = executor.stop(after(world.now(), 2ms));
  });
  world.run_until_idle();
  CHECK(abandoned == 1);
}

// mutant: a simulated worker that stops its executor waits for what is posted
// mutant: a stop on a simulated worker counts that worker as abandoned
TEST_CASE("a simulated worker that stops its executor runs what is left, and does not count itself") {
  for (auto const order : {Turns::Order::steps, Turns::Order::random}) {
    Simulation world(1, {.order = order});
    struct Stop : Task {
      SimulatedExecutor executor{1};
      Task posted;
      bool ran = false;
      std::size_t abandoned = 99;
    } stop;
    static Stop* here = nullptr;
    here = &stop;
    stop.posted.run = [](Task&) noexcept { here->ran = true; };
    stop.run = [](Task&) noexcept {
      here->executor.post(here->posted);
      here->abandoned = here->executor.stop(after(Simulation::current().now(), 1h));
      CHECK(here->ran);
    };
    REQUIRE(stop.executor.post(stop));
    TimePoint const before = world.now();
    world.run_until_idle();
    CHECK(stop.abandoned == 0);
    CHECK(world.now() == before);
  }
}

// mutant: a simulated worker runs what is posted before what its task deferred
// mutant: a simulated task is deferred from outside of tasks
TEST_CASE("a simulated worker runs what its task deferred, with one thread before what was posted") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Simulation world(seed);
    SimulatedExecutor executor(1);
    std::vector<int> order;
    struct Noted : Task {
      std::function<void()> body;
      Noted() {
        run = [](Task& self) noexcept { static_cast<Noted&>(self).body(); };
      }
    };
    Noted first, deferred, posted;
    first.body = [&] {
      executor.post(posted);
      CHECK(executor.defer(deferred));
      order.push_back(1);
    };
    deferred.body = [&] { order.push_back(2); };
    posted.body = [&] { order.push_back(3); };
    CHECK_FALSE(executor.defer(first));
    executor.post(first);
    world.run_until_idle();
    CHECK(order == std::vector<int>{1, 2, 3});
  }
}

}  // namespace
