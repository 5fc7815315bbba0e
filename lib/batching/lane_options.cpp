#include <athanor/batching/batcher.hpp>
#include <athanor/core/detail/reason_table.hpp>

namespace athanor::inline v1::batching {

namespace {

constexpr std::uint32_t most_held = (1U << 31) - 1;

template <class Got>
tl::unexpected<Error> refuse(char const* name, std::string_view expected, Got got) {
  return fail(Code::invalid_argument, Reason::option, "batching: {}: expected {}, got {}", name, expected,
              got);
}

}  // namespace

Result<void> validate(LaneOptions const& options) {
  if (options.instances == 0 || options.instances > most_instances)
    return refuse("instances", athanor::detail::format("between 1 and {}", most_instances),
                  options.instances);
  if (options.max_items == 0) return refuse("max_items", "at least 1", options.max_items);
  if (options.max_cost <= 0) return refuse("max_cost", "more than 0", options.max_cost);
  return {};
}

Result<void> validate(BatcherOptions const& options) {
  if (options.max_items == 0 || options.max_items > most_parts)
    return refuse("max_items", athanor::detail::format("between 1 and {}", most_parts), options.max_items);
  if (auto valid = validate(LaneOptions{.instances = options.instances, .max_items = options.max_items});
      !valid)
    return valid;
  if (options.max_delay < Duration{}) return refuse("max_delay", "0 ns or more", options.max_delay.count());
  if (options.max_held == 0 || options.max_held > most_held)
    return refuse("max_held", athanor::detail::format("between 1 and {}", most_held), options.max_held);
  return {};
}

bool splitting_may_help(Error const& error) noexcept {
  // One caller of the batch took its inputs back: only its part is lost.
  if (error.code == Code::aborted && error.reason == Reason::cancelled) return true;
  return athanor::detail::splitting_helps(error.code, error.reason);
}

}  // namespace athanor::inline v1::batching
