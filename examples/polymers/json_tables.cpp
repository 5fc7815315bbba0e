#include "json_tables.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "columns.hpp"

namespace polymers {

using Json = nlohmann::ordered_json;

namespace {

using Table = std::vector<Json>;

// Whether names are those of rows that have none: 0, 1 and so on.
bool just_count(std::vector<Json> const& names) {
  bool counted = true;
  for (std::size_t i = 0; i < names.size(); ++i)
    counted = counted && (names[i] == i || names[i] == std::to_string(i));
  return counted;
}

// Before the columns of each row the name of the row, unless the names only count.
Table with_names(std::vector<Json> const& names, Table rows) {
  if (just_count(names)) return rows;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    Json named = {{"index", names[i]}};
    named.update(rows[i]);
    rows[i] = std::move(named);
  }
  return rows;
}

// The elements of an array count as their names.
std::vector<Json> keys_of(Json const& value) {
  std::vector<Json> keys;
  for (auto const& [key, member] : value.items()) keys.push_back(key);
  return keys;
}

std::optional<Table> by_columns(Json const& table) {
  auto const names = keys_of(table.front());
  Table rows(names.size(), Json::object());
  for (auto const& [name, column] : table.items()) {
    if (!column.is_structured() || keys_of(column) != names) return std::nullopt;
    auto cell = column.begin();
    for (auto& row : rows) row[name] = *cell++;
  }
  return with_names(names, std::move(rows));
}

std::optional<Table> by_rows(Json const& table) {
  return with_names(keys_of(table), Table(table.begin(), table.end()));
}

std::optional<Table> split(Json const& columns, Json const& data, Json const& names) {
  Table rows;
  for (auto const& cells : data) {
    if (!cells.is_array() || cells.size() != columns.size()) return std::nullopt;
    auto& row = rows.emplace_back(Json::object());
    for (std::size_t i = 0; i < columns.size(); ++i) {
      if (!columns[i].is_string()) return std::nullopt;
      row[columns[i].get<std::string>()] = cells[i];
    }
  }
  if (!names.is_array() || names.size() != rows.size()) return rows;
  return with_names({names.begin(), names.end()}, std::move(rows));
}

}  // namespace

std::vector<std::string> names_of(Json const& object) {
  std::vector<std::string> names;
  for (auto const& [name, member] : object.items()) names.push_back(name);
  return names;
}

std::optional<Table> rows_of_table(Json const& value, std::string_view wanted) {
  if (!value.is_object() || value.empty()) return std::nullopt;
  // A number counts columns, and says nothing about where they are.
  bool const by_number = !wanted.empty() && wanted.find_first_not_of("0123456789") == std::string_view::npos;
  std::string_view const name = by_number ? std::string_view() : wanted;
  auto const names = names_of(value);
  if (auto const smiles = find_smiles(names, name))
    return value[names[*smiles]].is_structured() ? by_columns(value) : std::nullopt;
  auto const all_objects = [](Json const& rows) {
    return std::ranges::all_of(rows, [](Json const& row) { return row.is_object(); });
  };
  if (auto const data = value.find("data"); data != value.end() && data->is_array()) {
    if (value.contains("columns") && value["columns"].is_array())
      return split(value["columns"], *data, value.value("index", Json()));
    return all_objects(*data) ? std::optional(Table(data->begin(), data->end())) : std::nullopt;
  }
  if (!all_objects(value)) return by_number ? by_columns(value) : std::nullopt;
  if (find_smiles(names_of(value.front()), name)) return by_rows(value);
  if (!by_number) return std::nullopt;
  return just_count(keys_of(value)) && !just_count(keys_of(value.front())) ? by_rows(value)
                                                                           : by_columns(value);
}

}  // namespace polymers
