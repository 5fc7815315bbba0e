#include "bare_loop.hpp"

#include <array>
#include <string>
#include <vector>

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/serialization/import.h>

namespace athanor::benchmarks {

void write_perceptron(std::filesystem::path const& path) {
  ::torch::jit::Module module("Perceptron");
  auto const add = [&](std::string const& name, std::vector<std::int64_t> const& shape) {
    auto const tensor = at::empty(shape, at::TensorOptions().dtype(c10::ScalarType::Float));
    auto* const values = tensor.mutable_data_ptr<float>();
    for (std::int64_t i = 0; i < tensor.numel(); ++i)
      values[i] = 0.05F * static_cast<float>((i * 7 + 3) % 11 - 5);
    module.register_parameter(name, tensor, /*is_buffer=*/false);
  };
  std::array<std::int64_t, 4> const widths{10, 64, 64, 1};
  for (std::size_t layer = 0; layer < 3; ++layer) {
    add("w" + std::to_string(layer), {widths[layer + 1], widths[layer]});
    add("b" + std::to_string(layer), {widths[layer + 1]});
  }
  module.define(R"(
def forward(self, x: Tensor) -> Tensor:
  x = torch.relu(torch.linear(x, self.w0, self.b0))
  x = torch.relu(torch.linear(x, self.w1, self.b1))
  return torch.linear(x, self.w2, self.b2)
)");
  module.eval();
  module.save(path.string());
}

struct BareLoop::State {
  ::torch::jit::Module module;
  c10::Device device;
};

BareLoop::BareLoop(std::filesystem::path const& path, std::string const& device) {
  ::torch::jit::getProfilingMode() = false;
  c10::Device const place(device);
  auto module = ::torch::jit::load(path.string(), place);
  module.eval();
  state_ = std::make_unique<State>(State{::torch::jit::freeze(module), place});
  at::set_num_threads(1);
}

BareLoop::~BareLoop() = default;

void BareLoop::forward(float const* values, std::int64_t rows, std::int64_t width, float* answers) {
  c10::InferenceMode const inference;
  auto const view = at::from_blob(const_cast<float*>(values), {rows, width},
                                  at::TensorOptions().dtype(c10::ScalarType::Float));
  // Neither copies what is on the CPU already.
  auto const output = state_->module.forward({view.to(state_->device)}).toTensor().cpu();
  auto const* const answered = output.const_data_ptr<float>();
  auto const stride = output.numel() / rows;
  for (std::int64_t row = 0; row < rows; ++row) answers[row] = answered[row * stride];
}

}  // namespace athanor::benchmarks
