/// Token tables: the numbers that one model was trained with for kinds of atoms and bonds.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <athanor/chem/graph.hpp>
#include <athanor/core/error.hpp>

namespace athanor::inline v1::chem {

/// A graph in one model's numbers.
struct TokenisedGraph {
  std::vector<std::int32_t> atom;  ///< [atoms]
  std::vector<std::int32_t> bond;  ///< [edges]
  std::int32_t unknown_atoms = 0;  ///< atoms whose kind the model never saw
  std::int32_t unknown_bonds = 0;  ///< directed edges whose kind the model never saw
};

/// Numbers kinds in the order of training: 0 is padding, 1 unknown, 2 the first kind seen. `learn` is for
/// training and needs exclusive access; all other functions are const and thread-safe, and never make the
/// table grow.
class TokenTable {
 public:
  static constexpr std::int32_t unknown = 1;

  /// Reads what nfp's `SmilesPreprocessor.to_json()` writes, with explicit hydrogens. Fails with
  /// invalid_argument / syntax, naming the key.
  static Result<TokenTable> from_nfp_json(std::string_view text);

  /// Assigns the next numbers to the new kinds of `graph`, atoms and bonds in the graph's order.
  void learn(MolecularGraph const& graph);

  /// The token of a code, or that of unknown codes.
  std::int32_t atom_token(std::int32_t code) const noexcept { return find(atoms_, code); }
  std::int32_t bond_token(std::int32_t code) const noexcept { return find(bonds_, code); }
  /// Rows of an embedding of atoms: one more than the largest token.
  std::int32_t atom_classes() const noexcept { return atoms_.largest + 1; }
  std::int32_t bond_classes() const noexcept { return bonds_.largest + 1; }
  TokenisedGraph tokenise(MolecularGraph const& graph) const;

 private:
  struct Vocabulary {
    std::unordered_map<std::int32_t, std::int32_t> tokens;
    std::int32_t largest = unknown;
  };
  static std::int32_t find(Vocabulary const& vocabulary, std::int32_t code) noexcept {
    auto const entry = vocabulary.tokens.find(code);
    return entry == vocabulary.tokens.end() ? unknown : entry->second;
  }
  static void learn(Vocabulary& vocabulary, std::span<std::int32_t const> codes);

  Vocabulary atoms_;
  Vocabulary bonds_;
};

}  // namespace athanor::inline v1::chem
