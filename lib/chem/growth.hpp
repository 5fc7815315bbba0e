/// The growth of a chain: which monomer comes next, and where it joins.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "assembly.hpp"

namespace athanor::inline v1::chem {

/// A monomer, with the groups that react in a mechanism.
struct Reactant {
  std::shared_ptr<Monomer const> monomer;
  std::vector<Group> first;   ///< all groups in chain growth, those of the row's first rule in step growth
  std::vector<Group> second;  ///< step growth only
};

/// The plan of an oligomer, and the monomer of each unit.
struct Grown {
  Plan plan;
  std::vector<std::int32_t> units;
};

/// Random choices that are equal on every machine, which the standard library's distributions are not.
class Draws {
 public:
  explicit Draws(std::uint64_t seed) : engine_(seed) {}

  /// A number from 0 to count - 1.
  std::size_t below(std::size_t count) { return static_cast<std::size_t>(engine_() % count); }
  /// A number from 0 to 1, excluding 1.
  double share() { return static_cast<double>(engine_() >> 11U) * 0x1p-53; }
  /// One of `candidates`, with probabilities in proportion to their weights.
  std::size_t weighted(std::span<std::size_t const> candidates, std::span<double const> weights);

 private:
  std::mt19937_64 engine_;
};

/// A configuration for each of `degree` units, equal in the fraction `meso` of neighbouring pairs.
std::vector<bool> configurations(std::int32_t degree, double meso, Draws& draws);

Grown grow_chain(std::span<Reactant const> reactants, PolymeriseOptions const& options,
                 std::span<double const> weights, Draws& draws);

Result<Grown> grow_steps(MechanismRow const& row, std::span<Reactant const> reactants,
                         PolymeriseOptions const& options, std::span<double const> weights, Draws& draws);

/// The plan of the repeat unit; empty if the reactants have none.
Plan repeat_unit(MechanismRow const& row, std::span<Reactant const> reactants);

}  // namespace athanor::inline v1::chem
