/// Molecular graphs with the features that nfp's first atom and bond functions compute, as packed integers.
///
/// A code is a pure function of the atom or bond, so one graph serves every model of an ensemble; a model's
/// TokenTable turns codes into the numbers that it was trained with.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <athanor/chem/smiles.hpp>
#include <athanor/core/error.hpp>

namespace athanor::inline v1::chem {

/// The features that distinguish atoms. All hydrogens are atoms of the graph, so no atom has implicit ones.
struct AtomKind {
  std::int32_t atomic_number = 0;  ///< 0 is `*`
  std::int32_t degree = 0;         ///< neighbours, hydrogens included; at most 255
  bool aromatic = false;
  bool operator==(AtomKind const&) const = default;
};

/// The features that distinguish bonds.
struct BondKind {
  /// As RDKit numbers bond types: 1 single, 2 double, 3 triple, 12 aromatic, 17 dative.
  std::int32_t type = 1;
  bool conjugated = false;
  bool in_ring = false;
  std::int32_t low = 0;   ///< the smaller atomic number of its two atoms
  std::int32_t high = 0;  ///< the larger one
  bool operator==(BondKind const&) const = default;
};

/// The code of an atom; `unpack_atom` undoes it.
constexpr std::int32_t pack(AtomKind const& kind) noexcept {
  return kind.atomic_number << 9 | kind.degree << 1 | (kind.aromatic ? 1 : 0);
}
constexpr AtomKind unpack_atom(std::int32_t code) noexcept {
  return {code >> 9, code >> 1 & 0xff, (code & 1) != 0};
}
/// The code of a bond; `unpack_bond` undoes it.
constexpr std::int32_t pack(BondKind const& kind) noexcept {
  return kind.type << 16 | (kind.conjugated ? 1 << 15 : 0) | (kind.in_ring ? 1 << 14 : 0) | kind.low << 7 |
         kind.high;
}
constexpr BondKind unpack_bond(std::int32_t code) noexcept {
  return {code >> 16, (code >> 15 & 1) != 0, (code >> 14 & 1) != 0, code >> 7 & 0x7f, code & 0x7f};
}

/// The key under which nfp knows an atom code, such as `('C', 4, 0, 0, False)`.
std::string atom_key(std::int32_t code);
/// The key under which nfp knows a bond code, such as
/// `(rdkit.Chem.rdchem.BondType.SINGLE, False, False, ['C', 'H'])`.
std::string bond_key(std::int32_t code);
/// The code of such a key. Fails with invalid_argument / syntax for a text that is not the key of a possible
/// code.
Result<std::int32_t> atom_code(std::string_view key);
/// See atom_code.
Result<std::int32_t> bond_code(std::string_view key);

/// One molecule. Every bond is two directed edges; edges are sorted by source, and hydrogens follow the heavy
/// atoms, in the order of those. Edges that share both ends, and edges from an atom to itself, occur in
/// endless chains only.
struct MolecularGraph {
  std::vector<std::int32_t> atom;    ///< [atoms] atom codes
  std::vector<std::int32_t> bond;    ///< [edges] bond codes
  std::vector<std::int32_t> source;  ///< [edges]
  std::vector<std::int32_t> target;  ///< [edges]
  std::int32_t heavy_atoms = 0;      ///< atoms that are not hydrogen, `*` included
  bool operator==(MolecularGraph const&) const = default;
};

/// The graph of `smiles` as it stands; a `*` is an atom like any other. Fails with invalid_argument: `syntax`
/// and `too_large` as check_smiles, `chemistry` for an impossible molecule and for one without bonds, which a
/// model that reads bonds could answer only with a NaN. Thread-safe.
Result<MolecularGraph> molecular_graph(std::string_view smiles, SmilesLimits const& limits = {});

}  // namespace athanor::inline v1::chem
