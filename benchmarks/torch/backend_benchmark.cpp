/// What the backend's table costs on top of a bare loop over the same model: thread settings, views, output
/// checks.
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include <athanor/torch/backend.hpp>

#include "bare_loop.hpp"
#include "support/figure.hpp"
#include "torch/table.hpp"

namespace {

constexpr std::int64_t rows = 16;
constexpr std::int64_t width = 10;
constexpr int calls = 2000;

}  // namespace

int main(int argc, char** argv) {
  using namespace athanor;
  using namespace athanor::benchmarks;
  Figures figures(argc, argv);
  std::string const name = "torch.backend-overhead";
  if (!figures.wants(name)) return figures.exit_code();

  tests::Folder const folder;
  tests::Description description;
  description.path = (folder / "perceptron.pt").string();
  write_perceptron(description.path);
  auto const model = tests::Model::load(athanor::libtorch::backend(), description);
  if (!model) {
    figures.fail(name, model.error().message);
    return figures.exit_code();
  }
  std::vector<float> values(rows * width);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = 0.1F * static_cast<float>(i % 13);
  std::array<float, rows> bare{};
  BareLoop loop(description.path, to_string(description.device));
  tests::Instance instance(*model);
  std::vector<Tensor> const inputs{Tensor::view(std::span<float const>(values), {rows, width})};
  bool right = true;
  // Both in turns, so that another program on the machine slows both.
  auto const sample = repeat(31, [&] {
    double const alone = seconds_of([&] {
      for (int i = 0; i < calls; ++i) loop.forward(values.data(), rows, width, bare.data());
    });
    double const through = seconds_of([&] {
      for (int i = 0; i < calls; ++i) {
        auto const outputs = instance.run(inputs);
        right = right && outputs && std::abs((*outputs)[0].as<float>()[0] - bare[0]) <= 1e-5F;
      }
    });
    return (through - alone) / calls * 1e6;
  });
  if (right) {
    figures.report({.name = name, .value = sample.median, .unit = "us", .spread = sample.spread});
  } else {
    figures.fail(name, "a wrong answer");
  }
  return figures.exit_code();
}
