#include <algorithm>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <athanor/chem/chemprop_processor.hpp>
#include <athanor/chem/graph.hpp>
#include <athanor/chem/polymerise.hpp>

#include "support/item.hpp"

using namespace athanor;
using namespace athanor::chem;
using namespace std::string_literals;

namespace {

std::vector<std::string> split(std::string const& text, char separator) {
  std::vector<std::string> parts(1);
  for (char const letter : text) {
    if (letter == separator)
      parts.emplace_back();
    else
      parts.back().push_back(letter);
  }
  return parts;
}

/// The places of the ones among `values`, as chemprop_oracle.py writes them.
std::string ones(std::span<float const> values) {
  std::string places;
  for (std::size_t i = 0; i < values.size(); ++i) {
    bool const known = values[i] == 0.0F || values[i] == 1.0F;
    if (!known || values[i] == 1.0F)
      places += fmt::format("{}{}{}", places.empty() ? "" : ",", known ? "" : "?", i);
  }
  return places;
}

std::string atoms_of(ChempropGraph const& graph, ChempropTable table) {
  std::string text;
  auto const width = static_cast<std::size_t>(chemprop_atom_width(table));
  for (std::size_t at = 0; at < graph.atom.size(); at += width) {
    auto const atom = std::span(graph.atom).subspan(at, width);
    text += fmt::format("{}{}:{:.6g}", at == 0 ? "" : " ", ones(atom.first(width - 1)), atom.back());
  }
  return text;
}

std::string bonds_of(ChempropGraph const& graph) {
  std::string text;
  auto const width = static_cast<std::size_t>(chemprop_bond_width);
  for (std::size_t edge = 0; edge < graph.source.size(); ++edge)
    text += fmt::format("{}{}-{}:{}", edge == 0 ? "" : " ", graph.source[edge], graph.target[edge],
                        ones(std::span(graph.bond).subspan(edge * width, width)));
  return text;
}

ChempropGraph graph_of(std::string const& smiles, ChempropTable table = ChempropTable::v2) {
  auto graph = chemprop_graph(smiles, table);
  REQUIRE_MESSAGE(graph, smiles << ": " << graph.error().message);
  return std::move(*graph);
}

Reason reason_of(std::string const& smiles) {
  auto const graph = chemprop_graph(smiles);
  return graph ? Reason::none : graph.error().reason;
}

}  // namespace

// mutant: the charges of an atom are taken in ascending order
// mutant: a graph of chemprop is perceived without hybridisation
// mutant: no stereo is perceived for chemprop
TEST_CASE("atoms and bonds have the features that chemprop gives them") {
  std::ifstream file(CHEMPROP_ORACLE);
  int molecules = 0;
  for (std::string line; std::getline(file, line); ++molecules) {
    auto const columns = split(line, '\t');
    REQUIRE(columns.size() == 5);
    CAPTURE(columns[0]);
    auto const graph = graph_of(columns[0]);
    CHECK(atoms_of(graph, ChempropTable::v2) == columns[1]);
    CHECK(atoms_of(graph_of(columns[0], ChempropTable::v1), ChempropTable::v1) == columns[2]);
    CHECK(bonds_of(graph) == columns[3]);
  }
  CHECK(molecules == 54);
}

// mutant: the reverse of an edge is the edge itself
TEST_CASE("the reverse of an edge joins the same atoms the other way") {
  auto const graph = graph_of("C[C@@H](N)c1ccccc1.[Na+]");
  REQUIRE(graph.reverse.size() == 18);
  for (std::size_t edge = 0; edge < graph.reverse.size(); ++edge) {
    auto const back = static_cast<std::size_t>(graph.reverse[edge]);
    REQUIRE(back < graph.reverse.size());
    CHECK(graph.reverse[back] == static_cast<std::int32_t>(edge));
    CHECK(graph.source[back] == graph.target[edge]);
    CHECK(graph.target[back] == graph.source[edge]);
  }
}

// mutant: a large molecule without marks of stereo is refused
// mutant: marks of stereo are read in a molecule of any size
TEST_CASE("a large molecule is read when no stereo has to be perceived in it") {
  CHECK(graph_of(std::string(2000, 'C')).reverse.size() == 3998);
  CHECK(reason_of("C/C=C/" + std::string(297, 'C')) == Reason::none);
  auto const large = chemprop_graph("C/C=C/" + std::string(298, 'C'));
  REQUIRE(!large);
  CHECK(large.error().reason == Reason::too_large);
  CHECK(large.error().message ==
        "smiles: expected at most 300 heavy atoms in a molecule with marks of stereo, got 301");
  CHECK(reason_of(std::string(2001, 'C')) == Reason::too_large);
  // Each of the two limits has a name of its own, so that a program may include both headers.
  CHECK(chemprop_stereo_heavy_atoms < stereo_heavy_atoms);
}

// mutant: what RDKit throws leaves the room
TEST_CASE("what is no molecule is refused in the words of the other graphs") {
  auto const message = [](std::string const& smiles) {
    auto const graph = chemprop_graph(smiles);
    return graph ? "accepted"s : graph.error().message;
  };
  for (std::string const smiles : {"C1CC", "C(", "", "CN(C)(C)(C)C", "c1cccc1", "[nH]1cccc1.Cx"}) {
    CAPTURE(smiles);
    auto const other = molecular_graph(smiles);
    REQUIRE(!other);
    CHECK(message(smiles) == other.error().message);
  }
}

// mutant: chemprop-graph gives the bonds in the place of the atoms
// mutant: the cost of a graph of chemprop is its edges alone
TEST_CASE("the processor chemprop-graph gives the tensors of the graph in the order of its outputs") {
  auto const processor = ChempropGraphProcessor{}.open({}, {});
  REQUIRE(processor);
  Tensor const text = Tensor::text("CC=O");
  auto const features = (*processor)->preprocess(athanor::tests::ItemOf(text));
  REQUIRE(features);
  auto const graph = graph_of("CC=O");
  auto const& tensors = features->tensors;
  REQUIRE(tensors.size() == ChempropGraphProcessor::ports.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    CHECK(tensors[i].dtype() == ChempropGraphProcessor::ports[i].dtype);
    CHECK(tensors[i].owned());
  }
  CHECK(tensors[0].shape() == Shape{3, 72});
  CHECK(tensors[1].shape() == Shape{4, 14});
  CHECK(std::ranges::equal(tensors[0].as<float>(), graph.atom));
  CHECK(std::ranges::equal(tensors[1].as<float>(), graph.bond));
  CHECK(std::ranges::equal(tensors[2].as<std::int64_t>(), graph.source));
  CHECK(std::ranges::equal(tensors[3].as<std::int64_t>(), graph.target));
  CHECK(std::ranges::equal(tensors[4].as<std::int64_t>(), graph.reverse));
  CHECK(features->cost == 7);

  Tensor const atom = Tensor::text("[Na+]");
  auto const alone = (*processor)->preprocess(athanor::tests::ItemOf(atom));
  REQUIRE(alone);
  CHECK(alone->tensors[1].shape() == Shape{0, 14});
  CHECK(alone->cost == 1);
  std::vector<float> const numbers(3);
  CHECK((*processor)
            ->preprocess(athanor::tests::ItemOf(Tensor::view(std::span<float const>(numbers), Shape{3})))
            .error()
            .message == "chemprop-graph: expected a text (bytes), got f32");
}

// mutant: the table of atom features is read and forgotten
// mutant: chemprop-graph skips options that it does not know
TEST_CASE("chemprop-graph takes the table of atom features and no other option") {
  auto const old = ChempropGraphProcessor{}.open({}, R"({"atoms": "v1"})");
  REQUIRE(old);
  Tensor const text = Tensor::text("CC");
  CHECK((*old)->preprocess(athanor::tests::ItemOf(text))->tensors[0].shape() == Shape{2, 133});
  auto const message = [](std::string const& options) {
    auto const processor = ChempropGraphProcessor{}.open("/nowhere", options);
    return processor ? "accepted"s : processor.error().message;
  };
  CHECK(message("{}") == "accepted");
  CHECK(message(R"({"atoms": "v2"})") == "accepted");
  CHECK(message(R"({"atoms": "v3"})") == R"(chemprop-graph: atoms: expected "v1" or "v2", got "v3")");
  CHECK(message(R"({"atoms": 1})") == R"(chemprop-graph: atoms: expected "v1" or "v2", got 1)");
  CHECK(message(R"({"units": 1})") == "chemprop-graph: unknown option units; it takes atoms");
  CHECK(message("[") == "chemprop-graph: options: expected JSON, got something else at byte 1 (line 1)");
}
