#include <athanor/serving/detail/tables.hpp>

#include <algorithm>

#include <athanor/core/detail/struct_rule.hpp>

namespace athanor::inline v1::serving {

namespace {

/// A table with its own copy of the name. Released with the last owner.
template <class Table>
struct Copy {
  Table table;
  std::string name;

  Copy(Table const& from, std::string copied_name) : table(from), name(std::move(copied_name)) {
    table.name = name.c_str();
  }
  Copy(Copy const&) = delete;
  Copy& operator=(Copy const&) = delete;
  ~Copy() {
    if (table.release != nullptr) table.release(table.context);
  }
};

template <class... Args>
tl::unexpected<Error> refuse(Code code, athanor::detail::FormatString<std::type_identity_t<Args>...> sentence,
                             Args const&... args) {
  return fail(code, Reason::option, sentence, args...);
}

/// A function that a table must have and lacks; empty for a whole table.
std::string_view missing_function(ath_backend_table const& table) noexcept {
  if (table.load == nullptr) return "load";
  if (table.unload == nullptr) return "unload";
  if (table.footprint == nullptr) return "footprint";
  if (table.make_instance == nullptr) return "make_instance";
  if (table.destroy_instance == nullptr) return "destroy_instance";
  return table.run == nullptr ? "run" : "";
}
std::string_view missing_function(ath_processor_table const& table) noexcept {
  if (table.open == nullptr) return "open";
  if (table.close == nullptr) return "close";
  return table.preprocess == nullptr && table.postprocess == nullptr ? "preprocess or postprocess" : "";
}

Result<void> check_support(ath_backend_table const&) { return {}; }
Result<void> check_support(ath_processor_table const& table) {
  if (table.runs_on != ATH_RUNS_ON_ANY_THREAD)
    return refuse(Code::unimplemented,
                  "processor table '{}': runs_on: this version supports {} (any thread) only, got {}",
                  table.name, static_cast<int>(ATH_RUNS_ON_ANY_THREAD), table.runs_on);
  return {};
}

/// Whether two tables stand for the same backend or processor, wherever they lie.
bool is_same(ath_backend_table const& a, ath_backend_table const& b) noexcept {
  return a.context == b.context && a.runs_on == b.runs_on && a.load == b.load && a.unload == b.unload &&
         a.footprint == b.footprint && a.make_instance == b.make_instance &&
         a.destroy_instance == b.destroy_instance && a.run == b.run && a.clear_slot == b.clear_slot &&
         a.release == b.release;
}
bool is_same(ath_processor_table const& a, ath_processor_table const& b) noexcept {
  return a.context == b.context && a.runs_on == b.runs_on && a.open == b.open && a.close == b.close &&
         a.preprocess == b.preprocess && a.postprocess == b.postprocess && a.release == b.release;
}

/// The table as this version knows it; its name is still the host's.
template <class Table>
Result<Table> checked(Table const& given, std::string_view what) {
  auto table = athanor::detail::read_struct(&given, what);
  if (!table) {
    table.error().reason = Reason::option;
    return table;
  }
  if (table->name == nullptr || *table->name == '\0')
    return refuse(Code::invalid_argument, "{}: name: expected a text, got none", what);
  if (table->reserved != 0)
    return refuse(Code::invalid_argument, "{} '{}': reserved: expected 0, got {}", what, table->name,
                  table->reserved);
  if (table->runs_on != ATH_RUNS_ON_ANY_THREAD && table->runs_on != ATH_RUNS_ON_OWN_WORKER)
    return refuse(Code::invalid_argument, "{} '{}': runs_on: expected {} or {}, got {}", what, table->name,
                  static_cast<int>(ATH_RUNS_ON_ANY_THREAD), static_cast<int>(ATH_RUNS_ON_OWN_WORKER),
                  table->runs_on);
  if (auto const missing = missing_function(*table); !missing.empty())
    return refuse(Code::invalid_argument, "{} '{}': {}: expected a function, got NULL", what, table->name,
                  missing);
  if (auto supported = check_support(*table); !supported) return tl::unexpected(std::move(supported.error()));
  return table;
}

template <class List>
auto find(List const& list, std::string_view name) noexcept {
  auto const at = std::ranges::find_if(list, [&](auto const& known) { return known->name == name; });
  return at == list.end() ? nullptr : *at;
}

template <class List>
std::vector<std::string> names_of(List const& list) {
  std::vector<std::string> names;
  for (auto const& known : list) names.emplace_back(known->name);
  return names;
}

template <class Table, class List>
Result<void> add_to(List& list, Table const& given, std::string_view kind) {
  auto table = checked(given, std::string(kind) + " table");
  if (!table) return tl::unexpected(std::move(table.error()));
  if (auto const known = find(list, table->name); known != nullptr) {
    if (is_same(*known, *table)) return {};
    return refuse(Code::already_exists, "{}: a different {} of that name is already registered", table->name,
                  kind);
  }
  list.reserve(list.size() + 1);  // nothing may throw once the copy owns the context
  std::string name = table->name;
  auto copy = std::make_shared<Copy<Table>>(*table, std::move(name));
  auto const* registered = &copy->table;
  list.emplace_back(std::move(copy), registered);
  return {};
}

}  // namespace

Result<void> Tables::add(ath_backend_table const& table) { return add_to(backends_, table, "backend"); }
Result<void> Tables::add(ath_processor_table const& table) { return add_to(processors_, table, "processor"); }

BackendTable Tables::backend(std::string_view name) const noexcept { return find(backends_, name); }
ProcessorTable Tables::processor(std::string_view name) const noexcept { return find(processors_, name); }

std::vector<std::string> Tables::backend_names() const { return names_of(backends_); }
std::vector<std::string> Tables::processor_names() const { return names_of(processors_); }

}  // namespace athanor::inline v1::serving
