#include <athanor/chem/polymerise.hpp>

#include <algorithm>
#include <iterator>
#include <ranges>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <GraphMol/GraphMol.h>

#include "growth.hpp"

namespace athanor::inline v1::chem {

namespace {

template <class... Args>
tl::unexpected<Error> refuse(fmt::format_string<Args...> sentence, Args&&... args) {
  return fail(Code::invalid_argument, Reason::chemistry, "{}",
              fmt::format(sentence, std::forward<Args>(args)...));
}

using Monomers = std::vector<std::shared_ptr<Monomer const>>;

/// Turns RDKit's exceptions into Errors. They concern a polymer here, so no byte of a text can be named.
template <class Body>
auto guard_polymer(Body&& body) -> decltype(body()) {
  SmilesLimits const limits;
  Source const nothing{"", limits, {}, nullptr, {}};
  return guard_chemistry(nothing, std::forward<Body>(body));
}

constexpr double most_proportion = 1e9;

Result<void> check_options(std::size_t monomers, PolymeriseOptions const& options) {
  auto const wrong = [](std::string const& sentence) {
    return fail(Code::invalid_argument, Reason::option, "{}", sentence);
  };
  if (monomers == 0) return wrong("monomers: expected at least one, got none");
  if (options.degree < 2) return wrong(fmt::format("degree: expected at least 2, got {}", options.degree));
  if (!options.proportions.empty() && options.proportions.size() != monomers)
    return wrong(fmt::format("proportions: expected one for each of {} monomers, got {}", monomers,
                             options.proportions.size()));
  for (double const proportion : options.proportions)
    if (!(proportion > 0 && proportion <= most_proportion))
      return wrong(fmt::format("proportions: expected numbers above 0, at most {}, got {}", most_proportion,
                               proportion));
  if (options.mechanism && static_cast<std::size_t>(*options.mechanism) >= all_mechanisms.size())
    return wrong(
        fmt::format("mechanism: expected an enumerator, got {}", static_cast<int>(*options.mechanism)));
  if (!options.meso) return {};
  if (!(*options.meso >= 0 && *options.meso <= 1))
    return wrong(fmt::format("meso: expected 0 to 1, got {}", *options.meso));
  if (monomers != 1) return wrong(fmt::format("meso: expected one monomer, got {}", monomers));
  if (!options.head_to_tail)
    return wrong("meso: expected head_to_tail, without which tacticity is undefined");
  return {};
}

/// The groups that a mechanism needs, for error messages.
std::string needs_of(MechanismRow const& row) {
  if (row.step()) return fmt::format("joins {} and {}", row.first->name, row.second->name);
  std::vector<std::string_view> names;
  for (auto const* rule : row.chain) names.push_back(rule->name);
  return fmt::format("needs {}", fmt::join(names, ", "));
}

/// Whether the part that leaves with a group contains the reactive atom of another group.
bool takes_along(RDKit::ROMol const& molecule, Group const& leaving, std::span<Group const> others) {
  auto const gone = leaving_part(molecule, leaving.ways.front());
  return std::ranges::any_of(others, [&](Group const& other) { return gone[other.ways.front().entry]; });
}

Reactant reactant_of(MechanismRow const& row, std::shared_ptr<Monomer const> monomer) {
  Reactant reactant{std::move(monomer), {}, {}};
  if (row.mechanism == Mechanism::ester)
    if (auto opened = without_anhydrides(*reactant.monomer))
      reactant.monomer = std::make_shared<Monomer>(std::move(*opened));
  auto const& molecule = *reactant.monomer->molecule;
  for (auto const* rule : row.chain)
    if (reactant.first.empty()) reactant.first = groups_of(molecule, *rule);
  if (row.step()) {
    reactant.first = groups_of(molecule, *row.first);
    auto const second = groups_of(molecule, *row.second);
    std::ranges::copy_if(second, std::back_inserter(reactant.second), [&](Group const& group) {
      return !takes_along(molecule, group, reactant.first) && !takes_along(molecule, group, second);
    });
  }
  return reactant;
}

/// Why a monomer cannot take part, as the end of an error message; empty if it can.
std::string missing(MechanismRow const& row, Reactant const& reactant) {
  std::size_t const groups = reactant.first.size() + reactant.second.size();
  if (groups == 0) return row.step() ? "it has neither" : "it has none";
  if (groups == 1 && row.step())
    return fmt::format("it has only one {}, and a chain needs two groups in each monomer",
                       reactant.first.empty() ? row.second->name : row.first->name);
  return {};
}

/// The monomers with the groups that the mechanism needs, or what is missing.
Result<std::vector<Reactant>> fit(MechanismRow const& row, Monomers const& monomers) {
  std::vector<Reactant> reactants;
  bool first = false;
  bool second = !row.step();
  for (auto const& monomer : monomers) {
    auto& reactant = reactants.emplace_back(reactant_of(row, monomer));
    if (auto const reason = missing(row, reactant); !reason.empty())
      return refuse("monomer {} ({}): {} {}; {}", reactants.size(), monomer->text, row.name, needs_of(row),
                    reason);
    first = first || !reactant.first.empty();
    second = second || !reactant.second.empty();
  }
  if (!first || !second)
    return refuse("{} {}; no monomer has {}", row.name, needs_of(row),
                  (first ? row.second : row.first)->name);
  return reactants;
}

/// The groups of a monomer that react in some mechanism, for error messages.
std::string groups_in_words(Monomer const& monomer) {
  std::vector<std::string_view> names;
  auto const note = [&](GroupRule const* rule) {
    if (rule == nullptr || std::ranges::find(names, rule->name) != names.end()) return;
    if (!groups_of(*monomer.molecule, *rule).empty()) names.push_back(rule->name);
  };
  for (Mechanism const mechanism : all_mechanisms) {
    auto const& row = row_of(mechanism);
    for (auto const* rule : row.chain) note(rule);
    note(row.first);
    note(row.second);
  }
  return names.empty() ? "no reactive group" : fmt::format("{}", fmt::join(names, ", "));
}

/// Acrylates and conjugated dienes also fit vinyl, which is then not meant.
bool special_vinyl(Mechanism mechanism) {
  return mechanism == Mechanism::acrylate || mechanism == Mechanism::diene;
}

Result<std::vector<Reactant>> find_mechanism(Monomers const& monomers, MechanismRow const*& found) {
  std::vector<std::string_view> fitting;
  std::vector<Reactant> result;
  bool special = false;
  for (Mechanism const mechanism : all_mechanisms | std::views::reverse) {
    auto const& row = row_of(mechanism);
    if (mechanism == Mechanism::vinyl && special) continue;
    auto reactants = fit(row, monomers);
    if (!reactants) continue;
    special = special || special_vinyl(mechanism);
    found = &row;
    fitting.push_back(row.name);
    result = std::move(*reactants);
  }
  if (fitting.size() == 1) return result;
  if (!fitting.empty())
    return refuse("several mechanisms fit these monomers, choose one: {}", fmt::join(fitting, ", "));
  std::string sentence = "no mechanism fits these monomers";
  for (std::size_t number = 0; number < monomers.size(); ++number)
    sentence += fmt::format("; monomer {} ({}) has {}", number + 1, monomers[number]->text,
                            groups_in_words(*monomers[number]));
  return refuse("{}", sentence);
}

Result<void> check_size(std::span<Reactant const> reactants, std::span<std::int32_t const> units,
                        PolymeriseOptions const& options) {
  bool const stereo =
      options.meso.has_value() ||
      std::ranges::any_of(reactants, [](Reactant const& reactant) { return reactant.monomer->isomeric; });
  auto const limit =
      stereo ? std::min(stereo_heavy_atoms, options.limits.heavy_atoms) : options.limits.heavy_atoms;
  std::int64_t atoms = 0;
  for (auto const unit : units)
    atoms += reactants[static_cast<std::size_t>(unit)].monomer->molecule->getNumAtoms();
  if (atoms <= limit) return {};
  return fail(Code::invalid_argument, Reason::too_large,
              "degree: {} monomers have {} heavy atoms, expected at most {}{}", options.degree, atoms, limit,
              stereo ? " with stereocentres" : "");
}

/// Rejects, before the chain grows, a degree that exceeds the limits with any choice of monomers.
Result<void> check_degree(std::span<Reactant const> reactants, PolymeriseOptions const& options) {
  std::int64_t smallest = options.limits.heavy_atoms;
  for (auto const& reactant : reactants)
    smallest = std::min<std::int64_t>(smallest, reactant.monomer->molecule->getNumAtoms());
  if (smallest * options.degree <= options.limits.heavy_atoms) return {};
  return fail(Code::invalid_argument, Reason::too_large,
              "degree: {} monomers have at least {} heavy atoms, expected at most {}", options.degree,
              smallest * options.degree, options.limits.heavy_atoms);
}

Result<void> set_tacticity(MechanismRow const& row, PolymeriseOptions const& options, Grown& grown,
                           Draws& draws) {
  auto const alike = configurations(options.degree, *options.meso, draws);
  auto& plan = grown.plan;
  bool const formed = row.mechanism == Mechanism::vinyl || row.mechanism == Mechanism::acrylate;
  if (!formed && !plan.units.front().monomer->chiral)
    return refuse(
        "meso: {} forms no stereocentre; expected one that is marked with @ or @@ in the monomer, got none",
        row.name);
  for (std::size_t unit = 0; unit < alike.size(); ++unit) {
    if (formed)
      plan.centres.push_back({{unit, plan.openings[unit].way.exit}, alike[unit]});
    else
      plan.units[unit].mirrored = alike[unit];
  }
  return {};
}

Result<Polymer> make(MechanismRow const& row, std::span<Reactant const> reactants,
                     PolymeriseOptions const& options) {
  if (auto fits = check_degree(reactants, options); !fits) return tl::unexpected(std::move(fits.error()));
  std::vector<double> const equal(reactants.size(), 1.0);
  auto const& weights = options.proportions.empty() ? equal : options.proportions;
  Draws draws(options.seed);
  auto grown = row.step() ? grow_steps(row, reactants, options, weights, draws)
                          : Result<Grown>(grow_chain(reactants, options, weights, draws));
  if (!grown) return tl::unexpected(std::move(grown.error()));
  if (auto fits = check_size(reactants, grown->units, options); !fits)
    return tl::unexpected(std::move(fits.error()));
  if (options.meso)
    if (auto set = set_tacticity(row, options, *grown, draws); !set)
      return tl::unexpected(std::move(set.error()));
  auto const oligomer = assemble(grown->plan);
  if (options.meso && oligomer.centres == 0)
    return refuse("meso: {} forms no stereocentre from {}", row.name, reactants.front().monomer->text);
  if (std::ssize(oligomer.smiles) > options.limits.bytes)
    return fail(Code::invalid_argument, Reason::too_large,
                "degree: the SMILES of {} monomers has {} bytes, expected at most {}", options.degree,
                oligomer.smiles.size(), options.limits.bytes);
  Plan const unit = repeat_unit(row, reactants);
  return Polymer{row.mechanism, oligomer.smiles, unit.units.empty() ? std::string() : assemble(unit).smiles,
                 std::move(grown->units)};
}

}  // namespace

Result<Polymer> polymerise(std::span<std::string const> monomers, PolymeriseOptions const& options) {
  if (auto good = check_options(monomers.size(), options); !good)
    return tl::unexpected(std::move(good.error()));
  Monomers read;
  for (auto const& text : monomers) {
    auto monomer = read_monomer(text, read.size() + 1, options.limits);
    if (!monomer) return tl::unexpected(std::move(monomer.error()));
    read.push_back(std::make_shared<Monomer>(std::move(*monomer)));
  }
  return guard_polymer([&]() -> Result<Polymer> {
    MechanismRow const* row = options.mechanism ? &row_of(*options.mechanism) : nullptr;
    auto const reactants = row == nullptr ? find_mechanism(read, row) : fit(*row, read);
    if (!reactants) return tl::unexpected(reactants.error());
    return make(*row, *reactants, options);
  });
}

}  // namespace athanor::inline v1::chem
