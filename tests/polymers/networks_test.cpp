// Graph networks behind an engine: one of chemprop's, from SMILES, an ensemble that reads scalars
// of a polymer beside its graph, and one of several labels. Their weights are made on the spot.
#include <cmath>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include <athanor/chem/chemprop_processor.hpp>
#include <athanor/chem/processor.hpp>
#include <athanor/core/hash.hpp>
#include <athanor/serving/engine.hpp>
#include <athanor/torch/backend.hpp>

#include "torch/scripts.hpp"
#include "torch/table.hpp"

using namespace athanor;

namespace {

/// A member of a manifest: its file's name and digest.
std::string member(tests::Folder const& folder, std::string const& file) {
  return R"({"file": ")" + file + R"(", "digest": "xxh128:)" + to_hex(*hash_file((folder / file).string())) +
         "\"}";
}

Model<> serve(Engine<>& engine, tests::Folder const& folder, std::string const& manifest) {
  std::ofstream(folder / "athanor.json") << manifest;
  auto model = engine.load((folder / "").string());
  REQUIRE_MESSAGE(model, model.error().message);
  return *model;
}

Engine<> make_engine() {
  return Engine<>::create({.backends = {&libtorch::backend()},
                           .processors = {&chem::processor(), &chem::chemprop_processor()},
                           .threads = 2,
                           .cache_bytes = 0})
      .value();
}

// The network of chemprop_oracle.py: three rounds of messages, eight numbers wide.
constexpr char const* message_passing = R"(
def forward(self, atom: Tensor, bond: Tensor, source: Tensor, target: Tensor, reverse: Tensor, graph: Tensor,
            graphs: Tensor) -> Tensor:
  start = torch.cat([atom.index_select(0, source), bond], 1).matmul(self.W_i.t())
  state = torch.relu(start)
  nothing = torch.zeros([atom.size(0), start.size(1)])
  for i in range(2):
    arriving = nothing.index_add(0, target, state).index_select(0, source)
    state = torch.relu(start + (arriving - state.index_select(0, reverse)).matmul(self.W_h.t()))
  atoms = torch.cat([atom, nothing.index_add(0, target, state)], 1).matmul(self.W_o.t()) + self.W_o_bias
  pooled = torch.zeros([int(graphs), start.size(1)]).index_add(0, graph, torch.relu(atoms)) / 100.0
  hidden = torch.relu(pooled.matmul(self.first.t()) + self.first_bias)
  return hidden.matmul(self.last.t()) + self.last_bias
)";

constexpr char const* message_passing_manifest = R"({
  "athanor": 1, "name": "message-passing", "version": "1.0.0", "backend": "torch", "format": "torchscript",
  "processor": {"name": "chemprop-graph", "inputs": ["smiles"]},
  "inputs": [{"name": "smiles", "dtype": "bytes", "shape": ["items"]}],
  "model_inputs": [
    {"name": "atom", "dtype": "f32", "shape": ["atoms", 72]},
    {"name": "bond", "dtype": "f32", "shape": ["edges", 14]},
    {"name": "source", "dtype": "i64", "shape": ["edges"], "index_of": "atoms"},
    {"name": "target", "dtype": "i64", "shape": ["edges"], "index_of": "atoms"},
    {"name": "reverse", "dtype": "i64", "shape": ["edges"], "index_of": "edges"},
    {"name": "graph", "dtype": "i64", "shape": ["atoms"], "make": "segment"},
    {"name": "graphs", "dtype": "i64", "shape": [1], "make": "count"}
  ],
  "outputs": [{"name": "answers", "dtype": "f32", "shape": ["items", 2]}],
  "self_test": [{"inputs": {"smiles": ["CCO", "[Na+].[Cl-]"]},
                 "outputs": {"answers": [[1.42303729, 1.44536209], [1.19663978, 1.32394242]]}, "tolerance": 1e-4}],
  "members": [)";

Model<> message_passing_model(Engine<>& engine, tests::Folder const& folder) {
  tests::write_script(folder / "network.pt", message_passing,
                      {{"W_i", {8, 86}},
                       {"W_h", {8, 8}},
                       {"W_o", {8, 80}},
                       {"W_o_bias", {8}},
                       {"first", {8, 8}},
                       {"first_bias", {8}},
                       {"last", {2, 8}},
                       {"last_bias", {2}}});
  return serve(engine, folder, message_passing_manifest + member(folder, "network.pt") + "]}");
}

struct Expected {
  std::string smiles;
  std::array<double, 2> answers;
};

std::vector<Expected> read_oracle() {
  std::ifstream file(CHEMPROP_ORACLE);
  std::vector<Expected> rows;
  for (std::string line; std::getline(file, line);) {
    auto& row = rows.emplace_back();
    row.smiles = line.substr(0, line.find('\t'));
    std::istringstream(line.substr(line.rfind('\t'))) >> row.answers[0] >> row.answers[1];
  }
  return rows;
}

void check_answers(Expected const& expected, std::span<float const> answers) {
  CAPTURE(expected.smiles);
  for (std::size_t i = 0; i < 2; ++i)
    CHECK(std::abs(static_cast<double>(answers[i]) - expected.answers[i]) <= 1e-5 * expected.answers[i]);
}

// An ensemble of three that differ in a factor, as the folds of a cross-validation do.
constexpr char const* scalars_manifest = R"({
  "athanor": 1, "name": "scalars", "version": "1.0.0", "backend": "torch", "format": "torchscript",
  "processor": {"name": "polymer-graph", "inputs": ["smiles"]},
  "inputs": [{"name": "smiles", "dtype": "bytes", "shape": ["items"]}],
  "parameters": [
    {"name": "pm", "type": "f64", "default": 0.5, "min": 0, "max": 1},
    {"name": "mn", "type": "f64", "min": 1},
    {"name": "mw", "type": "f64", "min": 1}
  ],
  "model_inputs": [
    {"name": "atom", "dtype": "i32", "shape": ["atoms"]},
    {"name": "graph", "dtype": "i64", "shape": ["atoms"], "make": "segment"},
    {"name": "pm", "dtype": "f32", "shape": ["items"], "from": "parameter:pm"},
    {"name": "mn", "dtype": "f32", "shape": ["items"], "from": "parameter:mn"},
    {"name": "mw", "dtype": "f32", "shape": ["items"], "from": "parameter:mw"}
  ],
  "model_outputs": [{"name": "tg", "dtype": "f32", "shape": ["items"]}],
  "outputs": [
    {"name": "tg_mean", "dtype": "f32", "shape": ["items"], "unit": "K", "from": "mean:tg"},
    {"name": "tg_std", "dtype": "f32", "shape": ["items"], "unit": "K", "from": "std:tg"},
    {"name": "folds", "dtype": "i64", "shape": ["items"], "from": "members"}
  ],
  "self_test": [{"inputs": {"smiles": ["*CC*"], "mn": 1000, "mw": 2000}, "outputs": {"tg_mean": [17]}}],
  "members": [)";

// tg = fold * atoms + 10 pm * mw / mn - 5 in fold 1, 2 and 3.
Model<> scalars_model(Engine<>& engine, tests::Folder const& folder) {
  std::string members;
  for (std::string const fold : {"1", "2", "3"}) {
    tests::write_script(folder / (fold + ".pt"), R"(
def forward(self, atom: Tensor, graph: Tensor, pm: Tensor, mn: Tensor, mw: Tensor) -> Tensor:
  atoms = torch.zeros_like(pm).index_add(0, graph, torch.ones([atom.size(0)]))
  return )" + fold + R"( * atoms + 10.0 * pm * mw / mn - 5.0
)");
    members += (members.empty() ? "" : ", ") + member(folder, fold + ".pt");
  }
  return serve(engine, folder, scalars_manifest + members + "]}");
}

// An ensemble whose members give two properties at once, as training with several labels makes them.
constexpr char const* labels_manifest = R"({
  "athanor": 1, "name": "labels", "version": "1.0.0", "backend": "torch", "format": "torchscript",
  "processor": {"name": "polymer-graph", "inputs": ["smiles"]},
  "inputs": [{"name": "smiles", "dtype": "bytes", "shape": ["items"]}],
  "model_inputs": [
    {"name": "atom", "dtype": "i32", "shape": ["atoms"]},
    {"name": "graph", "dtype": "i64", "shape": ["atoms"], "make": "segment"},
    {"name": "graphs", "dtype": "i64", "shape": [1], "make": "count"}
  ],
  "model_outputs": [
    {"name": "tg", "dtype": "f32", "shape": ["items"]},
    {"name": "density", "dtype": "f32", "shape": ["items"]}
  ],
  "outputs": [
    {"name": "tg_mean", "dtype": "f32", "shape": ["items"], "unit": "K", "from": "mean:tg"},
    {"name": "tg_median", "dtype": "f32", "shape": ["items"], "unit": "K", "from": "median:tg"},
    {"name": "density_mean", "dtype": "f32", "shape": ["items"], "from": "mean:density"},
    {"name": "density_median", "dtype": "f32", "shape": ["items"], "from": "median:density"}
  ],
  "self_test": [{"inputs": {"smiles": ["*CC*"]}, "outputs": {"tg_median": [16], "density_median": [2.5]}}],
  "members": [)";

// tg = fold * atoms + 1 in fold 1, 2, 3 and 10; density = atoms / fold, half of which the member gives.
Model<> labels_model(Engine<>& engine, tests::Folder const& folder) {
  std::string members;
  for (std::string const fold : {"3", "1", "10", "2"}) {
    tests::write_script(folder / (fold + ".pt"), R"(
def forward(self, atom: Tensor, graph: Tensor, graphs: Tensor) -> Tuple[Tensor, Tensor]:
  atoms = torch.zeros([int(graphs)]).index_add(0, graph, torch.ones([atom.size(0)]))
  return )" + fold + R"( * atoms, 0.5 * atoms / )" + fold +
                                                     "\n");
    std::string const one = member(folder, fold + ".pt");
    members += (members.empty() ? "" : ", ") + one.substr(0, one.size() - 1) +
               R"(, "scale": {"tg": {"center": 1, "scale": 1}, "density": {"center": 0, "scale": 2}}})";
  }
  return serve(engine, folder, labels_manifest + members + "]}");
}

}  // namespace

// mutant: chemprop-graph gives the targets in the place of the sources
// mutant: positions stay those of their own item
TEST_CASE("a network of chemprop answers SMILES as chemprop does, alone and in company") {
  auto engine = make_engine();
  tests::Folder const folder;
  auto model = message_passing_model(engine, folder);
  auto const oracle = read_oracle();
  REQUIRE(oracle.size() == 54);
  std::vector<std::string_view> texts;
  for (auto const& row : oracle) {
    auto const alone = model.infer(Request{{"smiles", row.smiles}});
    REQUIRE_MESSAGE(alone, alone.error().message);
    check_answers(row, alone->outputs["answers"].as<float>());
    texts.emplace_back(row.smiles);
  }
  auto const together = model.infer(Request{{"smiles", Tensor::copy_texts(texts).value()}});
  REQUIRE_MESSAGE(together, together.error().message);
  CHECK(together->report.batch_items > 1);
  auto const answers = together->outputs["answers"].as<float>();
  for (std::size_t i = 0; i < oracle.size(); ++i) check_answers(oracle[i], answers.subspan(2 * i, 2));
}

// mutant: a repeated value is the first piece's
TEST_CASE("tacticity and molar masses are parameters of a request that each row of a batch has of its own") {
  auto engine = make_engine();
  tests::Folder const folder;
  auto model = scalars_model(engine, folder);
  struct Case {
    std::string smiles;
    double pm, mn, mw;
    float mean;
  };
  std::vector<Case> const cases = {{"*CC*", 0.5, 1000, 2000, 17},
                                   {"*CC*", 1.0, 1000, 2000, 27},
                                   {"*CC(*)C", 0.0, 5e4, 1e5, 13},
                                   {"*CC*", 0.25, 1e4, 4e4, 17}};
  std::vector<Request> requests;
  for (auto const& [smiles, pm, mn, mw, mean] : cases)
    requests.push_back(Request{{"smiles", smiles}, {"pm", pm}, {"mn", mn}, {"mw", mw}});
  auto const answers = model.infer_many(requests);
  for (std::size_t i = 0; i < cases.size(); ++i) {
    CAPTURE(i);
    REQUIRE_MESSAGE(answers[i], answers[i].error().message);
    CHECK(answers[i]->outputs["tg_mean"].as<float>()[0] == doctest::Approx(cases[i].mean));
    double const atoms = cases[i].smiles == "*CC*" ? 6 : 9;
    CHECK(answers[i]->outputs["tg_std"].as<float>()[0] == doctest::Approx(atoms * std::sqrt(2.0 / 3.0)));
    CHECK(answers[i]->outputs["folds"].as<std::int64_t>()[0] == 3);
  }
  auto const by_default = model.infer(Request{{"smiles", "*CC*"}, {"mn", 1000.0}, {"mw", 2000.0}});
  REQUIRE(by_default);
  CHECK(by_default->outputs["tg_mean"].as<float>()[0] == doctest::Approx(17));
}

// mutant: the upper bound of a parameter is not looked at
TEST_CASE("a molar mass that is missing and a tacticity above one are refused by name") {
  auto engine = make_engine();
  tests::Folder const folder;
  auto model = scalars_model(engine, folder);
  auto const missing = model.infer(Request{{"smiles", "*CC*"}, {"mn", 1000.0}});
  REQUIRE(!missing);
  CHECK(missing.error().code == Code::invalid_argument);
  CHECK_MESSAGE(missing.error().message.find("mw") != std::string::npos, missing.error().message);
  auto const wrong = model.infer(Request{{"smiles", "*CC*"}, {"pm", 1.5}, {"mn", 1000.0}, {"mw", 2000.0}});
  REQUIRE(!wrong);
  CHECK(wrong.error().code == Code::invalid_argument);
  CHECK_MESSAGE(wrong.error().message.find("pm") != std::string::npos, wrong.error().message);
}

// mutant: the median of an even number of members is the higher of the two in the middle
TEST_CASE("an ensemble of several labels has mean and median of each, scaled by its own numbers") {
  auto engine = make_engine();
  tests::Folder const folder;
  auto model = labels_model(engine, folder);
  std::vector<Request> const requests{Request{{"smiles", "*CC*"}}, Request{{"smiles", "*CC(*)C"}}};
  auto const answers = model.infer_many(requests);
  for (std::size_t i = 0; i < answers.size(); ++i) {
    REQUIRE_MESSAGE(answers[i], answers[i].error().message);
    float const atoms = i == 0 ? 6 : 9;
    auto const value = [&](char const* name) { return answers[i]->outputs[name].as<float>()[0]; };
    CHECK(value("tg_mean") == doctest::Approx(4 * atoms + 1));
    CHECK(value("tg_median") == doctest::Approx(2.5 * atoms + 1));
    CHECK(value("density_mean") == doctest::Approx(atoms * (1 + 0.5 + 1.0 / 3 + 0.1) / 4));
    CHECK(value("density_median") == doctest::Approx(atoms * (0.5 + 1.0 / 3) / 2));
  }
  std::vector<std::string_view> const wanted{"density_median"};
  auto const alone = model.infer(requests[0], {.outputs = wanted});
  REQUIRE(alone);
  CHECK(alone->outputs.size() == 1);
  CHECK(alone->outputs["density_median"].as<float>()[0] == doctest::Approx(2.5));
}
