#include <array>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "modules.hpp"

using namespace athanor;
using namespace athanor::tests;

// mutant: the entries of a dict are taken in their order
TEST_CASE("outputs of a dict are taken by their keys, whatever else it holds") {
  Folder const folder;
  Description description;
  description.outputs = {DType::f32, DType::f32};
  description.output_names = {"third", "first"};
  std::string const source =
      "def forward(self, x: Tensor):\n  return {'first': x, 'second': x * 2, 'third': x * 3}\n";
  auto const model = load(folder, source, description);
  std::vector<float> const x{1, 2};
  Instance instance(model);
  auto const outputs = instance.run({floats(x, {2})});
  REQUIRE_MESSAGE(outputs, outputs.error().message);
  CHECK((*outputs)[0].as<float>()[1] == 6.0F);
  CHECK((*outputs)[1].as<float>()[1] == 2.0F);
  description.output_names = {"first", "fourth"};
  auto const error = run_error(load(folder, source, description), {floats(x, {2})});
  CHECK(error.reason == Reason::backend_contract);
  CHECK(contains(error.message,
                 "expected outputs that are keys of its dict (first, second, third), got 'fourth'"));
}

// mutant: the fields of a named tuple are taken in their order
TEST_CASE("outputs that are called like the fields of a named tuple are told by their names") {
  Description description;
  description.path = ATHANOR_PT2_FOLDER "/fields.pt";  // mean = x, deviation = 2 x, count = 3 x
  auto const answers = [&](std::vector<std::string> names) {
    description.outputs.assign(names.size(), DType::f32);
    description.output_names = std::move(names);
    auto const model = Model::load(table(), description);
    REQUIRE_MESSAGE(model, model.error().message);
    std::vector<float> const x{1};
    Instance instance(*model);
    auto const outputs = instance.run({floats(x, {1})});
    REQUIRE_MESSAGE(outputs, outputs.error().message);
    std::vector<float> values;
    for (auto const& output : *outputs) values.push_back(output.as<float>()[0]);
    return values;
  };
  CHECK(answers({"mean", "deviation", "count"}) == std::vector<float>{1, 2, 3});
  CHECK(answers({"count", "mean", "deviation"}) == std::vector<float>{3, 1, 2});
  CHECK(answers({"deviation"}) == std::vector<float>{2});
  CHECK(answers({"a", "b", "c"}) == std::vector<float>{1, 2, 3});
  CHECK(answers({"mean", "b", "c"}) == std::vector<float>{1, 2, 3});
  description.output_names = {"deviation", "b", "c"};
  description.outputs.assign(3, DType::f32);
  CHECK(contains(
      load_error(description).message,
      "expected the fields of what forward returns, all by their names (mean, deviation, count) or in their "
      "order; got (deviation, b, c), where 'deviation' is at another place"));
  description.output_names = {"mean", "b"};
  description.outputs.assign(2, DType::f32);
  CHECK(contains(load_error(description).message, "forward returns, 3; the manifest has 2"));
}

// mutant: an argument of another type than its input is bound to it
TEST_CASE("a manifest whose inputs are not forward's is refused at load") {
  Folder const folder;
  Description description;
  description.path = (folder / "model.pt").string();
  description.inputs = {DType::f32, DType::f32};
  write_script(description.path, add_one);
  auto error = load_error(description);
  CHECK(error.reason == Reason::model_load);
  CHECK(contains(error.message, "expected as many inputs as forward takes, 1; the manifest has 2"));
  write_script(description.path, "def forward(self, x: Tensor, n: int) -> Tensor:\n  return x + n\n");
  CHECK(contains(load_error(description).message,
                 "argument 'n' of forward: expected int, got f32 of input 'in1'"));
  write_script(description.path, "def predict(self, x: Tensor) -> Tensor:\n  return x\n");
  CHECK(contains(load_error(description).message, "expected a method forward, got (predict)"));
}

// mutant: inputs and outputs are taken in the order of the manifest
TEST_CASE("inputs that are called like forward's arguments are told by their names") {
  Folder const folder;
  Description description;
  description.path = (folder / "model.pt").string();
  write_script(description.path,
               "def forward(self, ids: Tensor, mask: Tensor, bias: Optional[Tensor]=None) -> Tensor:\n"
               "  return ids * 10 + mask\n");
  description.inputs = {DType::f32, DType::f32};
  auto const answer = [&](std::vector<std::string> names) {
    description.input_names = std::move(names);
    auto const model = Model::load(athanor::libtorch::backend(), description);
    REQUIRE_MESSAGE(model, model.error().message);
    std::array<float, 1> const one{1};
    std::array<float, 1> const two{2};
    Instance instance(*model);
    auto const outputs = instance.run(
        {Tensor::view(std::span<float const>(one), {1}), Tensor::view(std::span<float const>(two), {1})});
    REQUIRE_MESSAGE(outputs, outputs.error().message);
    return (*outputs)[0].as<float>()[0];
  };
  CHECK(answer({"ids", "mask"}) == 12);
  CHECK(answer({"mask", "ids"}) == 21);
  CHECK(answer({"first", "second"}) == 12);
  CHECK(answer({"ids", "second"}) == 12);
  for (auto const& [first, second] : {std::pair("mask", "second"), std::pair("first", "ids")}) {
    description.input_names = {first, second};
    auto const error = load_error(description);
    CHECK(error.reason == Reason::model_load);
    CHECK_MESSAGE(
        contains(
            error.message,
            fmt::format("expected the arguments of forward, all by their names (ids, mask, bias) or in their "
                        "order; got ({}, {}), where '{}' is at another place",
                        first, second, first == std::string_view("mask") ? "mask" : "ids")),
        error.message);
  }
  description.input_names = {"ids", "bias"};
  CHECK(contains(load_error(description).message,
                 "expected an input for argument 'mask' of forward, got (ids, bias)"));
}

// mutant: an argument is given the input of its place
TEST_CASE("an argument with a default may be left out by name, whatever stands behind it") {
  Folder const folder;
  Description description;
  description.inputs = {DType::f32, DType::f32};
  description.input_names = {"bias", "x"};
  auto const model = load(folder,
                          "def forward(self, x: Tensor, factor: int=3, mask: Optional[Tensor]=None, "
                          "bias: Optional[Tensor]=None) -> Tensor:\n"
                          "  y = x * factor\n"
                          "  if mask is not None:\n    y = y * mask\n"
                          "  if bias is not None:\n    y = y + bias\n"
                          "  return y\n",
                          description);
  std::vector<float> const bias{10};
  std::vector<float> const x{2};
  Instance instance(model);
  auto const outputs = instance.run({floats(bias, {1}), floats(x, {1})});
  REQUIRE_MESSAGE(outputs, outputs.error().message);
  CHECK((*outputs)[0].as<float>()[0] == 16.0F);
}
