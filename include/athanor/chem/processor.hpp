/// The processor `polymer-graph`: one text in, the tensors of its molecular graph out.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include <athanor/chem/domain.hpp>
#include <athanor/chem/polymer.hpp>
#include <athanor/core/backend.hpp>

namespace athanor::inline v1::chem {

/// Satisfies Processor. An item is a `bytes` tensor of one element: a repeat unit with two `*`, or a plain
/// SMILES.
///
/// | output | type, shape | what |
/// |---|---|---|
/// | `atom` | i32 [atoms] | atom codes; a model's token table maps them |
/// | `bond` | i32 [edges] | bond codes |
/// | `source`, `target` | i64 [edges] | ends of the directed edges |
/// | `unseen_identifiers` | i64 [1] | identifiers outside the domain of validity; -1 without a domain, or for a molecule above morgan_heavy_atoms |
/// | `heavy_atoms` | i64 [1] | atoms that are not hydrogen |
/// | `polymer` | i64 [1] | 1 for a repeat unit, 0 for a plain SMILES |
/// | `identifier` | i64 [identifiers] | Morgan identifiers, ascending; none unless `identifiers` or `domain` is given |
/// | `identifier_count` | i64 [identifiers] | how many atoms carry each of them |
/// | `listed` | i64 [1] | 1 for a repeat unit whose chain the domain lists, else 0; -1 as for `unseen_identifiers` |
///
/// The cost of an item is its number of edges.
class PolymerGraphProcessor {
 public:
  static constexpr char const* name = "polymer-graph";
  static constexpr std::array<Port, 10> ports = {{{"atom", DType::i32},
                                                  {"bond", DType::i32},
                                                  {"source", DType::i64},
                                                  {"target", DType::i64},
                                                  {"unseen_identifiers", DType::i64},
                                                  {"heavy_atoms", DType::i64},
                                                  {"polymer", DType::i64},
                                                  {"identifier", DType::i64},
                                                  {"identifier_count", DType::i64},
                                                  {"listed", DType::i64}}};

  /// An opened processor: immutable, used from many threads at once.
  class Opened {
   public:
    /// `read_by_model`: the model reads the identifiers, so a molecule that has too many atoms for them is
    /// rejected.
    Opened(PolymerOptions options, std::optional<DomainOfValidity> domain, bool read_by_model);
    /// What preprocess makes: the table above.
    std::span<Port const> made() const noexcept { return ports; }
    /// Fails as prepare_polymer does, with invalid_argument / dtype or shape for an item that is not one
    /// text, and with too_large for a molecule above morgan_heavy_atoms when the model reads identifiers.
    Result<Preprocessed> preprocess(Item const& item) const;

   private:
    PolymerOptions options_;
    std::optional<DomainOfValidity> domain_;
    bool read_by_model_;
  };

  /// `options` is empty or a JSON object: `units` (an oligomer of that many units instead of the endless
  /// chain), `domain` (a file of DomainOfValidity inside `folder`; the caller must verify its digest) and
  /// `identifiers` (true when the model reads them).
  /// Fails with invalid_argument / option, naming an unknown key or a wrong value, with not_found or
  /// unavailable / file, or as DomainOfValidity::from_json does.
  Result<std::unique_ptr<Opened>> open(std::string_view folder, std::string_view options) const;
};

/// The processor as a table: static, never freed, for any number of threads.
ath_processor_table const& processor();

}  // namespace athanor::inline v1::chem
