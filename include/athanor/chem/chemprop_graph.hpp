/// Molecular graphs with the features of chemprop (https://github.com/chemprop/chemprop): a vector of numbers
/// for every atom and bond, where molecular_graph gives classes.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include <athanor/chem/smiles.hpp>
#include <athanor/core/error.hpp>

namespace athanor::inline v1::chem {

/// Which of chemprop's tables of atom features: that of its version 1, or the default of its version 2
/// (`MultiHotAtomFeaturizer.v1()` and `.v2()`). Bonds have the same features in both.
enum class ChempropTable { v1, v2 };

/// Features of an atom and of a bond: the lengths of their vectors.
constexpr std::int64_t chemprop_atom_width(ChempropTable table) noexcept {
  return table == ChempropTable::v1 ? 133 : 72;
}
inline constexpr std::int64_t chemprop_bond_width = 14;

/// The most heavy atoms of a molecule whose SMILES has marks of stereo (`@`, `/`, `\`): the time that RDKit
/// takes to perceive stereo grows with the cube of a chain.
inline constexpr std::int32_t chemprop_stereo_heavy_atoms = 300;

/// One molecule. Atoms are those of RDKit, hydrogens being counted by their neighbours; a `*` is an atom like
/// any other. Every bond is two directed edges that follow one another.
struct ChempropGraph {
  std::vector<float> atom;           ///< [atoms, chemprop_atom_width]
  std::vector<float> bond;           ///< [edges, chemprop_bond_width]
  std::vector<std::int32_t> source;  ///< [edges] the atom that an edge leaves; `b2a` of version 1
  std::vector<std::int32_t> target;  ///< [edges] the atom that it enters
  std::vector<std::int32_t>
      reverse;  ///< [edges] the edge of the same bond the other way; `b2revb` of version 1
};

/// The graph of `smiles` as chemprop makes it with its default settings. Fails with invalid_argument:
/// `syntax` and `too_large` as check_smiles, `too_large` above chemprop_stereo_heavy_atoms too, `chemistry`
/// for an impossible molecule. A molecule without bonds has a graph without edges. Thread-safe.
Result<ChempropGraph> chemprop_graph(std::string_view smiles, ChempropTable table = ChempropTable::v2,
                                     SmilesLimits const& limits = {});

}  // namespace athanor::inline v1::chem
