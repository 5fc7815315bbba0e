/// ResponseCache: stores computed values, and computes each once for any number of concurrent callers. Usable
/// alone, on any payload:
///
///     auto cache = athanor::ResponseCache<Digest, Picture>::create({.capacity_bytes = 64 << 20, .ttl = 60s});
///     if (!cache) return cache.error();
///     auto picture = cache->get_or_compute(digest, 200ms, [&] { return render(scene); });
#pragma once

#include <concepts>
#include <memory>
#include <ranges>
#include <string_view>
#include <type_traits>

#include <athanor/caching/detail/store.hpp>
#include <athanor/core/hash.hpp>

namespace athanor::inline v1 {

/// The policies of a ResponseCache: the environment, and which entry is evicted first.
struct DefaultCaching {
  using Env = SystemEnv;
  using Eviction = caching::SecondChance;
};

namespace caching {

/// The bundle of a store of shared immutable values.
template <class Shared, class Traits>
struct SharedValues {
  using Env = typename Traits::Env;
  using Value = std::shared_ptr<Shared const>;
  using Eviction = typename Traits::Eviction;
};

/// A type whose function `Hash128 cache_key(Key const&)`, found beside it, says what makes two keys equal:
/// keys of one hash are one key. Its bits must be well mixed (`KeyHasher`, `hash128`), or lookups are slow.
/// Hash with a secret if outsiders must not be able to choose keys that collide.
template <class Key>
concept HasCacheKey = requires(Key const& key) {
  { cache_key(key) } -> std::same_as<Hash128>;
};

/// What a ResponseCache takes as key: a Hash128, an integer of at most 64 bits, text, or a type with a
/// `cache_key` of its own.
template <class Key>
concept CacheKey = HasCacheKey<Key> || std::same_as<Key, Hash128> ||
                   (std::integral<Key> && sizeof(Key) <= sizeof(std::uint64_t)) ||
                   std::convertible_to<Key const&, std::string_view>;

/// A type whose function `std::size_t cache_bytes(Value const&)`, found beside it, returns the bytes that a
/// value holds.
template <class Value>
concept HasCacheBytes = requires(Value const& value) {
  { cache_bytes(value) } -> std::convertible_to<std::size_t>;
};

/// A string or vector of trivially copyable elements.
template <class Value>
concept VectorOfPlain = std::ranges::contiguous_range<Value const> &&
                        std::is_trivially_copyable_v<std::ranges::range_value_t<Value const>> &&
                        requires(Value const& value) { value.capacity(); };

/// The bytes charged for a value: its `cache_bytes` if it has one; else its size, plus the capacity of a
/// string or vector of trivially copyable elements, with its block.
template <class Value>
std::size_t charged_bytes(Value const& value) {
  if constexpr (HasCacheBytes<Value>) {
    return cache_bytes(value);
  } else if constexpr (VectorOfPlain<Value>) {
    return sizeof(Value) + value.capacity() * sizeof(std::ranges::range_value_t<Value const>) +
           detail::block_overhead;
  } else {
    static_assert(std::is_trivially_copyable_v<Value>,
                  "athanor::ResponseCache: give this value a function std::size_t cache_bytes(Value const&)");
    return sizeof(Value);
  }
}

}  // namespace caching

/// A cache of immutable values behind a key, with single-flight. Thread-safe. Values are shared, never
/// copied: they are immutable and stay valid after eviction while a handle exists.
/// Keys of integers and text are hashed with a secret of this cache. Must outlive every call of its
/// functions; handles may outlive it. If a key's own `cache_key` throws, the exception propagates and the
/// cache is unchanged.
template <caching::CacheKey Key, class Value, class Traits = DefaultCaching>
class ResponseCache {
 public:
  using Env = typename Traits::Env;
  using Handle = std::shared_ptr<Value const>;

  /// Rejects with invalid_argument / option what `caching::validate` rejects. Throws std::bad_alloc. Moving a
  /// cache needs exclusive use of it.
  static Result<ResponseCache> create(ResponseCacheOptions const& options = {});

  /// Returns the stored value; or waits, at most for `wait`, for a computation of the key already running; or
  /// calls `compute()`, which returns a `Value` or `Result<Value>`, on this thread, however long that takes.
  /// A failure is not stored, and is returned to all waiting callers. Errors: that of `compute` (an
  /// exception, also one of `cache_bytes`, is Code::internal); deadline_exceeded; not_found with CacheMode
  /// only_if_cached; resource_exhausted when too many callers wait; failed_precondition / reentrant when
  /// `compute` itself calls this for the key that it computes and no value is stored.
  template <std::invocable Compute>
  Result<Handle> get_or_compute(Key const& key, Duration wait, Compute&& compute,
                                CacheMode mode = CacheMode::use);
  /// The stored value or null; waits for nothing. Counts as a lookup with only_if_cached.
  Handle find(Key const& key);

  /// Removes one key, or everything; affected computations that are running now store nothing.
  void erase(Key const& key) { store_->erase(hash(key)); }
  void clear() noexcept { store_->clear(); }

  /// Thread-safe; the counters are read one by one.
  caching::CacheStatistics statistics() const noexcept { return store_->statistics(); }

 private:
  using Store = caching::Store<caching::SharedValues<Value, Traits>>;
  struct Waiter;
  struct Waker;
  struct Computed {
    Handle value;
    std::size_t bytes = 0;
  };

  Hash128 hash(Key const& key) const;
  bool computes_here(Hash128 key) const noexcept;
  Result<Handle> wait_for(Waiter& waiter, TimePoint deadline, Duration wait);
  template <class Compute>
  Result<Handle> lead(Waiter& owner, TimePoint begin, Compute& compute);
  template <class Compute>
  static Result<Computed> run(Compute& compute) noexcept;

  explicit ResponseCache(ResponseCacheOptions const& options);

  KeyHasher::Secret secret_;
  std::unique_ptr<Store> store_;
};

}  // namespace athanor::inline v1

#include <athanor/caching/detail/response_cache.ipp>
