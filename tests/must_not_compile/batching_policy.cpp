// without COPY: a batching policy is a copyable value
// without DECIDE: a batching policy has `BatchDecision decide(QueueSnapshot const&) const noexcept`
// without NOEXCEPT: a batching policy has `BatchDecision decide(QueueSnapshot const&) const noexcept`
// without CONST: a batching policy has `BatchDecision decide(QueueSnapshot const&) const noexcept`
#include <athanor/batching/policy.hpp>

namespace {

namespace batching = athanor::batching;

#ifdef WITHOUT_NOEXCEPT
#define MINIMAL_NOEXCEPT
#else
#define MINIMAL_NOEXCEPT noexcept
#endif
#ifdef WITHOUT_CONST
#define MINIMAL_CONST
#else
#define MINIMAL_CONST const
#endif

struct MinimalPolicy {
#ifdef WITHOUT_COPY
  MinimalPolicy(MinimalPolicy const&) = delete;
#endif
#ifndef WITHOUT_DECIDE
  batching::BatchDecision decide(batching::QueueSnapshot const&) MINIMAL_CONST MINIMAL_NOEXCEPT { return {}; }
#endif
};

}  // namespace

int main() { return batching::check_batching_policy<MinimalPolicy>() ? 0 : 1; }
