/// The least that running a model through LibTorch costs: what the engine's overhead is measured against.
/// Names no LibTorch type.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

namespace athanor::benchmarks {

/// Writes a TorchScript perceptron [b, 10] -> [b, 1] with two hidden layers of 64, its weights fixed.
void write_perceptron(std::filesystem::path const& path);

/// A frozen TorchScript module of one input, called in a plain loop on one intra-op thread of the calling
/// thread.
class BareLoop {
 public:
  explicit BareLoop(std::filesystem::path const& path);
  ~BareLoop();

  /// Runs forward once over `rows` rows of `width` floats; copies the first float of each answered row to
  /// `answers`.
  void forward(float const* values, std::int64_t rows, std::int64_t width, float* answers);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace athanor::benchmarks
