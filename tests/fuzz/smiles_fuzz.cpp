// SMILES: what the strict reading rejects reaches no chemistry, and a graph's parts fit together.
#include <algorithm>

#include <athanor/chem/graph.hpp>
#include <athanor/chem/polymer.hpp>
#include <athanor/chem/smiles.hpp>

#include "bytes.hpp"

using athanor_tests::expect;

namespace {

void check_graph(athanor::chem::MolecularGraph const& graph) {
  auto const atoms = static_cast<std::int32_t>(graph.atom.size());
  expect(graph.heavy_atoms >= 0 && graph.heavy_atoms <= atoms, "heavy atoms are atoms");
  expect(graph.source.size() == graph.bond.size() && graph.target.size() == graph.bond.size(),
         "each edge has a bond, a source and a target");
  expect(graph.bond.size() % 2 == 0, "each bond is two edges");
  expect(std::ranges::is_sorted(graph.source), "edges are sorted by source");
  auto const is_atom = [atoms](std::int32_t at) { return at >= 0 && at < atoms; };
  expect(std::ranges::all_of(graph.source, is_atom) && std::ranges::all_of(graph.target, is_atom),
         "edges join atoms");
}

}  // namespace

int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  std::string_view const text(reinterpret_cast<char const*>(data), size);
  auto const facts = athanor::chem::check_smiles(text);
  auto const graph = athanor::chem::molecular_graph(text);
  auto const molecule = athanor::chem::prepare_polymer(text);
  expect(facts.has_value() || (!graph && !molecule), "what the reading rejects reaches no chemistry");
  if (!facts) expect(!facts.error().message.empty(), "a rejection has a sentence");
  if (!graph) expect(!graph.error().message.empty(), "a rejection has a sentence");
  if (!molecule) expect(!molecule.error().message.empty(), "a rejection has a sentence");
  if (graph) check_graph(*graph);
  if (molecule) check_graph(molecule->graph);
  return 0;
}
