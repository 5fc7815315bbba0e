/// The cache as a call meets it: stored values by key, and one running computation per key however many ask.
/// Starts no thread, reads no clock, and never calls its client with a lock held.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <utility>

#include <athanor/caching/detail/key_table.hpp>
#include <athanor/caching/eviction.hpp>
#include <athanor/caching/options.hpp>
#include <athanor/core/env.hpp>

namespace athanor::inline v1::caching {

template <class Value>
struct Flight;

/// One caller's place in the cache; a base of its call. `tag` (the model) is set before join; the rest
/// belongs to the store.
template <class Value>
struct Slot {
  std::uint64_t tag = 0;  ///< the model, for invalidate
  Hash128 flight_key{};
  Value flight_value{};           ///< after Join::hit
  Join joined = Join::bypass;     ///< what the last join came to
  Reason refusal = Reason::none;  ///< after Join::refused

  // Used by the store, under its lock.
  Flight<Value>* flight = nullptr;
  Slot* next_waiter = nullptr;
  Slot* previous_waiter = nullptr;
  std::uint64_t epoch = 0;
  bool may_store = false;
};

/// One running computation: who carries it and who waits for it. Pooled by the store.
template <class Value>
struct Flight {
  Hash128 key{};
  Flight* chain = nullptr;  ///< in the table, or in the pool
  Flight* made_before = nullptr;
  Slot<Value>* owner = nullptr;
  Slot<Value>* first = nullptr;
  Slot<Value>* last = nullptr;
  std::uint64_t tag = 0;
  std::uint32_t waiters = 0;
  bool current = false;          ///< in the table: newcomers join it and its value is stored
  bool owner_cancelled = false;  ///< the owner's caller has gone; only waiters want the value
};

/// What the store needs from outside: `resume(slot, value, error)` gives a parked waiter its end, exactly
/// once. `error` is null for success; otherwise `value` is empty. Both are borrowed for the call. From then
/// on the slot is the client's.
template <class H, class Value>
concept StoreClient = requires(H& client, Slot<Value>& slot, Value const& value, Error const* error) {
  { client.resume(slot, value, error) } noexcept;
};

/// A bundle: Env; Value, a cheap-to-copy handle of something immutable, empty by default; Eviction.
template <class T>
concept StoreTraits = Environment<typename T::Env> && std::default_initializable<typename T::Value> &&
                      std::copyable<typename T::Value> && EvictionPolicy<typename T::Eviction>;

/// What came of a waiter's wish to leave.
template <class Slot>
struct CancelWaitResult {
  /// True: it was removed and its continuation is the leaver's. False: it was no waiter any more, its end is
  /// on the way.
  bool removed = false;
  /// The owner whose work nobody wants now: its caller had left before, and this was the last waiter. Null
  /// otherwise.
  Slot* abandoned_owner = nullptr;
};

/// Everything counted by walking, for tests and health checks.
struct Audit {
  std::size_t budget_used = 0;
  std::size_t charged = 0;  ///< sum over the entries
  std::size_t entries = 0;
  std::size_t flights = 0;  ///< in the table
  std::size_t waiters = 0;  ///< linked in those
};

/// Stored values and running computations, in shards with a lock each, under one exact byte budget.
/// Thread-safe. Values are destroyed, and hosts called, outside the locks. Rules:
/// - An owner ends with exactly one `publish` or `fail`; both also end every waiter of its flight.
/// - A refresh always leads a flight of its own.
///   A flight that it takes over from still answers its waiters, but stores nothing:
///   an older result never replaces a newer one.
/// - A flight begun before an invalidate of its key stores nothing after it, and nobody joins it any more.
/// - A flight that nobody waits for is gone; if its work is done all the same, the value may still be stored.
template <StoreTraits Traits>
class Store {
 public:
  using Env = typename Traits::Env;
  using Value = typename Traits::Value;
  using Eviction = typename Traits::Eviction;
  using Slot = caching::Slot<Value>;
  using CancelWaitResult = caching::CancelWaitResult<Slot>;

  explicit Store(ResponseCacheOptions const& options = {}) noexcept;
  /// All flights must have ended.
  ~Store();
  Store(Store const&) = delete;
  Store& operator=(Store const&) = delete;

  ResponseCacheOptions const& options() const noexcept { return options_; }

  /// Looks up, and parks or leads on a miss. Sets slot.key, joined, and value or refusal. A hit allocates
  /// nothing.
  Join join(Slot& slot, Hash128 key, CacheMode mode, TimePoint now) noexcept;

  /// The owner's result: stored if it fits and is still wanted, and given to every waiter. `bytes` is what
  /// the value holds (the entry's own overhead is added), `cost` what it took to compute, not negative.
  template <StoreClient<Value> H>
  void publish(Slot& owner, Value const& value, std::size_t bytes, Duration cost, TimePoint now,
               H& client) noexcept;
  /// The owner failed: nothing is stored, and every waiter gets the error.
  template <StoreClient<Value> H>
  void fail(Slot& owner, Error const& error, H& client) noexcept;

  /// A waiter withdraws.
  CancelWaitResult cancel_wait(Slot& waiter) noexcept {
    return cancel_wait(waiter, [](Slot&) noexcept {});
  }
  /// Same; `retain(owner)` is called under the lock for an owner about to be reported as abandoned, so that
  /// it can be kept alive until the leaver has dealt with it. It may count a reference and nothing else.
  template <std::invocable<Slot&> Retain>
  CancelWaitResult cancel_wait(Slot& waiter, Retain retain) noexcept;
  /// The owner's caller goes away. True: nobody else waits, the flight is gone and the work may be dropped
  /// (or finished, then `publish` still stores it). False: the work must go on for the waiters, with the
  /// owner as its carrier.
  bool cancel_owner(Slot& owner) noexcept;
  /// Makes the first waiter the owner, when the present one cannot carry the work on. The new owner is no
  /// waiter any more and must be run; the old one is done with its flight. Null: nobody waits, the flight is
  /// gone.
  Slot* hand_over(Slot& owner) noexcept;

  /// Removes all entries with this tag and only those. Results of computations begun before are not stored
  /// after.
  void invalidate(std::uint64_t tag) noexcept;
  /// The same for one key.
  void erase(Hash128 key) noexcept;
  /// The same for everything.
  void clear() noexcept;

  /// Changes nothing. Exact when nobody else acts meanwhile.
  CacheStatistics statistics() const noexcept;
  Audit audit() const noexcept;

  /// What an entry costs beyond its value: the node, and its share of the table.
  static constexpr std::size_t entry_overhead() noexcept {
    return sizeof(StoredValue) + sizeof(StoredValue*);
  }

 private:
  using Flight = caching::Flight<Value>;
  struct StoredValue : Eviction::Node {
    Hash128 key{};
    StoredValue* chain = nullptr;
    Value value{};
    std::uint64_t tag = 0;
    std::size_t charge = 0;  ///< what was taken from the budget, and will be given back
    Duration cost{0};
    TimePoint expires = no_deadline;
  };
  struct alignas(64) Shard {
    mutable typename Env::Mutex mutex;
    KeyTable<StoredValue> entries ATH_GUARDED_BY(mutex);
    KeyTable<Flight> flights ATH_GUARDED_BY(mutex);
    Eviction eviction ATH_GUARDED_BY(mutex);
    Flight* pool ATH_GUARDED_BY(mutex) = nullptr;
    Flight* last_made ATH_GUARDED_BY(mutex) = nullptr;
    std::uint64_t epoch ATH_GUARDED_BY(mutex) = 0;  ///< counts invalidations
    CacheStatistics counts ATH_GUARDED_BY(mutex);
  };
  class RemovedEntries;
  using Lock = detail::Lock<typename Env::Mutex>;

  static constexpr std::size_t shard_count = 16;

  Shard& shard_of(Hash128 key) noexcept { return shards_[static_cast<std::size_t>(key.high % shard_count)]; }
  Join look_up(Shard& shard, Slot& slot, bool may_lead, TimePoint now, RemovedEntries& removed) noexcept
      ATH_REQUIRES(shard.mutex);
  Join lead(Shard& shard, Slot& slot) noexcept ATH_REQUIRES(shard.mutex);
  Join refuse(Shard& shard, Slot& slot, Reason reason) noexcept ATH_REQUIRES(shard.mutex);
  Flight* take_flight(Shard& shard) noexcept ATH_REQUIRES(shard.mutex);
  void retire(Shard& shard, Flight& flight) noexcept ATH_REQUIRES(shard.mutex);
  static void drop_from_table(Shard& shard, Flight& flight) noexcept ATH_REQUIRES(shard.mutex);
  static void unlink(Flight& flight, Slot& waiter) noexcept;
  Slot* close(Shard& shard, Slot& owner) noexcept ATH_REQUIRES(shard.mutex);
  bool wanted(Shard const& shard, Slot const& owner) const noexcept ATH_REQUIRES(shard.mutex);
  void insert(Shard& shard, StoredValue& entry, RemovedEntries& removed) noexcept ATH_REQUIRES(shard.mutex);
  void take_out(Shard& shard, StoredValue& entry, RemovedEntries& removed) noexcept ATH_REQUIRES(shard.mutex);
  bool reserve(std::size_t bytes) noexcept;
  bool evict_for(Shard& own, std::size_t bytes, RemovedEntries& removed) noexcept ATH_REQUIRES(own.mutex);
  bool evict_from(Shard& shard, RemovedEntries& removed) noexcept ATH_REQUIRES(shard.mutex);
  bool evict_elsewhere(Shard& own, RemovedEntries& removed) noexcept ATH_REQUIRES(own.mutex);
  template <class Chosen>
  void remove_matching(Shard& shard, Chosen chosen, RemovedEntries& removed) noexcept
      ATH_REQUIRES(shard.mutex);
  template <StoreClient<Value> H>
  static void resume_all(Slot* first, Value const& value, Error const* error, H& client) noexcept;

  ResponseCacheOptions options_;
  std::size_t max_charge_;
  typename Env::template Atomic<std::size_t> used_{0};
  std::array<Shard, shard_count> shards_;
};

}  // namespace athanor::inline v1::caching

#include <athanor/caching/detail/store.ipp>
