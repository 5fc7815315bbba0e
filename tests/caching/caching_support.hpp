/// What the tests of the cache share: a store of integers, a call with a count of its ends, and a client that
/// counts.
#pragma once

#include <athanor/caching/detail/store.hpp>

#include <memory>
#include <string>
#include <vector>

namespace athanor::caching_tests {

using Handle = std::shared_ptr<int const>;

template <class E = SystemEnv>
struct IntegerTraits {
  using Env = E;
  using Value = Handle;
  using Eviction = caching::SecondChance;
};
/// Tests keep theirs on the heap: ThreadSanitizer takes the mutexes of two stores in one
/// place of the stack for the same ones, and their orders of locking for a contradiction.
using IntegerStore = caching::Store<IntegerTraits<>>;

using TestSlot = caching::Slot<SystemEnv, Handle>;

struct TestCall : TestSlot {
  int ends = 0;
  Handle result;
  Error error;
};

struct CountingClient {
  int resumed = 0;
  void resume(TestSlot& slot, Handle const& value, Error const* error) noexcept {
    auto& call = static_cast<TestCall&>(slot);
    ++resumed;
    ++call.ends;
    call.result = value;
    if (error != nullptr) call.error = *error;
  }
};
static_assert(caching::StoreClient<CountingClient, SystemEnv, Handle>);

inline TimePoint at(Duration since_start) { return TimePoint{} + since_start; }
inline Hash128 key_of(std::uint64_t number) {
  KeyHasher hasher;
  hasher.add(number);
  return hasher.finish();
}
/// The `number`-th key of a shard.
inline Hash128 key_in_shard(std::uint64_t shard, std::uint64_t number) { return {number, shard}; }
inline Handle value_of(int number) { return std::make_shared<int const>(number); }

}  // namespace athanor::caching_tests
