// Names as people write them: of columns, of the members of JSON objects, and of files.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <athanor/core/error.hpp>

namespace polymers {

std::string_view trimmed(std::string_view text);
// Whether the names are equal but for case and blanks around them.
bool same_name(std::string_view one, std::string_view other);
// Whether a file is called so at its end, but for case.
bool has_suffix(std::string_view path, std::string_view suffix);
bool has_suffix(std::string_view path, std::initializer_list<std::string_view> suffixes);  // one of them
std::optional<std::size_t> find_column(std::vector<std::string> const& names, std::string_view name);

// Which of `names` has the SMILES: `wanted`, a name or a number from 1, or without it the
// first known name. Fails when there is none, or when there are several of that name.
athanor::Result<std::size_t> find_smiles(std::vector<std::string> const& names, std::string_view wanted);
// Whether `name` is one that find_smiles looks for by itself.
bool names_smiles(std::string_view name);

}  // namespace polymers
