#include <athanor/chem/chemprop_processor.hpp>

#include "items.hpp"
#include "json_object.hpp"

namespace athanor::inline v1::chem {

static_assert(Processor<ChempropGraphProcessor>);

Result<Preprocessed> ChempropGraphProcessor::Opened::preprocess(Item const& item) const {
  auto const text = text_of(item, name);
  if (!text) return tl::unexpected(text.error());
  auto const graph = chemprop_graph(*text, table_);
  if (!graph) return tl::unexpected(graph.error());
  std::int64_t const width = chemprop_atom_width(table_);
  auto const atoms = static_cast<std::int64_t>(graph->atom.size()) / width;
  auto const edges = static_cast<std::int64_t>(graph->source.size());
  std::array<Result<Tensor>, ports.size()> tensors = {
      copy<float>(graph->atom, Shape{atoms, width}),
      copy<float>(graph->bond, Shape{edges, chemprop_bond_width}), copy<std::int64_t>(graph->source),
      copy<std::int64_t>(graph->target), copy<std::int64_t>(graph->reverse)};
  return gather(tensors, atoms + edges);
}

Result<std::unique_ptr<ChempropGraphProcessor::Opened>> ChempropGraphProcessor::open(
    std::string_view /*folder*/, std::string_view options) const {
  ChempropTable table = ChempropTable::v2;
  auto const document =
      parse_object(options.empty() ? "{}" : options, "chemprop-graph: options", Reason::option);
  if (!document) return tl::unexpected(document.error());
  for (auto const& [key, value] : document->items()) {
    if (key != "atoms")
      return fail(Code::invalid_argument, Reason::option, "chemprop-graph: unknown option {}; it takes atoms",
                  key);
    if (value != "v1" && value != "v2")
      return fail(Code::invalid_argument, Reason::option,
                  R"(chemprop-graph: atoms: expected "v1" or "v2", got {})", json::describe(value));
    table = value == "v1" ? ChempropTable::v1 : ChempropTable::v2;
  }
  return std::make_unique<Opened>(table);
}

ath_processor_table const& chemprop_processor() {
  static ChempropGraphProcessor graphs;
  static ath_processor_table const table = make_table(graphs);
  return table;
}

}  // namespace athanor::inline v1::chem
