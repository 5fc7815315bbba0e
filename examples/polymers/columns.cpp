#include "columns.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

#include "text.hpp"

namespace polymers {

using athanor::Code;
using athanor::fail;
using athanor::Reason;
using athanor::Result;

namespace {

// Repeat units before molecules: a table with both was made from monomers, which are no polymers.
constexpr std::array<std::string_view, 4> known{"smiles_polymer", "psmiles", "smiles", "canonical_smiles"};

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::optional<std::size_t> numbered(std::string_view text, std::size_t columns) {
  std::size_t number = 0;
  auto const [end, fault] = std::from_chars(text.data(), text.data() + text.size(), number);
  bool const whole = fault == std::errc() && end == text.data() + text.size();
  return whole && number >= 1 && number <= columns ? std::optional(number - 1) : std::nullopt;
}

}  // namespace

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n";
  auto const first = text.find_first_not_of(blanks);
  return first == std::string_view::npos ? std::string_view()
                                         : text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

bool same_name(std::string_view one, std::string_view other) {
  return std::ranges::equal(trimmed(one), trimmed(other), {}, lower, lower);
}

bool has_suffix(std::string_view path, std::string_view suffix) {
  return path.size() >= suffix.size() &&
         std::ranges::equal(path.substr(path.size() - suffix.size()), suffix, {}, lower, lower);
}

bool has_suffix(std::string_view path, std::initializer_list<std::string_view> suffixes) {
  return std::ranges::any_of(suffixes, [&](auto suffix) { return has_suffix(path, suffix); });
}

std::optional<std::size_t> find_column(std::vector<std::string> const& names, std::string_view name) {
  auto const at = std::ranges::find_if(names, [&](auto const& column) { return same_name(column, name); });
  return at == names.end() ? std::nullopt : std::optional(static_cast<std::size_t>(at - names.begin()));
}

Result<std::size_t> find_smiles(std::vector<std::string> const& names, std::string_view wanted) {
  std::optional<std::size_t> found;
  if (!wanted.empty()) {
    found = find_column(names, wanted);
    if (!found)
      if (auto const number = numbered(wanted, names.size())) return *number;
  } else {
    for (auto const name : known)
      if (!found) found = find_column(names, name);
  }
  if (!found) {
    auto const columns = fmt::format("{}", fmt::join(names, ", "));
    return fail(Code::invalid_argument, Reason::missing_input,
                "expected a column named {}, got {}; --smiles-column takes another one, and --no-header is "
                "for a file without names",
                wanted.empty() ? fmt::format("{}", fmt::join(known, " or ")) : std::string(wanted),
                columns.empty() ? "none" : "the columns " + clipped(columns, 200));
  }
  if (std::ranges::count_if(names, [&](auto const& name) { return same_name(name, names[*found]); }) > 1)
    return fail(Code::invalid_argument, Reason::syntax,
                "expected one column named {}, got several; --smiles-column takes one of them by its number",
                clipped(trimmed(names[*found]), 40));
  return *found;
}

bool names_smiles(std::string_view name) {
  return std::ranges::any_of(known, [&](auto const& other) { return same_name(name, other); });
}

}  // namespace polymers
