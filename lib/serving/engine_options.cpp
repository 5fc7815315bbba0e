#include <athanor/serving/detail/engine_options.hpp>

#include <limits>

namespace athanor::inline v1::serving {

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
  if (options.model_bytes == 0) return refuse("model_bytes", "at least 1, or none for no limit", 0);
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

}  // namespace athanor::inline v1::serving
