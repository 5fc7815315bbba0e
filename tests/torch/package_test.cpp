#include <athanor/torch/backend.hpp>

#include <array>
#include <cmath>
#include <cstdio>
#include <latch>
#include <numeric>
#include <sstream>
#include <thread>
#include <tuple>

#include <doctest/doctest.h>

#include "scripts.hpp"
#include "table.hpp"

using namespace athanor;
using namespace athanor::tests;

namespace {

Description package(char const* name) {
  Description description;
  description.path = std::string(ATHANOR_PT2_FOLDER "/") + name;
  description.format = "pt2";
  description.device = {};  // the packages of the tests are compiled for the CPU
  return description;
}

Model load(Description const& description) {
  auto model = Model::load(athanor::libtorch::backend(), description);
  REQUIRE_MESSAGE(model, model.error().message);
  return *model;
}

}  // namespace

// mutant: a package is loaded without libtorch.so
TEST_CASE("a pt2 package answers what its weights say, for any number of rows") {
  auto const model = load(package("perceptron.pt2"));
  // The compiler writes the one element of b2 into the code.
  CHECK(model.footprint() == (10 * 16 + 16 + 16) * sizeof(float));
  Instance instance(model);
  for (std::int64_t rows : {1, 2, 33}) {
    std::vector<float> const values(static_cast<std::size_t>(rows) * 10, 0.75F);
    auto const outputs = instance.run({Tensor::view(std::span<float const>(values), {rows, 10})});
    REQUIRE_MESSAGE(outputs, outputs.error().message);
    REQUIRE((*outputs)[0].shape() == Shape{rows, 1});
    for (float const answer : (*outputs)[0].as<float>())
      CHECK(answer == doctest::Approx(perceptron_by_hand(values.data())).epsilon(1e-5));
  }
}

// mutant: the element type of an input is not compared
TEST_CASE("a pt2 package with two inputs and outputs keeps their order and refuses another element type") {
  auto description = package("pair.pt2");
  description.inputs = {DType::f32, DType::i64};
  description.outputs = {DType::f32, DType::i64};
  auto const model = load(description);
  Instance instance(model);
  std::vector<float> const x{1, 2, 3, 4, 5, 6, 7, 8};
  std::vector<std::int64_t> const n{10, 20};
  std::vector<std::int32_t> const narrow{10, 20};
  auto const outputs = instance.run({Tensor::view(std::span(x), {2, 4}), Tensor::view(std::span(n), {2})});
  REQUIRE_MESSAGE(outputs, outputs.error().message);
  CHECK((*outputs)[0].as<float>()[7] == 160.0F);
  CHECK((*outputs)[1].as<std::int64_t>()[1] == 21);
  auto const refused =
      instance.run({Tensor::view(std::span(x), {2, 4}), Tensor::view(std::span(narrow), {2})});
  REQUIRE(!refused);
  CHECK(refused.error().reason == Reason::dtype);
}

// mutant: inputs and outputs are taken in the order of the manifest
// mutant: a package is given its inputs in the order of the manifest
// mutant: the outputs of a package are taken in the order of the manifest
TEST_CASE("a pt2 package with keyword arguments or a dict is told by their names") {
  auto description = package("named.pt2");
  description.inputs = {DType::f32, DType::f32};
  description.outputs = {DType::f32, DType::f32};
  auto const answers = [&](std::vector<std::string> inputs, std::vector<std::string> outputs) {
    description.input_names = std::move(inputs);
    description.output_names = std::move(outputs);
    description.outputs.assign(description.output_names.size(), DType::f32);
    auto const model = load(description);
    std::vector<float> const one{1, 1};
    std::vector<float> const two{2, 2};
    Instance instance(model);
    auto const given =
        instance.run({Tensor::view(std::span(one), {1, 2}), Tensor::view(std::span(two), {1, 2})});
    REQUIRE_MESSAGE(given, given.error().message);
    std::vector<float> values;
    for (auto const& output : *given) values.push_back(output.as<float>()[1]);
    return values;
  };
  CHECK(answers({"ids", "mask"}, {"sum", "tens"}) == std::vector<float>{3, 10});
  CHECK(answers({"mask", "ids"}, {"tens", "sum"}) == std::vector<float>{20, 3});
  CHECK(answers({"a", "b"}, {"c", "d"}) == std::vector<float>{3, 10});
  CHECK(answers({"a", "b"}, {"tens"}) == std::vector<float>{10});
  description.outputs = {DType::f32};
  for (auto const& [inputs, output, sentence] :
       {std::tuple(
            std::vector<std::string>{"mask", "b"}, "tens",
            "arguments of the package, all by their names (ids, mask) or in their order; got (mask, b)"),
        std::tuple(std::vector<std::string>{"mask"}, "tens",
                   "expected inputs for all arguments of the package (ids, mask)")}) {
    description.inputs.assign(inputs.size(), DType::f32);
    description.input_names = inputs;
    description.output_names = {output};
    auto const refused = Model::load(athanor::libtorch::backend(), description);
    REQUIRE(!refused);
    CHECK(refused.error().reason == Reason::model_load);
    CHECK_MESSAGE(refused.error().message.find(sentence) != std::string::npos, refused.error().message);
  }
}

// mutant: a package is run as if by one thread
TEST_CASE("S1-4 more instances of one package than it has runners answer right at the same time") {
  auto const model = load(package("perceptron.pt2"));
  std::array<bool, 4> right{};
  std::latch ready(right.size());
  {
    std::vector<std::jthread> threads;
    for (std::size_t index = 0; index < right.size(); ++index) {
      threads.emplace_back([&, index] {
        Instance instance(model);
        std::vector<float> const values(20, 0.25F * static_cast<float>(index + 1));
        right[index] = true;
        ready.arrive_and_wait();
        for (int repeat = 0; repeat < 2000; ++repeat) {
          auto const outputs = instance.run({Tensor::view(std::span<float const>(values), {2, 10})});
          right[index] = right[index] && outputs &&
                         std::abs(static_cast<double>((*outputs)[0].as<float>()[1]) -
                                  perceptron_by_hand(values.data())) < 1e-3;
        }
      });
    }
  }
  for (bool const each : right) CHECK(each);
}

// mutant: what LibTorch throws leaves the loading of a model
TEST_CASE("a pt2 package that is cut off, or a manifest with too many inputs, is a typed error") {
  Folder const folder;
  auto description = package("perceptron.pt2");
  auto const copy = folder / "cut.pt2";
  std::filesystem::copy_file(description.path, copy);
  std::filesystem::resize_file(copy, std::filesystem::file_size(copy) / 2);
  auto cut = description;
  cut.path = copy.string();
  auto const broken = Model::load(athanor::libtorch::backend(), cut);
  REQUIRE(!broken);
  CHECK(broken.error().reason == Reason::model_load);
  description.inputs = {DType::f32, DType::f32};
  auto const model = load(description);
  std::vector<float> const values(10, 1.0F);
  auto const x = Tensor::view(std::span<float const>(values), {1, 10});
  auto const outputs = Instance(model).run({x, x});
  REQUIRE(!outputs);
  CHECK(outputs.error().reason == Reason::backend_failure);
}

// mutant: a package is loaded without libtorch.so
TEST_CASE("a host without LibTorch runs a pt2 package through the plugin") {
  auto* const host =
      ::popen(ATHANOR_PLUGIN_HOST " " ATHANOR_TORCH_PLUGIN " " ATHANOR_PT2_FOLDER "/perceptron.pt2 pt2", "r");
  REQUIRE(host != nullptr);
  std::array<char, 600> printed{};
  auto const length = std::fread(printed.data(), 1, printed.size() - 1, host);
  std::string const text(printed.data(), length);
  REQUIRE_MESSAGE(::pclose(host) == 0, text);
  std::array<float, 20> x{};
  std::iota(x.begin(), x.end(), 0.0F);
  std::array<double, 2> answers{};
  std::istringstream(text) >> answers[0] >> answers[1];
  for (std::size_t row = 0; row < 2; ++row)
    CHECK(answers[row] == doctest::Approx(perceptron_by_hand(&x[row * 10])).epsilon(1e-4));
}
