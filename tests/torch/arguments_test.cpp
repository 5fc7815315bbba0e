// Modules that do not take a batch of rows in every argument: values that are no tensors, other batch axes, and none.
#include <vector>

#include <doctest/doctest.h>

#include <athanor/serving/engine.hpp>

#include "modules.hpp"

using namespace athanor;
using namespace athanor::tests;

namespace {

constexpr char const* speech = R"(
def forward(self, x: Tensor, sr: int, gain: float, loud: bool, mode: str) -> Tensor:
  assert sr == 16000 or sr == 8000, "expected a rate of 8000 or 16000"
  y = x * gain * (sr // 8000)
  if loud:
    y = y + 100
  if mode == "negative":
    y = -y
  return y
)";

}  // namespace

// mutant: an argument of type int is given the whole tensor
TEST_CASE("arguments of type int, float, bool and str take the value of an input of one element") {
  Folder const folder;
  Description description;
  description.inputs = {DType::f32, DType::i32, DType::f64, DType::boolean, DType::bytes};
  auto const model = load(folder, speech, description);
  Instance instance(model);
  std::vector<float> const x{1, 2};
  std::int32_t const rate = 16000;
  double const gain = 0.5;
  bool const loud = true;
  auto const run = [&](std::string_view mode) {
    return instance.run({floats(x, {2}), Tensor::view(DType::i32, &rate, {}),
                         Tensor::view(DType::f64, &gain, {1}), Tensor::view(DType::boolean, &loud, {}),
                         Tensor::text(mode)});
  };
  auto outputs = run("negative");
  REQUIRE_MESSAGE(outputs, outputs.error().message);
  CHECK((*outputs)[0].as<float>()[1] == -102.0F);
  outputs = run("");
  REQUIRE_MESSAGE(outputs, outputs.error().message);
  CHECK((*outputs)[0].as<float>()[0] == 101.0F);
}

TEST_CASE("an argument that is no tensor takes no other type, and one element only") {
  Folder const folder;
  Description description;
  description.path = (folder / "model.pt").string();
  description.inputs = {DType::f32, DType::f32};
  auto const refused = [&](char const* type) {
    write_script(description.path,
                 std::string("def forward(self, x: Tensor, n: ") + type + ") -> Tensor:\n  return x\n");
    return load_error(description).message;
  };
  CHECK(contains(refused("int"), "argument 'n' of forward: expected int, got f32 of input 'in1'"));
  CHECK(contains(refused("bool"), "argument 'n' of forward: expected bool, got f32 of input 'in1'"));
  CHECK(contains(refused("str"), "argument 'n' of forward: expected str, got f32 of input 'in1'"));
  CHECK(contains(refused("List[float]"),
                 "argument 'n' of forward: expected List[float], got f32 of input 'in1'"));
  description.inputs = {DType::f32, DType::i64};
  CHECK(contains(refused("float"), "argument 'n' of forward: expected float, got i64 of input 'in1'"));

  auto const model =
      load(folder, "def forward(self, x: Tensor, n: int) -> Tensor:\n  return x + n\n", description);
  std::vector<float> const x{1, 2};
  std::vector<std::int64_t> const n{3, 4};
  auto const error = run_error(model, {floats(x, {2}), Tensor::view(std::span(n), {2})});
  CHECK(error.code == Code::invalid_argument);
  CHECK(error.reason == Reason::shape);
  CHECK(contains(error.message, "argument 'n' of forward: expected an input of one element, got 2"));
}

TEST_CASE("a manifest's constants and parameters reach arguments that are no tensors") {
  Folder const folder;
  write_model(folder, speech, R"(
      "inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
      "parameters": [{"name": "loud", "type": "bool", "default": false}],
      "model_inputs": [{"name": "mode", "dtype": "bytes", "shape": [], "constant": "negative"},
                       {"name": "x", "dtype": "f32", "shape": ["items", 2]},
                       {"name": "loud", "dtype": "bool", "shape": [], "from": "parameter:loud"},
                       {"name": "sr", "dtype": "i64", "shape": [], "constant": 16000},
                       {"name": "gain", "dtype": "f32", "shape": [1], "constant": [0.5]}],
      "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]}])");
  auto engine = Engine<>::create({.backends = {&libtorch::backend()}}).value();
  auto const model = engine.load((folder / "").string());
  REQUIRE_MESSAGE(model, model.error().message);
  std::vector<float> const x{1, 2, 3, 4};
  auto const answer = model->infer(Request{{"x", floats(x, {2, 2})}});
  REQUIRE_MESSAGE(answer, answer.error().message);
  CHECK(answer->outputs["y"].as<float>()[3] == -4.0F);
  auto const loud = model->infer(Request{{"x", floats(x, {2, 2})}, {"loud", true}});
  REQUIRE_MESSAGE(loud, loud.error().message);
  CHECK(loud->outputs["y"].as<float>()[3] == -104.0F);
}

namespace {

constexpr char const* hinted = R"(
def forward(self, x: Tensor, hint: Optional[Tensor], factor: Optional[int]) -> Tensor:
  y = x
  if hint is not None:
    y = y + hint
  if factor is not None:
    y = y * factor
  return y
)";

}  // namespace

// mutant: an argument that is None is asked of the manifest
// mutant: every argument may be None
TEST_CASE("an argument is None where the manifest says so, and its type allows it") {
  Folder const folder;
  Description description;
  description.format = "torchscript?none=hint";
  description.inputs = {DType::f32, DType::i64};
  description.input_names = {"x", "factor"};
  auto const model = load(folder, hinted, description);
  std::vector<float> const x{1, 2};
  std::int64_t const factor = 3;
  Instance instance(model);
  auto const outputs = instance.run({floats(x, {2}), Tensor::view(DType::i64, &factor, {})});
  REQUIRE_MESSAGE(outputs, outputs.error().message);
  CHECK((*outputs)[0].as<float>()[1] == 6.0F);

  description.path = (folder / "model.pt").string();
  description.format = "torchscript?none=x";
  CHECK(contains(load_error(description).message, "argument 'x' of forward: expected Tensor, got None"));
  description.format = "torchscript?none=hind";
  CHECK(contains(load_error(description).message,
                 "expected an argument 'hind' of forward to be None, got none of that name"));
  description.format = "torchscript?none=hint&none=factor";
  CHECK(contains(load_error(description).message,
                 "expected as many inputs as forward takes, 1; the manifest has 2"));
  description.format = "torchscript?optional=x&none=hint";
  CHECK(contains(load_error(description).message,
                 "argument 'x' of forward: expected Tensor, got input 'x', which may be None"));
  description.format = "pt2?none=hint";
  CHECK(load_error(description).reason == Reason::manifest);
}

// mutant: what a request leaves out is a tensor without elements
TEST_CASE("what a request leaves out without a default is the module's own None") {
  Folder const folder;
  write_model(folder, hinted, R"(
      "inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]},
                 {"name": "hint", "dtype": "f32", "shape": ["items", 2], "default": null},
                 {"name": "factor", "dtype": "i64", "shape": [], "shared": true, "default": null}],
      "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]}])");
  auto engine = Engine<>::create({.backends = {&libtorch::backend()}}).value();
  auto const model = engine.load((folder / "").string());
  REQUIRE_MESSAGE(model, model.error().message);
  std::vector<float> const x{1, 2, 3, 4};
  std::vector<float> const hint{10, 20, 30, 40};
  auto const last = [&](Request const& request) {
    auto const answer = model->infer(request);
    REQUIRE_MESSAGE(answer, answer.error().message);
    return answer->outputs["y"].as<float>()[3];
  };
  CHECK(last({{"x", floats(x, {2, 2})}}) == 4.0F);
  CHECK(last({{"x", floats(x, {2, 2})}, {"hint", floats(hint, {2, 2})}}) == 44.0F);
  CHECK(last({{"x", floats(x, {2, 2})}, {"factor", 3}}) == 12.0F);
  CHECK(last({{"x", floats(x, {2, 2})}, {"hint", floats(hint, {2, 2})}, {"factor", 3}}) == 132.0F);

  write_model(folder, hinted, R"(
      "inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
      "model_inputs": [{"name": "factor", "constant": null}, {"name": "x", "dtype": "f32", "shape": ["items", 2]},
                       {"name": "hint", "constant": null}],
      "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]}])");
  auto other = Engine<>::create({.backends = {&libtorch::backend()}}).value();
  auto const bare = other.load((folder / "").string());
  REQUIRE_MESSAGE(bare, bare.error().message);
  auto const answer = bare->infer({{"x", floats(x, {2, 2})}});
  REQUIRE_MESSAGE(answer, answer.error().message);
  CHECK(answer->outputs["y"].as<float>()[3] == 4.0F);
}

TEST_CASE("a module that has time first and items second answers requests that begin with items") {
  Folder const folder;
  write_model(folder, "def forward(self, x: Tensor):\n  return torch.cumsum(x, 0), x[0], torch.tensor(0.5)\n",
              R"(
      "inputs": [{"name": "x", "dtype": "f32", "shape": ["items", "time", 2]}],
      "model_inputs": [{"name": "x", "dtype": "f32", "shape": ["time", "items", 2]}],
      "model_outputs": [{"name": "sums", "dtype": "f32", "shape": ["time", "items", 2]},
                        {"name": "first", "dtype": "f32", "shape": ["items", 2]},
                        {"name": "threshold", "dtype": "f32", "shape": []}],
      "outputs": [{"name": "sums", "dtype": "f32", "shape": ["items", "time", 2]},
                  {"name": "first", "dtype": "f32", "shape": ["items", 2]},
                  {"name": "threshold", "dtype": "f32", "shape": ["items"]}])");
  auto engine = Engine<>::create({.backends = {&libtorch::backend()}}).value();
  auto const model = engine.load((folder / "").string());
  REQUIRE_MESSAGE(model, model.error().message);
  std::vector<float> const x{1, 2, 3, 4, 5, 6, 10, 20, 30, 40, 50, 60};
  auto const answer = model->infer(Request{{"x", floats(x, {2, 3, 2})}});
  REQUIRE_MESSAGE(answer, answer.error().message);
  auto const sums = answer->outputs["sums"].as<float>();
  CHECK(std::vector<float>(sums.begin(), sums.end()) ==
        std::vector<float>{1, 2, 4, 6, 9, 12, 10, 20, 40, 60, 90, 120});
  CHECK(answer->outputs["first"].as<float>()[2] == 10.0F);
  CHECK(answer->outputs["threshold"].shape() == Shape{2});
  CHECK(answer->outputs["threshold"].as<float>()[1] == 0.5F);
}

TEST_CASE("a module without a batch axis runs once for each item, and its number is the item's") {
  Folder const folder;
  write_model(folder, "def forward(self, x: Tensor):\n  return x.sum(), x.view([-1])\n", R"(
      "inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2, "samples"]}],
      "model_inputs": [{"name": "x", "dtype": "f32", "shape": [2, "samples"]}],
      "model_outputs": [{"name": "sum", "dtype": "f32", "shape": []}, {"name": "flat", "dtype": "f32", "shape": [null]}],
      "outputs": [{"name": "sum", "dtype": "f32", "shape": ["items"]},
                  {"name": "flat", "dtype": "f32", "shape": ["items", null]}],
      "batching": {"max_items": 1})");
  auto engine = Engine<>::create({.backends = {&libtorch::backend()}}).value();
  auto const model = engine.load((folder / "").string());
  REQUIRE_MESSAGE(model, model.error().message);
  std::vector<float> const x{1, 2, 3, 4, 10, 20, 30, 40};
  auto const answer = model->infer(Request{{"x", floats(x, {2, 2, 2})}});
  REQUIRE_MESSAGE(answer, answer.error().message);
  CHECK(answer->outputs["sum"].as<float>()[0] == 10.0F);
  CHECK(answer->outputs["sum"].as<float>()[1] == 100.0F);
  CHECK(answer->outputs["flat"].shape() == Shape{2, 4});
  CHECK(answer->outputs["flat"].as<float>()[7] == 40.0F);
}
