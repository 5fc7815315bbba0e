#include <athanor/breaking/breaker.hpp>

#include <fmt/format.h>

namespace athanor::inline v1 {

namespace breaking {

Error refusal_error(Decision const& decision) {
  return {Code::unavailable, Reason::breaker_open,
          fmt::format("circuit breaker: {}, no execution is let through for {} ms", to_string(decision.state),
                      std::chrono::ceil<std::chrono::milliseconds>(decision.retry_after).count()),
          decision.retry_after};
}

}  // namespace breaking

template class CircuitBreaker<SystemEnv>;

}  // namespace athanor::inline v1
