// What an engine costs to begin, to keep and to end.
#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include <serving/measures.hpp>
#include <serving/subject.hpp>

namespace athanor::benchmarks {

namespace {

using namespace std::chrono_literals;

double held_bytes() { return static_cast<double>(mallinfo2().uordblks); }

/// Threads of this process, and how often they have slept of their own accord.
struct Threads {
  int count = 0;
  double sleeps = 0;
};
Threads threads_now() {
  Threads threads;
  for (auto const& thread : std::filesystem::directory_iterator("/proc/self/task")) {
    ++threads.count;
    std::ifstream status(thread.path() / "status");
    for (std::string line; std::getline(status, line);)
      if (line.starts_with("voluntary_ctxt_switches:")) threads.sleeps += std::stod(line.substr(24));
  }
  return threads;
}

void measure_start(Figures& figures) {
  bool const time = figures.wants("engine.start");
  bool const leak = figures.wants("engine.start-leak");
  if (!time && !leak) return;
  auto const one = [] { static_cast<void>(Engine<>::create().value()); };
  for (int i = 0; i < 100; ++i) one();
  double const before = held_bytes();
  constexpr int engines = 1000;
  double const seconds = seconds_of([&] {
    for (int i = 0; i < engines; ++i) one();
  });
  double const after = held_bytes();
  if (time)
    figures.report(
        {.name = "engine.start", .value = seconds / engines * 1e6, .unit = "us to create and destroy"});
  if (leak)
    figures.report({.name = "engine.start-leak",
                    .value = (after - before) / engines,
                    .unit = "bytes per engine that was",
                    .aim = at_most(0)});
}

void measure_memory(Figures& figures) {
  if (figures.wants("engine.idle-bytes")) {
    std::vector<Engine<>> engines;
    engines.reserve(100);
    double const before = held_bytes();
    for (int i = 0; i < 100; ++i) engines.push_back(Engine<>::create().value());
    figures.report({.name = "engine.idle-bytes",
                    .value = (held_bytes() - before) / 100,
                    .unit = "bytes per idle engine"});
  }
  if (figures.wants("engine.answer-bytes")) {
    Subject subject;
    Caller caller;
    constexpr std::size_t kept = 100'000;
    std::vector<Answer> answers;
    answers.reserve(kept);
    for (int i = 0; i < 1000; ++i) caller.call(subject.model);
    double const before = held_bytes();
    for (std::size_t i = 0; i < kept; ++i) {
      auto answer = subject.model.infer(caller.request);
      if (!answer) return figures.fail("engine.answer-bytes", "an error");
      answers.push_back(std::move(*answer));
    }
    figures.report({.name = "engine.answer-bytes",
                    .value = (held_bytes() - before) / static_cast<double>(kept),
                    .unit = "bytes per kept answer of 16 bytes",
                    .aim = at_most(392)});
  }
}

void measure_rest(Figures& figures) {
  bool const count = figures.wants("engine.rest-threads");
  bool const wakes = figures.wants("engine.rest-wakes");
  if (!count && !wakes) return;
  Subject subject;
  Caller caller;
  int const others = threads_now().count;
  std::atomic<int> answered{0};
  for (int i = 0; i < 1000; ++i)
    if (!subject.model.submit(Request(caller.request), {},
                              {[](void* context, Result<Answer>) noexcept {
                                 static_cast<std::atomic<int>*>(context)->fetch_add(1);
                               },
                               &answered}))
      return figures.fail("engine.rest", "a submit was refused");
  while (answered.load() < 1000) std::this_thread::sleep_for(1ms);
  std::this_thread::sleep_for(10s);
  Threads const before = threads_now();
  std::this_thread::sleep_for(2s);
  Threads const after = threads_now();
  if (count)
    figures.report({.name = "engine.rest-threads",
                    .value = static_cast<double>(after.count - others + 1),
                    .unit = "threads, this one among them, after 10 s of rest"});
  if (wakes)  // this thread slept once
    figures.report({.name = "engine.rest-wakes",
                    .value = std::max(0.0, after.sleeps - before.sleeps - 1),
                    .unit = "wake-ups in 2 s of rest",
                    .aim = at_most(0)});
}

void measure_stop(Figures& figures) {
  auto const milliseconds_to_stop = [](Engine<>& engine, Duration grace) {
    return 1000 * seconds_of([&] { engine.stop(grace); });
  };
  if (figures.wants("engine.stop-idle")) {
    auto const sample = repeat(21, [&] {
      Subject subject;
      Caller caller;
      caller.call(subject.model);
      return milliseconds_to_stop(subject.engine, 10s);
    });
    figures.report({.name = "engine.stop-idle",
                    .value = sample.median,
                    .unit = "ms",
                    .spread = sample.spread,
                    .aim = at_most(2)});
  }
  if (figures.wants("engine.stop-queued")) {
    Subject subject({.caller_runs = CallerRuns::never, .cache_bytes = 0},
                    R"("batching": {"policy": "size_or_delay", "max_delay_us": 100000},)");
    Caller caller;
    std::atomic<int> right{0};
    for (int i = 0; i < 256; ++i)
      if (!subject.model.submit(Request(caller.request), {},
                                {[](void* context, Result<Answer> answer) noexcept {
                                   static_cast<std::atomic<int>*>(context)->fetch_add(answer.has_value());
                                 },
                                 &right}))
        return figures.fail("engine.stop-queued", "a submit was refused");
    subject.engine.stop(10s);
    figures.report({.name = "engine.stop-queued",
                    .value = static_cast<double>(right.load()),
                    .unit = "of 256 queued calls answered ok within the grace",
                    .aim = at_least(256)});
  }
  if (figures.wants("engine.stop-child")) {
    Subject subject;
    Caller caller;
    std::atomic<int> answered{0};
    if (!subject.model.submit(Request(caller.request), {},
                              {[](void* context, Result<Answer>) noexcept {
                                 static_cast<std::atomic<int>*>(context)->fetch_add(1);
                               },
                               &answered}))
      return figures.fail("engine.stop-child", "a submit was refused");
    while (answered.load() == 0) std::this_thread::sleep_for(1ms);
    if (pid_t const child = ::fork(); child == 0) {
      ::alarm(60);
      double const took = milliseconds_to_stop(subject.engine, 10s);
      ::_exit(static_cast<int>(std::min(took, 250.0)));
    } else {
      int status = 0;
      ::waitpid(child, &status, 0);
      if (!WIFEXITED(status)) return figures.fail("engine.stop-child", "the child's stop did not return");
      figures.report({.name = "engine.stop-child",
                      .value = static_cast<double>(WEXITSTATUS(status)),
                      .unit = "ms in a forked child",
                      .aim = at_most(2)});
    }
  }
}

}  // namespace

void measure_life(Figures& figures) {
  measure_start(figures);
  measure_memory(figures);
  measure_stop(figures);
  measure_rest(figures);
}

}  // namespace athanor::benchmarks
