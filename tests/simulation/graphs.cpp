#include <simulation/graphs.hpp>

#include <algorithm>
#include <numeric>

namespace athanor_tests {

namespace {

constexpr std::int64_t most_atoms = 4;

std::span<std::int64_t const> values_of(ath_tensor const& tensor) {
  return {static_cast<std::int64_t const*>(tensor.data), static_cast<std::size_t>(tensor.shape[0])};
}

bool begins_with(std::span<std::int64_t const> all, std::size_t first,
                 std::span<std::int64_t const> expected) {
  return first + expected.size() <= all.size() &&
         std::ranges::equal(all.subspan(first, expected.size()), expected);
}

}  // namespace

Graph graph_of(std::uint32_t mark) {
  Graph graph;
  std::int64_t const atoms = 1 + mark % most_atoms;
  for (std::int64_t i = 0; i < atoms; ++i) graph.atoms.push_back(std::int64_t{mark} * most_atoms + i);
  for (std::uint32_t i = 0; i < mark / 2 % 4; ++i) graph.edges.push_back((std::int64_t{mark} + i) % atoms);
  return graph;
}

std::vector<Tensor> tensors_of(Graph const& graph) {
  std::vector<Tensor> tensors;
  for (auto const* const values : {&graph.atoms, &graph.edges}) {
    auto const length = static_cast<std::int64_t>(values->size());
    tensors.push_back(Tensor::allocate(DType::i64, Shape{length}).value());
    std::ranges::copy(*values, tensors.back().mutable_as<std::int64_t>().begin());
  }
  return tensors;
}

std::optional<std::vector<std::uint32_t>> read_graphs(std::span<ath_tensor const> inputs,
                                                      std::int64_t items) {
  auto const atoms = values_of(inputs[0]);
  auto const edges = values_of(inputs[1]);
  auto const segments = values_of(inputs[2]);
  if (values_of(inputs[3])[0] != items || segments.size() != atoms.size()) return std::nullopt;
  std::vector<std::uint32_t> marks;
  std::size_t atom = 0;
  std::size_t edge = 0;
  for (std::int64_t item = 0; item < items; ++item) {
    if (atom >= atoms.size() || atoms[atom] < 0) return std::nullopt;
    marks.push_back(static_cast<std::uint32_t>(atoms[atom] / most_atoms));
    Graph graph = graph_of(marks.back());
    // An edge leads to an atom of its own item, wherever in the batch that lies.
    for (std::int64_t& position : graph.edges) position += static_cast<std::int64_t>(atom);
    std::vector<std::int64_t> const own(graph.atoms.size(), item);
    if (!begins_with(atoms, atom, graph.atoms) || !begins_with(segments, atom, own) ||
        !begins_with(edges, edge, graph.edges))
      return std::nullopt;
    atom += graph.atoms.size();
    edge += graph.edges.size();
  }
  if (atom != atoms.size() || edge != edges.size()) return std::nullopt;
  return marks;
}

void append_forces(std::uint32_t mark, std::vector<float>& forces) {
  Graph const graph = graph_of(mark);
  for (std::size_t i = 0; i < graph.atoms.size(); ++i) {
    forces.push_back(static_cast<float>(graph.atoms[i]));
    forces.push_back(static_cast<float>(std::ranges::count(graph.edges, static_cast<std::int64_t>(i))));
  }
}

std::string label_of(std::uint32_t mark, std::uint32_t step) {
  return "m" + std::to_string(mark) + std::string(step % 3, '*');
}

std::vector<std::string> words_of(std::uint32_t mark, std::uint32_t step) {
  std::vector<std::string> words;
  for (std::uint32_t i = 0; i < (mark + step) % 3; ++i)
    words.push_back(label_of(mark, step) + "." + std::to_string(i));
  return words;
}

std::vector<Tensor> texts_of(std::uint32_t mark, std::uint32_t step) {
  std::string const label = label_of(mark, step);
  auto const words = words_of(mark, step);
  std::vector<std::string_view> const views(words.begin(), words.end());
  std::string_view const only[] = {label};
  std::vector<Tensor> tensors;
  tensors.push_back(Tensor::copy_texts(only).value());
  tensors.push_back(Tensor::copy_texts(views).value());
  return tensors;
}

std::string judge_graphs(std::span<std::uint32_t const> marks, std::uint32_t step,
                         GraphOutputs const& outputs) {
  std::vector<float> forces;
  std::vector<std::int64_t> atoms;
  std::vector<std::int64_t> counts;
  std::vector<std::string> words;
  for (std::uint32_t const mark : marks) {
    append_forces(mark, forces);
    atoms.push_back(static_cast<std::int64_t>(graph_of(mark).atoms.size()));
    auto const own = words_of(mark, step);
    counts.push_back(static_cast<std::int64_t>(own.size()));
    words.insert(words.end(), own.begin(), own.end());
  }
  auto const items = static_cast<std::int64_t>(marks.size());
  auto const rows = std::accumulate(atoms.begin(), atoms.end(), std::int64_t{0});
  if (!std::ranges::equal(outputs.atoms->as<std::int64_t>(), atoms)) return "other numbers of atoms";
  if (outputs.force->shape() != Shape{rows, forces_of_atom} ||
      !std::ranges::equal(outputs.force->as<float>(), forces))
    return "the forces on somebody else's atoms";
  if (!std::ranges::equal(outputs.count->as<std::int64_t>(), counts)) return "other numbers of words";
  if (outputs.label->shape() != Shape{items} ||
      outputs.words->shape() != Shape{static_cast<std::int64_t>(words.size())})
    return "texts of another shape";
  for (std::int64_t i = 0; i < items; ++i)
    if (outputs.label->text_at(i) != label_of(marks[static_cast<std::size_t>(i)], step))
      return "somebody else's label";
  for (std::size_t i = 0; i < words.size(); ++i)
    if (outputs.words->text_at(static_cast<std::int64_t>(i)) != words[i]) return "somebody else's words";
  return "";
}

}  // namespace athanor_tests
