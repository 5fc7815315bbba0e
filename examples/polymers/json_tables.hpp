// Tables that are one JSON value, as pandas and others write them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace polymers {

// The rows of a table, each an object of the names of its columns. A table may be given
// - by columns: {"smiles": {"0": "*CC*"}} or {"smiles": ["*CC*"]},
// - by rows: {"0": {"smiles": "*CC*"}},
// - split: {"columns": ["smiles"], "data": [["*CC*"]]},
// - inside: {"data": [{"smiles": "*CC*"}]}.
// Names of rows that do not just count go to a column `index`. No value for anything else. `wanted` is as in
// find_smiles.
std::optional<std::vector<nlohmann::ordered_json>> rows_of_table(nlohmann::ordered_json const& value,
                                                                 std::string_view wanted);

// The names of an object's members, in their order; the places of an array's elements.
std::vector<std::string> names_of(nlohmann::ordered_json const& object);

}  // namespace polymers
