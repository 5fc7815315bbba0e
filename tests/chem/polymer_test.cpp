#include <map>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <athanor/chem/polymer.hpp>

#include "colours.hpp"

using namespace athanor;
using namespace athanor::chem;

namespace {

std::vector<std::string> const repeat_units = {"*C*",
                                               "*CC*",
                                               "*CO*",
                                               "*C=C*",
                                               "*=CC=*",
                                               "*CC(*)C",
                                               "*CC(*)c1ccccc1",
                                               "*CC(*)(C)C(=O)OC",
                                               "*OC(C)C(*)=O",
                                               "*C(F)(F)C(*)(F)C(F)(F)F",
                                               "*c1ccc(*)cc1",
                                               "*c1ccc(*)s1",
                                               "*=c1ccc(=*)cc1",
                                               "*=C1C=CC(=*)c2ccccc21",
                                               "*=CC(C)=*",
                                               "*[Si](C)(C)O*",
                                               "*n1c2ccccc2c2cc(*)ccc21",
                                               "*OCCOC(=O)c1ccc(cc1)C(*)=O",
                                               "*Oc1ccc(cc1)C(C)(C)c1ccc(cc1)OC(*)=O",
                                               "*Oc1ccc(Oc2ccc(N3C(=O)c4cc5C(=O)N(*)C(=O)c5cc4C3=O)cc2)cc1",
                                               "*NCCCCCC(*)=O",
                                               "*C#CC(C)(C)*",
                                               "*CC([O-])C*.[Na+]"};

PreparedMolecule prepare(std::string const& smiles, PolymerOptions const& options = {}) {
  auto prepared = prepare_polymer(smiles, options);
  REQUIRE_MESSAGE(prepared, smiles, ": ", prepared.error().message);
  return std::move(*prepared);
}

std::string refusal(std::string const& smiles) {
  auto const prepared = prepare_polymer(smiles);
  return prepared ? "accepted" : prepared.error().message;
}

template <class Key>
std::map<Key, std::int64_t> count(std::vector<Key> const& values) {
  std::map<Key, std::int64_t> counts;
  for (Key const& value : values) ++counts[value];
  return counts;
}

}  // namespace

// mutant: the graph of an endless chain is its first unit's
TEST_CASE("polyethylene is the same polymer however long its repeat unit is written") {
  PreparedMolecule const one = prepare("*CC*");
  CHECK(one.polymer);
  CHECK(one.graph.heavy_atoms == 2);
  std::set<std::string> atoms;
  std::set<std::string> bonds;
  for (auto const* text : {"*C*", "*CC*", "*CCC*", "*CCCC*", "*CCCCCCCCCC*", "*[CH2]C*", "*C([H])([H])C*"}) {
    PreparedMolecule const same = prepare(text);
    CHECK_MESSAGE(tests::shares(same.graph) == tests::shares(one.graph), text);
    for (std::int32_t const code : same.graph.atom) atoms.insert(atom_key(code));
    for (std::int32_t const code : same.graph.bond) bonds.insert(bond_key(code));
  }
  CHECK(atoms == std::set<std::string>{"('C', 4, 0, 0, False)", "('H', 1, 0, 0, False)"});
  CHECK(bonds == std::set<std::string>{"(rdkit.Chem.rdchem.BondType.SINGLE, False, False, ['C', 'C'])",
                                       "(rdkit.Chem.rdchem.BondType.SINGLE, False, False, ['C', 'H'])"});
}

// mutant: units are joined by single bonds, whatever the stars have
TEST_CASE("a doubled, a shifted and a reversed repeat unit are the same polymer") {
  std::vector<std::vector<std::string>> const same = {
      {"*CC(*)C", "*C(C)C*", "*CC(C)CC(*)C", "C(*)C(*)C"},
      {"*CO*", "*OC*", "*COCO*", "*OCOCOC*"},
      {"*C=C*", "*=CC=*", "*C=CC=C*"},
      {"*c1ccc(*)s1", "*c1ccc(s1)-c1ccc(*)s1"},
      {"*OCCOC(=O)c1ccc(cc1)C(*)=O", "*CCOC(=O)c1ccc(cc1)C(=O)O*", "*C(=O)OCCOC(=O)c1ccc(*)cc1",
       "*OCCOC(=O)c1ccc(cc1)C(=O)OCCOC(=O)c1ccc(cc1)C(*)=O"},
      {"*NCCCCCC(*)=O", "*C(=O)NCCCCC*", "*CCC(=O)NCCC*"}};
  for (auto const& spellings : same) {
    auto const expected = tests::shares(prepare(spellings.front()).graph);
    for (auto const& spelling : spellings)
      CHECK_MESSAGE(tests::shares(prepare(spelling).graph) == expected, spelling);
  }
  CHECK(tests::shares(prepare("*CC(*)C").graph) != tests::shares(prepare("*CCC*").graph));
}

// mutant: an atom sees no further than its own unit
TEST_CASE("a unit of the endless chain is a unit in the middle of a long one") {
  for (auto const& smiles : repeat_units) {
    MolecularGraph const endless = prepare(smiles).graph;
    constexpr std::int32_t units = 15;
    constexpr int rounds = 5;
    MolecularGraph const chain = prepare(smiles, {.units = units}).graph;
    REQUIRE_MESSAGE(chain.heavy_atoms == units * endless.heavy_atoms, smiles);
    auto const near = tests::colours(endless, rounds);
    auto const far = tests::colours(chain, rounds);
    auto const first = static_cast<std::size_t>(units / 2) * static_cast<std::size_t>(endless.heavy_atoms);
    for (std::size_t atom = 0; atom < static_cast<std::size_t>(endless.heavy_atoms); ++atom)
      CHECK_MESSAGE(near[atom] == far[first + atom], smiles, " atom ", atom);
    for (std::int32_t const code : endless.bond) {
      auto const kind = unpack_bond(code);
      CHECK_MESSAGE((!kind.in_ring || smiles.find('1') != std::string::npos), smiles);
    }
  }
}

// mutant: both edges of a bond lead the same way
TEST_CASE("every edge of an endless chain has its reverse") {
  for (auto const& smiles : repeat_units) {
    MolecularGraph const graph = prepare(smiles).graph;
    std::multiset<std::vector<std::int32_t>> forward;
    std::multiset<std::vector<std::int32_t>> backward;
    for (std::size_t edge = 0; edge < graph.bond.size(); ++edge) {
      forward.insert({graph.source[edge], graph.target[edge], graph.bond[edge]});
      backward.insert({graph.target[edge], graph.source[edge], graph.bond[edge]});
      if (edge > 0) CHECK(graph.source[edge - 1] <= graph.source[edge]);
    }
    CHECK_MESSAGE(forward == backward, smiles);
    std::map<std::int32_t, std::int64_t> const degrees = count(graph.source);
    for (std::size_t atom = 0; atom < graph.atom.size(); ++atom) {
      auto const found = degrees.find(static_cast<std::int32_t>(atom));
      CHECK((found == degrees.end() ? 0 : found->second) == unpack_atom(graph.atom[atom]).degree);
    }
  }
}

// mutant: the identifiers of a unit are those of the whole chain
TEST_CASE("identifiers of an endless chain are what one more unit adds to a long one") {
  for (auto const& smiles : repeat_units) {
    auto const endless = prepare(smiles, {.identifiers = true});
    auto const shorter = prepare(smiles, {.units = 14, .identifiers = true});
    auto const longer = prepare(smiles, {.units = 15, .identifiers = true});
    REQUIRE(endless.identifiers);
    REQUIRE(shorter.identifiers);
    REQUIRE(longer.identifiers);
    std::map<std::uint32_t, std::int32_t> added;
    for (auto const& [identifier, times] : *longer.identifiers) added[identifier] += times;
    for (auto const& [identifier, times] : *shorter.identifiers) added[identifier] -= times;
    std::erase_if(added, [](auto const& entry) { return entry.second == 0; });
    std::map<std::uint32_t, std::int32_t> found;
    for (auto const& [identifier, times] : *endless.identifiers) found[identifier] = times;
    CHECK_MESSAGE(found == added, smiles);
  }
}

// mutant: every end of an oligomer gets one hydrogen
TEST_CASE("an oligomer is the molecule with hydrogen at both ends") {
  auto same = [](char const* unit, std::int32_t units, char const* oligomer) {
    PreparedMolecule const prepared = prepare(unit, {.units = units});
    return prepared.polymer &&
           tests::shares(prepared.graph) == tests::shares(molecular_graph(oligomer).value());
  };
  CHECK(same("*CC*", 3, "CCCCCC"));
  CHECK(same("*CC(*)C", 2, "CC(C)CCC"));
  CHECK(same("*=CC=*", 2, "CC=CC"));
  CHECK(same("*=[CH][CH]=*", 2, "CC=CC"));
  CHECK(same("*n1cccc1*", 1, "[nH]1cccc1"));
  CHECK(same("*[O]*", 1, "O"));
  CHECK(same("*C#CC(C)(C)*", 2, "C#CC(C)(C)C#CC(C)C"));
  auto const large = prepare_polymer("*CC*", {.units = 1001});
  REQUIRE(!large);
  CHECK(large.error().reason == Reason::too_large);
  auto const none = prepare_polymer("*CC*", {.units = 0});
  REQUIRE(!none);
  CHECK(none.error().reason == Reason::option);
}

// mutant: the bonds of the two stars may differ
// mutant: a star may have several neighbours
// mutant: a star may carry a charge or hydrogens
TEST_CASE("a repeat unit that cannot be continued is refused with the cause") {
  CHECK(refusal("*CC") == "repeat unit: two * mark the ends of a repeat unit, this SMILES has 1");
  CHECK(refusal("*CC(*)C*") ==
        "repeat unit: two * mark the ends of a repeat unit, this SMILES has 3: networks are not read");
  CHECK(refusal("*CC.CC*") == "repeat unit: the two * are in separate fragments");
  CHECK(refusal("**") == "repeat unit: the two * are bonded to each other");
  CHECK(refusal("*=CC*") == "repeat unit: the bonds of the two * differ, so they cannot be joined");
  CHECK(refusal("C*C*") == "repeat unit: the * at byte 1 must have one neighbour, it has 2");
  CHECK(refusal("*.CC*") == "repeat unit: the * at byte 0 must have one neighbour, it has 0");
  CHECK(refusal("[*+]CC*") == "repeat unit: the * at byte 0 must carry neither charge nor hydrogen");
  CHECK(refusal("[*H]CC*") == "repeat unit: the * at byte 0 must carry neither charge nor hydrogen");
  CHECK(refusal("*$CC$*") == "repeat unit: the * at byte 0 must have a single, double or triple bond");
  CHECK(refusal("[*]CC(*)(C)(C)C") ==
        "smiles: the bonds of C at byte 4 add up to 5, more than its valence permits");
  CHECK(refusal("*Cc1cccc1*") == "smiles: the aromatic ring at byte 2 has no arrangement of double bonds");
}

// mutant: a star with an isotope is refused
TEST_CASE("labels and isotopes on the stars do not matter") {
  auto const expected = prepare("*CC(*)C").graph;
  CHECK(prepare("[*:1]CC([*:2])C").graph == expected);
  CHECK(prepare("[1*]CC([2*])C").graph == expected);
  CHECK(prepare("[*]CC([*])C").graph == expected);
}

// mutant: identifiers are computed although nobody asked for them
TEST_CASE("a plain SMILES is taken as it stands and says so") {
  PreparedMolecule const plain = prepare("CCO", {.identifiers = true});
  CHECK(!plain.polymer);
  CHECK(plain.graph == *molecular_graph("CCO"));
  REQUIRE(plain.identifiers);
  CHECK(*plain.identifiers == *morgan_identifiers("CCO"));
  CHECK(!prepare("CCO").identifiers);
}

// mutant: identifiers of a molecule of any size are computed
TEST_CASE("identifiers of a very large molecule are not computed") {
  CHECK(prepare(std::string(1000, 'C'), {.identifiers = true}).identifiers);
  CHECK(!prepare(std::string(1001, 'C'), {.identifiers = true}).identifiers);
  CHECK(!prepare("*" + std::string(400, 'C') + "*", {.identifiers = true}).identifiers);
  CHECK(prepare("*" + std::string(300, 'C') + "*", {.identifiers = true}).identifiers);
}

// mutant: only the first fragment of a text is read
TEST_CASE("raw strings as users paste them have the atoms and edges that they should") {
  struct Raw {
    char const* smiles;
    std::size_t atoms;
    std::size_t edges;
  };
  for (auto const& [smiles, atoms, edges] :
       std::vector<Raw>{{"CC", 8, 14},
                        {"CC(C)", 11, 20},
                        {"CC(c1ccccc1)", 18, 36},
                        {"CC(C)(C(=O)OC)", 17, 32},
                        {"CC(O)C(=O)", 11, 20},
                        {"CC(Cl)", 8, 14},
                        {"COC(=O)c1ccc(C(=O)O)cc1.OCCO", 31, 60},
                        {"CC(C)(c1ccc(O)cc1)c1ccc(O)cc1.O=C(Cl)Cl", 37, 74},
                        {"c1ccc2c(c1)C(=O)N(c1ccc(C(=O)c3ccc(N4C(=O)c5ccccc5C4=O)cc3)cc1)C2=O", 52, 114}}) {
    PreparedMolecule const prepared = prepare(smiles);
    CHECK(!prepared.polymer);
    CHECK_MESSAGE(prepared.graph.atom.size() == atoms, smiles);
    CHECK_MESSAGE(prepared.graph.bond.size() == edges, smiles);
  }
}
