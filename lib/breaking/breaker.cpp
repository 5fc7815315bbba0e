#include <athanor/breaking/breaker.hpp>

namespace athanor::inline v1 {

namespace breaking {

Error refusal_error(Decision const& decision) {
  Error error = make_error(Code::unavailable, Reason::breaker_open,
                           "circuit breaker: {}: calls are rejected for {} ms", to_string(decision.state),
                           std::chrono::ceil<std::chrono::milliseconds>(decision.retry_after).count());
  error.retry_after = decision.retry_after;
  return error;
}

}  // namespace breaking

template class CircuitBreaker<SystemEnv>;

}  // namespace athanor::inline v1
