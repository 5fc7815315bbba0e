#pragma once

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include <athanor/caching/response_cache.hpp>
#include <athanor/core/detail/inside.hpp>
#include <athanor/core/detail/noexcept_error.hpp>
#include <athanor/core/detail/park.hpp>

namespace athanor::inline v1 {

/// A blocking caller: a slot with a word to park on.
template <caching::CacheKey Key, class Value, class Traits>
struct ResponseCache<Key, Value, Traits>::Waiter : Store::Slot {
  static constexpr std::uint32_t pending = 0, done = 1, sleeping = 2;

  explicit Waiter(Store const& of) noexcept : store(&of) {}

  Store const* store;
  typename Env::Word word;
  Handle result;
  std::optional<Error> error;
};

template <caching::CacheKey Key, class Value, class Traits>
struct ResponseCache<Key, Value, Traits>::Waker {
  void resume(typename Store::Slot& slot, Handle const& value, Error const* error) noexcept {
    auto& waiter = static_cast<Waiter&>(slot);
    if (error != nullptr) {
      detail::copy_error(waiter.error.emplace(), *error);
    } else {
      waiter.result = value;
    }
    if (waiter.word.exchange(Waiter::done) == Waiter::sleeping) waiter.word.wake_all();
  }
};

template <caching::CacheKey Key, class Value, class Traits>
ResponseCache<Key, Value, Traits>::ResponseCache(ResponseCacheOptions const& options)
    : secret_(random_secret<Env>()), store_(std::make_unique<Store>(options)) {}

template <caching::CacheKey Key, class Value, class Traits>
auto ResponseCache<Key, Value, Traits>::create(ResponseCacheOptions const& options) -> Result<ResponseCache> {
  if (auto valid = caching::validate(options); !valid) return tl::unexpected(std::move(valid.error()));
  return ResponseCache(options);
}

template <caching::CacheKey Key, class Value, class Traits>
Hash128 ResponseCache<Key, Value, Traits>::hash(Key const& key) const {
  if constexpr (caching::HasCacheKey<Key>) {
    return cache_key(key);
  } else if constexpr (std::same_as<Key, Hash128>) {
    return key;
  } else {
    KeyHasher hasher(secret_);
    if constexpr (std::integral<Key>) {
      hasher.add(key);
    } else {
      hasher.add(std::string_view(key));
    }
    return hasher.finish();
  }
}

template <caching::CacheKey Key, class Value, class Traits>
template <class Compute>
auto ResponseCache<Key, Value, Traits>::run(Compute& compute) noexcept -> Result<Computed> {
  using Produced = std::remove_cvref_t<std::invoke_result_t<Compute&>>;
  static_assert(std::constructible_from<Value, Produced> || std::same_as<Produced, Result<Value>>,
                "athanor::ResponseCache: compute() must return the Value or a Result of it");
  try {
    Computed computed;
    if constexpr (std::same_as<Produced, Result<Value>>) {
      auto result = compute();
      if (!result) return tl::unexpected<Error>(std::move(result).error());
      computed.value = std::make_shared<Value const>(*std::move(result));
    } else {
      computed.value = std::make_shared<Value const>(compute());
    }
    std::size_t const bytes = caching::charged_bytes(*computed.value);  // whatever a value says of itself
    computed.bytes =
        bytes + std::min(caching::shared_overhead, std::numeric_limits<std::size_t>::max() - bytes);
    return computed;
  } catch (...) {
    return tl::unexpected(detail::caught(Code::internal, Reason::none, "cache: the computation threw"));
  }
}

/// True on a thread that computes this key for this cache. In the simulator one thread plays every caller.
template <caching::CacheKey Key, class Value, class Traits>
bool ResponseCache<Key, Value, Traits>::computes_here(Hash128 key) const noexcept {
  return !Env::simulated && Inside<Waiter, Env>::any([&](Waiter const& owner) noexcept {
    return owner.store == store_.get() && owner.flight_key == key;
  });
}

template <caching::CacheKey Key, class Value, class Traits>
template <std::invocable Compute>
auto ResponseCache<Key, Value, Traits>::get_or_compute(Key const& key, Duration wait, Compute&& compute,
                                                       CacheMode mode) -> Result<Handle> {
  TimePoint const begin = Env::now();
  Hash128 const hashed = hash(key);
  // Inside its own computation a key may only be looked up: the rest would wait for itself, or never end.
  bool const reentrant = mode != CacheMode::skip && computes_here(hashed);
  Waiter caller(*store_);
  switch (store_->join(caller, hashed, reentrant ? CacheMode::only_if_cached : mode, begin)) {
    case caching::Join::hit: return std::move(caller.flight_value);
    case caching::Join::waiter: return wait_for(caller, after(begin, wait), wait);
    case caching::Join::refused:
      if (reentrant && mode != CacheMode::only_if_cached)
        return athanor::fail(Code::failed_precondition, Reason::reentrant,
                             "cache: get_or_compute was called inside the computation of the same key");
      return tl::unexpected<Error>(caching::refusal_error(caller.refusal, store_->options()));
    case caching::Join::bypass: break;
    case caching::Join::owner: return lead(caller, begin, compute);
  }
  return run(compute).map([](Computed&& computed) { return std::move(computed.value); });
}

template <caching::CacheKey Key, class Value, class Traits>
template <class Compute>
auto ResponseCache<Key, Value, Traits>::lead(Waiter& owner, TimePoint begin, Compute& compute)
    -> Result<Handle> {
  Waker waker;
  auto computed = [&] {
    Inside<Waiter, Env> const here(&owner);
    return run(compute);
  }();
  if (!computed) {
    store_->fail(owner, computed.error(), waker);
    return tl::unexpected<Error>(std::move(computed).error());
  }
  TimePoint const end = Env::now();
  store_->publish(owner, computed->value, computed->bytes, end - begin, end, waker);
  return std::move(computed->value);
}

template <caching::CacheKey Key, class Value, class Traits>
auto ResponseCache<Key, Value, Traits>::wait_for(Waiter& waiter, TimePoint deadline, Duration wait)
    -> Result<Handle> {
  std::uint32_t seen = Waiter::pending;
  waiter.word.compare_exchange(seen, Waiter::sleeping);
  bool const ended = detail::park_until(
      waiter.word, [](std::uint32_t word) { return word == Waiter::done; }, deadline,
      [&] { return store_->cancel_wait(waiter); });
  if (!ended) {
    return athanor::fail(Code::deadline_exceeded, Reason::deadline_waiting,
                         "cache: the computation of this key did not end within {} ms",
                         std::chrono::duration<double, std::milli>(wait).count());
  }
  if (waiter.error) return tl::unexpected<Error>(*std::move(waiter.error));
  return std::move(waiter.result);
}

template <caching::CacheKey Key, class Value, class Traits>
auto ResponseCache<Key, Value, Traits>::find(Key const& key) -> Handle {
  Waiter caller(*store_);
  store_->join(caller, hash(key), CacheMode::only_if_cached, Env::now());
  return std::move(caller.flight_value);
}

}  // namespace athanor::inline v1
