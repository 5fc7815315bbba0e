#include "growth.hpp"

#include <algorithm>
#include <cmath>

#include <GraphMol/GraphMol.h>

namespace athanor::inline v1::chem {

namespace {

std::vector<Way> all_ways(std::span<Group const> groups) {
  std::vector<Way> ways;
  for (auto const& group : groups) ways.insert(ways.end(), group.ways.begin(), group.ways.end());
  return ways;
}

/// An unreacted group of the chain.
struct Free {
  std::size_t unit = 0;
  Group const* group = nullptr;
};

class StepGrowth {
 public:
  StepGrowth(MechanismRow const& row, std::span<Reactant const> reactants, PolymeriseOptions const& options,
             std::span<double const> weights, Draws& draws)
      : row_(row), reactants_(reactants), options_(options), weights_(weights), draws_(draws) {}

  Result<Grown> run() {
    add(draws_.below(reactants_.size()), nullptr);
    while (std::ssize(grown_.units) < options_.degree) {
      auto const candidates = find_candidates();
      if (candidates.empty()) return stopped();
      join(draws_.weighted(candidates, weights_));
    }
    return std::move(grown_);
  }

 private:
  /// The monomers that may come next; none if the chain has fewer than two unreacted groups, as its last one
  /// must stay.
  std::vector<std::size_t> find_candidates() const {
    std::vector<std::size_t> candidates;
    if (first_.size() + second_.size() < 2) return candidates;
    for (std::size_t monomer = 0; monomer < reactants_.size(); ++monomer) {
      bool const by_second = !first_.empty() && !reactants_[monomer].second.empty();
      bool const by_first = !second_.empty() && !reactants_[monomer].first.empty();
      if (by_first || by_second) candidates.push_back(monomer);
    }
    return candidates;
  }

  void join(std::size_t monomer) {
    auto const& reactant = reactants_[monomer];
    bool const by_second = !first_.empty() && !reactant.second.empty();
    auto& chain = by_second ? first_ : second_;
    auto const& groups = by_second ? reactant.second : reactant.first;
    auto const place = chain.begin() + static_cast<std::ptrdiff_t>(draws_.below(chain.size()));
    Free const taken = *place;
    chain.erase(place);
    Group const& used = groups[draws_.below(groups.size())];
    std::size_t const unit = grown_.units.size();
    Way const here =
        draw_way(*reactants_[static_cast<std::size_t>(grown_.units[taken.unit])].monomer, *taken.group);
    Way const there = draw_way(*reactant.monomer, used);
    add(monomer, &used);
    auto& plan = grown_.plan;
    plan.openings.push_back({taken.unit, here});
    plan.openings.push_back({unit, there});
    plan.links.push_back({{taken.unit, here.entry}, {unit, there.entry}});
    if (here.second != nowhere) plan.links.push_back({{taken.unit, here.second}, {unit, there.entry}});
    if (there.second != nowhere) plan.links.push_back({{taken.unit, here.entry}, {unit, there.second}});
  }

  Way draw_way(Monomer const& monomer, Group const& group) {
    bool const same_entry = std::ranges::all_of(
        group.ways, [&](Way const& way) { return way.entry == group.ways.front().entry; });
    if (options_.head_to_tail && !same_entry) return least_hindered(*monomer.molecule, group.ways);
    return group.ways[draws_.below(group.ways.size())];
  }

  /// Adds a unit, all of whose groups except `used` are unreacted.
  void add(std::size_t monomer, Group const* used) {
    auto const& reactant = reactants_[monomer];
    std::size_t const unit = grown_.units.size();
    for (auto const& group : reactant.first)
      if (&group != used) first_.push_back({unit, &group});
    for (auto const& group : reactant.second)
      if (&group != used) second_.push_back({unit, &group});
    grown_.plan.units.push_back({reactant.monomer.get()});
    grown_.units.push_back(static_cast<std::int32_t>(monomer));
  }

  tl::unexpected<Error> stopped() const {
    bool const first_left = !first_.empty();
    if (first_.size() + second_.size() < 2)
      return fail(Code::invalid_argument, Reason::chemistry,
                  "{}: the chain ends after {} of {} monomers, as {} unreacted group is left", row_.name,
                  grown_.units.size(), options_.degree, first_.size() + second_.size());
    return fail(Code::invalid_argument, Reason::chemistry,
                "{}: the chain ends after {} of {} monomers: its unreacted groups are all {}, and no monomer "
                "has {}",
                row_.name, grown_.units.size(), options_.degree,
                first_left ? row_.first->name : row_.second->name,
                first_left ? row_.second->name : row_.first->name);
  }

  MechanismRow const& row_;
  std::span<Reactant const> reactants_;
  PolymeriseOptions const& options_;
  std::span<double const> weights_;
  Draws& draws_;
  Grown grown_;
  std::vector<Free> first_;
  std::vector<Free> second_;
};

void open_end(Plan& plan, std::size_t unit, Group const& group) {
  Way const way = group.open ? *group.open : least_hindered(*plan.units[unit].monomer->molecule, group.ways);
  plan.openings.push_back({unit, way});
  plan.ends.push_back({{unit, way.entry}, way.second, group.rule->open});
}

}  // namespace

std::size_t Draws::weighted(std::span<std::size_t const> candidates, std::span<double const> weights) {
  double total = 0;
  for (std::size_t const candidate : candidates) total += weights[candidate];
  double left = share() * total;
  for (std::size_t const candidate : candidates) {
    left -= weights[candidate];
    if (left < 0) return candidate;
  }
  return candidates.back();
}

std::vector<bool> configurations(std::int32_t degree, double meso, Draws& draws) {
  double const wanted = meso * (degree - 1);
  double const whole = std::floor(wanted);
  auto const alike = static_cast<std::ptrdiff_t>(whole) + (draws.share() < wanted - whole ? 1 : 0);
  std::vector<bool> diads(static_cast<std::size_t>(degree) - 1);
  std::fill_n(diads.begin(), alike, true);
  // The shuffle of Fisher and Yates.
  for (std::size_t left = diads.size(); left > 1; --left)
    std::vector<bool>::swap(diads[left - 1], diads[draws.below(left)]);
  std::vector<bool> result{draws.below(2) == 0};
  for (bool const same : diads) result.push_back(same ? result.back() : !result.back());
  return result;
}

Grown grow_chain(std::span<Reactant const> reactants, PolymeriseOptions const& options,
                 std::span<double const> weights, Draws& draws) {
  std::vector<std::size_t> everybody(reactants.size());
  for (std::size_t monomer = 0; monomer < everybody.size(); ++monomer) everybody[monomer] = monomer;
  std::vector<std::vector<Way>> ways;
  for (auto const& reactant : reactants) {
    ways.push_back(all_ways(reactant.first));
    if (options.head_to_tail) ways.back() = {least_hindered(*reactant.monomer->molecule, ways.back())};
  }
  Grown grown;
  std::uint32_t exit = 0;
  for (std::size_t unit = 0; unit < static_cast<std::size_t>(options.degree); ++unit) {
    std::size_t const monomer = draws.weighted(everybody, weights);
    Way const& way = ways[monomer][draws.below(ways[monomer].size())];
    grown.units.push_back(static_cast<std::int32_t>(monomer));
    grown.plan.units.push_back({reactants[monomer].monomer.get()});
    grown.plan.openings.push_back({unit, way});
    if (unit > 0) grown.plan.links.push_back({{unit - 1, exit}, {unit, way.entry}});
    if (unit == 0)
      grown.plan.ends.push_back({{0, way.entry}, nowhere, reactants[monomer].first.front().rule->first});
    exit = way.exit;
  }
  return grown;
}

Result<Grown> grow_steps(MechanismRow const& row, std::span<Reactant const> reactants,
                         PolymeriseOptions const& options, std::span<double const> weights, Draws& draws) {
  return StepGrowth(row, reactants, options, weights, draws).run();
}

Plan repeat_unit(MechanismRow const& row, std::span<Reactant const> reactants) {
  Plan plan;
  for (auto const& reactant : reactants) plan.units.push_back({reactant.monomer.get()});
  auto const& front = reactants.front();
  auto const& back = reactants.back();
  if (!row.step() && reactants.size() == 1) {
    Way const way = least_hindered(*front.monomer->molecule, all_ways(front.first));
    plan.openings.push_back({0, way});
    plan.ends.push_back({{0, way.entry}, nowhere, Cap::star});
    plan.ends.push_back({{0, way.exit}, nowhere, Cap::star});
  } else if (row.step() && reactants.size() == 1 && front.first.size() == 1 && front.second.size() == 1) {
    open_end(plan, 0, front.first.front());
    open_end(plan, 0, front.second.front());
  } else if (row.step() && reactants.size() == 2) {
    std::size_t const first = front.second.empty() ? 0 : 1;
    auto const& one = first == 0 ? front : back;
    auto const& other = first == 0 ? back : front;
    if (one.first.size() != 2 || !one.second.empty() || other.second.size() != 2 || !other.first.empty())
      return {};
    Way const here = least_hindered(*one.monomer->molecule, one.first.back().ways);
    Way const there = least_hindered(*other.monomer->molecule, other.second.front().ways);
    open_end(plan, first, one.first.front());
    plan.openings.push_back({first, here});
    plan.openings.push_back({1 - first, there});
    plan.links.push_back({{first, here.entry}, {1 - first, there.entry}});
    if (there.second != nowhere) plan.links.push_back({{first, here.entry}, {1 - first, there.second}});
    open_end(plan, 1 - first, other.second.back());
  } else {
    return {};
  }
  return plan;
}

}  // namespace athanor::inline v1::chem
