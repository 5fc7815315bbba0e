/// The graph of a molecule made the long way: RDKit's default parse with stereo perception, hydrogens added
/// as atoms, edges listed as nfp lists them. What the room's fast path must equal.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>

#include <GraphMol/GraphMol.h>
#include <GraphMol/MolOps.h>
#include <GraphMol/SmilesParse/SmilesParse.h>

#include <athanor/chem/graph.hpp>

namespace athanor::tests {

/// Empty when RDKit refuses the text.
inline chem::MolecularGraph reference_graph(std::string const& smiles) {
  chem::MolecularGraph graph;
  std::unique_ptr<RDKit::RWMol> molecule;
  try {
    molecule.reset(RDKit::SmilesToMol(smiles));
  } catch (std::exception const&) {
    return graph;
  }
  if (molecule == nullptr) return graph;
  RDKit::MolOps::addHs(*molecule);
  for (RDKit::Atom const* atom : molecule->atoms()) {
    graph.atom.push_back(chem::pack(chem::AtomKind{
        atom->getAtomicNum(), static_cast<std::int32_t>(atom->getDegree()), atom->getIsAromatic()}));
    if (atom->getAtomicNum() != 1) ++graph.heavy_atoms;
  }
  for (std::uint32_t source = 0; source < molecule->getNumAtoms(); ++source) {
    for (std::uint32_t index = 0; index < molecule->getNumBonds(); ++index) {
      RDKit::Bond const& bond = *molecule->getBondWithIdx(index);
      if (bond.getBeginAtomIdx() != source && bond.getEndAtomIdx() != source) continue;
      std::int32_t const one = bond.getBeginAtom()->getAtomicNum();
      std::int32_t const other = bond.getEndAtom()->getAtomicNum();
      graph.bond.push_back(chem::pack(chem::BondKind{
          static_cast<std::int32_t>(bond.getBondType()), bond.getIsConjugated(),
          molecule->getRingInfo()->numBondRings(index) > 0, std::min(one, other), std::max(one, other)}));
      graph.source.push_back(static_cast<std::int32_t>(source));
      graph.target.push_back(static_cast<std::int32_t>(bond.getOtherAtomIdx(source)));
    }
  }
  return graph;
}

}  // namespace athanor::tests
