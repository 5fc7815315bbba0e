#include <athanor/serving/detail/engine_options.hpp>

#include <algorithm>
#include <limits>
#include <thread>
#include <utility>

namespace athanor::inline v1::serving {

namespace {
constexpr std::size_t most_threads = 1024;
constexpr std::int64_t most_items = std::numeric_limits<std::int32_t>::max();
}  // namespace

Result<void> validate(EngineOptions const& options) {
  auto const refuse = [](std::string_view name, std::string_view expected, auto got) {
    return fail(Code::invalid_argument, Reason::option, "engine: {}: expected {}, got {}", name, expected,
                got);
  };
  if (options.threads > most_threads)
    return refuse("threads", athanor::detail::format("at most {}", most_threads), options.threads);
  if (options.max_items < 1 || options.max_items > most_items)
    return refuse("max_items", athanor::detail::format("1 to {}", most_items), options.max_items);
  if (options.max_bytes < 1) return refuse("max_bytes", "at least 1", options.max_bytes);
  if (options.model_bytes == 0) return refuse("model_bytes", "at least 1, or none for no limit", 0);
  if (options.default_deadline.count() <= 0)
    return refuse("default_deadline", "more than 0 ns", options.default_deadline.count());
  if (options.load_deadline.count() <= 0)
    return refuse("load_deadline", "more than 0 ns", options.load_deadline.count());
  if (options.load_threads < 1 || options.load_threads > most_threads)
    return refuse("load_threads", athanor::detail::format("1 to {}", most_threads), options.load_threads);
  if (options.cache_ttl.count() < 0) return refuse("cache_ttl", "0 ns or more", options.cache_ttl.count());
  return {};
}

Result<Tables> register_tables(EngineOptions& options) {
  Tables tables;
  auto const add_all = [&](auto& given, std::string_view name) -> Result<void> {
    for (auto const* table : std::exchange(given, {})) {
      if (table == nullptr)
        return fail(Code::invalid_argument, Reason::option, "engine: {}: expected a table, got NULL", name);
      if (auto added = tables.add(*table); !added) return added;
    }
    return {};
  };
  if (auto added = add_all(options.backends, "backends"); !added)
    return tl::unexpected(std::move(added.error()));
  if (auto added = add_all(options.processors, "processors"); !added)
    return tl::unexpected(std::move(added.error()));
  return tables;
}

std::size_t thread_count(EngineOptions const& options) noexcept {
  if (options.threads != 0) return options.threads;
  return std::max<std::size_t>(std::thread::hardware_concurrency(), 2);
}

}  // namespace athanor::inline v1::serving
