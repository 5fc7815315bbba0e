/// Options, lookup modes, lookup outcomes and statistics of a cache.
#pragma once

#include <cstddef>
#include <cstdint>

#include <athanor/core/cache_mode.hpp>
#include <athanor/core/detail/block_overhead.hpp>
#include <athanor/core/error.hpp>
#include <athanor/core/hash.hpp>
#include <athanor/core/time.hpp>

namespace athanor::inline v1 {

/// How much a cache keeps, and for how long.
struct ResponseCacheOptions {
  /// Bytes of memory that all stored entries together may take; never exceeded. Charged are an entry's value,
  /// the entry itself and its share of the table, each block of memory with its alignment and 16 bytes for
  /// the allocator. The free memory that an allocator keeps between blocks in use is not: a process that
  /// stores many small values may grow by half as much again. 0 stores nothing: only concurrent equal
  /// computations are shared.
  std::size_t capacity_bytes = std::size_t{64} << 20;
  /// A value that would be charged more than this, overhead included, is returned but not stored. 0 means an
  /// eighth of the capacity.
  std::size_t max_item_bytes = 0;
  /// How long an entry may be served; zero means for ever.
  Duration ttl{0};
  /// Callers that may wait for one running computation; more are rejected. With 0, none may wait.
  std::uint32_t max_waiters = 1024;
};

namespace caching {

/// What a value behind a std::shared_ptr takes beside its own bytes: the counts of its owners, and its block.
inline constexpr std::size_t shared_overhead = 2 * sizeof(void*) + detail::block_overhead;

/// invalid_argument (Reason::option) naming the option, its value and what it may be.
Result<void> validate(ResponseCacheOptions const& options);

/// The outcome of a lookup.
enum class Join : std::uint8_t {
  hit,  ///< the slot has the value
  /// Parked on a running computation: the client's `resume` is called exactly once, unless `cancel_wait`
  /// removes the caller.
  waiter,
  owner,    ///< this caller computes, and must call `publish` or `fail`
  bypass,   ///< compute without the cache: nothing to publish
  refused,  ///< see `refusal_error`
};

/// The error of a refused join: not_found (Reason::not_cached), or resource_exhausted (Reason::queue_full).
Error refusal_error(Reason refusal, ResponseCacheOptions const& options);

/// Counts since construction and present holdings. requests() = hits + misses + bypasses, at every moment.
struct CacheStatistics {
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;  ///< lookups that found nothing, whatever their outcome
  /// Calls that skip the lookup (skip, refresh), or for which memory for a flight was lacking.
  std::uint64_t bypasses = 0;
  std::uint64_t joins = 0;        ///< of the misses: waited for a running computation
  std::uint64_t refusals = 0;     ///< of the misses: refused
  std::uint64_t insertions = 0;   ///< values stored
  std::uint64_t evictions = 0;    ///< entries removed to free capacity
  std::uint64_t expired = 0;      ///< entries found too old and removed
  std::uint64_t invalidated = 0;  ///< entries removed by invalidate, erase or clear
  /// Values returned but not stored: too large, no capacity, superseded or invalidated while computed.
  std::uint64_t not_stored = 0;
  Duration saved{0};      ///< what the hits would have cost to compute; saturates at 292 years
  std::size_t bytes = 0;  ///< charged to the budget now
  std::size_t entries = 0;
  std::size_t flights = 0;  ///< computations running now
  std::size_t waiters = 0;  ///< callers parked now

  /// All requests that were counted.
  std::uint64_t requests() const noexcept { return hits + misses + bypasses; }
  bool operator==(CacheStatistics const&) const = default;
};

}  // namespace caching

}  // namespace athanor::inline v1
