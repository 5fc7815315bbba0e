/// Polymers from monomers: oligomers and repeat units that a named mechanism makes of monomer molecules.
///
/// The mechanisms, the groups that react and the way in which a chain takes its units are those of m2p (Monomers to
/// Polymers, National Renewable Energy Laboratory, https://github.com/NREL/m2p, BSD 3-clause; used by PolyID: Wilson et al.,
/// PolyID: Artificial Intelligence for Discovering Performance-Advantaged and Sustainable Polymers, Macromolecules 56, 2023).
/// The mechanisms diene, acetylene, ring_opening, urea and epoxy are not in it.
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

/// How monomers react to a chain: which groups open or leave, and what links the repeat units.
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

/// How monomers become a chain.
struct PolymeriseOptions {
  /// Without a value, the one mechanism for which all monomers have the groups.
  std::optional<Mechanism> mechanism = {};
  /// Monomers in the oligomer, at least 2.
  std::int32_t degree = 18;
  /// Equal seeds and equal inputs give equal polymers, on every machine and with every release of RDKit but for the order
  /// in which a SMILES lists its atoms.
  std::uint64_t seed = 0;
  /// How often each monomer is taken beside the others that can react; empty: equally often. Above
  /// 0, at most 1e9.
  std::vector<double> proportions = {};
  /// Chain growth and epoxides: a unit enters the chain with its less substituted atom. False: with either, at random, as
  /// in m2p.
  bool head_to_tail = true;
  /// The share of meso diads, 0 (syndiotactic) to 1 (isotactic), in a polymer of one monomer. Vinyl and acrylate form the
  /// stereocentre; for other mechanisms the monomer has it marked, and its mirror image is the other configuration.
  std::optional<double> meso = {};
  SmilesLimits limits = {};
};

/// The most heavy atoms of an oligomer with stereocentres: the time that RDKit needs to perceive them grows with the cube of
/// the chain.
inline constexpr std::int32_t stereo_heavy_atoms = 600;

/// A polymer as SMILES, canonical for the RDKit in use.
struct Polymer {
  Mechanism mechanism = Mechanism::vinyl;
  /// A chain of `degree` monomers. Its ends are hydrogens after addition to multiple bonds, water's parts after the opening
  /// of rings, and in step growth the groups that have not reacted.
  std::string oligomer;
  /// One unit of the endless chain with two `*`: of one monomer, or of two that alternate. Empty when there is none: for
  /// random copolymers, and for monomers with more than two groups, which branch.
  std::string repeat_unit;
  /// The monomers of the oligomer, as indices, in the order in which they joined it.
  std::vector<std::int32_t> units;
};

/// Makes a polymer of `monomers`, each one molecule as SMILES.
///
/// Step growth begins with a monomer at random. While both groups are left on the chain any monomer may follow, otherwise
/// one that has the group in demand; where there are several places to react, one of them at random. So monomers with more
/// than two groups branch, and an odd chain of two monomers ends with either.
///
/// Fails with invalid_argument: what check_smiles and prepare_polymer say of a monomer's text, with the number of the
/// monomer; `chemistry` when a monomer lacks the groups of the mechanism, when none or several mechanisms fit, when the
/// chain ends before its degree, and when `meso` finds no stereocentre; `too_large` for an oligomer above the limits;
/// `option` for options outside their range. Thread-safe.
Result<Polymer> polymerise(std::span<std::string const> monomers, PolymeriseOptions const& options = {});

}  // namespace athanor::inline v1::chem
