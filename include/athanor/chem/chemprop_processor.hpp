/// The processor `chemprop-graph`: one SMILES in, the tensors that a network of chemprop reads out.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <string_view>

#include <athanor/chem/chemprop_graph.hpp>
#include <athanor/core/backend.hpp>

namespace athanor::inline v1::chem {

/// Satisfies Processor. An item is a `bytes` tensor of one element, a SMILES.
///
/// | output | type, shape | what |
/// |---|---|---|
/// | `atom` | f32 [atoms, 72] | features of the atoms, 133 with the table `v1`; `V` of chemprop |
/// | `bond` | f32 [edges, 14] | features of the directed edges; `E` |
/// | `source`, `target` | i64 [edges] | ends of the edges; `edge_index` |
/// | `reverse` | i64 [edges] | the edge of the same bond the other way; `rev_edge_index` |
///
/// `f_bonds` of chemprop 1 are the rows of `atom` at `source`, followed by those of `bond`. The cost of an
/// item is its number of atoms and edges.
class ChempropGraphProcessor {
 public:
  static constexpr char const* name = "chemprop-graph";
  static constexpr std::array<Port, 5> ports = {{{"atom", DType::f32},
                                                 {"bond", DType::f32},
                                                 {"source", DType::i64},
                                                 {"target", DType::i64},
                                                 {"reverse", DType::i64}}};

  /// An opened processor: immutable, used from many threads at once.
  class Opened {
   public:
    explicit Opened(ChempropTable table) : table_(table) {}
    /// What preprocess makes: the table above.
    std::span<Port const> made() const noexcept { return ports; }
    /// Fails as chemprop_graph does, and with invalid_argument / dtype or shape for an item that is not one
    /// text.
    Result<Preprocessed> preprocess(Item const& item) const;

   private:
    ChempropTable table_;
  };

  /// `options` is empty or a JSON object: `atoms`, the table of atom features, `"v2"` (the default) or
  /// `"v1"`. The folder is not read. Fails with invalid_argument / option, naming an unknown key or a wrong
  /// value.
  Result<std::unique_ptr<Opened>> open(std::string_view folder, std::string_view options) const;
};

/// The processor as a table: static, never freed, for any number of threads.
ath_processor_table const& chemprop_processor();

}  // namespace athanor::inline v1::chem
