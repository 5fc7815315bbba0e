#include "monomer.hpp"

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <tuple>

#include <GraphMol/GraphMol.h>
#include <GraphMol/MolOps.h>
#include <GraphMol/new_canon.h>
#include <GraphMol/SmilesParse/SmilesParse.h>
#include <GraphMol/Substruct/SubstructMatch.h>

namespace athanor::inline v1::chem {

namespace {

RDKit::ROMol const& pattern_of(GroupRule const& rule) {
  // Parsed once per thread, because matching writes into the patterns that a pattern contains.
  thread_local std::map<GroupRule const*, std::unique_ptr<RDKit::ROMol const>> patterns;
  auto& pattern = patterns[&rule];
  if (pattern == nullptr) pattern.reset(RDKit::SmartsToMol(std::string(rule.smarts)));
  return *pattern;
}

bool halogen(RDKit::Atom const& atom) {
  int const number = atom.getAtomicNum();
  return number == 9 || number == 17 || number == 35 || number == 53;
}

/// Whether `leaving` can leave the carbonate carbon `carbon`: a halogen, or, if the carbon has none, the
/// oxygen of an acyclic ester.
bool leaves_carbonate(RDKit::ROMol const& molecule, std::uint32_t carbon, std::uint32_t leaving) {
  RDKit::Atom const& atom = *molecule.getAtomWithIdx(leaving);
  if (halogen(atom)) return true;
  for (RDKit::Atom const* neighbour : molecule.atomNeighbors(molecule.getAtomWithIdx(carbon)))
    if (halogen(*neighbour)) return false;
  RDKit::Bond const* bond = molecule.getBondBetweenAtoms(carbon, leaving);
  return atom.getDegree() == 2 && molecule.getRingInfo()->numBondRings(bond->getIdx()) == 0;
}

/// A measure of substitution: by the number of heavy neighbours, then by their mass.
double substitution(RDKit::ROMol const& molecule, std::uint32_t atom) {
  double mass = 0;
  for (RDKit::Atom const* neighbour : molecule.atomNeighbors(molecule.getAtomWithIdx(atom)))
    mass += neighbour->getMass();
  return 10000.0 * molecule.getAtomWithIdx(atom)->getDegree() + mass;
}

std::uint32_t translated(RDKit::MatchVectType const& match, std::uint32_t atom) {
  return atom == nowhere ? nowhere : static_cast<std::uint32_t>(match[atom].second);
}

Way translated(RDKit::MatchVectType const& match, Way const& way) {
  Way result{translated(match, way.entry), translated(match, way.second), translated(match, way.exit),
             translated(match, way.leaving), way.changes};
  for (auto& change : result.changes) {
    change.begin = translated(match, change.begin);
    change.end = translated(match, change.end);
  }
  return result;
}

bool has_isotopes(RDKit::ROMol const& molecule) {
  for (RDKit::Atom const* atom : molecule.atoms())
    if (atom->getIsotope() != 0) return true;
  return false;
}

bool has_centres(RDKit::ROMol const& molecule) {
  for (RDKit::Atom const* atom : molecule.atoms())
    if (atom->getChiralTag() != RDKit::Atom::CHI_UNSPECIFIED) return true;
  return false;
}

bool has_stereo_bonds(RDKit::ROMol const& molecule) {
  for (RDKit::Bond const* bond : molecule.bonds())
    if (bond->getStereo() > RDKit::Bond::STEREOANY) return true;
  return false;
}

Error numbered(Error error, std::size_t number) {
  error.message = "monomer " + std::to_string(number) + ": " + error.message;
  return error;
}

MoleculePointer kekulised(RDKit::RWMol const& molecule) {
  auto copy = std::make_unique<RDKit::RWMol>(molecule);
  RDKit::MolOps::Kekulize(*copy, true);
  return copy;
}

Result<Monomer> read(std::string_view text, SmilesLimits const& limits) {
  auto source = read_source(text, limits);
  if (!source) return tl::unexpected(std::move(source.error()));
  if (source->facts.fragments > 1)
    return fail(Code::invalid_argument, Reason::chemistry,
                "smiles: expected one molecule, got {} joined by dots", source->facts.fragments);
  if (source->facts.stars > 0)
    return fail(Code::invalid_argument, Reason::chemistry,
                "smiles: expected a monomer without *, got {}: a repeat unit is already a polymer",
                source->facts.stars);
  return guard_chemistry(*source, [&]() -> Result<Monomer> {
    auto molecule = parse_heavy(*source);
    if (!molecule) return tl::unexpected(std::move(molecule.error()));
    RDKit::MolOps::sanitizeMol(**molecule);
    RDKit::MolOps::assignStereochemistry(**molecule, true, true);
    auto skeleton = kekulised(**molecule);
    Monomer monomer{source->smiles(), std::move(*molecule), std::move(skeleton), false, false};
    monomer.chiral = has_centres(*monomer.molecule);
    monomer.isomeric =
        monomer.chiral || has_stereo_bonds(*monomer.molecule) || has_isotopes(*monomer.molecule);
    return monomer;
  });
}

}  // namespace

Result<Monomer> read_monomer(std::string_view text, std::size_t number, SmilesLimits const& limits) {
  auto monomer = read(text, limits);
  if (!monomer) return tl::unexpected(numbered(std::move(monomer.error()), number));
  return monomer;
}

std::vector<Group> groups_of(RDKit::ROMol const& molecule, GroupRule const& rule) {
  std::vector<Group> groups;
  for (auto const& match : RDKit::SubstructMatch(molecule, pattern_of(rule))) {
    std::vector<Way> ways;
    for (Way const& way : rule.ways) ways.push_back(translated(match, way));
    if (!rule.each) {
      groups.push_back({&rule, std::move(ways), {}});
      if (rule.open_way) groups.back().open = translated(match, *rule.open_way);
      continue;
    }
    for (Way const& way : ways)
      if (leaves_carbonate(molecule, way.entry, way.leaving)) groups.push_back({&rule, {way}, {}});
  }
  return groups;
}

std::vector<bool> leaving_part(RDKit::ROMol const& molecule, Way const& way) {
  std::vector<bool> gone(molecule.getNumAtoms());
  std::vector<std::uint32_t> open;
  if (way.leaving != nowhere) open.push_back(way.leaving);
  while (!open.empty()) {
    std::uint32_t const next = open.back();
    open.pop_back();
    if (gone[next] || next == way.entry || next == way.second) continue;
    gone[next] = true;
    for (RDKit::Atom const* neighbour : molecule.atomNeighbors(molecule.getAtomWithIdx(next)))
      open.push_back(neighbour->getIdx());
  }
  return gone;
}

std::optional<Monomer> without_anhydrides(Monomer const& monomer) {
  auto const groups = groups_of(*monomer.molecule, *row_of(Mechanism::imide).second);
  if (groups.empty()) return std::nullopt;
  auto opened = std::make_unique<RDKit::RWMol>(*monomer.skeleton);
  for (auto const& group : groups) {
    Way const& way = group.ways.front();
    opened->removeBond(way.leaving, way.second);
    std::uint32_t const hydroxyl = opened->addAtom(new RDKit::Atom(8), false, true);
    opened->addBond(hydroxyl, way.second, RDKit::Bond::SINGLE);
  }
  RDKit::MolOps::sanitizeMol(*opened);
  auto skeleton = kekulised(*opened);
  return Monomer{monomer.text, std::move(opened), std::move(skeleton), monomer.isomeric, monomer.chiral};
}

Way least_hindered(RDKit::ROMol const& molecule, std::vector<Way> const& ways) {
  std::vector<unsigned int> ranks;
  RDKit::Canon::rankMolAtoms(molecule, ranks);
  auto const order = [&](Way const& way) {
    std::uint32_t const exit = way.exit == nowhere ? way.entry : way.exit;
    return std::tuple(substitution(molecule, way.entry), -substitution(molecule, exit), ranks[way.entry],
                      ranks[exit]);
  };
  return *std::ranges::min_element(ways, {}, order);
}

}  // namespace athanor::inline v1::chem
