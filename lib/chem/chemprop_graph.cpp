#include <athanor/chem/chemprop_graph.hpp>

#include <algorithm>
#include <array>
#include <numeric>
#include <span>

#include <GraphMol/GraphMol.h>

#include "molecule.hpp"

namespace athanor::inline v1::chem {

namespace {

/// The numbers from `first` on.
template <std::size_t count>
constexpr std::array<int, count> numbers_from(int first) {
  std::array<int, count> numbers{};
  std::iota(numbers.begin(), numbers.end(), first);
  return numbers;
}

constexpr auto elements_v1 = numbers_from<100>(1);
/// The first four periods and iodine.
constexpr auto elements_v2 = [] {
  std::array<int, 37> elements{};
  std::iota(elements.begin(), elements.end() - 1, 1);
  elements.back() = 53;
  return elements;
}();
constexpr auto degrees = numbers_from<6>(0);
constexpr std::array<int, 5> charges = {-1, -2, 1, 2, 0};
constexpr auto chiral_tags = numbers_from<4>(0);
constexpr auto hydrogens = numbers_from<5>(0);
using Hybridization = RDKit::Atom::HybridizationType;
constexpr std::array<Hybridization, 5> hybridizations_v1 = {
    Hybridization::SP, Hybridization::SP2, Hybridization::SP3, Hybridization::SP3D, Hybridization::SP3D2};
constexpr std::array<Hybridization, 7> hybridizations_v2 = {
    Hybridization::S,   Hybridization::SP,   Hybridization::SP2,  Hybridization::SP2D,
    Hybridization::SP3, Hybridization::SP3D, Hybridization::SP3D2};
using BondType = RDKit::Bond::BondType;
constexpr std::array<BondType, 4> bond_types = {BondType::SINGLE, BondType::DOUBLE, BondType::TRIPLE,
                                                BondType::AROMATIC};
constexpr auto stereos = numbers_from<6>(0);

/// One feature vector, filled from its beginning; all zeros before.
class FeatureVector {
 public:
  explicit FeatureVector(std::span<float> values) : values_(values) {}

  /// A number for each choice, 1 for the one that `value` is.
  template <class Choice, std::size_t count>
  void one_of(std::array<Choice, count> const& choices, Choice value) {
    auto const place = static_cast<std::size_t>(std::ranges::find(choices, value) - choices.begin());
    if (place < count) values_[next_ + place] = 1;
    next_ += count;
  }
  /// The same, and one more number for any other value.
  template <class Choice, std::size_t count>
  void one_of_or_other(std::array<Choice, count> const& choices, Choice value) {
    one_of(choices, value);
    number(std::ranges::find(choices, value) == choices.end() ? 1.0F : 0.0F);
  }
  void number(float value) { values_[next_++] = value; }

 private:
  std::span<float> values_;
  std::size_t next_ = 0;
};

void describe_atom(RDKit::Atom const& atom, ChempropTable table, FeatureVector vector) {
  if (table == ChempropTable::v1)
    vector.one_of_or_other(elements_v1, atom.getAtomicNum());
  else
    vector.one_of_or_other(elements_v2, atom.getAtomicNum());
  vector.one_of_or_other(degrees, static_cast<int>(atom.getTotalDegree()));
  vector.one_of_or_other(charges, atom.getFormalCharge());
  vector.one_of_or_other(chiral_tags, static_cast<int>(atom.getChiralTag()));
  vector.one_of_or_other(hydrogens, static_cast<int>(atom.getTotalNumHs()));
  if (table == ChempropTable::v1)
    vector.one_of_or_other(hybridizations_v1, atom.getHybridization());
  else
    vector.one_of_or_other(hybridizations_v2, atom.getHybridization());
  vector.number(atom.getIsAromatic() ? 1.0F : 0.0F);
  vector.number(static_cast<float>(0.01 * atom.getMass()));
}

void describe_bond(RDKit::Bond const& bond, bool in_ring, FeatureVector vector) {
  vector.number(0.0F);  // 1 for a bond that does not exist
  vector.one_of(bond_types, bond.getBondType());
  vector.number(bond.getIsConjugated() ? 1.0F : 0.0F);
  vector.number(in_ring ? 1.0F : 0.0F);
  vector.one_of_or_other(stereos, static_cast<int>(bond.getStereo()));
}

ChempropGraph graph_of(RDKit::ROMol const& molecule, ChempropTable table) {
  auto const atom_width = static_cast<std::size_t>(chemprop_atom_width(table));
  constexpr auto bond_width = static_cast<std::size_t>(chemprop_bond_width);
  std::size_t const edges = std::size_t{2} * molecule.getNumBonds();
  ChempropGraph graph;
  graph.atom.resize(molecule.getNumAtoms() * atom_width);
  graph.bond.resize(edges * bond_width);
  graph.source.reserve(edges);
  graph.target.reserve(edges);
  graph.reverse.reserve(edges);
  for (auto const* atom : molecule.atoms())
    describe_atom(*atom, table,
                  FeatureVector(std::span(graph.atom).subspan(atom->getIdx() * atom_width, atom_width)));
  RDKit::RingInfo const& rings = *molecule.getRingInfo();
  for (auto const* bond : molecule.bonds()) {
    std::size_t const edge = graph.source.size();
    std::span<float> const there = std::span(graph.bond).subspan(edge * bond_width, 2 * bond_width);
    describe_bond(*bond, rings.numBondRings(bond->getIdx()) > 0, FeatureVector(there));
    std::ranges::copy(there.first(bond_width), there.subspan(bond_width).begin());
    auto const begin = static_cast<std::int32_t>(bond->getBeginAtomIdx());
    auto const end = static_cast<std::int32_t>(bond->getEndAtomIdx());
    auto const number = static_cast<std::int32_t>(edge);
    graph.source.insert(graph.source.end(), {begin, end});
    graph.target.insert(graph.target.end(), {end, begin});
    graph.reverse.insert(graph.reverse.end(), {number + 1, number});
  }
  return graph;
}

}  // namespace

Result<ChempropGraph> chemprop_graph(std::string_view smiles, ChempropTable table,
                                     SmilesLimits const& limits) {
  auto source = read_source(smiles, limits);
  if (!source) return tl::unexpected(std::move(source.error()));
  auto const molecule = parse_with_stereo(*source);
  if (!molecule) return tl::unexpected(molecule.error());
  return graph_of(**molecule, table);
}

}  // namespace athanor::inline v1::chem
