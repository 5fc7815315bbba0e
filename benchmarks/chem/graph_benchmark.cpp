/// Graphs per second on one core: small molecules from a public collection, and polymer chains. Every
/// molecule's graph is first compared with the one made the long way.
#include <time.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <athanor/chem/polymer.hpp>

#include "chem/reference_graph.hpp"
#include "support/figure.hpp"

namespace {

using namespace athanor::benchmarks;

constexpr char const* collection = "/usr/share/RDKit/Data/NCI/first_5K.smi";

std::vector<std::string> read_collection() {
  std::ifstream file(collection);
  std::vector<std::string> molecules;
  for (std::string line; std::getline(file, line);) {
    std::string smiles;
    if (std::istringstream(line) >> smiles) molecules.push_back(smiles);
  }
  return molecules;
}

std::string repeated(std::string const& unit, int times) {
  std::string text;
  for (int i = 0; i < times; ++i) text += unit;
  return text;
}

/// Chains of about 200 heavy atoms, written out in full.
std::vector<std::string> make_chains() {
  std::vector<std::string> chains;
  for (int shift = 0; shift < 8; ++shift) {
    chains.push_back("C" + repeated("CC(c1ccccc1)", 24 + shift / 4) + "C");                  // polystyrene
    chains.push_back("O" + repeated("CCOC(=O)c1ccc(cc1)C(=O)O", 14 + shift / 4) + "C");      // PET
    chains.push_back(repeated("NCCCCCCNC(=O)CCCCC(=O)", 12 + shift / 4) + "O");              // nylon-6,6
    chains.push_back(repeated("CC(C)(C(=O)OC)", 28 + shift / 2) + "C");                      // PMMA
    chains.push_back(repeated("Oc1ccc(cc1)C(C)(C)c1ccc(cc1)OC(=O)", 10 + shift / 4) + "C");  // polycarbonate
    chains.push_back(repeated("OC(C)C(=O)", 40 + shift / 2) + "C");                          // polylactide
  }
  return chains;
}

/// How many of `molecules` have the reference's graph; minus one when any differs.
std::int64_t agreeing(std::vector<std::string> const& molecules) {
  std::int64_t agreed = 0;
  for (std::string const& smiles : molecules) {
    auto const expected = athanor::tests::reference_graph(smiles);
    auto const graph = athanor::chem::molecular_graph(smiles);
    if (expected.bond.empty() != !graph) return -1;
    if (!graph) continue;
    if (*graph != expected) return -1;
    ++agreed;
  }
  return agreed;
}

/// Seconds of processor time that `body` takes on this thread: the rate of one core, whatever else uses the
/// machine.
template <class Body>
double core_seconds_of(Body&& body) {
  auto now = [] {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
  };
  double const start = now();
  body();
  return now() - start;
}

/// Graphs per second of one core; `molecules` is walked often enough that one measurement takes a good part
/// of a second.
Sample rate(std::vector<std::string> const& molecules) {
  std::size_t const walks = 1 + 600 / molecules.size();
  return repeat(7, [&] {
    std::size_t graphs = 0;
    double const seconds = core_seconds_of([&] {
      for (std::size_t walk = 0; walk < walks; ++walk)
        for (std::string const& smiles : molecules) graphs += athanor::chem::prepare_polymer(smiles) ? 1 : 0;
    });
    return static_cast<double>(graphs) / seconds;
  });
}

/// Measures the molecules of `make`, of which at least `readable` must have a graph.
void measure(Figures& figures, std::string const& name, std::vector<std::string> (*make)(),
             std::int64_t readable, Aim const& aim) {
  if (!figures.wants(name)) return;
  auto const molecules = make();
  if (molecules.empty()) return figures.fail(name, "its collection is not installed (Debian's rdkit-data)");
  if (agreeing(molecules) < readable) return figures.fail(name, "a graph differs from the reference");
  Sample const sample = rate(molecules);
  figures.report(
      {.name = name, .value = sample.median, .unit = "graphs/s", .spread = sample.spread, .aim = aim});
}

}  // namespace

int main(int argc, char** argv) {
  Figures figures(argc, argv);
  measure(figures, "chem.smiles-rate", read_collection, 1, at_least(18'000));
  measure(figures, "chem.polymer-rate", make_chains, 48, at_least(1'700));
  return figures.exit_code();
}
