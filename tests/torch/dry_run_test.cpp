// pt2 packages behind an engine: one that was exported for one row, and one that writes to its input, give no answer.
#include <fstream>
#include <vector>

#include <doctest/doctest.h>

#include <athanor/core/hash.hpp>
#include <athanor/serving/engine.hpp>
#include <athanor/torch/backend.hpp>

#include "scripts.hpp"
#include "table.hpp"

using namespace athanor;

namespace {

/// A model's folder with one of the packages.
struct PackageFolder {
  tests::Folder folder;

  PackageFolder(std::string const& file, int width, std::string const& rest) {
    std::filesystem::copy_file(std::filesystem::path(ATHANOR_PT2_FOLDER) / file, folder / file);
    auto const axis = std::to_string(width);
    std::ofstream(folder / "athanor.json")
        << R"({"athanor": 1, "name": "package", "version": "1.0.0", "backend": "torch", "format": "pt2",
            "inputs": [{"name": "x", "dtype": "f32", "shape": ["items", )" +
               axis + R"(]}],
            "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", null]}], )" +
               rest + R"("members": [{"file": ")" + file + R"(", "digest": "xxh128:)" +
               to_hex(*hash_file((folder / file).string())) + R"("}]})";
  }
};

Result<Model<>> serve(Engine<>& engine, PackageFolder const& package) {
  return engine.load((package.folder / "").string());
}

Engine<> engine_with_torch() { return Engine<>::create({.backends = {&libtorch::backend()}}).value(); }

}  // namespace

// mutant: a dry run keeps to batches of one item
TEST_CASE("a pt2 package that was exported for one row is refused, unless it says so") {
  auto engine = engine_with_torch();
  PackageFolder const undeclared("fixed.pt2", 10, "");
  auto const refused = serve(engine, undeclared);
  REQUIRE(!refused);
  CHECK(refused.error().code == Code::failed_precondition);
  CHECK_MESSAGE(refused.error().message.find("dry run of 2 items") != std::string::npos,
                refused.error().message);
  CHECK(refused.error().retry_after == Duration{0});

  auto second = engine_with_torch();
  PackageFolder const declared("fixed.pt2", 10, R"("batching": {"max_items": 1},)");
  auto model = serve(second, declared);
  REQUIRE_MESSAGE(model, model.error().message);
  std::vector<float> values(30);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = 0.1F * static_cast<float>(i);
  auto const together = model->infer(Request{{"x", Tensor::view(std::span<float const>(values), {3, 10})}});
  REQUIRE_MESSAGE(together, together.error().message);
  for (std::int64_t row = 0; row < 3; ++row) {
    auto const span = std::span<float const>(values).subspan(static_cast<std::size_t>(row) * 10, 10);
    auto const alone = model->infer(Request{{"x", Tensor::view(span, {1, 10})}});
    REQUIRE(alone);
    for (std::size_t i = 0; i < 16; ++i)
      CHECK(alone->outputs["y"].as<float>()[i] ==
            doctest::Approx(together->outputs["y"].as<float>()[static_cast<std::size_t>(row) * 16 + i]));
  }
}

// mutant: nobody looks whether a model writes to its input
TEST_CASE("a pt2 package that writes to its input is refused") {
  auto engine = engine_with_torch();
  auto const refused = serve(engine, PackageFolder("writes.pt2", 4, ""));
  REQUIRE(!refused);
  CHECK_MESSAGE(refused.error().message.find("the model writes to its input 'x'") != std::string::npos,
                refused.error().message);
}

// mutant: the method of a format is read and forgotten
// mutant: forward runs in inference mode whatever the format says
TEST_CASE("a manifest's method and autograd reach the module, and its answers do not depend on company") {
  tests::Folder const folder;
  tests::write_model(folder, R"(
def forward(self, x: Tensor) -> Tensor:
  return x

def forces(self, x: Tensor) -> Tensor:
  x.requires_grad_()
  found = torch.autograd.grad([(x * x * x).sum()], [x])[0]
  assert found is not None
  return found
)",
                     R"("method": "forces", "autograd": true,
                        "inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
                        "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]}])");
  auto engine = engine_with_torch();
  auto model = engine.load((folder / "").string());
  REQUIRE_MESSAGE(model, model.error().message);
  std::vector<float> const values{1, 2, 3, 4};
  auto const answer = model->infer(Request{{"x", Tensor::view(std::span(values), {2, 2})}});
  REQUIRE_MESSAGE(answer, answer.error().message);
  for (std::size_t row = 0; row < 2; ++row) {
    auto const alone =
        model->infer(Request{{"x", Tensor::view(std::span(values).subspan(2 * row, 2), {1, 2})}});
    REQUIRE_MESSAGE(alone, alone.error().message);
    for (std::size_t i = 0; i < 2; ++i) {
      float const x = values[2 * row + i];
      CHECK(answer->outputs["y"].as<float>()[2 * row + i] == doctest::Approx(3 * x * x));
      CHECK(alone->outputs["y"].as<float>()[i] == doctest::Approx(3 * x * x));
    }
  }
  CHECK(values == std::vector<float>{1, 2, 3, 4});
}

// mutant: a model that fails alone is not tried in company
TEST_CASE("a model that answers items only together is refused, as batch_norm while it trains") {
  tests::Folder const folder;
  std::string const rest = R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
                              "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]}])";
  auto const load = [&](std::string const& batching) {
    tests::write_model(folder, R"(
def forward(self, x: Tensor) -> Tensor:
  assert x.size(0) > 1, "expected more than 1 value per channel when training"
  return torch.batch_norm(x, None, None, None, None, True, 0.1, 1e-5, False)
)",
                       rest + batching);
    auto engine = engine_with_torch();
    return engine.load((folder / "").string()).map([](Model<> const&) {});
  };
  auto const refused = load("");
  REQUIRE(!refused);
  CHECK(refused.error().reason == Reason::model_load);
  CHECK_MESSAGE(refused.error().message.find("got one that answers two together") != std::string::npos,
                refused.error().message);
  CHECK(load(R"(, "batching": {"max_items": 1})"));  // each request gets the model's own error
}

TEST_CASE("a pt2 package whose batch axis is dynamic passes the dry run") {
  auto engine = engine_with_torch();
  auto model = serve(engine, PackageFolder("perceptron.pt2", 10, ""));
  CHECK_MESSAGE(model, model.error().message);
}
