#include "handbook.hpp"

#include <algorithm>
#include <fstream>

#include <nlohmann/json.hpp>

#include <athanor/chem/domain.hpp>
#include <athanor/chem/polymer.hpp>

namespace polymers {

using athanor::Code;
using athanor::fail;
using athanor::Reason;
using athanor::Result;

namespace {

// Empty for what is no repeat unit.
std::string chain_of(std::string const& smiles) {
  auto const polymer = athanor::chem::prepare_polymer(smiles, {.identifiers = true});
  bool const chain = polymer && polymer->polymer && polymer->identifiers;
  return chain ? athanor::chem::chain_key(*polymer->identifiers) : std::string();
}

}  // namespace

Result<std::vector<Handbook>> read_handbook(std::string const& path) {
  std::ifstream file(path);
  auto const book = nlohmann::json::parse(file, nullptr, false);
  std::vector<Handbook> handbook;
  if (book.is_object() && book.contains("polymers"))
    for (auto const& row : book["polymers"]) {
      std::string const smiles = row.value("smiles", "");
      handbook.push_back({smiles, row.value("name", ""), row.value("tg", 0.0), row.value("reference", ""),
                          row.value("source", "") == "table", chain_of(smiles)});
    }
  if (handbook.empty())
    return fail(Code::invalid_argument, Reason::syntax, "{}: expected a JSON object with a list of polymers",
                path);
  return handbook;
}

Handbook const* find_entry(std::vector<Handbook> const& handbook, std::string const& smiles) {
  std::string const chain = chain_of(smiles);
  auto const at = std::ranges::find(handbook, chain, &Handbook::chain);
  return chain.empty() || at == handbook.end() ? nullptr : &*at;
}

}  // namespace polymers
