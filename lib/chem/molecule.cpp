#include "molecule.hpp"

#include <exception>
#include <new>

#include <fmt/format.h>
#include <GraphMol/MolOps.h>
#include <GraphMol/SanitException.h>
#include <GraphMol/SmilesParse/SmilesParse.h>
#include <RDGeneral/RDLog.h>

#include "lexer.hpp"

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

/// ` (byte 7)`, or nothing when the atom cannot be traced back to the text.
std::string place(Origin const& origin, unsigned int atom) {
  if (!origin.known) return {};
  std::vector<std::int32_t> const positions = atom_positions(origin.smiles, origin.limits);
  std::size_t index = atom;
  if (!origin.atoms.empty()) index = static_cast<std::size_t>(origin.atoms[atom % origin.atoms.size()]);
  return index < positions.size() ? fmt::format(" at byte {}", positions[index]) : std::string();
}

/// The most `*` atoms inside a molecule that has aromatic bonds.
constexpr int most_dummies = 8;

/// Where an aromatic ring has no arrangement of double bonds, RDKit tries again with every subset of the `*` atoms
/// of its ring system: 2^n arrangements for n of them, which nothing can interrupt. Those at the end of a chain are in
/// no ring.
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

}  // namespace

Error chemistry_error(Origin const& origin) noexcept {
  try {
    try {
      throw;
    } catch (RDKit::AtomValenceException const& exception) {
      return chemistry(fmt::format("the atom{} has more bonds than its valence permits",
                                   place(origin, exception.getAtomIdx())));
    } catch (RDKit::AtomKekulizeException const& exception) {
      return chemistry(fmt::format("the atom{} is written as aromatic but is in no aromatic ring",
                                   place(origin, exception.getAtomIdx())));
    } catch (RDKit::KekulizeException const& exception) {
      auto const& atoms = exception.getAtomIndices();
      return chemistry(fmt::format("the aromatic ring{} has no arrangement of double bonds",
                                   atoms.empty() ? std::string() : place(origin, atoms.front())));
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
  MoleculePointer molecule(RDKit::SmilesToMol(std::string(smiles), parameters));
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

Result<MoleculePointer> parse_molecule(std::string_view smiles, SmilesFacts const& facts,
                                       SmilesLimits const& limits) {
  Origin const origin{smiles, limits, {}, facts.hydrogens == 0};
  return guard_chemistry(origin, [&]() -> Result<MoleculePointer> {
    auto molecule = parse_text(smiles);
    if (!molecule) return molecule;
    if (facts.hydrogens > 0) RDKit::MolOps::removeHs(**molecule, false, true, false);
    if (auto few = check_dummies(**molecule); !few) return tl::unexpected(std::move(few.error()));
    perceive(**molecule);
    return molecule;
  });
}

}  // namespace athanor::inline v1::chem
