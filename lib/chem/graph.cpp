#include <athanor/chem/graph.hpp>

#include <algorithm>
#include <utility>

#include <GraphMol/GraphMol.h>

#include "molecule.hpp"

namespace athanor::inline v1::chem {

namespace {

/// Fills one graph in two passes: rows are counted, then every bond is written into the rows of its two ends.
class GraphBuilder {
 public:
  GraphBuilder(RDKit::ROMol const& molecule, std::uint32_t first, std::uint32_t count)
      : molecule_(molecule), first_(first), count_(count), cursor_(count) {}

  Result<MolecularGraph> build(SmilesLimits const& limits) {
    count_rows();
    auto const atoms = static_cast<std::int64_t>(count_) + hydrogens_;
    if (atoms > limits.atoms)
      return fail(Code::invalid_argument, Reason::too_large,
                  "smiles: expected at most {} atoms with their hydrogens, got {}", limits.atoms, atoms);
    if (edges_ == 0)
      return fail(Code::invalid_argument, Reason::chemistry,
                  "smiles: the molecule has no bonds, and a model reads bonds");
    add_bonds();
    add_hydrogens();
    return std::move(graph_);
  }

 private:
  std::uint32_t hydrogens_at(std::uint32_t atom) const {
    return molecule_.getAtomWithIdx(first_ + atom)->getTotalNumHs();
  }

  void count_rows() {
    graph_.atom.reserve(std::size_t{3} * count_);
    for (std::uint32_t atom = 0; atom < count_; ++atom) {
      RDKit::Atom const& entry = *molecule_.getAtomWithIdx(first_ + atom);
      std::uint32_t const own = entry.getTotalNumHs();
      std::uint32_t const degree = entry.getDegree() + own;
      cursor_[atom] = edges_;
      edges_ += degree;
      hydrogens_ += own;
      if (entry.getAtomicNum() != 1) ++graph_.heavy_atoms;
      graph_.atom.push_back(
          pack(AtomKind{entry.getAtomicNum(), static_cast<std::int32_t>(degree), entry.getIsAromatic()}));
    }
    heavy_edges_ = edges_;
    edges_ += hydrogens_;
  }

  void put(std::size_t row, std::uint32_t source, std::uint32_t target, std::int32_t code) {
    graph_.bond[row] = code;
    graph_.source[row] = static_cast<std::int32_t>(source);
    graph_.target[row] = static_cast<std::int32_t>(target);
  }

  void add_bonds() {
    graph_.bond.resize(edges_);
    graph_.source.resize(edges_);
    graph_.target.resize(edges_);
    RDKit::RingInfo const& rings = *molecule_.getRingInfo();
    std::uint32_t const bonds = molecule_.getNumBonds();
    for (std::uint32_t index = 0; index < bonds; ++index) {
      RDKit::Bond const& bond = *molecule_.getBondWithIdx(index);
      std::uint32_t const begin = bond.getBeginAtomIdx();
      std::uint32_t const end = bond.getEndAtomIdx();
      bool const from_begin = begin - first_ < count_;
      bool const from_end = end - first_ < count_;
      if (!from_begin && !from_end) continue;
      std::int32_t const one = bond.getBeginAtom()->getAtomicNum();
      std::int32_t const other = bond.getEndAtom()->getAtomicNum();
      std::int32_t const code =
          pack(BondKind{static_cast<std::int32_t>(bond.getBondType()), bond.getIsConjugated(),
                        rings.numBondRings(index) > 0, std::min(one, other), std::max(one, other)});
      if (from_begin) put(cursor_[begin - first_]++, begin - first_, end % count_, code);
      if (from_end) put(cursor_[end - first_]++, end - first_, begin % count_, code);
    }
  }

  void add_hydrogens() {
    std::int32_t const hydrogen = pack(AtomKind{1, 1, false});
    std::uint32_t next = count_;
    std::size_t row = heavy_edges_;
    for (std::uint32_t atom = 0; atom < count_; ++atom) {
      std::uint32_t const own = hydrogens_at(atom);
      if (own == 0) continue;
      std::int32_t const number = unpack_atom(graph_.atom[atom]).atomic_number;
      std::int32_t const code = pack(BondKind{1, false, false, std::min(1, number), std::max(1, number)});
      for (std::uint32_t i = 0; i < own; ++i, ++next, ++row) {
        graph_.atom.push_back(hydrogen);
        put(cursor_[atom]++, atom, next, code);
        put(row, next, atom, code);
      }
    }
  }

  RDKit::ROMol const& molecule_;
  std::uint32_t first_;
  std::uint32_t count_;
  std::vector<std::size_t> cursor_;  // where the next edge of each heavy atom goes
  std::size_t edges_ = 0;
  std::size_t heavy_edges_ = 0;
  std::uint32_t hydrogens_ = 0;
  MolecularGraph graph_;
};

}  // namespace

Result<MolecularGraph> graph_of(RDKit::ROMol const& molecule, std::uint32_t first, std::uint32_t count,
                                SmilesLimits const& limits) {
  return GraphBuilder(molecule, first, count).build(limits);
}

Result<MolecularGraph> molecular_graph(std::string_view smiles, SmilesLimits const& limits) {
  auto source = read_source(smiles, limits);
  if (!source) return tl::unexpected(std::move(source.error()));
  auto const molecule = parse_molecule(*source);
  if (!molecule) return tl::unexpected(molecule.error());
  return graph_of(**molecule, 0, (*molecule)->getNumAtoms(), limits);
}

}  // namespace athanor::inline v1::chem
