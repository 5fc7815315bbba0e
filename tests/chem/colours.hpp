/// Colour refinement: what a network of so many rounds of messages can tell apart, without a network.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <numeric>
#include <vector>

#include <athanor/chem/graph.hpp>

namespace athanor::tests {

inline std::uint64_t mix(std::uint64_t seed, std::uint64_t value) {
  std::uint64_t hash = (seed ^ value) + 0x9e3779b97f4a7c15ULL;
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9ULL;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebULL;
  return hash ^ (hash >> 31);
}

/// The colour of each atom after `rounds` rounds.
inline std::vector<std::uint64_t> colours(chem::MolecularGraph const& graph, int rounds) {
  std::vector<std::uint64_t> colour(graph.atom.begin(), graph.atom.end());
  for (int round = 0; round < rounds; ++round) {
    std::vector<std::uint64_t> sums(colour.size(), 0);
    for (std::size_t edge = 0; edge < graph.bond.size(); ++edge)
      sums[static_cast<std::size_t>(graph.source[edge])] += mix(
          colour[static_cast<std::size_t>(graph.target[edge])], static_cast<std::uint64_t>(graph.bond[edge]));
    for (std::size_t atom = 0; atom < colour.size(); ++atom) colour[atom] = mix(colour[atom] * 3, sums[atom]);
  }
  return colour;
}

/// How often each colour of atom and of directed edge occurs, divided by the common divisor of all counts:
/// equal for two graphs when every mean over atoms or edges that a network could compute is equal.
inline std::map<std::uint64_t, std::int64_t> shares(chem::MolecularGraph const& graph, int rounds = 8) {
  std::map<std::uint64_t, std::int64_t> counts;
  std::vector<std::uint64_t> const colour = colours(graph, rounds);
  for (std::uint64_t const one : colour) ++counts[one];
  for (std::size_t edge = 0; edge < graph.bond.size(); ++edge)
    ++counts[mix(mix(colour[static_cast<std::size_t>(graph.source[edge])],
                     colour[static_cast<std::size_t>(graph.target[edge])] * 5),
                 static_cast<std::uint64_t>(graph.bond[edge]))];
  std::int64_t divisor = 0;
  for (auto const& [key, count] : counts) divisor = std::gcd(divisor, count);
  for (auto& [key, count] : counts) count /= divisor;
  return counts;
}

}  // namespace athanor::tests
