/// Domain of validity: how many atom environments of a molecule did not occur in a model's training set.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <athanor/chem/smiles.hpp>
#include <athanor/core/error.hpp>

namespace athanor::inline v1::chem {

/// One unhashed Morgan identifier and how many atoms carry it.
struct MorganCount {
  std::uint32_t identifier = 0;
  std::int32_t count = 0;
  bool operator==(MorganCount const&) const = default;
};

/// The radius, in bonds, of the atom environments that identifiers describe.
inline constexpr std::int32_t morgan_radius = 2;
/// The most heavy atoms that are fingerprinted, because the work grows with their square.
inline constexpr std::int32_t morgan_heavy_atoms = 1000;

/// Identifiers of `smiles` as it stands, ascending, without features and chirality. Fails as molecular_graph
/// does, and with `too_large` above morgan_heavy_atoms. Thread-safe.
Result<std::vector<MorganCount>> morgan_identifiers(std::string_view smiles, SmilesLimits const& limits = {});

/// What all spellings of one endless chain share, over however many units it is written: the XXH3-128 digest,
/// as 32 hexadecimal digits, of its identifiers (ascending) in the form `3:2 17:1`, where the counts are
/// divided by their greatest common divisor. Chains that differ only beyond morgan_radius have equal keys.
std::string chain_key(std::span<MorganCount const> chain);

/// The identifiers that occur in a model's training set. Immutable, so one serves all threads.
class DomainOfValidity {
 public:
  /// Reads `{"rdkit": "2022.09.3", "radius": 2, "identifiers": [...]}`; `rdkit` says what made the file and
  /// is not compared. A list `chains`, of chain_key texts, is optional. Fails with invalid_argument / syntax,
  /// naming the key, or with failed_precondition when the RDKit in this process gives other identifiers to a
  /// known molecule, so that counts would be wrong.
  static Result<DomainOfValidity> from_json(std::string_view text);
  explicit DomainOfValidity(std::vector<std::uint32_t> identifiers, std::vector<std::string> chains = {});

  /// How many distinct identifiers of `molecule` are not in the training set.
  std::int64_t unseen(std::span<MorganCount const> molecule) const noexcept;
  /// Whether the key of `molecule` is one of `chains`.
  bool lists(std::span<MorganCount const> molecule) const;
  std::size_t size() const noexcept { return identifiers_.size(); }

 private:
  std::vector<std::uint32_t> identifiers_;  // ascending, each once
  std::vector<std::string> chains_;         // ascending
};

}  // namespace athanor::inline v1::chem
