/// A monomer and the groups with which it joins a chain.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "mechanisms.hpp"
#include "molecule.hpp"

namespace athanor::inline v1::chem {

struct Group {
  GroupRule const* rule = nullptr;
  std::vector<Way> ways;    ///< at least one
  std::optional<Way> open;  ///< to the open end of a repeat unit, if by none of `ways`
};

struct Monomer {
  std::string_view text;
  MoleculePointer molecule;  ///< perceived, for patterns
  /// The molecule in Kekulé form, because a ring that opens or closes must not keep aromatic bonds.
  MoleculePointer skeleton;
  /// Whether its SMILES needs stereo marks or isotopes.
  bool isomeric = false;
  /// Marked centres of tetrahedral stereo.
  bool chiral = false;
};

/// Reads one molecule with its stereo marks. Errors begin with `number`, which counts from 1.
Result<Monomer> read_monomer(std::string_view text, std::size_t number, SmilesLimits const& limits);

/// The groups of `rule` in a molecule, in the order of its atoms. Throws what RDKit throws.
std::vector<Group> groups_of(RDKit::ROMol const& molecule, GroupRule const& rule);

/// The atoms that leave when a group reacts in `way`.
std::vector<bool> leaving_part(RDKit::ROMol const& molecule, Way const& way);

/// The monomer with two acids in place of each anhydride; no value if it has none. Throws what RDKit throws.
std::optional<Monomer> without_anhydrides(Monomer const& monomer);

/// The way, among those of one group or of several, whose entry is the least substituted atom. Independent of
/// the order of the atoms in the SMILES.
Way least_hindered(RDKit::ROMol const& molecule, std::vector<Way> const& ways);

}  // namespace athanor::inline v1::chem
