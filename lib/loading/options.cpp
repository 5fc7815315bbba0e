#include <athanor/loading/options.hpp>

namespace athanor::inline v1 {

namespace {
constexpr std::uint32_t most_load_threads = 1024;
}

std::string_view to_string(ModelState state) noexcept {
  switch (state) {
    case ModelState::unloaded: return "unloaded";
    case ModelState::reserved: return "reserved";
    case ModelState::loading: return "loading";
    case ModelState::warming: return "warming";
    case ModelState::ready: return "ready";
    case ModelState::draining: return "draining";
    case ModelState::failed: return "failed";
  }
  return "unknown";
}

Result<void> validate(ModelLoaderOptions const& options, bool has_load_function) {
  auto const refuse = [](std::string_view name, std::string_view expected, auto got) {
    return fail(Code::invalid_argument, Reason::option, "loading: {}: expected {}, got {}", name, expected,
                got);
  };
  constexpr Duration none{0};
  if (!has_load_function) return refuse("load", "a function", "none");
  if (options.load_deadline <= none)
    return refuse("load_deadline", "more than 0 ns", options.load_deadline.count());
  if (options.first_backoff <= none)
    return refuse("first_backoff", "more than 0 ns", options.first_backoff.count());
  if (options.longest_backoff < options.first_backoff)
    return refuse("longest_backoff", "at least first_backoff, in ns", options.longest_backoff.count());
  if (options.busy_retry <= none) return refuse("busy_retry", "more than 0 ns", options.busy_retry.count());
  if (options.load_threads < 1 || options.load_threads > most_load_threads)
    return refuse("load_threads", detail::format("between 1 and {}", most_load_threads),
                  options.load_threads);
  if (options.max_models < 1) return refuse("max_models", "at least 1", options.max_models);
  return {};
}

}  // namespace athanor::inline v1
