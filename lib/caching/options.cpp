#include <athanor/caching/options.hpp>

namespace athanor::inline v1::caching {

Result<void> validate(ResponseCacheOptions const& options) {
  if (options.ttl < Duration::zero()) {
    return fail(Code::invalid_argument, Reason::option,
                "cache: ttl: expected 0 ns (no limit) or more, got {} ns", options.ttl.count());
  }
  if (options.max_item_bytes > options.capacity_bytes) {
    return fail(Code::invalid_argument, Reason::option,
                "cache: max_item_bytes: expected at most capacity_bytes, {}, got {}", options.capacity_bytes,
                options.max_item_bytes);
  }
  return {};
}

Error refusal_error(Reason refusal, ResponseCacheOptions const& options) {
  if (refusal == Reason::not_cached) {
    return make_error(Code::not_found, refusal,
                      "cache: there is no cached answer, and the call accepts no other");
  }
  Error error = make_error(Code::resource_exhausted, Reason::queue_full,
                           "cache: expected at most {} callers waiting for one answer, got one more",
                           options.max_waiters);
  error.retry_after = std::chrono::milliseconds(1);
  return error;
}

}  // namespace athanor::inline v1::caching
