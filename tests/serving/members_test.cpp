// An ensemble of members that differ in backend, format and inputs.
#include <doctest/doctest.h>

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <athanor/serving/engine.hpp>
#include <support/puppet.hpp>

using namespace athanor;
using namespace athanor_tests;

namespace {

// y = 1 * the first input + 10 * the second, of those that
// it is given; it keeps what it was told of every file.
struct WeighingBackend {
  static constexpr char const* name = "weighing";
  static constexpr RunsOn runs_on = RunsOn::any_thread;
  std::vector<std::string> told{};

  struct Instance {
    std::vector<float> memory{};
    Result<void> run(ath_batch& batch) {
      std::size_t const count = batch.inputs[0].size_bytes / sizeof(float);
      memory.assign(count, 0);
      float weight = 1;
      for (std::size_t input = 0; input < batch.input_count; ++input, weight *= 10)
        for (std::size_t i = 0; i < count; ++i)
          memory[i] += weight * static_cast<float const*>(batch.inputs[input].data)[i];
      batch.outputs[0] = batch.inputs[0];
      batch.outputs[0].data = memory.data();
      return {};
    }
  };
  struct Model {
    using Instance = WeighingBackend::Instance;
    std::uint64_t footprint() const { return 1; }
    Result<std::unique_ptr<Instance>> make_instance() { return std::make_unique<Instance>(); }
  };
  Result<std::unique_ptr<Model>> load(ModelSource const& source) {
    std::string text = std::filesystem::path(source.path).filename().string() + " " + source.format;
    for (std::size_t i = 0; i < source.input_count; ++i) text += std::string(" ") + source.input_names[i];
    told.push_back(text);
    return std::make_unique<Model>();
  }
};

// "a" reads x and z, "b" z alone on another backend, "c" z and x
// in another format; "a" and "c" have an argument that is None.
struct MixedFolder : ModelFolder {
  explicit MixedFolder(std::string const& backend_of_b = "other") {
    auto const member = [&](std::string const& file, std::string const& rest) {
      write(file, file);
      return fmt::format(R"({{"file": "{}", "digest": "xxh128:{}"{}}})", file,
                         to_hex(*hash_file(path() + "/" + file)), rest);
    };
    write("athanor.json",
          fmt::format(R"({{"athanor": 1, "name": "mixed", "version": "1.0.0", "backend": "weighing",
        "format": "usual", "inputs": [{{"name": "x", "dtype": "f32", "shape": ["items", 1]}},
                                      {{"name": "z", "dtype": "f32", "shape": ["items", 1]}}],
        "model_inputs": [{{"name": "x", "dtype": "f32", "shape": ["items", 1]}},
                         {{"name": "hint", "constant": null}},
                         {{"name": "z", "dtype": "f32", "shape": ["items", 1]}}],
        "model_outputs": [{{"name": "y", "dtype": "f32", "shape": ["items", 1]}}],
        "outputs": [{{"name": "mean", "dtype": "f32", "shape": ["items", 1], "from": "mean:y"}}],
        "members": [{}, {}, {}]}})",
                      member("a", ""),
                      member("b", fmt::format(R"(, "backend": "{}", "inputs": ["z"])", backend_of_b)),
                      member("c", R"(, "format": "rare", "inputs": ["z", "hint", "x"])")));
  }
};

struct Pair {
  WeighingBackend weighing{};
  WeighingBackend other{};
  ath_backend_table first = make_table(weighing);
  ath_backend_table second = make_table(other);
  Engine<> engine;

  Pair() : engine(create()) {}
  Engine<> create() {
    second.name = "other";
    return Engine<>::create({.backends = {&first, &second}}).value();
  }
};

}  // namespace

// mutant: every member is loaded by the first member's backend
// mutant: every member is given all inputs
// mutant: an argument that is None is an input of the member that names it
TEST_CASE("members run on backends of their own, with the inputs that they choose in their order") {
  Pair pair;
  MixedFolder const folder;
  auto const model = pair.engine.load(folder.path());
  REQUIRE_MESSAGE(model, model.error().message);
  CHECK(pair.weighing.told == std::vector<std::string>{"a usual?none=hint x z", "c rare?none=hint z x"});
  CHECK(pair.other.told == std::vector<std::string>{"b usual z"});
  std::vector<float> const x{3};
  std::vector<float> const z{6};
  auto const answer =
      model->infer({{"x", Tensor::view<float>(x, Shape{1, 1})}, {"z", Tensor::view<float>(z, Shape{1, 1})}});
  REQUIRE_MESSAGE(answer, answer.error().message);
  CHECK(answer->outputs["mean"].as<float>()[0] == (63.0F + 6.0F + 36.0F) / 3);
}

// mutant: an unknown backend of a later member is found at the load only
TEST_CASE("an unknown backend of any member is refused by name") {
  Pair pair;
  MixedFolder const folder("missing");
  auto const refused = pair.engine.add(folder.path());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().reason == Reason::manifest);
  CHECK(refused.error().message == "mixed@1.0.0: unknown backend 'missing'; registered: weighing, other");
}
