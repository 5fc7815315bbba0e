/// Polymers as molecular graphs: the endless chain of a repeat unit, or an oligomer of it.
///
/// The rule for the endless chain. A repeat unit has two `*`, each on one bond of one kind. Atoms and bonds
/// get the features that they have in the middle of a chain so long that its ends do not affect them:
/// backbone bonds are in no ring, and aromaticity and conjugation take the neighbouring units into account.
/// The graph then has the atoms of one unit, and the bond to the next unit leads back into it. Two edges may
/// thus join the same atoms, or one edge an atom to itself (`*C*`). A network that passes messages along
/// edges and averages over them computes for this graph what it would compute for the endless chain,
/// whichever multiple of the unit is written: `*CC*` and `*CCCC*` are the same polymer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <athanor/chem/domain.hpp>
#include <athanor/chem/graph.hpp>

namespace athanor::inline v1::chem {

/// How a text is read.
struct PolymerOptions {
  /// Units of an oligomer with hydrogen at both ends; without a value, the endless chain. At least 1.
  std::optional<std::int32_t> units = {};
  /// Compute Morgan identifiers too, at about twice the cost of the graph.
  bool identifiers = false;
  SmilesLimits limits = {};
};

/// The result of reading a text.
struct PreparedMolecule {
  MolecularGraph graph;
  /// True for a repeat unit (two `*`), false for a plain SMILES, which is taken as it stands.
  bool polymer = false;
  /// Identifiers, ascending; for the endless chain those of one unit's atoms inside it. Empty when they were
  /// not asked for, or when more than morgan_heavy_atoms would have to be read.
  std::optional<std::vector<MorganCount>> identifiers;
};

/// Reads a repeat unit or a plain SMILES. Fails with invalid_argument: `syntax` and `too_large` as
/// check_smiles, `chemistry` for an impossible molecule, for one without bonds, and for a repeat unit that
/// cannot be continued: one `*` or more than two, a `*` with several bonds, charge or hydrogens, ends that
/// differ in bond, ends in separate fragments. `option` when `units` is below 1. Thread-safe.
Result<PreparedMolecule> prepare_polymer(std::string_view smiles, PolymerOptions const& options = {});

/// Why prepare_polymer rejects `smiles`, and the byte where; no value when it does not. As costly as
/// prepare_polymer. Thread-safe.
std::optional<SmilesFault> find_fault(std::string_view smiles, PolymerOptions const& options = {});

/// The fewest heavy atoms of a molecule without `*` that is taken for a polymer written out as an oligomer.
/// PolyID's files hold chains of eight units and more, 33 atoms for the smallest hydroxy acid; most monomers
/// and additives have fewer than 30. Size alone does not tell a chain from another large molecule.
inline constexpr std::int32_t smallest_oligomer = 30;

/// Why a SMILES is no polymer, as a phrase such as `a molecule of 8 heavy atoms` or `2 molecules side by
/// side`; empty for a repeat unit, also with counter-ions (parts whose charges do not cancel out), and for a
/// molecule of at least smallest_oligomer heavy atoms. A model of polymers answers for the others too, but
/// its training says nothing about them.
std::string no_polymer(SmilesFacts const& facts);

}  // namespace athanor::inline v1::chem
