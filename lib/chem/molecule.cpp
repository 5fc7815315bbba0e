#include "molecule.hpp"

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <new>

#include <fmt/format.h>
#include <GraphMol/MolOps.h>
#include <GraphMol/SanitException.h>
#include <GraphMol/SmilesParse/SmilesParse.h>
#include <RDGeneral/RDLog.h>

#include <athanor/chem/chemprop_graph.hpp>

#include "lexer.hpp"
#include "mistakes.hpp"

namespace athanor::inline v1::chem {

namespace {

RDKit::SmilesParserParams plain_parameters() {
  RDKit::SmilesParserParams parameters;
  parameters.sanitize = false;
  parameters.removeHs = false;
  parameters.allowCXSMILES = false;
  parameters.parseName = false;
  return parameters;
}

/// RDKit's tables are built by their first user, so one thread uses them before all others. Its log is
/// switched off because it is one for the process: with several threads no line of it could be told to belong
/// to a molecule.
bool warm_up() noexcept {
  try {
    boost::logging::disable_logs("rdApp.*");
    MoleculePointer const molecule(RDKit::SmilesToMol("c1ccccc1C(=O)[O-].[Na+]", plain_parameters()));
    if (molecule != nullptr) perceive(*molecule);
    return molecule != nullptr;
  } catch (...) {
    return false;
  }
}

/// ` at byte 7`, or nothing when the atom cannot be traced back to the text.
std::string place_of(Source const& source, std::uint32_t atom) {
  auto const byte = locate(source, atom);
  return byte ? fmt::format(" at byte {}", *byte) : std::string();
}

/// The number in the text of the atom `atom` of the molecule, which may be a chain of units.
std::uint32_t text_atom(Source const& source, std::uint32_t atom) {
  auto const& atoms = source.atoms;
  return atoms.empty() ? atom : static_cast<std::uint32_t>(atoms[atom % atoms.size()]);
}

/// What the bonds of an atom as written add up to, an aromatic one counting one and a half.
double bonds_of(RDKit::ROMol const& written, RDKit::Atom const& atom) {
  double sum = atom.getNumExplicitHs();
  for (RDKit::Bond const* bond : written.atomBonds(&atom)) sum += bond->getValenceContrib(&atom);
  return sum;
}

std::string charged_symbol(RDKit::Atom const& atom) {
  int const charge = atom.getFormalCharge();
  if (charge == 0) return atom.getSymbol();
  std::string const count = std::abs(charge) > 1 ? std::to_string(std::abs(charge)) : std::string();
  return atom.getSymbol() + count + (charge > 0 ? "+" : "-");
}

std::string valence_sentence(Source const& source, std::uint32_t atom) {
  auto const written = parse_text(source.smiles());
  if (!written) return "an atom has more bonds than its valence permits";
  RDKit::Atom const& culprit = *(*written)->getAtomWithIdx(text_atom(source, atom));
  return fmt::format("the bonds of {}{} add up to {}, more than its valence permits", charged_symbol(culprit),
                     place_of(source, atom), bonds_of(**written, culprit));
}

std::string lone_aromatic_sentence(Source const& source, std::uint32_t atom) {
  auto sentence =
      fmt::format("the atom{} is written as aromatic but is in no aromatic ring", place_of(source, atom));
  if (auto const byte = locate(source, atom))
    if (auto const element = split_element(source.text, static_cast<std::size_t>(*byte)); !element.empty())
      sentence += fmt::format("; the element {0} is written [{0}]", element);
  return sentence;
}

/// The first of `atoms` that is written `n` or `p` and has two bonds: in a ring of five it is likely to lack
/// the hydrogen that its lone pair needs.
std::optional<std::uint32_t> without_hydrogen(Source const& source, std::vector<unsigned int> const& atoms) {
  auto const written = parse_text(source.smiles());
  if (!written) return std::nullopt;
  for (unsigned int const atom : atoms) {
    RDKit::Atom const& candidate = *(*written)->getAtomWithIdx(text_atom(source, atom));
    bool const bare = candidate.getNumExplicitHs() == 0 && candidate.getFormalCharge() == 0;
    bool const donor = candidate.getAtomicNum() == 7 || candidate.getAtomicNum() == 15;
    if (donor && bare && candidate.getDegree() == 2) return atom;
  }
  return std::nullopt;
}

std::string no_double_bonds_sentence(Source const& source, std::vector<unsigned int> const& atoms) {
  std::string const ring = atoms.empty() ? std::string() : place_of(source, atoms.front());
  auto sentence = fmt::format("the aromatic ring{} has no arrangement of double bonds", ring);
  if (auto const atom = without_hydrogen(source, atoms))
    if (auto const byte = locate(source, *atom)) {
      char const letter = source.text[static_cast<std::size_t>(*byte)];
      if (letter == 'n' || letter == 'p')
        sentence +=
            fmt::format("; if the {0} at byte {1} carries a hydrogen, it is written [{0}H]", letter, *byte);
    }
  return sentence;
}

/// The most `*` atoms inside a molecule that has aromatic bonds.
constexpr int most_dummies = 8;

/// Where an aromatic ring has no arrangement of double bonds, RDKit tries again with every subset of the `*`
/// atoms of its ring system: 2^n arrangements for n of them, which nothing can interrupt. Those at the end of
/// a chain are in no ring.
Result<void> check_dummies(RDKit::ROMol const& molecule) {
  bool aromatic = false;
  for (auto const* bond : molecule.bonds()) aromatic = aromatic || bond->getIsAromatic();
  int dummies = 0;
  for (auto const* atom : molecule.atoms())
    dummies += atom->getAtomicNum() == 0 && atom->getDegree() > 1 ? 1 : 0;
  if (!aromatic || dummies <= most_dummies) return {};
  return fail(Code::invalid_argument, Reason::too_large,
              "smiles: expected at most {} '*' with several bonds in a molecule with aromatic bonds, got {}",
              most_dummies, dummies);
}

Error chemistry(std::string sentence) {
  return {Code::invalid_argument, Reason::chemistry, "smiles: " + std::move(sentence), {}};
}

/// parse_heavy, and a refusal of what would keep the perception of aromaticity busy.
Result<MoleculePointer> parse_tractable(Source& source) {
  auto molecule = parse_heavy(source);
  if (!molecule) return molecule;
  if (auto few = check_dummies(**molecule); !few) return tl::unexpected(std::move(few.error()));
  return molecule;
}

}  // namespace

std::optional<std::int32_t> locate(Source const& source, std::uint32_t atom) {
  std::vector<std::int32_t> const positions = atom_positions(source.text, source.limits);
  std::size_t const index = text_atom(source, atom);
  if (index >= positions.size()) return std::nullopt;
  if (source.place != nullptr) *source.place = positions[index];
  return positions[index];
}

Result<Source> read_source(std::string_view text, SmilesLimits const& limits,
                           std::optional<std::int32_t>* place) {
  auto const facts = check_smiles(text, limits, place);
  if (!facts) return tl::unexpected(facts.error());
  return Source{text, limits, *facts, place, {}};
}

Error chemistry_error(Source const& source) noexcept {
  try {
    try {
      throw;
    } catch (RDKit::AtomValenceException const& exception) {
      return chemistry(valence_sentence(source, exception.getAtomIdx()));
    } catch (RDKit::AtomKekulizeException const& exception) {
      return chemistry(lone_aromatic_sentence(source, exception.getAtomIdx()));
    } catch (RDKit::KekulizeException const& exception) {
      return chemistry(no_double_bonds_sentence(source, exception.getAtomIndices()));
    } catch (RDKit::MolSanitizeException const& exception) {
      return chemistry(exception.what());
    } catch (RDKit::SmilesParseException const& exception) {
      return {Code::invalid_argument, Reason::syntax, fmt::format("smiles: {}", exception.what()), {}};
    } catch (std::bad_alloc const&) {
      return {Code::resource_exhausted, Reason::out_of_memory, "smiles: no memory for the molecule", {}};
    } catch (std::exception const& exception) {
      return chemistry(fmt::format("RDKit refuses the molecule: {}", exception.what()));
    } catch (...) {
      return {Code::internal, Reason::chemistry, "smiles: an exception of unknown type left RDKit", {}};
    }
  } catch (...) {
    return {Code::resource_exhausted, Reason::out_of_memory, {}, {}};
  }
}

Result<MoleculePointer> parse_text(std::string_view smiles) {
  static bool const ready = warm_up();
  if (!ready) return fail(Code::internal, Reason::chemistry, "smiles: RDKit could not be initialised");
  static RDKit::SmilesParserParams const parameters = plain_parameters();
  std::string text(smiles);
  // RDKit wants no leading zero in a ring number. A percent sign never stands inside brackets.
  for (std::size_t at = text.find("%0"); at != std::string::npos; at = text.find("%0", at)) text.erase(at, 2);
  MoleculePointer molecule(RDKit::SmilesToMol(text, parameters));
  if (molecule == nullptr)
    return fail(Code::invalid_argument, Reason::syntax, "smiles: RDKit's parser refuses the text");
  return molecule;
}

void perceive(RDKit::RWMol& molecule) {
  constexpr unsigned int steps = RDKit::MolOps::SANITIZE_ALL &
                                 ~static_cast<unsigned int>(RDKit::MolOps::SANITIZE_CLEANUPCHIRALITY) &
                                 ~static_cast<unsigned int>(RDKit::MolOps::SANITIZE_SETHYBRIDIZATION);
  unsigned int failed = 0;
  RDKit::MolOps::sanitizeMol(molecule, failed, steps);
}

Result<MoleculePointer> parse_heavy(Source& source) {
  auto molecule = parse_text(source.smiles());
  if (!molecule || source.facts.hydrogens == 0) return molecule;
  // Removing atoms keeps the others, and their order.
  std::vector<RDKit::Atom const*> written;
  for (RDKit::Atom const* atom : (*molecule)->atoms()) written.push_back(atom);
  RDKit::MolOps::removeHs(**molecule, false, true, false);
  auto next = written.begin();
  for (RDKit::Atom const* atom : (*molecule)->atoms()) {
    next = std::find(next, written.end(), atom);
    source.atoms.push_back(static_cast<std::int32_t>(next - written.begin()));
  }
  return molecule;
}

Result<MoleculePointer> parse_molecule(Source& source) {
  return guard_chemistry(source, [&]() -> Result<MoleculePointer> {
    auto molecule = parse_tractable(source);
    if (molecule) perceive(**molecule);
    return molecule;
  });
}

Result<MoleculePointer> parse_with_stereo(Source& source) {
  // Without marks there is nothing to perceive, though looking for it would take as long.
  bool const marked = source.smiles().find_first_of("@/\\") != std::string_view::npos;
  if (marked && source.facts.heavy_atoms > chemprop_stereo_heavy_atoms)
    return fail(Code::invalid_argument, Reason::too_large,
                "smiles: expected at most {} heavy atoms in a molecule with marks of stereo, got {}",
                chemprop_stereo_heavy_atoms, source.facts.heavy_atoms);
  return guard_chemistry(source, [&]() -> Result<MoleculePointer> {
    auto molecule = parse_tractable(source);
    if (!molecule) return molecule;
    RDKit::MolOps::sanitizeMol(**molecule);
    if (marked) RDKit::MolOps::assignStereochemistry(**molecule, /*cleanIt=*/true, /*force=*/true);
    return molecule;
  });
}

}  // namespace athanor::inline v1::chem
