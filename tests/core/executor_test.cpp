// The executor of threads: tasks, what they defer, timers, idleness, its stop, and a child of a fork.
#include <athanor/core/detail/thread_start.hpp>
#include <athanor/core/env.hpp>

#include <doctest/doctest.h>

#include <array>
#include <initializer_list>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <sys/wait.h>
#include <unistd.h>
#endif

#include <core/waits.hpp>

namespace {

using namespace athanor;
using namespace athanor_tests;
using namespace std::chrono_literals;

/// A task that calls a function.
template <class Function>
struct Job : Task {
  explicit Job(Function function_) : function(std::move(function_)) {
    run = [](Task& self) noexcept { static_cast<Job&>(self).function(); };
  }
  Function function;
};

struct Alarm : Timer {
  explicit Alarm(SystemWord& fired_) : fired(fired_) {
    fire = [](Timer& self) noexcept {
      auto& alarm = static_cast<Alarm&>(self);
      alarm.fired_at = SystemEnv::now();
      alarm.turn = alarm.fired.load();
      alarm.fired.store(alarm.turn + 1);
      alarm.fired.wake_all();
    };
  }
  SystemWord& fired;
  TimePoint fired_at{};
  std::uint32_t turn = 0;
};

// mutant: what is posted last runs first
TEST_CASE("tasks of one thread run in the order of posting, and stop runs what is posted") {
  SystemExecutor executor(1);
  std::vector<Task*> seen;
  struct Noted : Task {
    std::vector<Task*>* seen = nullptr;
  };
  std::array<Noted, 100> tasks;
  for (auto& task : tasks) {
    task.seen = &seen;
    task.run = [](Task& self) noexcept { static_cast<Noted&>(self).seen->push_back(&self); };
    CHECK(executor.post(task));
  }
  CHECK(executor.stop(no_deadline) == 0);
  REQUIRE(seen.size() == tasks.size());
  for (std::size_t i = 0; i < tasks.size(); ++i) CHECK(seen[i] == &tasks[i]);
  CHECK_FALSE(executor.post(tasks[0]));
  CHECK(seen.size() == tasks.size());
  CHECK(executor.stop(no_deadline) == 0);
}

// mutant: an executor starts one worker only
TEST_CASE("two threads run two tasks at the same time") {
  SystemWord first;
  SystemWord second;
  bool met = false;
  Job one([&] {
    first.store(1);
    first.wake_all();
    met = reaches(second, 1);
  });
  Job two([&] {
    if (!reaches(first, 1)) return;
    second.store(1);
    second.wake_all();
  });
  SystemExecutor executor(2);
  executor.post(one);
  executor.post(two);
  executor.stop(no_deadline);
  CHECK(met);
}

// mutant: a timer moved in the heap does not rise
// mutant: a timer fires before its time
TEST_CASE("timers fire in the order of their times and never early") {
  SystemExecutor executor(1);
  SystemWord fired;
  std::array<Alarm, 4> alarms{Alarm(fired), Alarm(fired), Alarm(fired), Alarm(fired)};
  TimePoint const start = SystemEnv::now();
  for (std::size_t i = alarms.size(); i-- > 0;)
    executor.arm(alarms[i], start + 5ms + std::chrono::milliseconds(i));
  CHECK(reaches(fired, 4));
  executor.stop(no_deadline);
  for (std::size_t i = 0; i < alarms.size(); ++i) {
    CHECK(alarms[i].turn == i);
    CHECK(alarms[i].fired_at >= start + 5ms + std::chrono::milliseconds(i));
    CHECK(alarms[i].place == Timer::unarmed);
  }
}

TEST_CASE("a timer fires while every worker is inside a task") {
  SystemWord busy;
  SystemWord fired;
  Alarm alarm(fired);
  bool in_time = false;
  Job waits_for_it([&] {
    busy.store(1);
    busy.wake_all();
    in_time = reaches(fired, 1);
  });
  SystemExecutor executor(1);
  executor.post(waits_for_it);
  CHECK(reaches(busy, 1));
  executor.arm(alarm, SystemEnv::now());
  CHECK(reaches(fired, 1));
  executor.stop(no_deadline);
  CHECK(in_time);
}

// mutant: a timer is armed twice
TEST_CASE("a timer that is disarmed does not fire, and one armed again fires once at its last time") {
  SystemExecutor executor(1);
  SystemWord fired;
  Alarm taken_back(fired);
  Alarm again(fired);
  CHECK_FALSE(executor.disarm(taken_back));
  executor.arm(taken_back, after(SystemEnv::now(), 1h));
  executor.arm(again, after(SystemEnv::now(), 1h));
  CHECK(executor.disarm(taken_back));
  CHECK_FALSE(executor.disarm(taken_back));
  executor.arm(again, SystemEnv::now());
  CHECK(reaches(fired, 1));
  CHECK_FALSE(executor.disarm(again));
  executor.stop(no_deadline);
  CHECK(fired.load() == 1);
}

// mutant: stop does not wake the thread that keeps time
TEST_CASE("a stopped executor fires no timer, armed before or after") {
  SystemExecutor executor(2);
  SystemWord fired;
  Alarm armed(fired);
  Alarm late(fired);
  executor.arm(armed, after(SystemEnv::now(), 1h));
  CHECK(executor.stop(no_deadline) == 0);
  executor.arm(late, SystemEnv::now());
  executor.disarm(armed);
  executor.disarm(late);
  CHECK(armed.place == Timer::unarmed);
  CHECK(late.place == Timer::unarmed);
  CHECK(fired.load() == 0);
}

// mutant: a burst of posts wakes one worker, which leaves the rest to itself
TEST_CASE("of two tasks posted at once to two idle workers, neither waits for the other") {
  SystemWord first;
  SystemWord second;
  std::uint32_t round = 0;
  bool met = true;
  Job waits([&] {
    std::uint32_t const now = round;
    met = reaches(second, now);
    first.store(now);
    first.wake_all();
  });
  Job other([&] {
    second.store(round);
    second.wake_all();
  });
  SystemExecutor executor(2);
  while (met && round < 300) {
    ++round;
    executor.post(waits);
    executor.post(other);
    CHECK(reaches(first, round));
    std::this_thread::yield();  // both go idle, most of the time, before the next round
  }
  executor.stop(no_deadline);
  CHECK(met);
}

// mutant: what is deferred runs last first
// mutant: what a deferred task defers is forgotten
// mutant: any worker defers to any executor
TEST_CASE("what a task defers runs on its worker, in order, before what was posted") {
  SystemExecutor executor(1);
  std::vector<int> order;
  std::vector<std::thread::id> threads;
  auto const note = [&](int number) {
    order.push_back(number);
    threads.push_back(std::this_thread::get_id());
  };
  Job third([&] { note(3); });
  Job second([&] {
    note(2);
    CHECK(executor.defer(third));
  });
  Job fourth([&] { note(4); });
  SystemWord over;
  Job posted([&] {
    note(5);
    over.store(1);
    over.wake_all();
  });
  Job first([&] {
    CHECK(executor.post(posted));
    CHECK(executor.defer(second));
    CHECK(executor.defer(fourth));
    note(1);
  });
  CHECK_FALSE(executor.defer(first));
  executor.post(first);
  CHECK(reaches(over, 1));
  executor.stop(no_deadline);
  // A machine that is busy with other work may hold the worker up: then 4 is taken over, and runs after 3.
  bool const in_order = order == std::vector{1, 2, 4, 3, 5} || order == std::vector{1, 2, 3, 4, 5};
  CHECK(in_order);
  for (auto const thread : threads) CHECK(thread == threads[0]);
}

// mutant: any worker defers to any executor
TEST_CASE("only the workers of an executor defer to it, and not the thread that fires its timers") {
  SystemExecutor executor(1);
  SystemExecutor other(1);
  SystemWord fired;
  struct Asking : Alarm {
    using Alarm::Alarm;
    SystemExecutor* executor = nullptr;
    Task task;
    bool taken = true;
  };
  Asking asking(fired);
  asking.executor = &executor;
  asking.fire = [](Timer& self) noexcept {
    auto& alarm = static_cast<Asking&>(self);
    alarm.taken = alarm.executor->defer(alarm.task);
    alarm.fired.store(1);
    alarm.fired.wake_all();
  };
  executor.arm(asking, SystemEnv::now());
  CHECK(reaches(fired, 1));
  CHECK_FALSE(asking.taken);
  bool taken = true;
  Job job([&] { taken = executor.defer(asking.task); });
  other.post(job);
  other.stop(no_deadline);
  CHECK_FALSE(taken);
}

// mutant: a worker's backlog is watched by nobody
// mutant: what is taken over calls no worker
TEST_CASE("what waits behind a deferred task that blocks is taken over by other workers") {
  SystemExecutor executor(2);
  SystemWord ran;
  auto const count = [&] {
    std::uint32_t seen = ran.load();
    while (!ran.compare_exchange(seen, seen + 1)) {
    }
    ran.wake_all();
  };
  SystemWord over;
  bool in_time = true;
  std::uint32_t round = 0;
  Job blocks([&] {
    in_time = reaches(ran, 3);
    ran.store(0);
    over.store(round);
    over.wake_all();
  });
  Job a(count), b(count), c(count);
  Job begins([&] {
    for (Task* task : std::initializer_list<Task*>{&blocks, &a, &b, &c}) executor.defer(*task);
  });
  while (in_time && round < 20) {
    ++round;
    executor.post(begins);
    REQUIRE(reaches(over, round));
  }
  executor.stop(no_deadline);
  CHECK(in_time);
}

// mutant: idle ignores what is queued
// mutant: a task that is to begin at once waits for a worker
TEST_CASE("an executor is idle while a worker is free for one more task") {
  SystemWord begun;
  SystemWord go_on;
  SystemExecutor executor(1);
  Job refused([] { FAIL("this task was not taken"); });
  Job blocks([&] {
    begun.store(1);
    begun.wake_all();
    reaches(go_on, 1);
  });
  CHECK(executor.idle());
  CHECK(executor.post_if_idle(blocks));
  CHECK_FALSE(executor.idle());
  CHECK_FALSE(executor.post_if_idle(refused));
  CHECK(reaches(begun, 1));
  CHECK_FALSE(executor.idle());
  CHECK_FALSE(executor.post_if_idle(refused));
  go_on.store(1);
  go_on.wake_all();
  executor.stop(no_deadline);
}

// mutant: a task that is to begin at once waits for a worker that cannot be started
// mutant: an executor is idle although it gets no further thread
TEST_CASE("a worker that cannot be started is no room, beside one that is busy") {
  SystemWord begun;
  SystemWord go_on;
  SystemWord ran;
  SystemExecutor executor(2);
  Job blocks([&] {
    begun.store(1);
    begun.wake_all();
    reaches(go_on, 1);
  });
  Job task([&] {
    ran.store(1);
    ran.wake_all();
  });
  CHECK(executor.post(blocks));
  CHECK(reaches(begun, 1));
  detail::refuse_threads = true;
  CHECK_FALSE(executor.post_if_idle(task));
  CHECK_FALSE(executor.idle());
  detail::refuse_threads = false;
  CHECK(executor.post_if_idle(task));
  CHECK(reaches(ran, 1));
  for (TimePoint const limit = give_up(); !executor.idle() && SystemEnv::now() < limit;)
    std::this_thread::yield();  // until the task has returned
  CHECK(executor.idle());
  go_on.store(1);
  go_on.wake_all();
  executor.stop(no_deadline);
}

// Keeps the thread that fires timers until `time`.
void hold_until(TimePoint time) {
  while (SystemEnv::now() < time) std::this_thread::yield();
}

/// A timer that calls a function.
template <class Function>
struct Call : Timer {
  explicit Call(Function function_) : function(std::move(function_)) {
    fire = [](Timer& self) noexcept { static_cast<Call&>(self).function(); };
  }
  Function function;
};

// mutant: what is to begin at once waits behind what is taken over
TEST_CASE("what is to begin at once begins before what is taken over from another worker") {
  SystemExecutor executor(3);
  SystemWord ran;
  std::vector<int> order;
  Job late([&] {
    order.push_back(2);
    ran.store(2);
    ran.wake_all();
  });
  Job at_once([&] { order.push_back(1); });
  SystemWord blocked;
  Job blocks([&] {
    blocked.store(1);
    blocked.wake_all();
    reaches(ran, 2);
  });
  // Both wait for the second worker, which is called when both are there.
  Call timer([&] {
    CHECK(reaches(blocked, 1));
    // The first worker's timer was armed before, for half a millisecond: it is due by then.
    hold_until(SystemEnv::now() + 1ms);
    for (TimePoint const limit = give_up(); !executor.post_if_idle(at_once) && SystemEnv::now() < limit;)
      std::this_thread::yield();
  });
  Job begins([&] {
    executor.defer(blocks);
    executor.defer(late);
    executor.arm(timer, SystemEnv::now());
  });
  SystemWord here;
  Job waits([&] { reaches(here, 1); });
  Job nothing([&] {
    here.store(1);
    here.wake_all();
  });
  executor.post(waits);
  executor.post(nothing);
  CHECK(reaches(here, 1));                // two workers exist, and are to be all;
  executor.arm(timer, no_deadline - 1s);  // so does the thread that fires timers
  detail::refuse_threads = true;
  executor.post(begins);
  CHECK(reaches(ran, 2));
  detail::refuse_threads = false;
  executor.stop(no_deadline);
  CHECK(order == std::vector<int>{1, 2});
}

// mutant: a task is refused before a worker is called for the one before it
TEST_CASE("a refused task of a timer may wait for one that was taken") {
  SystemExecutor executor(4);
  SystemWord begun;
  SystemWord go_on;
  SystemWord over;
  Job first([&] {
    begun.store(1);
    begun.wake_all();
    reaches(go_on, 1);
  });
  Job nothing([] {});
  Job refused([] { FAIL_CHECK("this task was not taken"); });
  Call timer([&] {
    // Until the worker has nothing to do.
    for (TimePoint const limit = give_up(); !executor.post_if_idle(first) && SystemEnv::now() < limit;)
      std::this_thread::yield();
    CHECK_FALSE(executor.post_if_idle(refused));
    CHECK(reaches(begun, 1));
    go_on.store(1);
    go_on.wake_all();
    over.store(1);
    over.wake_all();
  });
  executor.post(nothing);                 // starts a worker,
  executor.arm(timer, no_deadline - 1s);  // and the thread that fires timers
  detail::refuse_threads = true;
  executor.arm(timer, SystemEnv::now());
  CHECK(reaches(over, 1));
  detail::refuse_threads = false;
  executor.stop(no_deadline);
}

// mutant: a task is taken although no worker exists and none can be started
// mutant: a timer is taken although no thread fires timers
TEST_CASE("without a thread to run it, neither a task nor a timer is taken") {
  SystemExecutor executor(2);
  SystemWord ran;
  SystemWord fired;
  Alarm alarm(fired);
  Job job([&] {
    ran.store(1);
    ran.wake_all();
  });
  detail::refuse_threads = true;
  CHECK_FALSE(executor.post(job));
  CHECK_FALSE(executor.arm(alarm, SystemEnv::now()));
  CHECK(alarm.place == Timer::unarmed);
  detail::refuse_threads = false;
  CHECK(executor.post(job));
  CHECK(executor.arm(alarm, SystemEnv::now()));
  CHECK(reaches(ran, 1));
  CHECK(reaches(fired, 1));
  executor.stop(no_deadline);
}

// mutant: a worker that ended for want of work is still counted
TEST_CASE("workers without work end, and others are started when there is some") {
  auto const owner = std::make_shared<int>(0);
  SystemWord ran;
  Job job([&] {
    ran.fetch_or(1);
    ran.wake_all();
  });
  SystemExecutor executor(2, Duration{0});
  executor.keep_alive_with(owner);
  for (int round = 0; round < 200; ++round) {
    ran.store(0);
    REQUIRE(executor.post(job));
    REQUIRE(reaches(ran, 1));
    if (round % 20 != 0) continue;  // else the next task may come before the worker has ended
    TimePoint const limit = give_up();
    while (owner.use_count() > 1 && SystemEnv::now() < limit) std::this_thread::yield();
    CHECK(owner.use_count() == 1);
  }
  CHECK(executor.stop(no_deadline) == 0);
}

// mutant: tasks that timers post are announced to no worker
TEST_CASE("tasks that timers post run, however many timers are due") {
  SystemExecutor executor(4);
  SystemWord run;
  struct Poster : Alarm, Task {
    Poster(SystemWord& fired_, SystemExecutor& executor_, SystemWord& run_)
        : Alarm(fired_), executor(executor_), counted(run_) {
      Timer::fire = [](Timer& self) noexcept {
        auto& poster = static_cast<Poster&>(self);
        poster.executor.post(poster);
      };
      Task::run = [](Task& self) noexcept {
        auto& word = static_cast<Poster&>(self).counted;
        std::uint32_t seen = word.load();
        while (!word.compare_exchange(seen, seen + 1)) {
        }
        word.wake_all();
      };
    }
    SystemExecutor& executor;
    SystemWord& counted;
  };
  SystemWord unused;
  Poster first(unused, executor, run), second(unused, executor, run), third(unused, executor, run);
  TimePoint const soon = SystemEnv::now() + 2ms;
  executor.arm(first, soon);
  executor.arm(second, soon);
  CHECK(reaches(run, 2));
  executor.arm(third, SystemEnv::now() + 1ms);  // the workers are idle
  CHECK(reaches(run, 3));
  executor.stop(no_deadline);
}

// mutant: a thread that fires timers does not know it
TEST_CASE("the thread that fires timers knows it, and no other") {
  SystemWord fired;
  struct Asked : Alarm {
    using Alarm::Alarm;
    bool answer = false;
  };
  Asked asked(fired);
  asked.fire = [](Timer& self) noexcept {
    auto& alarm = static_cast<Asked&>(self);
    alarm.answer = SystemExecutor::on_timer_thread();
    alarm.fired.store(1);
    alarm.fired.wake_all();
  };
  bool in_task = true;
  Job job([&] { in_task = SystemExecutor::on_timer_thread(); });
  SystemExecutor executor(1);
  executor.arm(asked, SystemEnv::now());
  executor.post(job);
  CHECK(reaches(fired, 1));
  executor.stop(no_deadline);
  CHECK(asked.answer);
  CHECK_FALSE(in_task);
  CHECK_FALSE(SystemExecutor::on_timer_thread());
}

#if defined(__linux__)
// mutant: a child of a fork is not known
// mutant: a child of a fork draws its parent's random numbers
TEST_CASE("a child of a fork takes no work, stops at once, and draws numbers of its own") {
  SystemExecutor executor(2);
  SystemWord fired;
  SystemWord ran;
  Alarm armed(fired);
  Alarm alarm(fired);
  Job job([&] {
    ran.store(1);
    ran.wake_all();
  });
  executor.post(job);
  CHECK(reaches(ran, 1));
  CHECK(executor.arm(armed, after(SystemEnv::now(), 1h)));
  std::uint64_t const forks = SystemEnv::forks();
  std::array<int, 2> ends{};
  REQUIRE(::pipe(ends.data()) == 0);
  static_cast<void>(SystemEnv::random());
  pid_t const child = ::fork();
  if (child == 0) {
    bool right = SystemEnv::forks() == forks + 1;
    right = right && !executor.post(job) && !executor.arm(alarm, SystemEnv::now()) && !executor.disarm(armed);
    right = right && !executor.idle() && executor.stop(no_deadline) == 0;
    { SystemExecutor const own(1); }
    std::uint64_t const drawn = SystemEnv::random();
    right = right && ::write(ends[1], &drawn, sizeof drawn) == sizeof drawn;
    ::_exit(right ? 0 : 1);
  }
  ::close(ends[1]);
  std::uint64_t const here = SystemEnv::random();
  std::uint64_t there = here;
  CHECK(::read(ends[0], &there, sizeof there) == sizeof there);
  ::close(ends[0]);
  int status = -1;
  CHECK(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  CHECK(there != here);
  CHECK(SystemEnv::forks() == forks);
  CHECK(executor.disarm(armed));
}
#endif

}  // namespace
