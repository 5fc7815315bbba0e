// without ENV: a bundle of an engine's policies names its `Env`, an Environment
// without BATCHING: a bundle of an engine's policies names its `Batching`, a batching::ConfigurablePolicy
// without EVICTION: a bundle of an engine's policies names its `Eviction`, a caching::EvictionPolicy
// without VICTIM: the `Eviction` of an engine's policies is a caching::EvictionPolicy
// without LOADING: a bundle of an engine's policies names its `Loading`, a loading::LoadingPolicy
// without VICTIMS: a loading policy has `std::vector<std::size_t> victims(MemorySnapshot const&) const`
// without CONFIGURE: an engine's batching policy P has `static Result<P> configure(PolicySettings const&)`
#include <athanor/serving/engine.hpp>

namespace {

struct MinimalPolicy {
#ifndef WITHOUT_CONFIGURE
  static athanor::Result<MinimalPolicy> configure(athanor::batching::PolicySettings const&) { return {}; }
#endif
  athanor::batching::BatchDecision decide(athanor::batching::QueueSnapshot const&) const noexcept {
    return athanor::batching::BatchDecision::dispatch(1);
  }
};

struct NoEviction {};
struct NoLoading {};

struct MinimalServing {
#ifndef WITHOUT_ENV
  using Env = athanor::SystemEnv;
#endif
#ifndef WITHOUT_BATCHING
  using Batching = MinimalPolicy;
#endif
#ifdef WITHOUT_VICTIM
  using Eviction = NoEviction;
#elif !defined(WITHOUT_EVICTION)
  using Eviction = athanor::caching::SecondChance;
#endif
#ifdef WITHOUT_VICTIMS
  using Loading = NoLoading;
#elif !defined(WITHOUT_LOADING)
  using Loading = athanor::loading::LeastRecentlyUsed;
#endif
};

}  // namespace

int main() { return athanor::Engine<MinimalServing>::create() ? 0 : 1; }
