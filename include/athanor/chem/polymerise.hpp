/// Polymers from monomers: the oligomer and the repeat unit that a named mechanism forms from monomer
/// molecules.
///
/// The mechanisms, the groups that react and the growth of a chain are those of m2p (Monomers to Polymers,
/// National Renewable Energy Laboratory, https://github.com/NREL/m2p, BSD 3-clause; used by PolyID: Wilson et
/// al., PolyID: Artificial Intelligence for Discovering Performance-Advantaged and Sustainable Polymers,
/// Macromolecules 56, 2023). The mechanisms diene, acetylene, ring_opening, urea and epoxy are additions.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <athanor/chem/smiles.hpp>
#include <athanor/core/error.hpp>

namespace athanor::inline v1::chem {

/// How monomers form a chain: which groups open or leave, and what links the repeat units.
enum class Mechanism : std::uint8_t {
  vinyl,         ///< C=C opens to a chain of two carbons
  acrylate,      ///< the same at CH2=C-C=O
  diene,         ///< C=C-C=C opens at its ends (1,4-addition)
  acetylene,     ///< C#C opens to C=C
  ring_opening,  ///< lactones, lactams, cyclic carbonates, cyclic ethers and thioethers
  ester,         ///< aliphatic alcohol + carboxylic acid, acyl halide or anhydride (which is opened first)
  amide,         ///< primary amine + carboxylic acid or acyl halide
  imide,         ///< primary amine + anhydride
  carbonate,     ///< alcohol or phenol + phosgene or a diester of carbonic acid
  urethane,      ///< alcohol or phenol + isocyanate
  urea,          ///< primary amine + isocyanate
  nipu,          ///< primary amine + five-membered cyclic carbonate: a urethane without isocyanate
  epoxy,         ///< alcohol, phenol, thiol or primary amine (which reacts once) + epoxide
};

/// Every mechanism, in the order of the enumeration.
inline constexpr std::array<Mechanism, 13> all_mechanisms{
    Mechanism::vinyl, Mechanism::acrylate, Mechanism::diene, Mechanism::acetylene, Mechanism::ring_opening,
    Mechanism::ester, Mechanism::amide,    Mechanism::imide, Mechanism::carbonate, Mechanism::urethane,
    Mechanism::urea,  Mechanism::nipu,     Mechanism::epoxy};

/// The enumerator as text, with `-` for `_`.
std::string_view to_string(Mechanism mechanism) noexcept;
/// The mechanism of that name; letter case does not matter, and `_` is read as `-`.
std::optional<Mechanism> mechanism_named(std::string_view name) noexcept;

/// Options of polymerise().
struct PolymeriseOptions {
  /// By default, the only mechanism for which all monomers have the groups.
  std::optional<Mechanism> mechanism = {};
  /// Monomers in the oligomer, at least 2.
  std::int32_t degree = 18;
  /// Equal seeds and equal inputs give equal polymers on every machine. Another release of RDKit may list the
  /// atoms of a SMILES in another order.
  std::uint64_t seed = 0;
  /// Relative frequencies of the monomers, where several can react; empty: equal. Above 0, at most 1e9.
  std::vector<double> proportions = {};
  /// Chain growth and epoxides: a unit joins the chain by its less substituted atom. False: by either, at
  /// random, as in m2p.
  bool head_to_tail = true;
  /// The fraction of meso diads, 0 (syndiotactic) to 1 (isotactic), in a polymer of one monomer. Vinyl and
  /// acrylate form the stereocentre; for other mechanisms it must be marked in the monomer, whose mirror
  /// image is the other configuration.
  std::optional<double> meso = {};
  SmilesLimits limits = {};
};

/// The maximum number of heavy atoms of an oligomer with stereocentres: RDKit's time to perceive them grows
/// with the cube of the chain's length.
inline constexpr std::int32_t stereo_heavy_atoms = 600;

/// A polymer as SMILES, canonical for the RDKit in use.
struct Polymer {
  Mechanism mechanism = Mechanism::vinyl;
  /// A chain of `degree` monomers. Its ends are hydrogens after addition to multiple bonds, H and OH after
  /// the opening of rings, and in step growth the groups that have not reacted.
  std::string oligomer;
  /// One unit of the infinite chain, with two `*`: one monomer, or two that alternate. Empty if there is
  /// none: for random copolymers, and for monomers with more than two groups, which branch.
  std::string repeat_unit;
  /// The monomers of the oligomer, as indices, in the order in which they joined it.
  std::vector<std::int32_t> units;
};

/// Makes a polymer from `monomers`, each one molecule as SMILES.
///
/// Step growth begins with a random monomer. While the chain has unreacted groups of both kinds any monomer
/// may follow, otherwise one that has the matching group; it joins at a random one of the places that can
/// react. So monomers with more than two groups branch, and a chain of two alternating monomers and odd
/// degree ends with either.
///
/// Fails with invalid_argument: as check_smiles and prepare_polymer do for a monomer's text, with the number
/// of the monomer; with `chemistry` if a monomer lacks the groups of the mechanism, if no mechanism or
/// several fit, if the chain ends before its degree, or if `meso` finds no stereocentre; with `too_large` for
/// an oligomer above the limits; and with `option` for options outside their range. Thread-safe.
Result<Polymer> polymerise(std::span<std::string const> monomers, PolymeriseOptions const& options = {});

}  // namespace athanor::inline v1::chem
