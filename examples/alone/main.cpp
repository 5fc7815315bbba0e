// The five templates alone, each on a payload that is no model. None of them needs an engine.
#include <athanor/admission/gate.hpp>
#include <athanor/batching/batcher.hpp>
#include <athanor/breaking/breaker.hpp>
#include <athanor/caching/response_cache.hpp>
#include <athanor/loading/model_loader.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;

int failed(athanor::Error const& error) {
  std::fprintf(stderr, "%s\n", to_string(error).c_str());
  return 1;
}

// Four threads ask for one square each; calls that are made at the same time share a call of the function.
int share_calls() {
  auto squares = athanor::Batcher<int, int>::create(
      {.max_items = 64}, [](std::span<int const> numbers, std::span<int> results) {
        std::ranges::transform(numbers, results.begin(), [](int number) { return number * number; });
      });
  if (!squares) return failed(squares.error());
  std::atomic<int> sum{0};
  {
    std::vector<std::jthread> callers;
    for (int number = 1; number <= 4; ++number)
      callers.emplace_back([&, number] { sum += squares->run(number).value_or(0); });
  }
  std::printf("batcher: the sum of four squares is %d\n", sum.load());
  return 0;
}

// However many threads ask for a key, its value is computed once.
int compute_once() {
  auto greetings = athanor::ResponseCache<std::string, std::string>::create({.capacity_bytes = 1 << 20});
  if (!greetings) return failed(greetings.error());
  std::atomic<int> computed{0};
  {
    std::vector<std::jthread> callers;
    for (int caller = 0; caller < 4; ++caller)
      callers.emplace_back([&] {
        static_cast<void>(greetings->get_or_compute("Ada", 10s, [&] {
          ++computed;
          return std::string("Hello, Ada");
        }));
      });
  }
  auto const greeting = greetings->find("Ada");
  std::printf("cache: %s, computed %d time\n", greeting ? greeting->c_str() : "nothing", computed.load());
  return 0;
}

// After three failures in a row, calls are rejected for one second.
int stop_calling() {
  auto breaker = athanor::CircuitBreaker<>::create({.consecutive = 3, .open_for = 1s});
  if (!breaker) return failed(breaker.error());
  auto const call = [] {
    return athanor::Result<void>(athanor::fail(athanor::Code::internal, {}, "broken"));
  };
  int called = 0;
  int rejected = 0;
  for (int i = 0; i < 5; ++i) {
    if (auto permit = breaker->acquire(); permit) {
      ++called;
      permit->record(call());
    } else {
      ++rejected;
    }
  }
  std::printf("breaker: %d called, %d rejected\n", called, rejected);
  return 0;
}

// Loads a table when it is first needed; with a budget, tables that nobody uses make room for others.
int load_when_needed() {
  using Table = std::vector<int>;
  static constexpr std::size_t rows = 1000;
  auto tables = athanor::ModelLoader<Table>::create(
      {.budget_bytes = 1 << 20},
      {.load = [](athanor::LoadTarget const&) -> athanor::Result<athanor::Loaded<Table>> {
        return athanor::Loaded<Table>{std::make_shared<Table>(rows, 7), rows * sizeof(int)};
      }});
  if (!tables) return failed(tables.error());
  auto const table = tables->acquire("sevens", 10s);  // it stays loaded while this exists
  if (!table) return failed(table.error());
  std::printf("loader: %zu rows of %d\n", (*table)->size(), (*table)->front());
  return 0;
}

// Bounds what all callers together hold, and rejects at once what exceeds it.
int bound_work() {
  auto gate = athanor::Gate<>::create({.max_items = 2});
  if (!gate) return failed(gate.error());
  athanor::admission::Slot first;
  athanor::admission::Slot second;
  auto const now = athanor::SystemEnv::now();
  if (auto admitted = gate->admit_caller(first, 2, 0, now); !admitted) return failed(admitted.error());
  auto const refused = gate->admit_caller(second, 1, 0, now);
  gate->release_quota(first);
  auto const admitted = gate->admit_caller(second, 1, 0, now);
  gate->release_quota(second);
  std::printf("gate: %s, then %s\n", refused ? "admitted" : "rejected", admitted ? "admitted" : "rejected");
  return 0;
}

}  // namespace

int main() {
  for (auto* const example : {share_calls, compute_once, stop_calling, load_when_needed, bound_work})
    if (example() != 0) return 1;
}
