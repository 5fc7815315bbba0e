// Random schedules over the store: the budget is exact at every step, and each waiter ends exactly once.
#include "caching_support.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <random>
#include <thread>

namespace {

using namespace athanor;
using namespace athanor::caching;
using namespace athanor::caching_tests;
using namespace std::chrono_literals;

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  std::uint64_t below(std::uint64_t bound) { return engine_() % bound; }

 private:
  std::mt19937_64 engine_;
};

// mutant: an entry that is taken out keeps its budget
// mutant: the budget is not taken
// mutant: an ended flight stays in the table
TEST_CASE("the charges of all entries are the budget used, and never above it") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    std::size_t const capacity = 20'000;
    auto const owned = std::make_unique<IntegerStore>(
        ResponseCacheOptions{.capacity_bytes = capacity, .ttl = seed % 2 == 0 ? Duration(500) : Duration(0)});
    IntegerStore& store = *owned;
    CountingClient client;
    std::uint64_t requests = 0;
    std::map<std::uint64_t, std::size_t> published;  // bytes of the last value stored
    auto const recount = [&](TimePoint now) {
      std::size_t charged = 0;
      std::size_t entries = 0;
      for (auto const& [key, bytes] : published) {
        TestCall reader;
        ++requests;
        if (store.join(reader, key_of(key), CacheMode::only_if_cached, now) != Join::hit) continue;
        charged += bytes + IntegerStore::entry_overhead();
        ++entries;
      }
      REQUIRE(store.statistics().bytes == charged);
      REQUIRE(store.statistics().entries == entries);
    };
    for (int step = 0; step < 2'000; ++step) {
      TimePoint const now = at(Duration(step));
      TestCall call;
      call.tag = random.below(3);
      switch (random.below(20)) {
        case 0: store.invalidate(random.below(3)); break;
        case 1: store.erase(key_of(random.below(200))); break;
        default: {
          ++requests;
          auto const mode = static_cast<CacheMode>(random.below(4));
          std::uint64_t const key = random.below(200);
          if (store.join(call, key_of(key), mode, now) != Join::owner) break;
          std::size_t const bytes = random.below(4'000);
          auto const stored = store.statistics().insertions;
          store.publish(call, value_of(1), bytes, 1us, now, client);
          if (store.statistics().insertions != stored) published[key] = bytes;
        }
      }
      if (step % 100 == 0) recount(now);
      REQUIRE(store.statistics().bytes <= capacity);
      REQUIRE(store.statistics().requests() == requests);
    }
    CHECK(store.statistics().evictions > 0);
    store.clear();
    CHECK(store.statistics().bytes == 0);
  }
}

/// One random schedule of callers over a few keys, against what each of them must see.
struct Schedule {
  enum class Role { idle, waiting, owning, owner_gone };
  struct Caller : TestCall {
    Role role = Role::idle;
    int expected_ends = 0;
  };

  explicit Schedule(std::uint64_t seed) : random(seed), callers(24) {}

  void step() {
    Caller& caller = callers[random.below(callers.size())];
    switch (caller.role) {
      case Role::idle: begin(caller); break;
      case Role::waiting: cancel_wait(caller); break;
      case Role::owning:
        if (random.below(3) == 0) {
          cancel_owner(caller);
        } else {
          end(caller);
        }
        break;
      case Role::owner_gone: end(caller); break;
    }
    if (random.below(50) == 0) store.invalidate(0);
    settle_resumed();
  }

  void begin(Caller& caller) {
    auto const mode = random.below(8) == 0 ? CacheMode::refresh : CacheMode::use;
    switch (store.join(caller, key_of(random.below(4)), mode, at(0s))) {
      case Join::waiter: caller.role = Role::waiting; break;
      case Join::owner: caller.role = Role::owning; break;
      default: break;
    }
  }

  void cancel_wait(Caller& caller) {
    if (random.below(3) != 0) return;
    REQUIRE(store.cancel_wait(caller));  // resumed ones are idle already
    caller.role = Role::idle;
    // The owner of a flight that nobody waits for any more is told when it asks.
    for (Caller& owner : callers) {
      if (owner.role != Role::owner_gone || !store.cancel_owner(owner)) continue;
      if (random.below(2) == 0) store.publish(owner, value_of(1), 4, 1us, at(0s), client);
      owner.role = Role::idle;
    }
  }

  void cancel_owner(Caller& owner) { owner.role = store.cancel_owner(owner) ? Role::idle : Role::owner_gone; }

  void end(Caller& owner) {
    if (random.below(2) == 0) {
      store.publish(owner, value_of(1), 4, 1us, at(0s), client);
    } else {
      store.fail(owner, Error{Code::internal, Reason::none, "", {}}, client);
    }
    owner.role = Role::idle;
  }

  void settle_resumed() {
    for (Caller& caller : callers) {
      if (caller.ends == 0) continue;
      REQUIRE(caller.ends == 1);
      REQUIRE(caller.role == Role::waiting);
      caller.ends = 0;
      caller.role = Role::idle;
    }
    auto const statistics = store.statistics();
    auto const in = [&](Role role) {
      return static_cast<std::size_t>(std::count_if(
          callers.begin(), callers.end(), [&](Caller const& caller) { return caller.role == role; }));
    };
    REQUIRE(statistics.waiters == in(Role::waiting));
    REQUIRE(statistics.flights == in(Role::owning) + in(Role::owner_gone));
  }

  void finish() {
    for (Caller& caller : callers)
      if (caller.role == Role::owning || caller.role == Role::owner_gone) end(caller);
    settle_resumed();
    REQUIRE(store.statistics().waiters == 0);
    REQUIRE(store.statistics().flights == 0);
  }

  Random random;
  std::unique_ptr<IntegerStore> const owned =
      std::make_unique<IntegerStore>(ResponseCacheOptions{.capacity_bytes = 4'000, .max_item_bytes = 1'000});
  IntegerStore& store = *owned;
  CountingClient client;
  std::vector<Caller> callers;
};

// mutant: a waiter that leaves stays in the line
TEST_CASE("S2-8 in any order of joining, leaving, ending and invalidating each waiter ends exactly once") {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    CAPTURE(seed);
    Schedule schedule(seed);
    for (int i = 0; i < 300; ++i) schedule.step();
    schedule.finish();
  }
}

struct ThreadCall : TestSlot {
  std::atomic<int> ends{0};
};
struct ThreadClient {
  void resume(TestSlot& slot, Handle const&, Error const*) noexcept {
    static_cast<ThreadCall&>(slot).ends.fetch_add(1);
  }
};

TEST_CASE("four threads join, leave, publish and invalidate: each waiter ends once, the budget stays exact") {
  auto const owned = std::make_unique<IntegerStore>(ResponseCacheOptions{.capacity_bytes = 30'000});
  IntegerStore& store = *owned;
  std::atomic<int> wrong{0};
  auto const work = [&](std::uint64_t seed) {
    Random random(seed);
    ThreadClient client;
    for (int i = 0; i < 4'000; ++i) {
      ThreadCall call;
      call.tag = random.below(2);
      switch (store.join(call, key_of(random.below(32)), static_cast<CacheMode>(random.below(3)), at(0s))) {
        case Join::owner:
          if (random.below(4) == 0 && store.cancel_owner(call)) break;
          if (random.below(3) == 0) {
            store.fail(call, Error{}, client);
          } else {
            store.publish(call, value_of(1), random.below(3'000), 1us, at(0s), client);
          }
          break;
        case Join::waiter:
          if (random.below(2) == 0 && store.cancel_wait(call)) {
            if (call.ends.load() != 0) ++wrong;
            break;
          }
          while (call.ends.load() == 0) std::this_thread::yield();
          if (call.ends.load() != 1) ++wrong;
          break;
        default: break;
      }
      if (random.below(100) == 0) store.invalidate(random.below(2));
      if (random.below(100) == 0 && store.statistics().bytes > 30'000) ++wrong;
    }
  };
  std::vector<std::thread> threads;
  for (std::uint64_t seed = 1; seed <= 4; ++seed) threads.emplace_back(work, seed);
  for (auto& thread : threads) thread.join();
  CHECK(wrong == 0);
  auto const statistics = store.statistics();
  CHECK(statistics.flights == 0);
  CHECK(statistics.waiters == 0);
  CHECK(statistics.requests() == 16'000);
  store.clear();
  CHECK(store.statistics().bytes == 0);
}

// mutant: an ended flight stays with its waiters
TEST_CASE("a call may be cancelled by another thread at any moment, and is ended once or cancelled") {
  auto const owned = std::make_unique<IntegerStore>();
  IntegerStore& store = *owned;
  ThreadClient client;
  std::atomic<ThreadCall*> target{nullptr};
  std::atomic<bool> over{false};
  std::atomic<int> cancelled{0};
  std::thread canceller([&] {
    while (!over.load()) {
      ThreadCall* const call = target.load();
      if (call == nullptr) {
        std::this_thread::yield();
        continue;
      }
      if (store.cancel_wait(*call)) ++cancelled;
      static_cast<void>(store.cancel_owner(*call));
      ThreadCall* expected = call;
      target.compare_exchange_strong(expected, nullptr);
    }
  });
  // One slot for all calls, as in a pool; each waits in another shard.
  ThreadCall call;
  int waited = 0;
  for (int i = 0; i < 1'000; ++i) {
    Hash128 const key = key_of(static_cast<std::uint64_t>(i));
    ThreadCall owner;
    store.join(owner, key, CacheMode::use, at(0s));
    call.reset_role();
    target.store(&call);
    if (store.join(call, key, CacheMode::use, at(0s)) == Join::waiter) ++waited;
    store.fail(owner, Error{}, client);
    while (target.load() != nullptr) std::this_thread::yield();
  }
  over = true;
  canceller.join();
  CHECK(waited == 1'000);
  CHECK(call.ends + cancelled == waited);
  CHECK(store.statistics().flights == 0);
  CHECK(store.statistics().waiters == 0);
}

}  // namespace
