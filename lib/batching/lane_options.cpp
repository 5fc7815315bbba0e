#include <athanor/batching/lane.hpp>

namespace athanor::inline v1::batching {

Result<void> validate(LaneOptions const& options) {
  auto const refuse = [](char const* name, std::string_view expected, auto got) {
    return fail(Code::invalid_argument, Reason::option, "batching: {}: expected {}, got {}", name, expected,
                got);
  };
  if (options.instances == 0) return refuse("instances", "at least 1", options.instances);
  if (options.max_items == 0) return refuse("max_items", "at least 1", options.max_items);
  if (options.max_cost <= 0) return refuse("max_cost", "more than 0", options.max_cost);
  if (options.serve_others_for < Duration{})
    return refuse("serve_others_for", "no negative time", options.serve_others_for.count());
  return {};
}

bool splitting_may_help(Error const& error) noexcept {
  // One caller of the batch took its inputs back: only its part is lost.
  if (error.code == Code::aborted && error.reason == Reason::cancelled) return true;
  switch (error.reason) {
    case Reason::out_of_memory: return true;
    case Reason::queue_full:
    case Reason::memory_full:
    case Reason::rate:
    case Reason::expected_wait:
    case Reason::breaker_open:
    case Reason::deadline_waiting:
    case Reason::deadline_running:
    case Reason::cancelled:
    case Reason::stopping:
    case Reason::model_missing:
    case Reason::model_load:
    case Reason::budget:
    case Reason::device_lost:
    case Reason::reentrant: return false;
    default: return error.code != Code::unavailable && error.code != Code::resource_exhausted;
  }
}

}  // namespace athanor::inline v1::batching
