#include <athanor/serving/detail/description.hpp>

#include <limits>

#include <nlohmann/json.hpp>

#include <athanor/core/version.hpp>

namespace athanor::inline v1 {

std::string_view to_string(CacheState state) noexcept {
  switch (state) {
    case CacheState::off: return "off";
    case CacheState::miss: return "miss";
    case CacheState::hit: return "hit";
    case CacheState::joined: return "joined";
    case CacheState::refreshed: return "refreshed";
  }
  return "off";
}

namespace serving {

namespace {

/// `whole(table)` says whether every function is there; it is asked of a table that is long enough.
template <class Table, class Whole>
Result<void> check_table(std::string_view what, Table const& table, Whole whole) {
  if (table.struct_size < sizeof(Table))
    return fail(Code::invalid_argument, Reason::option, "{} table: struct_size: expected at least {}, got {}",
                what, sizeof(Table), table.struct_size);
  if (table.name == nullptr || *table.name == '\0')
    return fail(Code::invalid_argument, Reason::option, "{} table: name: expected a text, got none", what);
  if (!whole(table))
    return fail(Code::invalid_argument, Reason::option, "{} table '{}': a function is NULL", what,
                table.name);
  return {};
}

}  // namespace

Result<void> validate(ath_backend_table const& table) {
  return check_table("backend", table, [](ath_backend_table const& given) {
    return given.load != nullptr && given.unload != nullptr && given.footprint != nullptr &&
           given.make_instance != nullptr && given.destroy_instance != nullptr && given.run != nullptr;
  });
}

Result<void> validate(ath_processor_table const& table) {
  return check_table("processor", table, [](ath_processor_table const& given) {
    return given.open != nullptr && given.close != nullptr && given.prepare != nullptr;
  });
}

Result<void> validate(EngineOptions const& options) {
  auto const refuse = [](std::string_view name, std::string_view expected, auto got) {
    return fail(Code::invalid_argument, Reason::option, "{}: expected {}, got {}", name, expected, got);
  };
  if (options.threads > 1024) return refuse("threads", "at most 1024", options.threads);
  if (options.max_items < 1 || options.max_items > std::numeric_limits<std::int32_t>::max())
    return refuse("max_items", "1 to 2147483647", options.max_items);
  if (options.max_bytes < 1) return refuse("max_bytes", "at least 1", options.max_bytes);
  if (options.default_deadline.count() <= 0)
    return refuse("default_deadline", "more than 0 ns", options.default_deadline.count());
  if (options.load_deadline.count() <= 0)
    return refuse("load_deadline", "more than 0 ns", options.load_deadline.count());
  if (options.cache_ttl.count() < 0) return refuse("cache_ttl", "0 ns or more", options.cache_ttl.count());
  for (auto const* table : options.backends) {
    if (table == nullptr) return refuse("backends", "tables", "a null");
    if (auto valid = validate(*table); !valid) return valid;
  }
  for (auto const* table : options.processors) {
    if (table == nullptr) return refuse("processors", "tables", "a null");
    if (auto valid = validate(*table); !valid) return valid;
  }
  return {};
}

std::string describe(EngineOptions const& options, Health const& health) {
  nlohmann::ordered_json text;
  text["athanor"] = version_text;
  text["ready"] = health.ready;
  if (!health.reason.empty()) text["reason"] = health.reason;
  auto& settings = text["options"];
  settings["threads"] = options.threads;
  settings["caller_runs"] = options.caller_runs == CallerRuns::when_idle ? "when_idle" : "never";
  settings["default_deadline_ms"] = static_cast<double>(options.default_deadline.count()) / 1e6;
  settings["max_items"] = options.max_items;
  settings["max_bytes"] = options.max_bytes;
  settings["cache_bytes"] = options.cache_bytes;
  settings["cache_ttl_ms"] = static_cast<double>(options.cache_ttl.count()) / 1e6;
  settings["model_bytes"] = options.model_bytes;
  settings["load_deadline_ms"] = static_cast<double>(options.load_deadline.count()) / 1e6;
  settings["breaker"] = options.breaker;
  text["backends"] = nlohmann::ordered_json::array();
  for (auto const* table : options.backends) text["backends"].push_back(table->name);
  text["processors"] = nlohmann::ordered_json::array();
  for (auto const* table : options.processors) text["processors"].push_back(table->name);
  text["models"] = nlohmann::ordered_json::array();
  for (auto const& model : health.models) {
    nlohmann::ordered_json row;
    row["id"] = model.id;
    row["state"] = model.state;
    row["ready"] = model.ready;
    if (!model.reason.empty()) row["reason"] = model.reason;
    row["breaker"] = model.breaker;
    row["bytes"] = model.bytes;
    row["queued_items"] = model.queued_items;
    text["models"].push_back(std::move(row));
  }
  return text.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace serving

}  // namespace athanor::inline v1

fmt::format_context::iterator fmt::formatter<athanor::Report>::format(athanor::Report const& report,
                                                                      fmt::format_context& context) const {
  auto const milliseconds = [](athanor::Duration time) { return static_cast<double>(time.count()) / 1e6; };
  return fmt::format_to(context.out(),
                        "cache={} batch={} queue={:.3g}ms compute={:.3g}ms total={:.3g}ms model={}",
                        to_string(report.cache), report.batch_items, milliseconds(report.queue),
                        milliseconds(report.compute), milliseconds(report.total), report.model);
}
