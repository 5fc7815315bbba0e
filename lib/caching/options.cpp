#include <athanor/caching/options.hpp>

namespace athanor::inline v1::caching {

Result<void> validate(ResponseCacheOptions const& options) {
  if (options.ttl < Duration::zero()) {
    return fail(Code::invalid_argument, Reason::option,
                "cache: ttl: expected no negative time (zero keeps entries for ever), got {} ns",
                options.ttl.count());
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
                      "cache: only a cached answer was asked for, and there is none");
  }
  Error error = make_error(Code::resource_exhausted, Reason::queue_full,
                           "cache: {} callers wait for this answer already, which is the limit max_waiters",
                           options.max_waiters);
  error.retry_after = std::chrono::milliseconds(1);
  return error;
}

}  // namespace athanor::inline v1::caching
