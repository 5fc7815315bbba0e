#pragma once

#include <algorithm>
#include <new>

#include <athanor/caching/detail/store.hpp>

namespace athanor::inline v1::caching {

/// Entries taken out under a lock, destroyed after it: what a value's destructor does must not meet the
/// store's locks.
template <StoreTraits Traits>
class Store<Traits>::RemovedEntries {
 public:
  RemovedEntries() = default;
  RemovedEntries(RemovedEntries const&) = delete;
  RemovedEntries& operator=(RemovedEntries const&) = delete;
  ~RemovedEntries() {
    while (first_ != nullptr) delete std::exchange(first_, first_->chain);
  }
  void add(StoredValue& entry) noexcept { entry.chain = std::exchange(first_, &entry); }

 private:
  StoredValue* first_ = nullptr;
};

template <StoreTraits Traits>
Store<Traits>::Store(ResponseCacheOptions const& options) noexcept
    : options_(options),
      max_charge_(options.max_item_bytes != 0 ? std::min(options.max_item_bytes, options.capacity_bytes)
                                              : options.capacity_bytes / 8) {}

template <StoreTraits Traits>
Store<Traits>::~Store() {
  clear();
  for (Shard& shard : shards_)
    while (shard.last_made != nullptr) delete std::exchange(shard.last_made, shard.last_made->made_before);
}

// Joining.

template <StoreTraits Traits>
Join Store<Traits>::join(Slot& slot, Hash128 key, CacheMode mode, TimePoint now) noexcept {
  slot.reset_role();
  slot.flight_key = key;
  slot.flight_value = Value{};
  slot.refusal = Reason::none;
  slot.flight = nullptr;
  slot.may_store = false;
  bool const looks_up = mode == CacheMode::use || mode == CacheMode::only_if_cached;
  Shard& shard = shard_of(key);
  if (looks_up && take_value(shard, slot, now) == Found::value) {
    slot.cache_role.store(Join::hit, std::memory_order_release);
    return Join::hit;
  }
  RemovedEntries removed;
  Lock const lock(shard.mutex);
  Join joined = Join::bypass;
  if (looks_up) {
    // Once more: a value may have been published since.
    Found const found = take_value(shard, slot, now);
    if (found == Found::expired) {
      WriteLock const entries_lock(shard.entries_mutex);
      ++shard.counts.expired;
      take_out(shard, *shard.entries.find(key), removed);
    }
    joined = found == Found::value ? Join::hit : join_flight(shard, slot, mode == CacheMode::use);
  } else {
    ++shard.counts.bypasses;
    if (mode == CacheMode::refresh) {
      if (Flight* running = shard.flights.find(key)) drop_from_table(shard, *running);
      joined = lead(shard, slot);
    }
  }
  // Last: from here on any thread may cancel.
  slot.cache_role.store(joined, std::memory_order_release);
  return joined;
}

template <StoreTraits Traits>
auto Store<Traits>::take_value(Shard& shard, Slot& slot, TimePoint now) noexcept -> Found {
  ReadLock const lock(shard.entries_mutex);
  StoredValue* const entry = shard.entries.find(slot.flight_key);
  if (entry == nullptr) return Found::nothing;
  if (now >= entry->expires) return Found::expired;
  // Written only when it changes: the line of an entry in use stays in every reader's cache.
  if (!entry->served.load(std::memory_order_relaxed)) entry->served.store(true, std::memory_order_relaxed);
  slot.flight_value = entry->value;
  HitCounts& counts = lock.data();
  ++counts.hits;
  counts.saved = saturating_sum(counts.saved, entry->cost);
  return Found::value;
}

template <StoreTraits Traits>
Join Store<Traits>::join_flight(Shard& shard, Slot& slot, bool may_lead) noexcept {
  if (!may_lead) return refuse(shard, slot, Reason::not_cached);
  Flight* const flight = shard.flights.find(slot.flight_key);
  if (flight == nullptr) {
    Join const joined = lead(shard, slot);
    ++(joined == Join::owner ? shard.counts.misses : shard.counts.bypasses);
    return joined;
  }
  if (flight->waiters >= options_.max_waiters) return refuse(shard, slot, Reason::queue_full);
  slot.flight = flight;
  slot.next_waiter = nullptr;
  slot.previous_waiter = flight->last;
  (flight->last != nullptr ? flight->last->next_waiter : flight->first) = &slot;
  flight->last = &slot;
  ++flight->waiters;
  ++shard.counts.waiters;
  ++shard.counts.misses;
  ++shard.counts.joins;
  return Join::waiter;
}

template <StoreTraits Traits>
Join Store<Traits>::lead(Shard& shard, Slot& slot) noexcept {
  Flight* const flight = take_flight(shard);
  if (flight == nullptr) return Join::bypass;
  flight->key = slot.flight_key;
  flight->tag = slot.tag;
  flight->owner = &slot;
  if (!shard.flights.insert(*flight)) {
    retire(shard, *flight);
    return Join::bypass;
  }
  flight->current = true;
  slot.flight = flight;
  slot.epoch = shard.epoch;
  slot.may_store = true;
  return Join::owner;
}

template <StoreTraits Traits>
Join Store<Traits>::refuse(Shard& shard, Slot& slot, Reason reason) noexcept {
  ++shard.counts.misses;
  ++shard.counts.refusals;
  slot.refusal = reason;
  return Join::refused;
}

// Flights.

template <StoreTraits Traits>
auto Store<Traits>::take_flight(Shard& shard) noexcept -> Flight* {
  Flight* flight = shard.pool;
  if (flight != nullptr) {
    shard.pool = flight->chain;
    flight->chain = nullptr;
  } else {
    flight = new (std::nothrow) Flight;
    if (flight == nullptr) return nullptr;
    flight->made_before = std::exchange(shard.last_made, flight);
  }
  ++shard.counts.flights;
  return flight;
}

template <StoreTraits Traits>
void Store<Traits>::retire(Shard& shard, Flight& flight) noexcept {
  drop_from_table(shard, flight);
  Flight* const made_before = flight.made_before;
  flight = Flight{};
  flight.made_before = made_before;
  flight.chain = std::exchange(shard.pool, &flight);
  --shard.counts.flights;
}

template <StoreTraits Traits>
void Store<Traits>::drop_from_table(Shard& shard, Flight& flight) noexcept {
  if (std::exchange(flight.current, false)) shard.flights.remove(flight);
}

template <StoreTraits Traits>
void Store<Traits>::unlink(Flight& flight, Slot& waiter) noexcept {
  (waiter.previous_waiter != nullptr ? waiter.previous_waiter->next_waiter : flight.first) =
      waiter.next_waiter;
  (waiter.next_waiter != nullptr ? waiter.next_waiter->previous_waiter : flight.last) =
      waiter.previous_waiter;
  waiter.next_waiter = waiter.previous_waiter = nullptr;
  waiter.flight = nullptr;
  --flight.waiters;
}

/// Ends the owner's flight: returns its waiters, no longer reachable by `cancel_wait`, linked by
/// `next_waiter`. None for an owner that was released.
template <StoreTraits Traits>
auto Store<Traits>::close(Shard& shard, Slot& owner) noexcept -> Slot* {
  owner.may_store = false;
  Flight* const flight = std::exchange(owner.flight, nullptr);
  if (flight == nullptr) return nullptr;
  Slot* const first = flight->first;
  for (Slot* waiter = first; waiter != nullptr; waiter = waiter->next_waiter) waiter->flight = nullptr;
  shard.counts.waiters -= flight->waiters;
  retire(shard, *flight);
  return first;
}

template <StoreTraits Traits>
bool Store<Traits>::cancel_wait(Slot& slot) noexcept {
  if (slot.role() != Join::waiter) return false;
  Shard& shard = shard_of(slot.flight_key);
  Lock const lock(shard.mutex);
  Flight* const flight = slot.flight;
  if (flight == nullptr) return false;
  unlink(*flight, slot);
  --shard.counts.waiters;
  if (flight->waiters == 0 && flight->owner_cancelled) release_owner(shard, *flight);
  return true;
}

template <StoreTraits Traits>
bool Store<Traits>::cancel_owner(Slot& slot) noexcept {
  if (slot.role() != Join::owner) return true;
  Shard& shard = shard_of(slot.flight_key);
  Lock const lock(shard.mutex);
  Flight* const flight = slot.flight;
  if (flight == nullptr) return true;
  flight->owner_cancelled = true;
  if (flight->waiters != 0) return false;
  release_owner(shard, *flight);
  return true;
}

/// Removes a flight without waiters. Its owner, should it publish all the same, stores its value by the
/// rule in `wanted`.
template <StoreTraits Traits>
void Store<Traits>::release_owner(Shard& shard, Flight& flight) noexcept {
  flight.owner->may_store = flight.current;
  flight.owner->flight = nullptr;
  retire(shard, flight);
}

// Results.

template <StoreTraits Traits>
template <StoreClient<typename Traits::Env, typename Traits::Value> H>
void Store<Traits>::resume_all(Slot* first, Value const& value, Error const* error, H& client) noexcept {
  while (first != nullptr) {
    Slot& waiter = *first;
    first = waiter.next_waiter;  // the slot may be gone once it is resumed
    client.resume(waiter, value, error);
  }
}

template <StoreTraits Traits>
template <StoreClient<typename Traits::Env, typename Traits::Value> H>
void Store<Traits>::publish(Slot& owner, Value const& value, std::size_t bytes, Duration cost, TimePoint now,
                            H& client) noexcept {
  Slot* waiters = nullptr;
  {
    RemovedEntries removed;
    std::size_t const charge = bytes + entry_overhead();
    StoredValue* entry = nullptr;
    if (charge > bytes && charge <= max_charge_) entry = new (std::nothrow) StoredValue;
    Shard& shard = shard_of(owner.flight_key);
    Lock const lock(shard.mutex);
    bool store = false;
    if (entry != nullptr) {
      WriteLock const entries_lock(shard.entries_mutex);
      store = wanted(shard, owner);
      StoredValue* const old = store ? shard.entries.find(owner.flight_key) : nullptr;
      if (old != nullptr) take_out(shard, *old, removed);
    }
    waiters = close(shard, owner);
    if (!store) {
      ++shard.counts.not_stored;
      if (entry != nullptr) removed.add(*entry);
    } else {
      entry->key = owner.flight_key;
      entry->value = value;
      entry->tag = owner.tag;
      entry->charge = charge;
      entry->cost = cost;
      entry->expires = options_.ttl > Duration::zero() ? after(now, options_.ttl) : no_deadline;
      insert(shard, *entry, removed);
    }
  }
  resume_all(waiters, value, nullptr, client);
}

template <StoreTraits Traits>
template <StoreClient<typename Traits::Env, typename Traits::Value> H>
void Store<Traits>::fail(Slot& owner, Error const& error, H& client) noexcept {
  Slot* waiters = nullptr;
  {
    Shard& shard = shard_of(owner.flight_key);
    Lock const lock(shard.mutex);
    waiters = close(shard, owner);
  }
  resume_all(waiters, Value{}, &error, client);
}

/// Whether the owner's value may be stored: its flight is current, or there was no waiter and the key has not
/// changed since.
template <StoreTraits Traits>
bool Store<Traits>::wanted(Shard const& shard, Slot const& owner) const noexcept {
  if (!owner.may_store) return false;
  if (owner.flight != nullptr) return owner.flight->current;
  return owner.epoch == shard.epoch && shard.entries.find(owner.flight_key) == nullptr &&
         shard.flights.find(owner.flight_key) == nullptr;
}

// Entries and their budget.

template <StoreTraits Traits>
void Store<Traits>::insert(Shard& shard, StoredValue& entry, RemovedEntries& removed) noexcept {
  if (!evict_for(shard, entry.charge, removed)) {
    ++shard.counts.not_stored;
    removed.add(entry);
    return;
  }
  WriteLock const entries_lock(shard.entries_mutex);
  if (!shard.entries.insert(entry)) {
    used_.fetch_sub(entry.charge);
    ++shard.counts.not_stored;
    removed.add(entry);
    return;
  }
  shard.eviction.admit(entry, EntryFacts{entry.charge, entry.cost, entry.tag});
  ++shard.counts.insertions;
}

template <StoreTraits Traits>
void Store<Traits>::take_out(Shard& shard, StoredValue& entry, RemovedEntries& removed) noexcept {
  shard.entries.remove(entry);
  shard.eviction.erase(entry);
  used_.fetch_sub(entry.charge);
  removed.add(entry);
}

template <StoreTraits Traits>
bool Store<Traits>::reserve(std::size_t bytes) noexcept {
  std::size_t used = used_.load();
  do {
    if (bytes > options_.capacity_bytes - used) return false;
  } while (!used_.compare_exchange_weak(used, used + bytes));
  return true;
}

template <StoreTraits Traits>
bool Store<Traits>::evict_for(Shard& own, std::size_t bytes, RemovedEntries& removed) noexcept {
  while (!reserve(bytes))
    if (!evict_from(own, removed) && !evict_elsewhere(own, removed)) return false;
  return true;
}

template <StoreTraits Traits>
bool Store<Traits>::evict_from(Shard& shard, RemovedEntries& removed) noexcept {
  auto* const victim = shard.eviction.victim([](typename Eviction::Node& node) noexcept {
    auto& served = static_cast<StoredValue&>(node).served;
    return served.load(std::memory_order_relaxed) && served.exchange(false, std::memory_order_relaxed);
  });
  if (victim == nullptr) return false;
  WriteLock const entries_lock(shard.entries_mutex);
  take_out(shard, static_cast<StoredValue&>(*victim), removed);
  ++shard.counts.evictions;
  return true;
}

/// Only tries the other locks: a thread that holds one may be trying ours.
template <StoreTraits Traits>
bool Store<Traits>::evict_elsewhere(Shard& own, RemovedEntries& removed) noexcept {
  auto const start = static_cast<std::size_t>(&own - shards_.data());
  for (std::size_t i = 1; i < shard_count; ++i) {
    Shard& other = shards_[(start + i) % shard_count];
    if (!other.mutex.try_lock()) continue;
    bool const evicted = evict_from(other, removed);
    other.mutex.unlock();
    if (evicted) return true;
  }
  return false;
}

template <StoreTraits Traits>
template <class Chosen>
void Store<Traits>::remove_matching(Shard& shard, Chosen chosen, RemovedEntries& removed) noexcept {
  ++shard.epoch;
  for (StoredValue* next = shard.entries.remove_if(chosen); next != nullptr;) {
    StoredValue& entry = *std::exchange(next, next->chain);
    shard.eviction.erase(entry);
    used_.fetch_sub(entry.charge);
    ++shard.counts.invalidated;
    removed.add(entry);
  }
  for (Flight* next = shard.flights.remove_if(chosen); next != nullptr;) {
    Flight& flight = *std::exchange(next, next->chain);
    flight.chain = nullptr;
    flight.current = false;
  }
}

template <StoreTraits Traits>
void Store<Traits>::invalidate(std::uint64_t tag) noexcept {
  for (Shard& shard : shards_) {
    RemovedEntries removed;
    Lock const lock(shard.mutex);
    WriteLock const entries_lock(shard.entries_mutex);
    remove_matching(
        shard, [tag](auto const& node) { return node.tag == tag; }, removed);
  }
}

template <StoreTraits Traits>
void Store<Traits>::erase(Hash128 key) noexcept {
  RemovedEntries removed;
  Shard& shard = shard_of(key);
  Lock const lock(shard.mutex);
  WriteLock const entries_lock(shard.entries_mutex);
  ++shard.epoch;
  if (StoredValue* entry = shard.entries.find(key)) {
    take_out(shard, *entry, removed);
    ++shard.counts.invalidated;
  }
  if (Flight* flight = shard.flights.find(key)) drop_from_table(shard, *flight);
}

template <StoreTraits Traits>
void Store<Traits>::clear() noexcept {
  for (Shard& shard : shards_) {
    RemovedEntries removed;
    Lock const lock(shard.mutex);
    WriteLock const entries_lock(shard.entries_mutex);
    remove_matching(
        shard, [](auto const&) { return true; }, removed);
  }
}

// Counting.

template <StoreTraits Traits>
CacheStatistics Store<Traits>::statistics() const noexcept {
  CacheStatistics total;
  for (Shard const& shard : shards_) {
    Lock const lock(shard.mutex);
    CacheStatistics const& counts = shard.counts;
    total.misses += counts.misses;
    total.bypasses += counts.bypasses;
    total.joins += counts.joins;
    total.refusals += counts.refusals;
    total.insertions += counts.insertions;
    total.evictions += counts.evictions;
    total.expired += counts.expired;
    total.invalidated += counts.invalidated;
    total.not_stored += counts.not_stored;
    total.flights += counts.flights;
    total.waiters += counts.waiters;
    shard.entries_mutex.for_each([&total](HitCounts const& part) {
      total.hits += part.hits;
      total.saved = saturating_sum(total.saved, part.saved);
    });
    ReadLock const entries_lock(shard.entries_mutex);
    total.entries += shard.entries.size();
  }
  total.bytes = used_.load();
  return total;
}

}  // namespace athanor::inline v1::caching
