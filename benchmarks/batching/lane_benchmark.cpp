// What the lane itself costs, and what its callers cost each
// other: a client that does nothing. Every answer is counted.
#include <atomic>
#include <thread>
#include <vector>

#include <athanor/batching/detail/lane.hpp>
#include <support/figure.hpp>

using namespace athanor;
using namespace athanor::batching;
using namespace athanor::benchmarks;

namespace {

constexpr int calls_of_each = 200'000;

struct Call : Slot {
  SystemWord word;
};

struct NullClient {
  bool wanted(Slot&) noexcept { return true; }
  Result<void> begin(Batch const&) noexcept { return {}; }
  Result<void> execute(Batch const&) noexcept { return {}; }
  void end(Batch const&, Verdict, TimePoint) noexcept {}
  void finish(Slot& slot, Error const* error, TimePoint) noexcept {
    auto& call = static_cast<Call&>(slot);
    call.word.store(error == nullptr ? 1 : 2);
    call.word.wake_all();
  }
};

/// Calls per second of so many blocking callers together; zero when an answer was wrong.
double rate(std::uint32_t instances, int callers) {
  NullClient client;
  SystemExecutor executor(2);
  Lane<SystemEnv, Immediate, NullClient> lane({.instances = instances}, {}, client, executor);
  std::atomic<int> wrong{0};
  std::atomic<int> ready{0};
  double const seconds = seconds_of([&] {
    std::vector<std::thread> threads;
    for (int i = 0; i < callers; ++i)
      threads.emplace_back([&] {
        Call call;
        ++ready;
        while (ready < callers) std::this_thread::yield();
        for (int n = 0; n < calls_of_each; ++n) {
          call.word.store(0);
          lane.enter(call, LendThread::yes);
          while (call.word.load() == 0) call.word.wait_until(0, no_deadline);
          if (call.word.load() != 1) ++wrong;
        }
      });
    for (auto& thread : threads) thread.join();
  });
  return wrong == 0 ? callers * calls_of_each / seconds : 0;
}

}  // namespace

int main(int argc, char** argv) {
  Figures figures(argc, argv);
  if (figures.wants("batching.lone")) {
    auto const sample = repeat(9, [] { return 1e9 / rate(1, 1); });
    figures.report({.name = "batching.lone", .value = sample.median, .unit = "ns", .spread = sample.spread});
  }
  // The share of what two callers would do who know nothing of each other.
  if (figures.wants("batching.two-instances")) {
    auto const sample = repeat(9, [] { return rate(2, 2) / (2 * rate(1, 1)); });
    figures.report(
        {.name = "batching.two-instances", .value = sample.median, .unit = "", .spread = sample.spread});
  }
  // The share of what one caller does.
  if (figures.wants("batching.one-instance")) {
    auto const sample = repeat(9, [] { return rate(1, 2) / rate(1, 1); });
    figures.report(
        {.name = "batching.one-instance", .value = sample.median, .unit = "", .spread = sample.spread});
  }
  return figures.exit_code();
}
