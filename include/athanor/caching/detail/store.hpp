/// The cache as a call meets it: stored values by key, and one running computation per key however many ask.
/// Starts no thread, reads no clock, and never calls its client with a lock held.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <utility>

#include <athanor/caching/detail/divided_mutex.hpp>
#include <athanor/caching/detail/key_table.hpp>
#include <athanor/caching/eviction.hpp>
#include <athanor/caching/options.hpp>
#include <athanor/core/env.hpp>

namespace athanor::inline v1::caching {

template <class Env, class Value>
struct Flight;

/// One caller's place in the cache; a base of its call. `tag` (the model) is set before join; the rest
/// belongs to the store.
///
/// The thread that joins owns the slot until `join` returns waiter. `role` is stored under the lock of the
/// key's shard, after the key and the flight; these and the links then change only under that lock. So
/// another thread may cancel at any moment of a join: it finds no role and does nothing, or finds the role
/// and with it the shard to lock.
template <class Env, class Value>
struct Slot {
  std::uint64_t tag = 0;  ///< the model, for invalidate
  Hash128 flight_key{};
  Value flight_value{};           ///< after Join::hit
  Reason refusal = Reason::none;  ///< after Join::refused

  /// The outcome of the last join; bypass before the first. Any thread.
  Join role() const noexcept { return cache_role.load(std::memory_order_acquire); }
  /// Makes a slot whose last join has ended as good as new, before other threads learn of its new call.
  void reset_role() noexcept { cache_role.store(Join::bypass, std::memory_order_relaxed); }

  // Used by the store.
  typename Env::template Atomic<Join> cache_role{Join::bypass};
  caching::Flight<Env, Value>* flight = nullptr;
  Slot* next_waiter = nullptr;
  Slot* previous_waiter = nullptr;
  std::uint64_t epoch = 0;
  bool may_store = false;
};

/// One running computation, with its owner and its waiters. Pooled by the store.
template <class Env, class Value>
struct Flight {
  Hash128 key{};
  Flight* chain = nullptr;  ///< in the table, or in the pool
  Flight* made_before = nullptr;
  Slot<Env, Value>* owner = nullptr;
  Slot<Env, Value>* first = nullptr;
  Slot<Env, Value>* last = nullptr;
  std::uint64_t tag = 0;
  std::uint32_t waiters = 0;
  bool current = false;          ///< in the table: newcomers join it and its value is stored
  bool owner_cancelled = false;  ///< the owner's caller has gone; only waiters want the value
};

/// What the store needs from outside: `resume(slot, value, error)` gives a parked waiter its end, exactly
/// once. `error` is null for success; otherwise `value` is empty. Both are borrowed for the call. From then
/// on the slot is the client's.
template <class H, class Env, class Value>
concept StoreClient = requires(H& client, Slot<Env, Value>& slot, Value const& value, Error const* error) {
  { client.resume(slot, value, error) } noexcept;
};

/// A bundle: Env; Value, a cheap-to-copy handle of something immutable, empty by default; Eviction.
template <class T>
concept StoreTraits = Environment<typename T::Env> && std::default_initializable<typename T::Value> &&
                      std::copyable<typename T::Value> && EvictionPolicy<typename T::Eviction>;

/// Stored values and running computations, in shards, under one exact byte budget. Thread-safe. Values are
/// destroyed, and clients called, outside the locks.
///
/// A **flight** is one computation of a key, from the join that found neither value nor flight to `publish`
/// or `fail`. The call that began it is its owner; equal calls that join later are its waiters.
/// - An owner ends its flight exactly once, and thereby every waiter: each gets `resume` exactly once, unless
///   `cancel_wait` removed it first. Both happen under the shard's lock, so exactly one of them finds the
///   waiter in the flight's list, and the thread that removed it owns the call from then on.
/// - A flight is *current* while it is in the table of flights. Only then do newcomers join it, and only then
///   is its value stored.
/// - A refresh always leads a flight of its own, and a flight that it supersedes is no longer current: it
///   answers its waiters and stores nothing, so an older result never replaces a newer one.
/// - An invalidation does the same to every flight that it concerns, and advances the shard's epoch.
/// - An owner whose caller has gone (`cancel_owner`) continues while others wait. With the last of them the
///   flight is removed, and the next equal call begins another. The work may be dropped, but if it ends all
///   the same its value is stored if the flight was current when it was removed, the shard's
///   epoch is the one it began in, and no value and no flight of the key are there.
///
/// Locks. A shard's mutex guards its flights and is held for every change of its entries; the entries have a
/// second lock, divided among threads, that a change takes as well. A hit takes only its part of the second,
/// and writes there its counts, the mark of the entry (once, until eviction clears it) and what copying the
/// value counts: two hits of different keys, on threads with parts of their own, write no common word.
/// Another shard's mutex is only tried while one is held, and nothing else is locked under a lock of entries.
template <StoreTraits Traits>
class Store {
 public:
  using Env = typename Traits::Env;
  using Value = typename Traits::Value;
  using Eviction = typename Traits::Eviction;
  using Slot = caching::Slot<Env, Value>;

  explicit Store(ResponseCacheOptions const& options = {}) noexcept;
  /// All flights must have ended.
  ~Store();
  Store(Store const&) = delete;
  Store& operator=(Store const&) = delete;

  ResponseCacheOptions const& options() const noexcept { return options_; }

  /// Looks up, and parks or leads on a miss; slot.role() says the same, and then value or refusal are set.
  /// Once it returns waiter another thread may have ended the call. A hit allocates nothing.
  Join join(Slot& slot, Hash128 key, CacheMode mode, TimePoint now) noexcept;

  /// The owner's result: stored if it fits and is still wanted, and given to every waiter. `bytes` is what
  /// the value holds (the entry's own overhead is added), `cost` what it took to compute, not negative.
  template <StoreClient<typename Traits::Env, Value> H>
  void publish(Slot& owner, Value const& value, std::size_t bytes, Duration cost, TimePoint now,
               H& client) noexcept;
  /// The owner failed: nothing is stored, and every waiter gets the error.
  template <StoreClient<typename Traits::Env, Value> H>
  void fail(Slot& owner, Error const& error, H& client) noexcept;

  /// True: a waiter was removed, and its continuation is the caller's of this function. False: the slot is no
  /// waiter, yet or any more; a waiter's end is on the way.
  bool cancel_wait(Slot& slot) noexcept;
  /// The owner's caller leaves. True: there are no waiters, the flight is removed and the work may be dropped
  /// (or finished, then `publish` still stores it); also for a slot that owns nothing. False: the work must
  /// go on for the waiters, with the owner as its carrier.
  bool cancel_owner(Slot& slot) noexcept;

  /// Removes all entries with this tag and only those. Results of computations begun before are not stored
  /// after.
  void invalidate(std::uint64_t tag) noexcept;
  /// The same for one key.
  void erase(Hash128 key) noexcept;
  /// The same for everything.
  void clear() noexcept;

  /// Const. Exact if no other thread uses the store at the same time.
  CacheStatistics statistics() const noexcept;

  /// What an entry costs beyond its value: the node, and its share of the table, which is up to half empty.
  static constexpr std::size_t entry_overhead() noexcept {
    return sizeof(StoredValue) + detail::block_overhead + 2 * sizeof(StoredValue*);
  }

 private:
  using Flight = caching::Flight<Env, Value>;
  struct StoredValue : Eviction::Node {
    Hash128 key{};
    StoredValue* chain = nullptr;
    Value value{};
    std::uint64_t tag = 0;
    std::size_t charge = 0;  ///< what was taken from the budget, and will be given back
    Duration cost{0};
    TimePoint expires = no_deadline;
    typename Env::template Atomic<bool> served{false};  ///< since eviction looked last
  };
  struct HitCounts {
    std::uint64_t hits = 0;
    Duration saved{0};
  };
  using EntriesMutex = DividedMutex<Env, HitCounts>;
  struct alignas(64) Shard {
    mutable EntriesMutex entries_mutex;
    KeyTable<StoredValue> entries ATH_GUARDED_BY(entries_mutex);
    alignas(64) mutable typename Env::Mutex mutex;  // locked before entries_mutex
    KeyTable<Flight> flights ATH_GUARDED_BY(mutex);
    Eviction eviction ATH_GUARDED_BY(mutex);
    Flight* pool ATH_GUARDED_BY(mutex) = nullptr;
    Flight* last_made ATH_GUARDED_BY(mutex) = nullptr;
    std::uint64_t epoch ATH_GUARDED_BY(mutex) = 0;  ///< counts invalidations
    CacheStatistics counts ATH_GUARDED_BY(mutex);
  };
  class RemovedEntries;
  using Lock = detail::Lock<typename Env::Mutex>;
  using ReadLock = SharedLock<EntriesMutex>;
  using WriteLock = detail::Lock<EntriesMutex>;
  enum class Found : std::uint8_t { nothing, expired, value };

  static constexpr std::size_t shard_count = 16;

  Shard& shard_of(Hash128 key) noexcept { return shards_[static_cast<std::size_t>(key.high % shard_count)]; }
  /// Takes the value into the slot if there is one, with the shard's mutex or without.
  static Found take_value(Shard& shard, Slot& slot, TimePoint now) noexcept ATH_EXCLUDES(shard.entries_mutex);
  Join join_flight(Shard& shard, Slot& slot, bool may_lead) noexcept ATH_REQUIRES(shard.mutex);
  Join lead(Shard& shard, Slot& slot) noexcept ATH_REQUIRES(shard.mutex);
  Join refuse(Shard& shard, Slot& slot, Reason reason) noexcept ATH_REQUIRES(shard.mutex);
  Flight* take_flight(Shard& shard) noexcept ATH_REQUIRES(shard.mutex);
  void retire(Shard& shard, Flight& flight) noexcept ATH_REQUIRES(shard.mutex);
  static void drop_from_table(Shard& shard, Flight& flight) noexcept ATH_REQUIRES(shard.mutex);
  static void unlink(Flight& flight, Slot& waiter) noexcept;
  void release_owner(Shard& shard, Flight& flight) noexcept ATH_REQUIRES(shard.mutex);
  Slot* close(Shard& shard, Slot& owner) noexcept ATH_REQUIRES(shard.mutex);
  bool wanted(Shard const& shard, Slot const& owner) const noexcept
      ATH_REQUIRES(shard.mutex, shard.entries_mutex);
  void insert(Shard& shard, StoredValue& entry, RemovedEntries& removed) noexcept ATH_REQUIRES(shard.mutex);
  void take_out(Shard& shard, StoredValue& entry, RemovedEntries& removed) noexcept
      ATH_REQUIRES(shard.mutex, shard.entries_mutex);
  bool reserve(std::size_t bytes) noexcept;
  bool evict_for(Shard& own, std::size_t bytes, RemovedEntries& removed) noexcept ATH_REQUIRES(own.mutex);
  bool evict_from(Shard& shard, RemovedEntries& removed) noexcept ATH_REQUIRES(shard.mutex);
  bool evict_elsewhere(Shard& own, RemovedEntries& removed) noexcept ATH_REQUIRES(own.mutex);
  template <class Chosen>
  void remove_matching(Shard& shard, Chosen chosen, RemovedEntries& removed) noexcept
      ATH_REQUIRES(shard.mutex, shard.entries_mutex);
  template <StoreClient<typename Traits::Env, Value> H>
  static void resume_all(Slot* first, Value const& value, Error const* error, H& client) noexcept;

  ResponseCacheOptions options_;
  std::size_t max_charge_;
  typename Env::template Atomic<std::size_t> used_{0};
  std::array<Shard, shard_count> shards_;
};

}  // namespace athanor::inline v1::caching

#include <athanor/caching/detail/store.ipp>
