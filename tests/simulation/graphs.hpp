// Graphs, as a processor makes them and a model reads them: items of any number
// of atoms, and of edges, each of which is the position of an atom of the same
// item. What a model and a processor must give for a graph follows from its mark.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <athanor/core/backend.hpp>

namespace athanor_tests {

using namespace athanor;

struct Graph {
  std::vector<std::int64_t> atoms{};
  std::vector<std::int64_t> edges{};
};
// No two marks have the same atoms.
Graph graph_of(std::uint32_t mark);
// What preprocess makes of it: `atom` and `edge`.
std::vector<Tensor> tensors_of(Graph const& graph);

// The marks of a batch's graphs. None when an atom, an edge or the
// count is not what the requests and the places of their items say.
std::optional<std::vector<std::uint32_t>> read_graphs(std::span<ath_tensor const> atom_edge_segment_count,
                                                      std::int64_t items);

// Of each atom: itself, and how many edges lead to it.
inline constexpr std::int64_t forces_of_atom = 2;
void append_forces(std::uint32_t mark, std::vector<float>& forces);

// What postprocess makes of an answer: `label`, one text for the item, and `words`, any number of them.
std::string label_of(std::uint32_t mark, std::uint32_t step);
std::vector<std::string> words_of(std::uint32_t mark, std::uint32_t step);
std::vector<Tensor> texts_of(std::uint32_t mark, std::uint32_t step);

// What an answer says of graphs, in the order of its items.
struct GraphOutputs {
  Tensor const* force = nullptr;
  Tensor const* atoms = nullptr;  // how many each item has
  Tensor const* label = nullptr;
  Tensor const* words = nullptr;
  Tensor const* count = nullptr;  // how many words each item has
};
template <class Outputs>
GraphOutputs graph_outputs(Outputs const& outputs) {
  return {outputs.find("force"), outputs.find("atoms"), outputs.find("label"), outputs.find("words"),
          outputs.find("count")};
}
// What is wrong with them; empty when nothing is.
std::string judge_graphs(std::span<std::uint32_t const> marks, std::uint32_t step,
                         GraphOutputs const& outputs);

// What a manifest says of all this, for a model that gives `force` and `y`.
inline constexpr std::string_view graph_inputs =
    R"({"name": "atom", "dtype": "i64", "shape": ["atoms"]},
    {"name": "edge", "dtype": "i64", "shape": ["edges"], "index_of": "atoms"},
    {"name": "graph", "dtype": "i64", "shape": ["atoms"], "make": "segment"},
    {"name": "graphs", "dtype": "i64", "shape": [1], "make": "count"})";
inline constexpr std::string_view force_output =
    R"({"name": "force", "dtype": "f32", "shape": ["atoms", 2]})";
inline constexpr std::string_view graph_answers =
    R"({"name": "force", "dtype": "f32", "shape": ["atoms", 2]},
    {"name": "atoms", "dtype": "i64", "shape": ["items"], "from": "rows:atoms"},
    {"name": "label", "dtype": "bytes", "shape": ["items"], "from": "processor:label"},
    {"name": "words", "dtype": "bytes", "shape": ["words"], "from": "processor:words"},
    {"name": "count", "dtype": "i64", "shape": ["items"], "from": "rows:words"})";

}  // namespace athanor_tests
