// Two signals, each smoothed by calls that build on each other; docs/sequences.md explains them.
#include <athanor/athanor.hpp>

#include <cstdio>
#include <memory>
#include <vector>

namespace {

// y = level + (x - level) / 2, and y is the next level.
struct SmoothBackend {
  static constexpr char const* name = "smooth";
  static constexpr athanor::RunsOn runs_on = athanor::RunsOn::any_thread;

  struct Instance {
    std::vector<float> levels{};

    athanor::Result<void> run(ath_batch& batch) {
      auto const* x = static_cast<float const*>(batch.inputs[0].data);
      auto const* level = static_cast<float const*>(batch.inputs[1].data);
      levels.clear();
      for (std::int64_t item = 0; item < batch.items; ++item)
        levels.push_back(level[item] + (x[item] - level[item]) / 2);
      for (std::size_t output = 0; output < 2; ++output) {
        batch.outputs[output] = batch.inputs[0];
        batch.outputs[output].data = levels.data();
      }
      return {};
    }
  };

  struct Model {
    using Instance = SmoothBackend::Instance;
    std::uint64_t footprint() const { return sizeof(Model); }
    athanor::Result<std::unique_ptr<Instance>> make_instance() { return std::make_unique<Instance>(); }
  };

  athanor::Result<std::unique_ptr<Model>> load(athanor::ModelSource const&) {
    return std::make_unique<Model>();
  }
};

int failed(athanor::Error const& error) {
  std::fprintf(stderr, "%s\n", to_string(error).c_str());
  return 1;
}

int follow(athanor::Model<> const& model) {
  auto one = model.open_sequence();
  auto other = model.open_sequence();
  if (!one || !other) return failed(one ? other.error() : one.error());
  for (float const x : {8.0F, 8.0F, 8.0F}) {
    auto const answer = one->infer({{"x", athanor::Tensor::view<float>({&x, 1}, {1})}});
    if (!answer) return failed(answer.error());
    std::printf("%g ", static_cast<double>(answer->outputs["y"].as<float>()[0]));
  }
  float const x = 2;
  athanor::Request const request{{"x", athanor::Tensor::view<float>({&x, 1}, {1})}};
  if (auto const answer = other->infer(request))
    std::printf("and %g\n", static_cast<double>(answer->outputs["y"].as<float>()[0]));

  if (auto begun = one->reset(); !begun) return failed(begun.error());
  if (auto const answer = one->infer(request))
    std::printf("anew: %g\n", static_cast<double>(answer->outputs["y"].as<float>()[0]));

  if (auto unloaded = model.unload(); !unloaded) return failed(unloaded.error());
  auto answer = one->infer(request);
  if (!answer && answer.error().reason == athanor::Reason::sequence_lost) {
    std::printf("%s\n", to_string(answer.error()).c_str());
    if (auto begun = one->reset(); !begun) return failed(begun.error());
    answer = one->infer(request);
  }
  return answer ? 0 : failed(answer.error());
}

}  // namespace

int main(int count, char** arguments) {
  SmoothBackend backend;
  auto const table = athanor::make_table(backend);
  auto engine = athanor::Engine<>::create({.backends = {&table}});
  if (!engine) return failed(engine.error());
  auto model = engine->load(count > 1 ? arguments[1] : "examples/sequences/model");
  return model ? follow(*model) : failed(model.error());
}
