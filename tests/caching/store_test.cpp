#include "caching_support.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <functional>
#include <limits>
#include <memory>
#include <set>
#include <utility>
#include <vector>

namespace {

using namespace athanor;
using namespace athanor::caching;
using namespace athanor::caching_tests;
using namespace std::chrono_literals;

struct World {
  std::unique_ptr<IntegerStore> const owned;
  IntegerStore& store;
  CountingClient client;

  explicit World(ResponseCacheOptions const& options = {})
      : owned(std::make_unique<IntegerStore>(options)), store(*owned) {}

  Join join(TestCall& call, std::uint64_t key, CacheMode mode = CacheMode::use, Duration now = 0s) {
    return store.join(call, key_of(key), mode, at(now));
  }
  void publish(TestCall& owner, int value, std::size_t bytes = 4, Duration now = 0s) {
    store.publish(owner, value_of(value), bytes, 1ms, at(now), client);
  }
  /// Stores `value` under `key` as `tag`'s.
  void put(std::uint64_t key, int value, std::uint64_t tag = 0, std::size_t bytes = 4) {
    TestCall call;
    call.tag = tag;
    REQUIRE(join(call, key, CacheMode::refresh) == Join::owner);
    publish(call, value, bytes);
  }
  bool has(std::uint64_t key, Duration now = 0s) {
    TestCall call;
    return join(call, key, CacheMode::only_if_cached, now) == Join::hit;
  }
};

Error const broken{Code::internal, Reason::backend_failure, "model: broken", {}};

// mutant: a miss leads although a flight of its key runs
// mutant: an ended flight stays with its waiters
TEST_CASE("S3-7 ten equal misses compute once, and each caller gets the value") {
  World world;
  std::vector<TestCall> calls(10);
  CHECK(world.join(calls[0], 1) == Join::owner);
  for (std::size_t i = 1; i < calls.size(); ++i) CHECK(world.join(calls[i], 1) == Join::waiter);
  world.publish(calls[0], 7);
  CHECK(world.client.resumed == 9);
  for (std::size_t i = 1; i < calls.size(); ++i) {
    CHECK(calls[i].ends == 1);
    CHECK(*calls[i].result == 7);
    CHECK_FALSE(world.store.cancel_wait(calls[i]));  // it was resumed: nothing to withdraw
  }
  TestCall later;
  CHECK(world.join(later, 1) == Join::hit);
  CHECK(*later.flight_value == 7);
  CHECK(world.store.statistics().flights == 0);
}

// mutant: an ended flight stays with its waiters
TEST_CASE("S3-7 a failed computation stores nothing, and each waiter gets the error") {
  World world;
  std::vector<TestCall> calls(10);
  for (auto& call : calls) world.join(call, 1);
  world.store.fail(calls[0], broken, world.client);
  for (std::size_t i = 1; i < calls.size(); ++i) {
    CHECK(calls[i].ends == 1);
    CHECK(calls[i].error == broken);
    CHECK(calls[i].result == nullptr);
    CHECK_FALSE(world.store.cancel_wait(calls[i]));  // it was resumed: nothing to withdraw
  }
  CHECK(world.store.statistics().entries == 0);
  TestCall next;
  CHECK(world.join(next, 1) == Join::owner);
  world.store.fail(next, broken, world.client);
}

// mutant: invalidate takes every tag
TEST_CASE("S3-8 invalidate removes all entries of a model and only those") {
  World world;
  for (std::uint64_t key = 0; key < 100; ++key) world.put(key, static_cast<int>(key), key % 2);
  world.store.invalidate(1);
  for (std::uint64_t key = 0; key < 100; ++key) CHECK(world.has(key) == (key % 2 == 0));
  CHECK(world.store.statistics().invalidated == 50);
  world.store.clear();
  CHECK(world.store.statistics().entries == 0);
  CHECK(world.store.statistics().bytes == 0);
}

// mutant: an invalidated flight stays current
// mutant: an erased key's flight stays current
// mutant: a late value ignores the epoch
TEST_CASE("S3-8 a result begun before an invalidate is not stored after it") {
  World world;
  TestCall owner, waiter, abandoned, late;
  owner.tag = abandoned.tag = late.tag = 5;
  world.join(owner, 1);
  world.join(waiter, 1);
  world.join(abandoned, 2);
  CHECK(world.store.cancel_owner(abandoned));
  SUBCASE("of the model") { world.store.invalidate(5); }
  SUBCASE("of the keys") {
    world.store.erase(key_of(1));
    world.store.erase(key_of(2));
  }
  SUBCASE("of everything") { world.store.clear(); }
  CHECK(world.join(late, 1) == Join::owner);  // nobody joins the old flight
  world.publish(owner, 1);
  world.publish(abandoned, 2);
  CHECK(*waiter.result == 1);  // who asked before is answered
  CHECK_FALSE(world.has(1));
  CHECK_FALSE(world.has(2));
  world.publish(late, 3);
  CHECK(world.has(1));
}

// mutant: invalidate takes every tag
TEST_CASE("S3-8 an invalidate of another model leaves a running computation to be stored") {
  World world;
  TestCall owner;
  owner.tag = 5;
  world.join(owner, 1);
  world.store.invalidate(6);
  world.publish(owner, 1);
  CHECK(world.has(1));
}

// mutant: a caller who skips the cache looks up
// mutant: a caller who skips the cache leads a flight
TEST_CASE("S3-9 a caller who skips the cache neither finds nor waits nor stores") {
  World world;
  TestCall owner, skipping;
  world.join(owner, 1);
  CHECK(world.join(skipping, 1, CacheMode::skip) == Join::bypass);
  world.publish(owner, 1);
  CHECK(world.join(skipping, 1, CacheMode::skip) == Join::bypass);
  world.publish(skipping, 2);
  TestCall reader;
  REQUIRE(world.join(reader, 1) == Join::hit);
  CHECK(*reader.flight_value == 1);
}

// mutant: only_if_cached leads a flight
TEST_CASE("S3-9 only-if-cached is answered at once: with the value, or with not_cached") {
  World world;
  TestCall owner, reader;
  world.join(owner, 1);
  CHECK(world.join(reader, 1, CacheMode::only_if_cached) == Join::refused);
  CHECK(reader.refusal == Reason::not_cached);
  CHECK(refusal_error(reader.refusal, world.store.options()).code == Code::not_found);
  world.publish(owner, 1);
  CHECK(world.join(reader, 1, CacheMode::only_if_cached) == Join::hit);
}

// mutant: a superseded flight stays current
// mutant: a refresh joins nobody off the older flight
// mutant: any flight stores, current or not
TEST_CASE("a refresh takes over: older results answer their waiters and are not stored") {
  World world;
  TestCall old_owner, old_waiter, refresher, joiner;
  world.join(old_owner, 1);
  world.join(old_waiter, 1);
  CHECK(world.join(refresher, 1, CacheMode::refresh) == Join::owner);
  CHECK(world.join(joiner, 1) == Join::waiter);
  world.publish(refresher, 2);
  world.publish(old_owner, 1);
  CHECK(*old_waiter.result == 1);
  CHECK(*joiner.result == 2);
  TestCall reader;
  world.join(reader, 1);
  CHECK(*reader.flight_value == 2);
}

// mutant: a hit takes the value out of the store
TEST_CASE("S0-13 what one caller got cannot be changed for the next") {
  static_assert(std::is_const_v<Handle::element_type>);
  World world;
  world.put(1, 7);
  TestCall first, second;
  world.join(first, 1);
  first.flight_value = value_of(9);  // all that a caller can do: change its own handle
  world.join(second, 1);
  CHECK(*second.flight_value == 7);
  world.store.clear();
  CHECK(*second.flight_value == 7);
}

// mutant: an entry lives a tick longer than its ttl
// mutant: an expired entry stays
TEST_CASE("an entry lives for its ttl from its publication") {
  World world(ResponseCacheOptions{.ttl = 10s});
  TestCall owner;
  world.join(owner, 1, CacheMode::use, 0s);
  world.publish(owner, 1, 4, 5s);
  CHECK(world.has(1, 15s - 1ns));
  CHECK_FALSE(world.has(1, 15s));
  auto const statistics = world.store.statistics();
  CHECK(statistics.expired == 1);
  CHECK(statistics.entries == 0);
  CHECK(statistics.bytes == 0);
}

// mutant: reading statistics counts as a miss
TEST_CASE("S3-16 reading statistics changes neither order nor counts") {
  std::size_t const item = 1000 + IntegerStore::entry_overhead();
  World world(ResponseCacheOptions{.capacity_bytes = 2 * item, .max_item_bytes = item});
  world.put(1, 1, 0, 1000);
  world.put(2, 2, 0, 1000);
  auto const before = world.store.statistics();
  for (int i = 0; i < 10; ++i) CHECK(world.store.statistics() == before);
  CHECK(before.requests() == before.hits + before.misses + before.bypasses);
  CHECK(before.bytes == 2 * item);
}

/// A shard's entries as eviction sees them: those of `served` were served since they were asked last.
struct Line {
  SecondChance policy;
  std::vector<SecondChance::Node> nodes;
  std::set<SecondChance::Node const*> served;

  explicit Line(std::size_t entries) : nodes(entries) {
    for (auto& node : nodes) policy.admit(node, EntryFacts{});
  }
  void serve(std::size_t index) { served.insert(&nodes[index]); }
  std::ptrdiff_t victim() {
    auto* const node = policy.victim([this](auto& of) { return served.erase(&of) != 0; });
    return node == nullptr ? -1 : node - nodes.data();
  }
  void evict() { policy.erase(nodes[static_cast<std::size_t>(victim())]); }
};

// mutant: an entry gets no second chance
TEST_CASE("an entry that was served goes to the end of the line, once") {
  Line line(3);
  line.serve(0);
  CHECK(line.victim() == 1);
  CHECK(line.victim() == 1);  // in place until it is erased
  line.evict();
  CHECK(line.victim() == 2);
  line.evict();
  CHECK(line.victim() == 0);  // its mark is used up
  line.evict();
  CHECK(line.victim() == -1);
}

// mutant: the newest goes when all were served
TEST_CASE("when every entry was served the oldest goes, even if all are served again meanwhile") {
  Line line(3);
  for (std::size_t i = 0; i < 3; ++i) line.serve(i);
  CHECK(line.victim() == 0);
  CHECK(line.policy.victim([](auto&) { return true; }) == &line.nodes[0]);
}

// mutant: a hit does not mark its entry
// mutant: the mark of an entry is never cleared
TEST_CASE("what hits ask for stays when a store runs out of capacity") {
  std::size_t const item = 1000 + IntegerStore::entry_overhead();
  World world(ResponseCacheOptions{.capacity_bytes = 3 * item, .max_item_bytes = item});
  auto const put = [&](std::uint64_t number) {
    TestCall call;
    world.store.join(call, key_in_shard(7, number), CacheMode::refresh, at(0s));
    world.publish(call, 1, 1000);
  };
  auto const has = [&](std::uint64_t number) {
    TestCall call;
    return world.store.join(call, key_in_shard(7, number), CacheMode::only_if_cached, at(0s)) == Join::hit;
  };
  for (std::uint64_t number = 0; number < 3; ++number) put(number);
  for (std::uint64_t number = 3; number < 10; ++number) {
    CHECK(has(0));
    put(number);
  }
  CHECK(has(0));
  CHECK(has(9));
  CHECK_FALSE(has(1));
  CHECK(world.store.statistics().evictions == 7);
  // Not asked for any more: the marks of before save nothing twice.
  for (std::uint64_t number = 10; number < 14; ++number) put(number);
  CHECK_FALSE(has(0));
  CHECK_FALSE(has(9));
}

// mutant: one waiter more than the limit
// mutant: a waiter that leaves is still counted
TEST_CASE("one waiter above the limit is refused at once, and may be admitted when another has left") {
  World world(ResponseCacheOptions{.max_waiters = 2});
  TestCall owner, a, b, c;
  world.join(owner, 1);
  CHECK(world.join(a, 1) == Join::waiter);
  CHECK(world.join(b, 1) == Join::waiter);
  CHECK(world.join(c, 1) == Join::refused);
  auto const error = refusal_error(c.refusal, world.store.options());
  CHECK(error.code == Code::resource_exhausted);
  CHECK(error.retry_after > 0ns);
  CHECK(world.store.cancel_wait(a));
  CHECK(world.join(c, 1) == Join::waiter);
  world.publish(owner, 1);
  CHECK(a.ends == 0);
  CHECK(b.ends + c.ends == 2);
}

// mutant: an owner who leaves takes the flight from its waiters
TEST_CASE("S2-8 an owner who leaves takes nothing from the waiters") {
  World world;
  TestCall owner, waiter, newcomer;
  world.join(owner, 1);
  world.join(waiter, 1);
  CHECK_FALSE(world.store.cancel_owner(owner));
  CHECK(world.join(newcomer, 1) == Join::waiter);  // the computation runs on; nobody starts a second
  CHECK(world.store.cancel_wait(waiter));
  world.publish(owner, 3);
  CHECK(*newcomer.result == 3);
  CHECK(waiter.ends == 0);
  CHECK(owner.ends == 0);
}

// mutant: the flight stays when its last waiter leaves
// mutant: a late value is lost
// mutant: a late value replaces a newer one
// mutant: a late value overtakes a newer computation
TEST_CASE("a flight ends with its last waiter, and the late value of its owner may still be stored") {
  World world;
  TestCall owner, waiter;
  world.join(owner, 1);
  world.join(waiter, 1);
  CHECK_FALSE(world.store.cancel_owner(owner));
  CHECK(world.store.cancel_wait(waiter));
  CHECK(world.store.statistics().flights == 0);
  CHECK(world.store.cancel_owner(owner));
  CHECK_FALSE(world.store.cancel_wait(waiter));
  SUBCASE("it is dropped: a late result does not replace a newer one") {
    TestCall next;
    CHECK(world.join(next, 1) == Join::owner);
    world.publish(next, 1);
    world.publish(owner, 2);
    TestCall reader;
    world.join(reader, 1);
    CHECK(*reader.flight_value == 1);
  }
  SUBCASE("it is dropped: a newer computation runs already") {
    TestCall next;
    CHECK(world.join(next, 1) == Join::owner);
    world.publish(owner, 2);
    CHECK_FALSE(world.has(1));
    world.publish(next, 1);
    CHECK(world.has(1));
  }
  SUBCASE("it ends all the same") {
    world.publish(owner, 2);
    CHECK(world.has(1));
  }
}

// mutant: lead does not take the epoch
TEST_CASE("a late value is stored although something was invalidated before its computation began") {
  World world;
  world.store.clear();
  TestCall owner;
  world.join(owner, 1);
  CHECK(world.store.cancel_owner(owner));
  world.publish(owner, 1);
  CHECK(world.has(1));
}

// mutant: the owner of a superseded flight may store
TEST_CASE("the late value of a superseded flight is not stored, though the newer computation failed") {
  World world;
  TestCall owner, waiter, refresher;
  world.join(owner, 1);
  world.join(waiter, 1);
  CHECK(world.join(refresher, 1, CacheMode::refresh) == Join::owner);
  SUBCASE("its owner goes last") {
    CHECK(world.store.cancel_wait(waiter));
    CHECK(world.store.cancel_owner(owner));
  }
  SUBCASE("its waiter goes last") {
    CHECK_FALSE(world.store.cancel_owner(owner));
    CHECK(world.store.cancel_wait(waiter));
  }
  world.store.fail(refresher, broken, world.client);
  world.publish(owner, 1);
  CHECK_FALSE(world.has(1));
  CHECK(world.store.statistics().not_stored == 1);
}

// mutant: the old entry of a key stays beside the new
TEST_CASE("a value takes the place of the one before it") {
  World world;
  world.put(1, 1);
  auto const bytes = world.store.statistics().bytes;
  world.put(1, 2);
  CHECK(world.store.statistics().entries == 1);
  CHECK(world.store.statistics().bytes == bytes);
  world.store.erase(key_of(1));
  CHECK_FALSE(world.has(1));
}

// mutant: bytes that wrap are stored
TEST_CASE("a value of any size in bytes is at most not stored") {
  World world;
  TestCall owner, waiter;
  world.join(owner, 1);
  world.join(waiter, 1);
  world.publish(owner, 5, std::numeric_limits<std::size_t>::max());
  CHECK(*waiter.result == 5);
  CHECK_FALSE(world.has(1));
  CHECK(world.store.statistics().not_stored == 1);
}

// mutant: one shard is never asked for capacity
TEST_CASE("capacity is found in every other shard") {
  for (std::uint64_t own = 0; own < 16; ++own) {
    for (std::uint64_t other = 0; other < 16; ++other) {
      World world(ResponseCacheOptions{.capacity_bytes = 4096, .max_item_bytes = 4096});
      for (auto const shard : {other, own}) {
        TestCall owner;
        world.store.join(owner, key_in_shard(shard, shard), CacheMode::use, at(0s));
        world.publish(owner, 1, 4096 - IntegerStore::entry_overhead());
      }
      TestCall reader;
      CHECK(world.store.join(reader, key_in_shard(own, own), CacheMode::use, at(0s)) == Join::hit);
    }
  }
}

/// A mutex that `try_lock` fails to take, as the standard permits.
struct StubbornEnv : SystemEnv {
  struct ATH_CAPABILITY("mutex") Mutex : SystemMutex {
    bool try_lock() ATH_TRY_ACQUIRE(true) { return false; }
  };
};

// mutant: a value that finds no capacity is not counted
TEST_CASE("a value that finds no capacity is not stored, and counted") {
  auto const owned = std::make_unique<Store<IntegerTraits<StubbornEnv>>>(
      ResponseCacheOptions{.capacity_bytes = 4096, .max_item_bytes = 4096});
  auto& store = *owned;
  struct Ignoring {
    void resume(caching::Slot<StubbornEnv, Handle>&, Handle const&, Error const*) noexcept {}
  } client;
  for (std::uint64_t shard : {1U, 2U}) {
    caching::Slot<StubbornEnv, Handle> owner;
    store.join(owner, key_in_shard(shard, 1), CacheMode::use, at(0s));
    store.publish(owner, value_of(1), 4000 - store.entry_overhead(), 1us, at(0s), client);
  }
  CHECK(store.statistics().entries == 1);
  CHECK(store.statistics().not_stored == 1);
}

/// Calls `act`, once, in the place of another thread that acts before a lock is taken.
struct InterruptedEnv : SystemEnv {
  static inline std::function<void()> act;
  static inline int locked = 0;
  struct ATH_CAPABILITY("mutex") Mutex : SystemMutex {
    void lock() ATH_ACQUIRE() ATH_NO_THREAD_SAFETY_ANALYSIS {  // the base class is what is annotated
      if (auto const now = std::exchange(act, nullptr)) now();
      ++locked;
      SystemMutex::lock();
    }
  };
};

struct InterruptedCall : caching::Slot<InterruptedEnv, Handle> {
  int ends = 0;
};
struct InterruptedClient {
  void resume(caching::Slot<InterruptedEnv, Handle>& slot, Handle const&, Error const*) noexcept {
    ++static_cast<InterruptedCall&>(slot).ends;
  }
};

// mutant: a joining call counts as a waiter from the start
// mutant: cancel_wait locks the shard of any slot
// mutant: cancel_owner asks no role
TEST_CASE("a cancel in the middle of a join touches nothing, one in the middle of a publish finds nobody") {
  auto const owned = std::make_unique<Store<IntegerTraits<InterruptedEnv>>>();
  auto& store = *owned;
  InterruptedClient client;
  InterruptedCall owner, waiter;
  auto const join = [&](InterruptedCall& call, std::uint64_t shard) {
    return store.join(call, key_in_shard(shard, 1), CacheMode::use, at(0s));
  };
  auto const cancel = [&] {
    int const before = InterruptedEnv::locked;
    CHECK_FALSE(store.cancel_wait(waiter));
    CHECK(store.cancel_owner(waiter));
    CHECK(InterruptedEnv::locked == before);
  };
  // The waiter's slot comes from a call that waited in another shard.
  InterruptedCall first;
  REQUIRE(join(first, 3) == Join::owner);
  REQUIRE(join(waiter, 3) == Join::waiter);
  store.fail(first, broken, client);
  CHECK(waiter.ends == 1);
  waiter.reset_role();

  REQUIRE(join(owner, 5) == Join::owner);
  InterruptedEnv::act = cancel;
  REQUIRE(join(waiter, 5) == Join::waiter);
  CHECK(store.statistics().waiters == 1);
  InterruptedEnv::act = [&] { store.fail(owner, broken, client); };
  CHECK_FALSE(store.cancel_wait(waiter));
  CHECK(waiter.ends == 2);
  CHECK(store.statistics().waiters == 0);
  CHECK(store.statistics().flights == 0);
}

// mutant: an item above its limit is stored
TEST_CASE("an item above its limit is handed out and not stored, and evicts nothing") {
  World world(ResponseCacheOptions{.capacity_bytes = 80'000});
  world.put(1, 1);
  TestCall owner, waiter;
  world.join(owner, 2);
  world.join(waiter, 2);
  world.publish(owner, 2, 10'000 - IntegerStore::entry_overhead() + 1);
  CHECK(*waiter.result == 2);
  CHECK_FALSE(world.has(2));
  CHECK(world.has(1));
  CHECK(world.store.statistics().not_stored == 1);
  world.put(2, 2, 0, 10'000 - IntegerStore::entry_overhead());
  CHECK(world.has(2));
}

// mutant: a negative ttl is accepted
// mutant: an item limit above the capacity is accepted
TEST_CASE("impossible options of a cache are refused by name") {
  CHECK(validate(ResponseCacheOptions{}).has_value());
  auto const negative = validate(ResponseCacheOptions{.ttl = -1s});
  REQUIRE_FALSE(negative);
  CHECK(negative.error().reason == Reason::option);
  CHECK(negative.error().message.find("ttl") != std::string::npos);
  CHECK_FALSE(validate(ResponseCacheOptions{.capacity_bytes = 10, .max_item_bytes = 11}));
}

// mutant: what hits save is added up without an end
TEST_CASE("what hits have saved stays at its longest instead of turning negative") {
  World world;
  TestCall owner;
  REQUIRE(world.join(owner, 1) == Join::owner);
  world.store.publish(owner, value_of(7), 4, Duration::max() / 2, at(0s), world.client);
  for (int i = 0; i < 5; ++i) CHECK(world.has(1));
  CHECK(world.store.statistics().saved == Duration::max());
}

}  // namespace
