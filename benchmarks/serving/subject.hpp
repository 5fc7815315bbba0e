// What the engine's own benchmarks measure: a null backend,
// 16 bytes in, 16 bytes out. Every answer is checked.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <athanor/serving/engine.hpp>
#include <support/puppet.hpp>

namespace athanor::benchmarks {

constexpr std::size_t width = 4;  // floats: 16 bytes

/// A backend whose models are their instances, and nothing else.
template <class T>
struct BackendOf {
  static constexpr char const* name = "puppet";
  static constexpr RunsOn runs_on = RunsOn::any_thread;

  struct Model {
    using Instance = T;
    std::uint64_t footprint() const { return 0; }
    Result<std::unique_ptr<Instance>> make_instance() { return std::make_unique<Instance>(); }
  };
  Result<std::unique_ptr<Model>> load(ModelSource const&) { return std::make_unique<Model>(); }
};

/// Copies its input to its output.
struct NullInstance {
  std::vector<float> memory;
  Result<void> run(ath_batch& batch) {
    memory.resize(batch.inputs[0].size_bytes / sizeof(float));
    std::memcpy(memory.data(), batch.inputs[0].data, batch.inputs[0].size_bytes);
    batch.outputs[0] = batch.inputs[0];
    batch.outputs[0].data = memory.data();
    return {};
  }
};
using NullBackend = BackendOf<NullInstance>;

/// A model folder whose input and output are `width` floats
/// for each item; `more` are further sections of its manifest.
inline athanor_tests::ModelFolder null_folder(std::string const& name, std::string const& more = "") {
  return athanor_tests::ModelFolder(more, name, "1.0.0",
                                    R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 4]}],
                                       "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 4]}],)");
}

/// An engine with one model, loaded.
struct Subject {
  NullBackend backend;
  ath_backend_table table = make_table(backend);
  athanor_tests::ModelFolder folder;
  Engine<> engine;
  Model<> model;

  explicit Subject(EngineOptions options = {.cache_bytes = 0}, std::string const& more = "")
      : folder(null_folder("null", more)),
        engine(Engine<>::create(with(std::move(options))).value()),
        model(engine.load(folder.path()).value()) {}

 private:
  EngineOptions with(EngineOptions options) {
    options.backends = {&table};
    return options;
  }
};

struct Caller {
  float values[width] = {1, 2, 3, 4};
  Request request{{"x", Tensor::view<float>(values, Shape{1, width})}};

  explicit Caller(float first = 1) { values[0] = first; }
  bool call(Model<>& model) {
    auto const answer = model.infer(request);
    return answer && answer->outputs[0].as<float>()[0] == values[0];
  }
};

}  // namespace athanor::benchmarks
