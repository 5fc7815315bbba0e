#include <athanor/caching/response_cache.hpp>
#include <athanor/core/simulation.hpp>

#include <doctest/doctest.h>
#include <support/recorded_env.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <limits>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace picture {

struct Digest {
  std::uint64_t low, high;
};
athanor::Hash128 cache_key(Digest const& digest) { return {digest.low, digest.high}; }

struct Picture {
  std::vector<int> pixels;
};
std::size_t cache_bytes(Picture const& picture) {
  return sizeof picture + picture.pixels.size() * sizeof(int);
}

}  // namespace picture

namespace {

using namespace athanor;
using namespace std::chrono_literals;

struct SimulatedCaching {
  using Env = SimulatedEnv;
  using Eviction = caching::SecondChance;
};
using SimulatedCache = ResponseCache<int, int, SimulatedCaching>;

struct RecordedCaching {
  using Env = athanor_tests::Recorded<SystemEnv>;
  using Eviction = caching::SecondChance;
};

/// A caller as a task of the simulation: what it asked, and what it got.
struct Asking : Task {
  SimulatedCache* cache = nullptr;
  Duration wait{0};
  std::optional<Result<SimulatedCache::Handle>> got;
  TimePoint answered;
  int computed = 0;
};

void ask(Task& task) noexcept {
  auto& asking = static_cast<Asking&>(task);
  asking.got = asking.cache->get_or_compute(1, asking.wait, [&] { return ++asking.computed; });
  asking.answered = SimulatedEnv::now();
}

// mutant: the counts of a value's owners are not charged
// mutant: what a vector holds is not charged
TEST_CASE("a response cache takes keys and values of a user's own") {
  auto cache =
      *ResponseCache<picture::Digest, picture::Picture>::create({.capacity_bytes = 64 << 20, .ttl = 60s});
  int rendered = 0;
  auto const render = [&] {
    ++rendered;
    return picture::Picture{{1, 2, 3}};
  };
  auto const first = cache.get_or_compute({1, 2}, 200ms, render);
  auto const second = cache.get_or_compute({1, 2}, 200ms, render);
  REQUIRE(first);
  CHECK(*first == *second);  // the same object, not a copy
  CHECK((**first).pixels.size() == 3);
  CHECK(rendered == 1);
  CHECK(cache.find({1, 2}) == *first);
  CHECK(cache.find({2, 1}) == nullptr);
  using Store = caching::Store<caching::SharedValues<picture::Picture, DefaultCaching>>;
  std::size_t const owners = 2 * sizeof(void*) + 16;
  CHECK(cache.statistics().bytes == picture::cache_bytes(**first) + owners + Store::entry_overhead());
  CHECK(caching::charged_bytes(std::string(100, 'x')) == sizeof(std::string) + 100 + 16);
  cache.erase({1, 2});
  CHECK(cache.find({1, 2}) == nullptr);
  static_assert(!caching::CacheKey<picture::Picture>);
}

// mutant: a failed computation leaves its flight open
TEST_CASE("S3-7 a failed or throwing computation is an error, and the next call computes again") {
  auto cache = *ResponseCache<std::string, int>::create();
  auto const failed = cache.get_or_compute(
      "a", 1s, []() -> Result<int> { return fail(Code::unavailable, Reason::none, "remote: away"); });
  REQUIRE_FALSE(failed);
  CHECK(failed.error().code == Code::unavailable);
  auto const thrown = cache.get_or_compute("a", 1s, []() -> int { throw std::runtime_error("boom"); });
  REQUIRE_FALSE(thrown);
  CHECK(thrown.error().code == Code::internal);
  CHECK(thrown.error().message.find("boom") != std::string::npos);
  CHECK(**cache.get_or_compute("a", 1s, [] { return 3; }) == 3);
  auto const missing = cache.get_or_compute(
      "b", 1s, [] { return 3; }, CacheMode::only_if_cached);
  REQUIRE_FALSE(missing);
  CHECK(missing.error().reason == Reason::not_cached);
  CHECK(cache.statistics().flights == 0);
}

// mutant: a waiter of a cache waits without a deadline
TEST_CASE("a waiter is answered at its own deadline, and the computation goes on to be stored") {
  Simulation world(1);
  SimulatedExecutor executor(8);
  auto cache = *SimulatedCache::create();
  Asking hasty, immediate;
  for (auto* asking : {&hasty, &immediate}) {
    asking->run = ask;
    asking->cache = &cache;
  }
  hasty.wait = 1s;
  TimePoint const begin = world.now();
  auto const owned = cache.get_or_compute(1, 1s, [&] {
    executor.post(hasty);
    executor.post(immediate);
    world.run_until_idle();  // both act while this computation runs
    return 42;
  });
  CHECK(**owned == 42);
  REQUIRE(hasty.got);
  REQUIRE_FALSE(*hasty.got);
  CHECK(hasty.got->error().code == Code::deadline_exceeded);
  CHECK(hasty.answered == begin + 1s);
  REQUIRE(immediate.got);
  REQUIRE_FALSE(*immediate.got);
  CHECK(immediate.got->error().reason == Reason::deadline_waiting);
  CHECK(immediate.answered <= begin + 1s);
  CHECK(hasty.computed + immediate.computed == 0);
  CHECK(cache.statistics().waiters == 0);
  CHECK(cache.statistics().joins == 2);
  CHECK(*cache.find(1) == 42);
}

// mutant: a sleeping waiter is not woken
TEST_CASE("a waiter that sleeps is woken by the end of the computation") {
  Simulation world(1, {.order = Turns::Order::random});
  auto cache = *SimulatedCache::create();
  Asking patient;
  patient.cache = &cache;
  patient.wait = 1s;
  TimePoint const begin = world.now();
  world.spawn([&] {
    CHECK(cache.get_or_compute(1, 1s, [&] {
      world.spawn([&] { ask(patient); });
      world.sleep(1ms);
      return 42;
    }));
  });
  world.run_until_idle();
  REQUIRE(patient.got);
  REQUIRE_MESSAGE(*patient.got, patient.got->error().message);
  CHECK(***patient.got == 42);
  CHECK(patient.answered == begin + 1ms);
}

// mutant: every hit writes the mark of its entry
TEST_CASE("a hit writes the mark of its entry only where that is not set") {
  using athanor_tests::Recorder;
  auto cache = *ResponseCache<int, int, RecordedCaching>::create();
  REQUIRE(cache.get_or_compute(1, 1s, [] { return 2; }));
  auto const lines_of_a_hit = [&] {
    Recorder::clear();
    REQUIRE(cache.find(1));
    return Recorder::writers.size();
  };
  Recorder::caller = 1;
  std::size_t const first = lines_of_a_hit();
  std::size_t const second = lines_of_a_hit();
  Recorder::caller = 0;
  CHECK(first == second + 1);
}

// mutant: an integer key is not hashed
// mutant: an entry lives a tick longer than its ttl
TEST_CASE("integers are keys: each finds its own value until it is too old") {
  Simulation world(1);
  auto cache = *SimulatedCache::create(ResponseCacheOptions{.ttl = 1s});
  int computed = 0;
  for (int key = 0; key < 100; ++key)
    CHECK(**cache.get_or_compute(key, 0s, [&] { return ++computed; }) == key + 1);
  for (int key = 0; key < 100; ++key) CHECK(**cache.get_or_compute(key, 0s, [&] { return 0; }) == key + 1);
  world.advance(1s);
  CHECK(cache.find(5) == nullptr);
}

// mutant: an integer key is not hashed
TEST_CASE("S3-7 eight threads asking for the same thing share each computation") {
  auto cache = *ResponseCache<int, int>::create();
  std::atomic<int> computed{0};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int key = 0; key < 500; ++key) {
        auto const got = cache.get_or_compute(key, 60s, [&] {
          ++computed;
          return 2 * key;
        });
        if (!got || **got != 2 * key) ++wrong;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(computed == 500);
  CHECK(cache.statistics().requests() == 4'000);
}

namespace fragile {

struct Key {
  bool breaks;
};
Hash128 cache_key(Key const& key) {
  if (key.breaks) throw std::runtime_error("no key");
  return {1, 1};
}
struct Value {
  bool breaks;
};
std::size_t cache_bytes(Value const& value) {
  if (value.breaks) throw std::runtime_error("no size");
  return 1;
}

}  // namespace fragile

// mutant: a cache does not ask a value for its size
TEST_CASE("a throw of cache_bytes is the computation's, one of cache_key the caller's; nothing stays open") {
  auto cache = *ResponseCache<fragile::Key, fragile::Value>::create();
  auto const unsized = cache.get_or_compute({false}, 1s, [] { return fragile::Value{true}; });
  REQUIRE_FALSE(unsized);
  CHECK(unsized.error().message == "cache: the computation threw: no size");
  CHECK_THROWS_AS(static_cast<void>(cache.find({true})), std::runtime_error);
  CHECK_THROWS_AS(cache.erase({true}), std::runtime_error);
  CHECK(cache.statistics().flights == 0);
  CHECK(cache.get_or_compute({false}, 1s, [] { return fragile::Value{false}; }));
}

// mutant: a key is computed inside its own computation
TEST_CASE("a key inside its own computation is refused at once, unless a value is stored") {
  auto cache = *ResponseCache<int, int>::create();
  auto const inside = [&](int key, CacheMode mode) {
    return cache.get_or_compute(
        key, 1h, [] { return 7; }, mode);
  };
  int answers = 0;
  auto const nested = [&] {
    for (auto const mode : {CacheMode::use, CacheMode::refresh}) {
      auto const refused = inside(1, mode);
      REQUIRE_FALSE(refused);
      CHECK(refused.error().code == Code::failed_precondition);
      CHECK(refused.error().reason == Reason::reentrant);
    }
    CHECK(inside(1, CacheMode::only_if_cached).error().reason == Reason::not_cached);
    CHECK(**inside(1, CacheMode::skip) == 7);
    CHECK(**inside(2, CacheMode::use) == 7);
    return ++answers;
  };
  CHECK(**cache.get_or_compute(1, 1h, nested) == 1);
  CHECK(**cache.get_or_compute(
            1, 1h, [&] { return **inside(1, CacheMode::use) + 10; }, CacheMode::refresh) == 11);
  CHECK(**cache.get_or_compute(1, 1h, [] { return 0; }) == 11);
}

// mutant: a cache's options are not looked at
TEST_CASE("a response cache is not made with impossible options") {
  CHECK(ResponseCache<int, int>::create({.ttl = -1ns}).error().message ==
        "cache: ttl: expected 0 ns (no limit) or more, got -1 ns");
  CHECK(ResponseCache<int, int>::create({.capacity_bytes = 10, .max_item_bytes = 11}).error().message ==
        "cache: max_item_bytes: expected at most capacity_bytes, 10, got 11");
}

// mutant: a vector is charged without what it has room for
TEST_CASE("values are charged what they hold") {
  CHECK(caching::charged_bytes(std::array<double, 100>{}) == 800);
  std::vector<char> roomy;
  roomy.reserve(1000);
  CHECK(caching::charged_bytes(roomy) ==
        sizeof(std::vector<char>) + roomy.capacity() + detail::block_overhead);
}

TEST_CASE("an integer wider than 64 bits is no key") {
  __extension__ using Wide = unsigned __int128;
  static_assert(std::integral<Wide>, "this file is compiled with GNU extensions, where the question arises");
  static_assert(!caching::CacheKey<Wide>);
}

}  // namespace

namespace endless {

struct Value {};
std::size_t cache_bytes(Value const&) { return std::numeric_limits<std::size_t>::max(); }

}  // namespace endless

// mutant: the owners of a value that says it is as large as can be make it small
TEST_CASE("a value that says it is as large as can be is not stored") {
  auto cache = *ResponseCache<int, endless::Value>::create();
  REQUIRE(cache.get_or_compute(1, 1s, [] { return endless::Value(); }));
  CHECK(cache.statistics().entries == 0);
}
