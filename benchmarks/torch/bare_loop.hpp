/// The least that running a model through LibTorch costs: what the engine's overhead is measured against.
/// Names no LibTorch type.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace athanor::benchmarks {

/// Writes a TorchScript perceptron [b, 10] -> [b, 1] with two hidden layers of 64, its weights fixed.
void write_perceptron(std::filesystem::path const& path);

/// A frozen TorchScript module of one input on `device` ("cpu", "cuda:0"), called in a plain loop
/// on one intra-op thread of the calling thread. Rows and answers are in host memory. A model must
/// have been opened on a CUDA device through the backend before: that loads LibTorch's CUDA part.
class BareLoop {
 public:
  BareLoop(std::filesystem::path const& path, std::string const& device);
  ~BareLoop();

  /// Runs forward once over `rows` rows of `width` floats; copies the first float of each answered row to
  /// `answers`.
  void forward(float const* values, std::int64_t rows, std::int64_t width, float* answers);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace athanor::benchmarks
