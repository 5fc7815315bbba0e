// Answers that hold texts, which a processor makes.
#include <doctest/doctest.h>

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <serving/simulated_engine.hpp>

using namespace athanor;
using namespace athanor_tests;

namespace {

// Names a number n: `label` is its digits, or nothing for 0, and `words` are n words.
struct NamingProcessor {
  static constexpr char const* name = "naming";
  struct Opened {
    static constexpr std::array<Port, 2> ports{{{"label", DType::bytes}, {"words", DType::bytes}}};
    std::span<Port const> outputs() const { return ports; }

    Result<std::vector<Tensor>> postprocess(Item const&, void const*, std::span<Tensor const> rows) const {
      int const number = static_cast<int>(rows[0].as<float>()[0]);
      std::string const label = number == 0 ? "" : std::to_string(number);
      std::vector<std::string> words;
      for (int i = 0; i < number; ++i) words.push_back("word " + std::to_string(i));
      std::vector<std::string_view> const views(words.begin(), words.end());
      return std::vector{Tensor::copy_texts(std::array{std::string_view(label)}).value(),
                         Tensor::copy_texts(views).value()};
    }
  };
  Result<std::unique_ptr<Opened>> open(std::string_view, std::string_view) {
    return std::make_unique<Opened>();
  }
};

constexpr std::string_view tensors = R"("processor": {"name": "naming"},
  "inputs": [{"name": "x", "dtype": "f32", "shape": ["items"]}],
  "model_outputs": [{"name": "y", "dtype": "f32", "shape": ["items"]}],
  "outputs": [{"name": "label", "dtype": "bytes", "shape": ["items"], "from": "processor:label"},
              {"name": "words", "dtype": "bytes", "shape": ["words"], "from": "processor:words"},
              {"name": "count", "dtype": "i64", "shape": ["items"], "from": "rows:words"}],)";

// The puppet adds one to each number.
struct NamingRig : SimulatedEngine {
  NamingProcessor naming;
  ath_processor_table table_of_naming = make_table(naming);
  ModelFolder namer;
  Model<SimulatedServing> model;

  explicit NamingRig(std::string const& more = R"("batching": {"max_items": 2},)")
      : SimulatedEngine("", {.caller_runs = CallerRuns::never}),
        namer(more, "namer", "1.0.0", tensors),
        model(add()) {}
  ~NamingRig() { state->stop(Duration{0}); }

  Model<SimulatedServing> add() {
    REQUIRE(state->add_processor(table_of_naming));
    served = state->add(namer.path()).value().get();
    return {state, *served};
  }
};

std::vector<std::string> texts(Tensor const& tensor) {
  std::vector<std::string> all;
  for (std::int64_t i = 0; i < tensor.shape().elements(); ++i) all.emplace_back(tensor.text_at(i));
  return all;
}

Request asking(std::vector<float> const& numbers) {
  return {
      {"x", Tensor::view<float>(numbers, Shape{static_cast<std::int64_t>(numbers.size())}).clone().value()}};
}

using Texts = std::vector<std::string>;

}  // namespace

// mutant: an item has one text, whatever its processor made
TEST_CASE("answers hold the texts that a processor makes, in the order of the items") {
  NamingRig rig;
  auto const answer = rig.infer(asking({1, -1, 0, 2, 11}));
  REQUIRE_MESSAGE(answer, answer.error().message);
  CHECK(texts(answer->outputs["label"]) == Texts{"2", "", "1", "3", "12"});
  CHECK(answer->outputs["label"].shape() == Shape{5});
  auto const words = texts(answer->outputs["words"]);
  REQUIRE(words.size() == 2 + 0 + 1 + 3 + 12);
  CHECK(words[2] == "word 0");
  CHECK(words[5] == "word 2");
  CHECK(words.back() == "word 11");
  CHECK(answer->outputs["count"].as<std::int64_t>()[4] == 12);

  auto const none = rig.infer(asking({-1}));
  REQUIRE_MESSAGE(none, none.error().message);
  CHECK(texts(none->outputs["label"]) == Texts{""});
  CHECK(none->outputs["words"].shape() == Shape{0});
}

TEST_CASE("texts of an answer are cached, and an answer that is kept stays as it was") {
  NamingRig rig;
  auto const first = rig.infer(asking({2}));
  REQUIRE_MESSAGE(first, first.error().message);
  REQUIRE(rig.infer(asking({7}), {.cache = CacheMode::skip}));
  auto const again = rig.infer(asking({2}));
  REQUIRE(again);
  CHECK(again->report.cache == CacheState::hit);
  CHECK(texts(again->outputs["words"]) == Texts{"word 0", "word 1", "word 2"});
  CHECK(texts(first->outputs["label"]) == Texts{"3"});
}

// mutant: texts are copied into the memory of one caller's tensors
TEST_CASE("infer_into has no room for texts") {
  NamingRig rig;
  auto const refused = rig.model.infer_into(asking({1}), {});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message ==
        "namer@1.0.0: output label: expected an output with one row of numbers per item, got bytes [items]: "
        "use "
        "infer");
}

// mutant: infer_into looks at outputs that nobody asked for
TEST_CASE("infer_into writes the numbers of a model that has texts as well") {
  NamingRig rig(R"("batching": {"max_items": 1},)");
  std::array<std::string_view, 1> const names{"count"};
  std::array<std::int64_t, 1> counted{};
  std::array<Tensor, 1> outputs{Tensor::view<std::int64_t>(counted, Shape{1})};
  REQUIRE(rig.model.infer_into(asking({2}), outputs, {.outputs = names}));
  CHECK(counted[0] == 3);
}

// mutant: a self-test takes any text for the one expected
TEST_CASE("a self-test knows the texts that its answers hold") {
  auto const load = [](std::string const& label, std::string const& words) {
    NamingRig rig(R"("self_test": [{"inputs": {"x": [1, 0]}, "outputs": {"label": ["2", ")" + label +
                  R"("], "words": ["word 0", "word 1", ")" + words + R"("]}}],)");
    auto const answer = rig.infer(asking({4}));
    return answer ? "" : answer.error().message;
  };
  CHECK(load("1", "word 0") == "");
  CHECK(load("7", "word 0").find("output label: element 1: expected '7', got '1'") != std::string::npos);
  CHECK(load("1", "word 5").find("expected 'word 5', got 'word 0'") != std::string::npos);
}
