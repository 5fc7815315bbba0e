#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <athanor/chem/domain.hpp>
#include <athanor/chem/drawing.hpp>
#include <athanor/chem/graph.hpp>

#include "colours.hpp"
#include "reference_graph.hpp"

using namespace athanor;
using namespace athanor::chem;

namespace {

std::vector<std::string> const hand_picked = {"CCO",
                                              "CC(=O)Oc1ccccc1C(=O)O",
                                              "[H]C([H])([H])[H]",
                                              "[2H]C([2H])O",
                                              "[2H]O[2H]",
                                              "[H][H]",
                                              "[H]/C(F)=C/F",
                                              "[H]N([H])C1=NC=CN1",
                                              "F/C=C/F",
                                              "F/C=C\\F",
                                              "N[C@@H](C)C(=O)O",
                                              "C[N+](C)(C)C",
                                              "C[N+](=O)[O-]",
                                              "CN(=O)=O",
                                              "[nH]1cccc1",
                                              "n1([H])cccc1",
                                              "c1ccc2[nH]ccc2c1",
                                              "[O-]c1ccccc1.[Na+]",
                                              "c1ccsc1",
                                              "O=c1cc[nH]cc1",
                                              "c1cc[n+]([O-])cc1",
                                              "[Fe+2].c1cc[cH-]c1.c1cc[cH-]c1",
                                              "[Cu]<-N",
                                              "C[Si](C)(C)O[Si](C)(C)C",
                                              "B(O)(O)c1ccccc1",
                                              "ClC(Cl)(Cl)Cl",
                                              "C#N",
                                              "[CH3]",
                                              "[CH2]C",
                                              "[13CH3]C",
                                              "*CC*",
                                              "[*:1]CC[*:2]",
                                              "OS(=O)(=O)c1ccccc1",
                                              "C1CC2CCC1C2",
                                              "c1ccc2ccccc2c1",
                                              "O=C1C=CC(=O)C=C1",
                                              "c1ccc(-c2ccccc2)cc1",
                                              "C=CC=C",
                                              "CC(C)=CC(=O)N",
                                              "N#CC=C",
                                              "[O][O]",
                                              "[H]O[H].[H]Cl",
                                              "CCCC[Sn](CCCC)(CCCC)CCCC",
                                              "O=P(O)(O)O",
                                              "C1=CC=CC=CC=C1",
                                              "c1ccc2c(c1)ccc1ccccc12",
                                              "[Pt](Cl)(Cl)(N)N",
                                              "COC(=O)c1ccc(C(=O)O)cc1.OCCO",
                                              "C1CCCCCCCCCCCCCCCCCC1"};

}  // namespace

// mutant: edges to hydrogens come before those to heavy atoms
TEST_CASE("the graph of ethanol is nfp's, edge by edge") {
  auto const graph = molecular_graph("CCO");
  REQUIRE(graph);
  std::vector<std::pair<int, int>> edges;
  for (std::size_t i = 0; i < graph->source.size(); ++i)
    edges.emplace_back(graph->source[i], graph->target[i]);
  CHECK(edges == std::vector<std::pair<int, int>>{{0, 1},
                                                  {0, 3},
                                                  {0, 4},
                                                  {0, 5},
                                                  {1, 0},
                                                  {1, 2},
                                                  {1, 6},
                                                  {1, 7},
                                                  {2, 1},
                                                  {2, 8},
                                                  {3, 0},
                                                  {4, 0},
                                                  {5, 0},
                                                  {6, 1},
                                                  {7, 1},
                                                  {8, 2}});
  CHECK(graph->heavy_atoms == 3);
  CHECK(atom_key(graph->atom[0]) == "('C', 4, 0, 0, False)");
  CHECK(bond_key(graph->bond[1]) == "(rdkit.Chem.rdchem.BondType.SINGLE, False, False, ['C', 'H'])");
}

// mutant: the degree of an atom leaves out its hydrogens
TEST_CASE("keys of methanol are spelled as nfp spells them") {
  auto const graph = molecular_graph("CO");
  REQUIRE(graph);
  std::vector<std::string> atoms;
  for (std::int32_t const code : graph->atom) atoms.push_back(atom_key(code));
  CHECK(atoms == std::vector<std::string>{"('C', 4, 0, 0, False)", "('O', 2, 0, 0, False)",
                                          "('H', 1, 0, 0, False)", "('H', 1, 0, 0, False)",
                                          "('H', 1, 0, 0, False)", "('H', 1, 0, 0, False)"});
  CHECK(bond_key(graph->bond[0]) == "(rdkit.Chem.rdchem.BondType.SINGLE, False, False, ['C', 'O'])");
}

// mutant: something may follow the key of an atom
TEST_CASE("codes and keys are each other's inverse") {
  for (auto const& smiles : hand_picked) {
    auto const graph = molecular_graph(smiles);
    if (!graph) continue;
    for (std::int32_t const code : graph->atom) {
      CHECK(atom_code(atom_key(code)) == code);
      CHECK(pack(unpack_atom(code)) == code);
    }
    for (std::int32_t const code : graph->bond) {
      CHECK(bond_code(bond_key(code)) == code);
      CHECK(pack(unpack_bond(code)) == code);
    }
  }
  for (auto const* key : {"", "('C', 4, 0, 0)", "('Q', 4, 0, 0, False)", "('C', 4, 1, 0, False)",
                          "('C', 4, 0, 0, False) ", "('C', 400, 0, 0, False)", "unk"})
    CHECK_MESSAGE(!atom_code(key), key);
  for (auto const* key : {"", "(rdkit.Chem.rdchem.BondType.SINGLE, False, False, ['H', 'C'])",
                          "(rdkit.Chem.rdchem.BondType.WRONG, False, False, ['C', 'H'])",
                          "(rdkit.Chem.rdchem.BondType.SINGLE, False, ['C', 'H'])"})
    CHECK_MESSAGE(!bond_code(key), key);
}

// mutant: conjugation is not perceived
// mutant: hydrogens that are written as atoms stay atoms
TEST_CASE("the fast path gives the graph of a full parse with hydrogens added") {
  for (auto const& smiles : hand_picked) {
    auto const expected = tests::reference_graph(smiles);
    auto const graph = molecular_graph(smiles);
    if (expected.bond.empty()) {
      CHECK_MESSAGE(!graph, smiles);
    } else {
      REQUIRE_MESSAGE(graph, smiles, ": ", graph.error().message);
      CHECK_MESSAGE(*graph == expected, smiles);
    }
  }
}

// mutant: a bond has its atoms in the order of the text
TEST_CASE("the order of atoms in the text does not change the molecule") {
  std::vector<std::vector<std::string>> const same = {
      {"CCO", "OCC", "C(O)C", "C(C)O"},
      {"CC(=O)Oc1ccccc1C(=O)O", "O=C(O)c1ccccc1OC(C)=O", "c1(C(O)=O)ccccc1OC(=O)C",
       "OC(=O)C1=CC=CC=C1OC(=O)C"},
      {"Cn1cnc2c1c(=O)n(C)c(=O)n2C", "O=c1n(C)c(=O)n(C)c2ncn(C)c12"}};
  for (auto const& spellings : same) {
    auto const first = molecular_graph(spellings.front());
    REQUIRE(first);
    for (auto const& spelling : spellings) {
      auto const graph = molecular_graph(spelling);
      REQUIRE(graph);
      CHECK_MESSAGE(tests::shares(*graph) == tests::shares(*first), spelling);
    }
  }
  CHECK(tests::shares(*molecular_graph("CCCO")) != tests::shares(*molecular_graph("CC(C)O")));
}

// mutant: the number of an atom is given for its byte
TEST_CASE("chemistry that is impossible names the byte of the atom") {
  auto message = [](char const* smiles) { return molecular_graph(smiles).error().message; };
  CHECK(message("ClC(C)(C)(C)C") ==
        "smiles: the bonds of C at byte 2 add up to 5, more than its valence permits");
  CHECK(message("CCOc1cccc1") == "smiles: the aromatic ring at byte 3 has no arrangement of double bonds");
  CHECK(message("CCc") == "smiles: the atom at byte 2 is written as aromatic but is in no aromatic ring");
}

// mutant: an aromatic molecule may have one * more than the limit
TEST_CASE("a text that RDKit could not answer in time is refused before it is asked") {
  std::string const stars(60, '*');
  for (std::string const& smiles :
       {"OC1:C" + stars + "=1*****C1********C1", "[nH]1c[nH]" + stars + "[nH]1",
        "[nH]1c[nH]" + std::string(25, '*') + "[nH]1", "c1ccccc1." + std::string("C1:C") + stars + "=1",
        "[nH]1c[nH]" + std::string(9, '*') + "[nH]1"}) {
    for (Error const& error :
         {molecular_graph(smiles).error(), morgan_identifiers(smiles).error(), draw_svg(smiles).error()}) {
      CHECK(error.code == Code::invalid_argument);
      CHECK_MESSAGE(error.reason == Reason::too_large, smiles);
      CHECK(error.message.find("expected at most 8 '*' with several bonds") != std::string::npos);
    }
  }
  CHECK(molecular_graph("[nH]1c[nH]" + std::string(8, '*') + "[nH]1").error().reason == Reason::chemistry);
  CHECK(molecular_graph("*c1ccc(*)cc1"));
  CHECK(molecular_graph("C1" + stars + "1"));
}

// mutant: hydrogens do not count towards the limit of atoms
TEST_CASE("hydrogens count towards the limit of atoms") {
  CHECK(molecular_graph("CCO", {.atoms = 9}));
  auto const refused = molecular_graph("CCO", {.atoms = 8});
  REQUIRE(!refused);
  CHECK(refused.error().reason == Reason::too_large);
  CHECK(refused.error().message == "smiles: expected at most 8 atoms with their hydrogens, got 9");
}

// mutant: all threads make their graphs in one object
TEST_CASE("many threads read molecules at once and agree") {
  std::vector<MolecularGraph> expected;
  for (auto const& smiles : hand_picked) {
    auto graph = molecular_graph(smiles);
    expected.push_back(graph ? std::move(*graph) : MolecularGraph{});
  }
  std::vector<int> wrong(8, 0);
  std::vector<std::thread> threads;
  for (std::size_t worker = 0; worker < wrong.size(); ++worker)
    threads.emplace_back([&, worker] {
      for (int round = 0; round < 20; ++round)
        for (std::size_t i = 0; i < hand_picked.size(); ++i) {
          auto const graph = molecular_graph(hand_picked[i]);
          if ((graph ? *graph : MolecularGraph{}) != expected[i]) ++wrong[worker];
        }
    });
  for (auto& thread : threads) thread.join();
  CHECK(std::accumulate(wrong.begin(), wrong.end(), 0) == 0);
}
