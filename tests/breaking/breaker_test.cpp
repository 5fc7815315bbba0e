#include <athanor/breaking/breaker.hpp>
#include <athanor/core/simulation.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <thread>
#include <vector>

namespace {

using namespace athanor;
using namespace std::chrono_literals;
using breaking::Outcome;
using breaking::State;

using Breaker = CircuitBreaker<SimulatedEnv>;

Result<int> call_remote(bool up) {
  if (!up) return fail(Code::unavailable, Reason::none, "remote: away");
  return 1;
}

// mutant: a refusal of a breaker tells no time to come back
TEST_CASE(
    "S3-12 a breaker used alone refuses with unavailable and a time to retry, and closes when the remote is "
    "back") {
  Simulation world(1);
  auto breaker = *Breaker::create({.open_for = 1s, .jitter = 0, .successes_to_close = 2});
  for (int i = 0; i < 5; ++i) {
    auto permit = breaker.acquire();
    REQUIRE(permit);
    permit->record(call_remote(false));
  }
  CHECK(breaker.state() == State::open);
  auto const refused = breaker.acquire();
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::unavailable);
  CHECK(refused.error().reason == Reason::breaker_open);
  CHECK(refused.error().retry_after == 1s);
  world.advance(1s);
  for (int i = 0; i < 2; ++i) {
    auto permit = breaker.acquire();
    REQUIRE(permit);
    permit->record(call_remote(true));
  }
  CHECK(breaker.state() == State::closed);
  CHECK(breaker.statistics().successes == 2);
}

// mutant: a permit that goes unsettled keeps its place
TEST_CASE("S3-10 a permit that goes unsettled frees its probe's place") {
  Simulation world(1);
  auto breaker = *Breaker::create({.open_for = 1s, .probes = 1});
  for (int i = 0; i < 5; ++i) breaker.acquire()->record(Outcome::failure);
  world.advance(1s);
  {
    auto permit = breaker.acquire();
    REQUIRE(permit);
    CHECK_FALSE(breaker.acquire());
    auto moved = std::move(*permit);
  }
  CHECK(breaker.statistics().probes_out == 0);
  CHECK(breaker.acquire());
}

// mutant: the word is not mirrored
TEST_CASE("the state shows at once whatever changed it") {
  Simulation world(1);
  auto breaker = *Breaker::create(
      {.open_for = 1s, .jitter = 0, .probes = 1, .successes_to_close = 1, .probe_lease = 30s});
  auto const open = [&] {
    for (int i = 0; i < 5; ++i) breaker.acquire()->record(Outcome::failure);
    REQUIRE(breaker.state() == State::open);
    world.advance(1s);
  };
  open();
  auto reserved = breaker.reserve(world.now());
  REQUIRE(reserved);
  CHECK(breaker.state() == State::half_open);
  world.advance(40s);
  auto const begun = breaker.begin(*reserved, world.now());
  REQUIRE(begun);
  breaker.record(*begun, Outcome::success, world.now());
  CHECK(breaker.state() == State::closed);
  CHECK(breaker.statistics().expired_probes == 0);

  open();
  reserved = breaker.reserve(world.now());
  breaker.abandon(*reserved, world.now());
  CHECK(breaker.statistics().probes_out == 0);
  REQUIRE(breaker.acquire(world.now()));
  world.advance(30s);
  CHECK_FALSE(breaker.begin(*reserved, world.now()));
  CHECK(breaker.state() == State::open);
}

// mutant: successes that were counted aside never reach the window
// mutant: successes are folded again and again
TEST_CASE("successes are counted aside, and count before the failure that follows them") {
  Simulation world(1);
  auto breaker = *Breaker::create({.failure_rate = 0.9, .window = 20, .min_calls = 10, .consecutive = 5});
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < 4; ++i) breaker.acquire()->record(Outcome::failure);
    for (int i = 0; i < 5; ++i) breaker.acquire()->record(Outcome::success);
    CHECK(breaker.state() == State::closed);
  }
  auto const statistics = breaker.statistics();
  CHECK(statistics.successes == 50);
  CHECK(statistics.failures == 40);
  CHECK(statistics.window_calls == 20);
}

/// A mutex that counts how often it is locked, and random numbers that count how often they are drawn.
struct CountingEnv : SystemEnv {
  static inline int locked = 0;
  static inline int drawn = 0;
  struct ATH_CAPABILITY("mutex") Mutex : SystemMutex {
    void lock() ATH_ACQUIRE() ATH_NO_THREAD_SAFETY_ANALYSIS {  // the base class is what is annotated
      ++locked;
      SystemMutex::lock();
    }
  };
  static std::uint64_t random() noexcept {
    ++drawn;
    return 1;
  }
};

// mutant: every success takes the lock
TEST_CASE("a success of a closed breaker takes no lock, and no outcome draws a random number") {
  auto breaker = *CircuitBreaker<CountingEnv>::create();
  int const drawn = CountingEnv::drawn;
  CountingEnv::locked = 0;
  for (int i = 0; i < 100; ++i)
    breaker.record(*breaker.acquire(CountingEnv::now()), Outcome::success, CountingEnv::now());
  CHECK(CountingEnv::locked == 0);
  for (int i = 0; i < 5; ++i)
    breaker.record(*breaker.acquire(CountingEnv::now()), Outcome::failure, CountingEnv::now());
  CHECK(CountingEnv::locked == 5);
  CHECK(breaker.state() == State::open);
  CHECK(CountingEnv::drawn == drawn);
  CHECK(breaker.statistics().successes == 100);
}

// mutant: the word is not mirrored
// mutant: a success of an earlier generation is counted aside
TEST_CASE("forcing a state shows at once in the fast path") {
  Simulation world(1);
  auto breaker = *Breaker::create();
  auto const begun = breaker.acquire(world.now());
  auto const other = breaker.acquire(world.now());
  breaker.force_open();
  CHECK_FALSE(breaker.acquire(world.now()));
  breaker.reset();
  CHECK(breaker.acquire(world.now()));
  breaker.record(*begun, Outcome::failure, world.now());
  breaker.record(*other, Outcome::success, world.now());
  CHECK(breaker.statistics().stale == 2);
  CHECK(breaker.statistics().successes == 0);
  CHECK(breaker.generation() == begun->generation + 2);
}

// mutant: a breaker's options are not looked at
// mutant: a rate of failures that is no number is accepted
// mutant: a jitter that is no number is accepted
TEST_CASE("a breaker is not made of impossible options") {
  auto const refusal = [](CircuitBreakerOptions const& options) { return Breaker::create(options).error(); };
  CHECK(refusal({.failure_rate = -0.1}).message ==
        "circuit breaker: failure_rate: expected above 0 and at most 1, got -0.1");
  CHECK(refusal({.failure_rate = 50}).reason == Reason::option);
  CHECK(refusal({.failure_rate = std::nan("")}).reason == Reason::option);
  CHECK(refusal({.window = 4'000'000'000}).reason == Reason::option);
  CHECK(refusal({.jitter = -1}).reason == Reason::option);
  CHECK(refusal({.jitter = 1.5}).reason == Reason::option);
  CHECK(refusal({.jitter = std::nan("")}).reason == Reason::option);
}

// mutant: every probe is granted the first place
TEST_CASE("S3-10 eight threads at a half-open breaker get exactly its probes") {
  for (int round = 0; round < 50; ++round) {
    auto breaker = *CircuitBreaker<>::create({.open_for = 1s, .probes = 3});
    TimePoint const begin = SystemEnv::now();
    for (int i = 0; i < 5; ++i) breaker.record(*breaker.acquire(begin), Outcome::failure, begin);
    std::atomic<int> admitted{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i)
      threads.emplace_back([&] { admitted += breaker.acquire(begin + 1s).has_value() ? 1 : 0; });
    for (auto& thread : threads) thread.join();
    CHECK(admitted == 3);
  }
}

TEST_CASE("four threads settle as they like, and the counts add up") {
  auto breaker = *CircuitBreaker<>::create({.consecutive = 3, .open_for = 1us, .open_cap = 10us});
  std::atomic<std::uint64_t> settled{0};
  auto const work = [&](unsigned seed) {
    for (unsigned i = 0; i < 5'000; ++i) {
      auto lease = breaker.acquire(SystemEnv::now());
      if (!lease) continue;
      if ((i * 7 + seed) % 11 == 0) {
        breaker.abandon(*lease, SystemEnv::now());
        continue;
      }
      auto const outcome = (i * 5 + seed) % 3 == 0 ? Outcome::failure : Outcome::success;
      breaker.record(*lease, outcome, SystemEnv::now());
      ++settled;
    }
  };
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 4; ++i) threads.emplace_back(work, i);
  for (auto& thread : threads) thread.join();
  auto const statistics = breaker.statistics();
  CHECK(statistics.successes + statistics.failures + statistics.stale == settled + statistics.expired_probes);
  CHECK(statistics.probes_out == 0);
}

}  // namespace
