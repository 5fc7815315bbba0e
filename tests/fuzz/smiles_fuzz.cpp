// SMILES: what the strict reading rejects reaches no chemistry, and a graph's parts fit together.
#include <algorithm>

#include <athanor/chem/chemprop_graph.hpp>
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

void check_features(athanor::chem::ChempropGraph const& graph) {
  auto const edges = static_cast<std::int32_t>(graph.source.size());
  auto const atoms = static_cast<std::int32_t>(graph.atom.size() / 72);
  expect(graph.bond.size() == graph.source.size() * 14, "each edge has its features");
  for (std::int32_t edge = 0; edge < edges; ++edge) {
    auto const at = static_cast<std::size_t>(edge);
    expect(graph.source[at] >= 0 && graph.source[at] < atoms, "edges join atoms");
    expect(graph.reverse[at] == (edge ^ 1) && graph.source[at ^ 1] == graph.target[at],
           "the two edges of a bond lead both ways");
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  std::string_view const text(reinterpret_cast<char const*>(data), size);
  auto const facts = athanor::chem::check_smiles(text);
  auto const graph = athanor::chem::molecular_graph(text);
  auto const molecule = athanor::chem::prepare_polymer(text);
  auto const features = athanor::chem::chemprop_graph(text);
  expect(facts.has_value() || (!graph && !molecule && !features),
         "what the reading rejects reaches no chemistry");
  if (!facts) expect(!facts.error().message.empty(), "a rejection has a sentence");
  if (!graph) expect(!graph.error().message.empty(), "a rejection has a sentence");
  if (!molecule) expect(!molecule.error().message.empty(), "a rejection has a sentence");
  if (!features) expect(!features.error().message.empty(), "a rejection has a sentence");
  if (graph) check_graph(*graph);
  if (features) check_features(*features);
  if (molecule) check_graph(molecule->graph);
  return 0;
}
