#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <GraphMol/GraphMol.h>
#include <GraphMol/SmilesParse/SmilesParse.h>
#include <GraphMol/SmilesParse/SmilesWrite.h>

#include <athanor/chem/polymer.hpp>
#include <athanor/chem/polymerise.hpp>

using namespace athanor;
using namespace athanor::chem;

namespace {

std::vector<std::string> split(std::string const& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

std::string canonical(std::string const& smiles) {
  std::unique_ptr<RDKit::ROMol> const molecule(RDKit::SmilesToMol(smiles));
  REQUIRE_MESSAGE(molecule != nullptr, smiles);
  return RDKit::MolToSmiles(*molecule);
}

std::set<std::string> canonical_set(std::vector<std::string> const& list) {
  std::set<std::string> result;
  for (auto const& smiles : list) result.insert(canonical(smiles));
  return result;
}

/// What polymerise makes of a line of the file, until it has
/// made `expected` polymers or a hundred times as many tries.
std::set<std::string> made(std::vector<std::string> const& line, std::size_t expected) {
  PolymeriseOptions options{.mechanism = mechanism_named(line[0]), .degree = std::stoi(line[1])};
  options.head_to_tail = line[2] != "-";
  if (line[2] != "-") options.meso = std::stod(line[2]);
  auto const monomers = split(line[3], '.');
  std::set<std::string> texts;
  std::set<std::string> result;
  for (; options.seed < 100 * expected && result.size() < expected; ++options.seed) {
    auto const polymer = polymerise(monomers, options);
    REQUIRE_MESSAGE(polymer, line[3] << ": " << polymer.error().message);
    if (texts.insert(polymer->oligomer).second) result.insert(canonical(polymer->oligomer));
  }
  return result;
}

Polymer polymer_of(std::vector<std::string> const& monomers, PolymeriseOptions const& options = {}) {
  auto const polymer = polymerise(monomers, options);
  REQUIRE_MESSAGE(polymer, polymer.error().message);
  return *polymer;
}

std::string refusal(std::vector<std::string> const& monomers, PolymeriseOptions const& options = {}) {
  auto const polymer = polymerise(monomers, options);
  REQUIRE(!polymer);
  CHECK(polymer.error().code == Code::invalid_argument);
  return polymer.error().message;
}

}  // namespace

// Where the environment has ATHANOR_M2P_PRODUCTS, that file is
// compared in place of the tree's: m2p_products.py writes it.
// mutant: chain growth enters a group by its first way only
// mutant: step growth enters a group by its first way only
// mutant: a monomer reacts by the first of its groups only
// mutant: all centres of a chain have one configuration
TEST_CASE("the polymers of m2p, all of them and no others") {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): the test never sets it
  char const* named = std::getenv("ATHANOR_M2P_PRODUCTS");
  std::ifstream file(named != nullptr ? named : M2P_PRODUCTS);
  REQUIRE(file);
  std::size_t lines = 0;
  for (std::string text; std::getline(file, text); ++lines) {
    auto const line = split(text, '\t');
    REQUIRE(line.size() == 5);
    auto const expected = canonical_set(split(line[4], ' '));
    CHECK_MESSAGE(made(line, expected.size()) == expected, text);
  }
  CHECK(lines > 0);
}

// mutant: the star of an amine that becomes an imide is on its nitrogen
// mutant: what leaves an open end stays in the repeat unit
// mutant: a chain enters a monomer by its heavier side
TEST_CASE("the repeat unit of each mechanism is that of the textbook") {
  struct Row {
    std::string mechanism;
    std::vector<std::string> monomers;
    std::string unit;
  };
  std::string const bisphenol = "CC(C)(c1ccc(O)cc1)c1ccc(O)cc1";
  std::vector<Row> const rows = {
      {"vinyl", {"C=CC"}, "*CC(*)C"},
      {"vinyl", {"CC=C"}, "*CC(*)C"},
      {"acrylate", {"C=C(C)C(=O)OC"}, "*CC(*)(C)C(=O)OC"},
      {"acrylate", {"C=C(C)C(=O)OCC=C"}, "*CC(*)(C)C(=O)OCC=C"},
      {"diene", {"C=CC=C"}, "*CC=CC*"},
      {"acetylene", {"C#C"}, "*C=C*"},
      {"ring-opening", {"O=C1CCCCCO1"}, "*OCCCCCC(*)=O"},
      {"ring-opening", {"O=C1CCCCCN1"}, "*NCCCCCC(*)=O"},
      {"ring-opening", {"O=C1OCCCO1"}, "*OCCCOC(*)=O"},
      {"ring-opening", {"C1CCOC1"}, "*CCCCO*"},
      {"ring-opening", {"CC1CO1"}, "*CC(C)O*"},
      {"ester", {"O=C(O)c1ccc(C(=O)O)cc1", "OCCO"}, "*OCCOC(=O)c1ccc(C(*)=O)cc1"},
      {"ester", {"O=C1OC(=O)c2ccccc21", "OCCO"}, "*OCCOC(=O)c1ccccc1C(*)=O"},
      {"amide", {"NCCCCCCN", "O=C(Cl)CCCCC(=O)Cl"}, "*NCCCCCCNC(=O)CCCCC(*)=O"},
      {"imide",
       {"O=C1OC(=O)c2cc3c(cc12)C(=O)OC3=O", "Nc1ccc(Oc2ccc(N)cc2)cc1"},
       "*c1ccc(Oc2ccc(-n3c(=O)c4cc5c(=O)n(*)c(=O)c5cc4c3=O)cc2)cc1"},
      {"carbonate", {bisphenol, "O=C(Oc1ccccc1)Oc1ccccc1"}, "*Oc1ccc(C(C)(C)c2ccc(OC(*)=O)cc2)cc1"},
      {"urethane", {"O=C=NCCCCCCN=C=O", "OCCCCO"}, "*OCCCCOC(=O)NCCCCCCNC(*)=O"},
      {"urea", {"O=C=NCCCCCCN=C=O", "NCCN"}, "*NCCNC(=O)NCCCCCCNC(*)=O"},
      {"nipu", {"O=C1OCC(COCC2COC(=O)O2)O1", "NCCN"}, "*NCCNC(=O)OC(CO)COCC(CO)OC(*)=O"},
      {"epoxy", {bisphenol, "C1OC1COCC1CO1"}, "*CC(O)COCC(O)COc1ccc(C(C)(C)c2ccc(O*)cc2)cc1"},
  };
  for (auto const& row : rows) {
    auto const polymer = polymer_of(row.monomers, {.mechanism = mechanism_named(row.mechanism)});
    CHECK_MESSAGE(polymer.repeat_unit == canonical(row.unit), row.mechanism << ' ' << row.monomers[0]);
    CHECK(polymer.oligomer.find('*') == std::string::npos);
    CHECK_MESSAGE(prepare_polymer(polymer.repeat_unit), polymer.repeat_unit);
    // The mechanism is found without being named.
    if (row.mechanism != "nipu" || row.monomers.size() > 1)
      CHECK_MESSAGE(to_string(polymer_of(row.monomers).mechanism) == row.mechanism, row.monomers[0]);
  }
}

// mutant: every seed draws the same polymer
// mutant: proportions are ignored
TEST_CASE("equal seeds give equal polymers, and proportions what they say") {
  std::vector<std::string> const monomers = {"C=CC#N", "C=Cc1ccccc1"};
  PolymeriseOptions options{.mechanism = Mechanism::vinyl, .degree = 60, .proportions = {1, 9}};
  std::set<std::string> oligomers;
  std::ptrdiff_t nitriles = 0;
  for (options.seed = 0; options.seed < 20; ++options.seed) {
    auto const polymer = polymer_of(monomers, options);
    CHECK(polymer.oligomer == polymer_of(monomers, options).oligomer);
    CHECK(polymer.repeat_unit.empty());
    CHECK(polymer.units.size() == 60);
    nitriles += std::count(polymer.units.begin(), polymer.units.end(), 0);
    oligomers.insert(polymer.oligomer);
  }
  CHECK(oligomers.size() == 20);
  CHECK(nitriles > 80);
  CHECK(nitriles < 160);
}

// mutant: a chain takes a monomer by either side, head to tail or not
TEST_CASE("head to tail, a chain does not depend on how its monomer is written") {
  CHECK(polymer_of({"CC=C"}, {.degree = 3}).oligomer == polymer_of({"C=CC"}, {.degree = 3}).oligomer);
  CHECK(polymer_of({"C=CC"}, {.degree = 4}).oligomer == canonical("CCCC(C)CC(C)CC(C)C"));
  CHECK(polymer_of({"CC1CO1"}, {.degree = 3}).oligomer == canonical("OCC(C)OCC(C)OCC(C)O"));
  CHECK(polymer_of({"C=C(C)C=C"}, {.degree = 2}).repeat_unit ==
        polymer_of({"C=CC(C)=C"}, {.degree = 2}).repeat_unit);
  CHECK(polymer_of({"[CH2]=[CH][CH3]"}, {.degree = 3}).oligomer == canonical("CCCC(C)CC(C)C"));
  CHECK(polymer_of({"C[13CH]=C"}, {.degree = 2}).repeat_unit == canonical("*C[13CH](*)C"));
}

TEST_CASE("marks of stereo outlive the reaction") {
  CHECK(polymer_of({"C[C@H](N)C(=O)O"}, {.degree = 2}).oligomer ==
        canonical("C[C@H](N)C(=O)N[C@@H](C)C(=O)O"));
  CHECK(polymer_of({"C[C@H](N)C(=O)O"}, {.degree = 2}).repeat_unit == canonical("N(*)[C@@H](C)C(*)=O"));
  CHECK(polymer_of({"OC(=O)/C=C/C(=O)O", "OCCO"}, {.degree = 2}).repeat_unit ==
        canonical("*OCCOC(=O)/C=C/C(*)=O"));
  std::string const unit =
      polymer_of({"O=C1OC(=O)c2cc3c(cc12)C(=O)OC3=O", "N[C@H](C)CN"}, {.degree = 2}).repeat_unit;
  std::string const left = "*[C@H](C)CN1C(=O)c2cc3c(cc2C1=O)C(=O)N(*)C3=O";
  std::string const right = "*C[C@H](C)N1C(=O)c2cc3c(cc2C1=O)C(=O)N(*)C3=O";
  auto const nitrogen_first = canonical("*[C@@H](C)CN1C(=O)c2cc3c(cc2C1=O)C(=O)N(*)C3=O");
  CHECK((unit == canonical(left) || unit == canonical(right) || unit == nitrogen_first));
}

TEST_CASE("what makes no chain is refused with what would") {
  CHECK(refusal({"CCC", "OCCO"}, {.mechanism = Mechanism::ester}) ==
        "monomer 1 (CCC): ester joins aliphatic alcohol and carboxylic acid or acyl halide; it has neither");
  CHECK(refusal({"OCCO", "OCCO"}, {.mechanism = Mechanism::ester}) ==
        "ester joins aliphatic alcohol and carboxylic acid or acyl halide; no monomer has carboxylic acid or "
        "acyl halide");
  CHECK(refusal({"CCO", "O=C(O)CC(=O)O"}, {.mechanism = Mechanism::ester}) ==
        "monomer 1 (CCO): ester joins aliphatic alcohol and carboxylic acid or acyl halide; it has only one "
        "aliphatic alcohol, and a chain needs two groups in each monomer");
  CHECK(refusal({"C=C", "CC"}, {.mechanism = Mechanism::vinyl}) ==
        "monomer 2 (CC): vinyl needs C=C; it has none");
  CHECK(refusal({"CC", "OCCO"}) ==
        "no mechanism fits these monomers; monomer 1 (CC) has no reactive group; monomer 2 (OCCO) has "
        "aliphatic alcohol, alcohol or phenol, alcohol, phenol, thiol or primary amine");
  CHECK(refusal({"OCC(N)C(=O)O"}) == "several mechanisms fit these monomers, choose one: amide, ester");
  CHECK(refusal({"O=C(O)C(N)C(=O)O", "O=C(O)C(N)C(=O)O"}, {.mechanism = Mechanism::imide})
            .starts_with("monomer 1"));
  CHECK(refusal({"C=C", "C1CC"}) == "monomer 2: smiles: ring 1 opened at byte 1 is never closed");
  CHECK(refusal({"*CC*"}) ==
        "monomer 1: smiles: expected a monomer without *, got 2: a repeat unit is already a polymer");
  CHECK(refusal({"C=C.CC"}) == "monomer 1: smiles: expected one molecule, got 2 joined by dots");
}

// mutant: a polymer may have one monomer
// mutant: the share of meso diads may be 2
// mutant: stereocentres do not lower the limit of atoms
TEST_CASE("options outside their range are refused by name") {
  auto const option = [](std::vector<std::string> const& monomers, PolymeriseOptions const& options) {
    auto const polymer = polymerise(monomers, options);
    REQUIRE(!polymer);
    CHECK(polymer.error().reason == Reason::option);
    return polymer.error().message;
  };
  CHECK(option({}, {}) == "monomers: expected at least one, got none");
  CHECK(option({"C=C"}, {.degree = 1}) == "degree: expected at least 2, got 1");
  CHECK(option({"C=C"}, {.proportions = {1, 2}}) ==
        "proportions: expected one for each of 1 monomers, got 2");
  CHECK(option({"C=C"}, {.proportions = {-1}}) ==
        "proportions: expected numbers above 0, at most 1000000000, got -1");
  CHECK(option({"C=CC"}, {.meso = 1.5}) == "meso: expected 0 to 1, got 1.5");
  CHECK(option({"C=CC", "C=C"}, {.meso = 1}) == "meso: expected one monomer, got 2");
  CHECK(option({"C=CC"}, {.head_to_tail = false, .meso = 1}) ==
        "meso: expected head_to_tail, without which tacticity is undefined");
  CHECK(refusal({"C=C"}, {.degree = 1000000000}) ==
        "degree: 1000000000 monomers have at least 2000000000 heavy atoms, expected at most 2000");
  CHECK(refusal({"C=CC"}, {.degree = 300, .meso = 1}) ==
        "degree: 300 monomers have 900 heavy atoms, expected at most 600 with stereocentres");
  CHECK(refusal({"C=C(C)C"}, {.degree = 4, .meso = 1}) == "meso: vinyl forms no stereocentre from C=C(C)C");
  CHECK(
      refusal({"CC(O)C(=O)O"}, {.degree = 4, .meso = 1}) ==
      "meso: ester forms no stereocentre; expected one that is marked with @ or @@ in the monomer, got none");
}

// mutant: a part leaves although the chain goes on from it
TEST_CASE("nothing leaves with which the chain goes on") {
  std::string const two_carbonates = "O=C(Oc1ccccc1)Oc1ccc(OC(=O)Oc2ccccc2)cc1";
  PolymeriseOptions options{.mechanism = Mechanism::carbonate, .degree = 4};
  for (options.seed = 0; options.seed < 20; ++options.seed) {
    auto const polymer = polymer_of({two_carbonates, "OCCO"}, options);
    CHECK(polymer.oligomer == canonical("OCCOC(=O)Oc1ccc(OC(=O)OCCOC(=O)Oc2ccc(OC(=O)Oc3ccccc3)cc2)cc1"));
    CHECK(polymer.repeat_unit == canonical("*OCCOC(=O)Oc1ccc(OC(*)=O)cc1"));
  }
  CHECK(refusal({"O=C(Oc1ccc(O)cc1)Oc1ccc(O)cc1", "OCCO"}, options).find("no monomer has") !=
        std::string::npos);
  options.mechanism = static_cast<Mechanism>(200);
  CHECK(refusal({"OCCO"}, options) == "mechanism: expected an enumerator, got 200");
  CHECK(to_string(*options.mechanism) == "unknown");
}

TEST_CASE("mechanisms have names") {
  for (Mechanism const mechanism : all_mechanisms) CHECK(mechanism_named(to_string(mechanism)) == mechanism);
  CHECK(mechanism_named("NIPU") == Mechanism::nipu);
  CHECK(mechanism_named("Ring_Opening") == Mechanism::ring_opening);
  CHECK(!mechanism_named("polymer"));
}
