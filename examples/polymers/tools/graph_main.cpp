/// athanor-chem-graph [SMILES...]: one JSON object per SMILES (from the arguments, else one per line of
/// standard input): codes and edges of its graph and its Morgan identifiers, or the error. Training reads the
/// same features as prediction by calling this.
#include <iostream>
#include <string>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <athanor/chem/polymer.hpp>

namespace {

std::string describe(std::string const& smiles) {
  std::string const quoted =
      nlohmann::json(smiles).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  auto const prepared = athanor::chem::prepare_polymer(smiles, {.identifiers = true});
  if (!prepared)
    return fmt::format("{{\"smiles\":{},\"error\":{}}}", quoted,
                       nlohmann::json(prepared.error().message)
                           .dump(-1, ' ', true, nlohmann::json::error_handler_t::replace));
  std::string identifiers = "null";
  if (auto const& counts = prepared->identifiers; counts) {
    identifiers.clear();
    for (auto const& [identifier, count] : *counts)
      identifiers += fmt::format("{}[{},{}]", identifiers.empty() ? "" : ",", identifier, count);
    identifiers = "[" + identifiers + "]";
  }
  auto const& graph = prepared->graph;
  return fmt::format(
      "{{\"smiles\":{},\"atom\":[{}],\"bond\":[{}],\"source\":[{}],\"target\":[{}],\"identifiers\":{},"
      "\"heavy_atoms\":{},\"polymer\":{}}}",
      quoted, fmt::join(graph.atom, ","), fmt::join(graph.bond, ","), fmt::join(graph.source, ","),
      fmt::join(graph.target, ","), identifiers, graph.heavy_atoms, prepared->polymer);
}

}  // namespace

int main(int count, char** arguments) {
  std::ios::sync_with_stdio(false);
  for (int i = 1; i < count; ++i) std::cout << describe(arguments[i]) << '\n';
  std::string line;
  if (count == 1)
    while (std::getline(std::cin, line)) std::cout << describe(line) << '\n';
  std::cout.flush();
  return std::cout ? 0 : 1;
}
