#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <athanor/chem/graph.hpp>
#include <athanor/chem/smiles.hpp>

using namespace athanor;
using namespace athanor::chem;
using namespace std::string_literals;

namespace {

std::string repeat(std::string const& text, int times) {
  std::string result;
  for (int i = 0; i < times; ++i) result += text;
  return result;
}

std::string reason_of(std::string const& text) {
  auto const facts = check_smiles(text);
  return facts ? "accepted" : facts.error().message;
}

}  // namespace

// mutant: a ring that stays open is not reported
// mutant: what is open at the end of a text is not looked at
TEST_CASE("a refusal names the byte and the reason") {
  CHECK(reason_of("CCOCCCCNC1CC") == "smiles: ring 1 opened at byte 9 is never closed");
  CHECK(reason_of("C%12CC") == "smiles: ring 12 opened at byte 1 is never closed");
  CHECK(reason_of("C%(123)CC") == "smiles: ring 123 opened at byte 1 is never closed");
  CHECK(reason_of("C(") == "smiles: branch opened at byte 1 is never closed");
  CHECK(reason_of("C(C(C)") == "smiles: branch opened at byte 1 is never closed");
  CHECK(reason_of("C)") == "smiles: ) at byte 1 closes nothing");
  CHECK(reason_of("C()C") == "smiles: empty branch at byte 1");
  CHECK(reason_of("(C)C") == "smiles: branch without an atom before it at byte 0");
  CHECK(reason_of("C1C1") == "smiles: ring 1 at byte 3 joins two atoms that are bonded already");
  CHECK(reason_of("C11") == "smiles: ring 1 at byte 2 closes on the atom that opened it");
  CHECK(reason_of("C=1CCC#1") == "smiles: ring 1 is opened with = at byte 2 and closed with # at byte 7");
  CHECK(reason_of("1CCC1") == "smiles: ring number without an atom before it at byte 0");
  CHECK(reason_of("C=") == "smiles: bond without an atom after it at the end, byte 2");
  CHECK(reason_of("C==C") == "smiles: two bonds in a row at byte 2");
  CHECK(reason_of("=CC") == "smiles: bond before any atom at byte 0");
  CHECK(reason_of("C..C") == "smiles: no atom before . at byte 2");
  CHECK(reason_of(".C") == "smiles: no atom before . at byte 0");
  CHECK(reason_of("C.") == "smiles: no atom after . at the end, byte 2");
  CHECK(reason_of("C=.C") == "smiles: bond before . at byte 2");
  CHECK(reason_of("C(C)Q") == "smiles: unknown element Q at byte 4");
  CHECK(reason_of("CNa") == "smiles: element Na at byte 1 must be written in brackets, [Na]");
  CHECK(reason_of("CLi") == "smiles: element Li at byte 1 must be written in brackets, [Li]");
  CHECK(reason_of("C[Xx]") == "smiles: unknown element Xx at byte 2");
  CHECK(reason_of("C[") == "smiles: bracket opened at byte 1 is never closed");
  CHECK(reason_of("C[NH2") == "smiles: bracket opened at byte 1 is never closed");
  CHECK(reason_of("C[]") == "smiles: no element at byte 2 inside the bracket opened at byte 1");
  CHECK(reason_of("C[N?]") == "smiles: unexpected ? at byte 3 inside the bracket opened at byte 1");
  CHECK(reason_of("[C:]") == "smiles: atom map without a number at byte 2");
  CHECK(reason_of("[Fe@TB21]") == "smiles: chirality at byte 3 is not TB1 to TB20");
  CHECK(reason_of("C<C") == "smiles: unexpected < at byte 1");
  CHECK(reason_of("C%1C") == "smiles: % at byte 1 is not followed by two digits");
}

// mutant: a charge may be 16
TEST_CASE("numbers inside brackets keep to their ranges") {
  CHECK(reason_of("[*H99]") == "smiles: hydrogen count at byte 3 is above 9");
  CHECK(reason_of("[*H1000000]") == "smiles: hydrogen count at byte 3 is above 9");
  CHECK(reason_of("[UH255]") == "smiles: hydrogen count at byte 3 is above 9");
  CHECK(reason_of("[C+1000000000]") == "smiles: charge at byte 2 is above 15");
  CHECK(reason_of("[C" + repeat("-", 16) + "]") == "smiles: charge at byte 2 is above 15");
  CHECK(reason_of("[9999999999C]") == "smiles: isotope at byte 1 is above 999");
  CHECK(reason_of("[CH4:99999999999]") == "smiles: atom map at byte 5 is above 9999");
  CHECK(reason_of("C%(1234567)CC%(1234567)") == "smiles: ring number at byte 1 has more than 5 digits");
  for (auto const* text : {"[*H9]", "[C+15]", "[C---]", "[999C]", "[CH4:9999]", "C%(12345)CC%(12345)"})
    CHECK_MESSAGE(check_smiles(text), text);
}

// mutant: a NUL at the end is a blank
TEST_CASE("text that RDKit would read in part is refused whole") {
  CHECK(reason_of("CCO\nCCN") == "smiles: line break at byte 3");
  CHECK(reason_of("CC\0O"s) == "smiles: NUL at byte 2");
  CHECK(reason_of("CC\0"s) == "smiles: NUL at byte 2");
  CHECK(reason_of("C\xc3\xa9") == "smiles: byte 1 is 0xc3; SMILES is ASCII");
  CHECK(reason_of("[N ]") == "smiles: white space at byte 2");
  CHECK(reason_of("[N\x01]") == "smiles: byte 2 is the control character 0x01");
}

// mutant: a ring number after a bond is refused
TEST_CASE("legal text is accepted and counted") {
  for (auto const* text : {"C",
                           "*",
                           "[H][H]",
                           "[2H]O",
                           "CC.O",
                           "C/C=C\\C",
                           "F/C=C/F",
                           "F\\C=C\\F",
                           "[C@@H](F)(Cl)Br",
                           "[C@H](F)(Cl)Br",
                           "C%12CCCC%12",
                           "c1ccccc1",
                           "C1CC1C1CC1",
                           "[nH]1cccc1",
                           "[se]1cccc1",
                           "[Fe+++]",
                           "[NH4+]",
                           "[OH-]",
                           "C$C",
                           "[Cu]<-N",
                           "N->[Cu]",
                           "C(C)(C)C",
                           "C(=O)1CC1",
                           "C1(CC1)",
                           "C=1CCC=1",
                           "C=1CCC1",
                           "C/1=C/CCCCCC1",
                           "[13CH4]",
                           "[*:1]C[*:2]",
                           "BrCCl",
                           "C:1:C:C:1",
                           "[Co@OH3](F)(F)(F)(F)(F)F",
                           "[U]",
                           "[Og]",
                           "c1ccc(cc1)-c1ccccc1"})
    CHECK_MESSAGE(check_smiles(text), text);
  auto const facts = check_smiles("*CC([2H])([H])C1CC1*.[Na+]");
  REQUIRE(facts);
  CHECK(facts->heavy_atoms == 8);
  CHECK(facts->hydrogens == 2);
  CHECK(facts->stars == 2);
  CHECK(facts->fragments == 2);
  CHECK(facts->rings == 1);
}

// mutant: a text may have any number of bytes
TEST_CASE("sizes are refused before anything is built") {
  auto reason = [](std::string const& text) {
    auto const facts = check_smiles(text);
    return facts ? Reason::none : facts.error().reason;
  };
  CHECK(reason(std::string(10'000'000, 'C')) == Reason::too_large);
  CHECK(reason(repeat("[", 100'000)) == Reason::too_large);
  CHECK(reason(repeat("(", 20'000)) == Reason::too_large);
  CHECK(reason(repeat("C.", 25'000) + "C") == Reason::too_large);
  CHECK(reason(std::string(2001, 'C')) == Reason::too_large);
  CHECK(reason(std::string(2000, 'C')) == Reason::none);
  CHECK(reason(repeat("C.", 64) + "C") == Reason::too_large);
  CHECK(reason(repeat("C.", 63) + "C") == Reason::none);
  CHECK(check_smiles("CCO", {.bytes = 2}).error().message == "smiles: expected at most 2 bytes, got 3");
  CHECK(check_smiles(repeat("[H]", 40), {.atoms = 39}).error().reason == Reason::too_large);
}

namespace {

enum class Answer { graph, syntax, chemistry, too_large };

struct Pathology {
  std::string name;
  std::string text;
  Answer answer;
};

/// Two rails of `length` atoms, each atom of one bonded to its opposite: a row of four-membered rings.
std::string ladder(int length) {
  std::string first;
  std::string second;
  for (int i = 0; i < length; ++i) {
    std::string const rung = i + 1 < length ? fmt::format("%({})", 100 + i) : "";
    first += "C" + rung;
    second.insert(0, "C" + rung);
  }
  return first + second;
}

std::string dendrimer(int generation) {
  return generation == 0 ? "C"
                         : fmt::format("C({})({})", dendrimer(generation - 1), dendrimer(generation - 1));
}

/// `size` by `size` carbon atoms on a square grid: rows are chains, and ring numbers join each atom to the
/// one above.
std::string grid(int size) {
  std::string text;
  for (int row = 0; row < size; ++row) {
    for (int column = 0; column < size; ++column) {
      std::string const number = column < 10 ? std::to_string(column) : fmt::format("%{}", column);
      text += "C" + (row > 0 ? number : "") + (row + 1 < size ? number : "");
    }
    if (row + 1 < size) text += ".";
  }
  return text;
}

std::string complete_graph(int atoms) {
  std::string text;
  auto pair = [&](int low, int high) { return low * atoms + high; };
  for (int atom = 0; atom < atoms; ++atom) {
    text += "[U]";
    for (int other = 0; other < atoms; ++other)
      if (other < atom - 1 || other > atom + 1)
        text += fmt::format("%({})", pair(std::min(atom, other), std::max(atom, other)));
  }
  return text;
}

/// 400 atoms of which each is bonded to three others: a chain closed to a ring, and chords that a small
/// generator draws, the same on every machine.
std::string three_regular_graph() {
  constexpr std::uint32_t atoms = 400;
  std::vector<std::uint32_t> order(atoms);
  std::iota(order.begin(), order.end(), 0U);
  auto const adjoin = [](std::uint32_t one, std::uint32_t other) {
    std::uint32_t const gap = one > other ? one - other : other - one;
    return gap == 1 || gap == atoms - 1;
  };
  std::minstd_rand random(3);
  auto const fits = [&] {
    for (std::uint32_t i = 0; i < atoms; i += 2)
      if (adjoin(order[i], order[i + 1])) return false;
    return true;
  };
  do
    for (std::uint32_t last = atoms - 1; last > 0; --last)
      std::swap(order[last], order[static_cast<std::uint32_t>(random()) % (last + 1)]);
  while (!fits());
  std::vector<std::uint32_t> chord(atoms);
  for (std::uint32_t place = 0; place < atoms; ++place) chord[order[place]] = 100 + place / 2;
  std::string text;
  for (std::uint32_t atom = 0; atom < atoms; ++atom)
    text += fmt::format("C%({}){}", chord[atom], atom == 0 || atom + 1 == atoms ? "%(99)" : "");
  return text;
}

/// PubChem 102128817: large rings through many small ones, which a search for the smallest rings multiplies.
std::string const ring_bomb =
    "COC1=CC=C(C=C1)C2C3=C(C=CC4=CC=CC=C43)OC5=CC6=C(C=C5)C7=NC8=C9C=CC1=CC9=C(N8)N=C3C4=C5C=CC(=C4)OC4=C("
    "C(C8=C(C=CC9=CC=CC=C98)OC8=CC9=C(C=C8)C8=NC9=NC9=C%10C=C(C=CC%10=C(N9)N=C9C%10=C(C=C(C=C%10)OC%10=C2C2"
    "=CC=CC=C2C=C%10)C(=N9)NC2=NC(=N8)C8=C2C=C(C=C8)OC2=C(C(C8=C(C=CC9=CC=CC=C98)OC8=CC9=C(C=C8)C(=NC5=N3)N"
    "=C9NC6=N7)C3=CC=C(C=C3)OC)C3=CC=CC=C3C=C2)OC2=C(C(C3=C(O1)C=CC1=CC=CC=C13)C1=CC=C(C=C1)OC)C1=CC=CC=C1C"
    "=C2)C1=CC=C(C=C1)OC)C1=CC=CC=C1C=C4";

std::string const fullerene =
    "C12=C3C4=C5C6=C1C7=C8C9=C1C%10=C%11C(=C29)C3=C2C3=C4C4=C5C5=C9C6=C7C6=C7C8=C1C1=C8C%10=C%10C%11=C2C2="
    "C3C3=C4C4="
    "C5C5=C%11C%12=C(C6=C95)C7=C1C1=C%12C5=C%11C4=C3C3=C5C(=C81)C%10=C23";

std::vector<Pathology> pathologies() {
  return {
      {"empty", "", Answer::syntax},
      {"a space", " ", Answer::syntax},
      {"white space", " \t ", Answer::syntax},
      {"NUL", "CC\0O"s, Answer::syntax},
      {"two lines", "CCO\nCCN", Answer::syntax},
      {"UTF-8", "C\xc3\xa9", Answer::syntax},
      {"tab and name", "CCO\tethanol", Answer::graph},
      {"extension", "CCO |$a;b;c$|", Answer::graph},
      {"open ring", "C1CC", Answer::syntax},
      {"open branch", "C(", Answer::syntax},
      {"closed branch", "C)", Answer::syntax},
      {"double ring bond", "C1C1", Answer::syntax},
      {"double ring bond through two rings", "C12CC12", Answer::syntax},
      {"100,000 brackets", repeat("[", 100'000), Answer::too_large},
      {"20,000 parentheses", repeat("(", 20'000), Answer::too_large},
      {"percent signs", repeat("%", 500), Answer::syntax},
      {"long ring number", "C%(1234567)CCC%(1234567)", Answer::syntax},
      {"99 hydrogens", "[*H99]", Answer::syntax},
      {"1,000,000 hydrogens", "[*H1000000]", Answer::syntax},
      {"huge charge", "[C+1000000000]", Answer::syntax},
      {"huge isotope", "[9999999999C]", Answer::syntax},
      {"huge map", "[CH4:99999999999]", Answer::syntax},
      {"unknown element", "Q", Answer::syntax},
      {"five-membered aromatic carbon ring", "c1cccc1", Answer::chemistry},
      {"five-valent carbon", "C(C)(C)(C)(C)C", Answer::chemistry},
      {"255 hydrogens", "[UH255]", Answer::syntax},
      {"repeated chiral atoms", repeat("[C@H](F)(Cl)", 8), Answer::chemistry},
      {"hydrogen", "[H][H]", Answer::graph},
      {"a star", "*", Answer::chemistry},
      {"heavy water", "[2H]O", Answer::graph},
      {"fullerene", fullerene, Answer::graph},
      {"chiral", "[C@@H](F)(Cl)Br", Answer::graph},
      {"chiral, other hand", "[C@H](F)(Cl)Br", Answer::graph},
      {"E/Z", "C/C=C\\C", Answer::graph},
      {"ring number of two digits", "C%12CCCCC%12", Answer::graph},
      {"dendrimer", dendrimer(9), Answer::graph},
      {"salt without bonds", "[Na+].[Cl-]", Answer::chemistry},
      {"50,000 fragments", repeat("C.", 49'999) + "C", Answer::too_large},
      {"proton", "[H+]", Answer::chemistry},
      {"1,000 carbons", std::string(1000, 'C'), Answer::graph},
      {"5,000 carbons", std::string(5000, 'C'), Answer::too_large},
      {"100,000 carbons", std::string(100'000, 'C'), Answer::too_large},
      {"polyene of 3,000", repeat("C=C", 1500), Answer::too_large},
      {"polyene of 2,000", repeat("C=C", 1000), Answer::graph},
      {"2,000 stars", std::string(2000, '*'), Answer::graph},
      {"macrocycle of 5,002", "C1" + std::string(5000, 'C') + "C1", Answer::too_large},
      {"macrocycle of 1,500", "C1" + std::string(1498, 'C') + "C1", Answer::graph},
      {"100,000 nested branches", repeat("C(", 100'000) + "C" + repeat(")", 100'000), Answer::too_large},
      {"1,900 nested branches", repeat("C(", 1900) + "C" + repeat(")", 1900), Answer::graph},
      {"grid of 30 by 30", grid(30), Answer::graph},
      {"every pair of 24 bonded", complete_graph(24), Answer::graph},
      {"ladder of 300", ladder(300), Answer::graph},
      {"three bonds at each of 400", three_regular_graph(), Answer::graph},
      {"ring bomb", ring_bomb, Answer::chemistry},
  };
}

}  // namespace

// mutant: what RDKit throws leaves the room
TEST_CASE("every pathological input has its stated answer") {
  for (auto const& [name, text, answer] : pathologies()) {
    auto const graph = molecular_graph(text);
    Reason const expected[] = {Reason::none, Reason::syntax, Reason::chemistry, Reason::too_large};
    CHECK_MESSAGE((graph ? Reason::none : graph.error().reason) == expected[static_cast<int>(answer)], name,
                  ": ", graph ? "a graph" : graph.error().message);
    if (!graph) CHECK_MESSAGE(graph.error().code == Code::invalid_argument, name);
  }
}

// mutant: a text may have any number of heavy atoms
TEST_CASE("no pathological input is worked on beyond the limits") {
  SmilesLimits const limits;
  for (auto const& [name, text, answer] : pathologies()) {
    auto const facts = check_smiles(text, limits);
    // What the lexer refuses never reaches the toolkit; what it lets through has at most this size.
    CHECK_MESSAGE((facts || answer != Answer::graph), name);
    if (!facts) continue;
    CHECK_MESSAGE(text.size() <= static_cast<std::size_t>(limits.bytes), name);
    CHECK_MESSAGE(facts->heavy_atoms <= limits.heavy_atoms, name);
    CHECK_MESSAGE(facts->heavy_atoms + facts->hydrogens <= limits.atoms, name);
    CHECK_MESSAGE(facts->fragments <= limits.fragments, name);
    // A ring number takes a byte at each end.
    CHECK_MESSAGE(facts->rings <= limits.bytes / 2, name);
    auto const graph = molecular_graph(text, limits);
    if (!graph) continue;
    CHECK_MESSAGE(graph->atom.size() <= static_cast<std::size_t>(limits.atoms), name);
    std::int64_t const heavy = graph->heavy_atoms;
    std::int64_t const bonds = static_cast<std::int64_t>(graph->bond.size()) / 2;
    std::int64_t const hydrogens = static_cast<std::int64_t>(graph->atom.size()) - heavy;
    // Bonds of heavy atoms are a forest and the rings that the text closes; a hydrogen adds one bond at most.
    CHECK_MESSAGE(bonds <= heavy + facts->rings + hydrogens, name);
  }
}

TEST_CASE("the inputs that are built are what their rows say") {
  auto const regular = check_smiles(three_regular_graph());
  REQUIRE_MESSAGE(regular, regular.error().message);
  CHECK(regular->heavy_atoms == 400);
  CHECK(regular->rings == 201);
  auto const graph = molecular_graph(three_regular_graph());
  REQUIRE(graph);
  // 600 bonds between carbons and one hydrogen at each of them, both ways.
  CHECK(graph->bond.size() == 2 * (600 + 400));
  auto const bomb = check_smiles(ring_bomb);
  REQUIRE_MESSAGE(bomb, bomb.error().message);
  CHECK(bomb->heavy_atoms == 204);
}

// mutant: a molecule without bonds has a graph without edges
TEST_CASE("S0-7 a molecule without bonds is a typed error") {
  for (auto const* text : {"[Na+]", "[Na+].[Cl-]", "[He]", "*", "[H+]", "[U]"}) {
    auto const graph = molecular_graph(text);
    REQUIRE_MESSAGE(!graph, text);
    CHECK(graph.error().reason == Reason::chemistry);
    CHECK(graph.error().message == "smiles: the molecule has no bonds, and a model reads bonds");
  }
  CHECK_MESSAGE(molecular_graph("C"), "its hydrogens are bonded");
  CHECK_MESSAGE(molecular_graph("CC(=O)[O-].[Na+]"), "one part has bonds");
}
