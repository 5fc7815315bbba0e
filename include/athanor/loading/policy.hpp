/// Loading policies: which idle models are unloaded when a load needs their memory.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include <athanor/core/time.hpp>

namespace athanor::inline v1::loading {

/// A loaded model without a pin.
struct IdleModel {
  std::uint64_t bytes = 0;  ///< that unloading it frees
  TimePoint last_used{};    ///< when it was last pinned, or became ready
};

/// What a policy sees. Valid during the call.
struct MemorySnapshot {
  std::uint64_t needed_bytes = 0;     ///< to be freed for the load; at least 1
  std::span<IdleModel const> idle{};  ///< the models that may be unloaded
};

/// A loading policy is a value. `policy.victims(snapshot)` returns the models to unload, as indices into
/// `snapshot.idle`, each at most once. Duties, beyond the syntax:
///
/// - stateless: equal snapshots get equal answers; no clock, lock, thread or log;
/// - quick: it is asked under the loader's mutex, once for each load that needs memory;
/// - it may throw nothing but std::bad_alloc.
///
/// When the victims together hold fewer than `needed_bytes`, the load fails with memory_full and nothing is
/// unloaded.
template <class P>
concept LoadingPolicy = std::copyable<P> && requires(P const& policy, MemorySnapshot const& snapshot) {
  { policy.victims(snapshot) } -> std::same_as<std::vector<std::size_t>>;
};

/// Returns true; does not compile, with one sentence for what is missing, unless P is a LoadingPolicy.
template <class P>
consteval bool check_loading_policy() {
  static_assert(std::copyable<P>, "a loading policy is a copyable value");
  static_assert(
      requires(P const& policy, MemorySnapshot const& snapshot) {
        { policy.victims(snapshot) } -> std::same_as<std::vector<std::size_t>>;
      }, "a loading policy has `std::vector<std::size_t> victims(MemorySnapshot const&) const`");
  return LoadingPolicy<P>;
}

/// Unloads the models that were not used for longest, and none whose memory is not needed. The default.
struct LeastRecentlyUsed {
  /// The function of a LoadingPolicy.
  std::vector<std::size_t> victims(MemorySnapshot const& snapshot) const;
};

static_assert(LoadingPolicy<LeastRecentlyUsed>);

/// A loading policy of any type.
using ChooseVictims = std::function<std::vector<std::size_t>(MemorySnapshot const&)>;

/// `policy` as a function.
template <LoadingPolicy P>
ChooseVictims choose_by(P policy) {
  return [policy](MemorySnapshot const& snapshot) { return policy.victims(snapshot); };
}

}  // namespace athanor::inline v1::loading
