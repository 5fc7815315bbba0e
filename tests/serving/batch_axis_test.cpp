// Models whose items lie along another axis than the first, or along none.
#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <athanor/core/detail/view.hpp>
#include <athanor/serving/engine.hpp>
#include <support/puppet.hpp>

using namespace athanor;
using namespace athanor_tests;

namespace {

// What a test does with one batch; `give` sets an output.
struct Run {
  ath_batch& batch;
  std::vector<std::vector<float>>& memory;

  std::span<float const> x() const {
    return {static_cast<float const*>(batch.inputs[0].data), batch.inputs[0].size_bytes / sizeof(float)};
  }
  Shape shape() const { return shape_of(batch.inputs[0]); }
  void give(std::size_t output, Shape const& shape, std::vector<float> values) const {
    memory[output] = std::move(values);
    ath_tensor& given = batch.outputs[output];
    given.data = memory[output].data();
    given.size_bytes = memory[output].size() * sizeof(float);
    given.ndim = static_cast<std::int32_t>(shape.rank());
    for (std::size_t axis = 0; axis < shape.rank(); ++axis) given.shape[axis] = shape[axis];
    given.dtype = static_cast<std::int32_t>(DType::f32);
    given.device_type = static_cast<std::int32_t>(DeviceType::cpu);
  }
};

struct ScriptedBackend {
  static constexpr char const* name = "puppet";
  static constexpr RunsOn runs_on = RunsOn::any_thread;
  std::function<void(Run const&)> script;
  std::vector<Shape> shapes{};  // of the first input of every run

  struct Instance {
    ScriptedBackend& backend;
    std::vector<std::vector<float>> memory{};
    Result<void> run(ath_batch& batch) {
      memory.resize(batch.output_count);
      Run const run{batch, memory};
      backend.shapes.push_back(run.shape());
      backend.script(run);
      return {};
    }
  };
  struct Model {
    using Instance = ScriptedBackend::Instance;
    ScriptedBackend& backend;
    std::uint64_t footprint() const { return 1; }
    Result<std::unique_ptr<Instance>> make_instance() {
      return std::make_unique<Instance>(Instance{backend});
    }
  };
  Result<std::unique_ptr<Model>> load(ModelSource const&) { return std::make_unique<Model>(Model{*this}); }
};

std::string tensors(std::string const& request, std::string const& model, std::string const& given,
                    std::string const& answer) {
  return R"("inputs": [{"name": "x", "dtype": "f32", "shape": )" + request + R"(}],
    "model_inputs": [{"name": "x", "dtype": "f32", "shape": )" +
         model + R"(}],
    "model_outputs": [{"name": "y", "dtype": "f32", "shape": )" +
         given + R"(}],
    "outputs": [{"name": "y", "dtype": "f32", "shape": )" +
         answer + "}],";
}

struct Rig {
  ScriptedBackend backend;
  ath_backend_table table = make_table(backend);
  ModelFolder folder;
  Engine<> engine = Engine<>::create({.backends = {&table}}).value();

  Rig(std::string const& tensors, std::string const& extra, std::function<void(Run const&)> script)
      : backend{std::move(script)}, folder(extra, "m", "1.0.0", tensors) {}
  Model<> model() {
    auto loaded = engine.load(folder.path());
    REQUIRE_MESSAGE(loaded, loaded.error().message);
    backend.shapes.clear();
    return *loaded;
  }
  std::string refusal() {
    auto const refused = engine.load(folder.path());
    REQUIRE_FALSE(refused);
    return refused.error().message;
  }
};

Request request_of(std::vector<float> const& values, Shape const& shape) {
  return Request{{"x", Tensor::view(std::span(values), shape).clone().value()}};
}

std::vector<float> values_of(Result<Answer> const& answer) {
  REQUIRE_MESSAGE(answer, answer.error().message);
  auto const values = answer->outputs["y"].as<float>();
  return {values.begin(), values.end()};
}

// y[c][i][t] = x[c][i][t] * 10 + c for items along axis 1.
void scale_by_channel(Run const& run) {
  Shape const shape = run.shape();
  std::vector<float> y;
  auto const x = run.x();
  auto const per_channel = x.size() / static_cast<std::size_t>(shape[0]);
  for (std::size_t i = 0; i < x.size(); ++i) {
    std::size_t const channel = i / per_channel;
    y.push_back(x[i] * 10 + static_cast<float>(channel));
  }
  run.give(0, shape, std::move(y));
}

std::string const channels_first = tensors(R"(["items", 2, "time"])", R"([2, "items", "time"])",
                                           R"([2, "items", "time"])", R"(["items", 2, "time"])");

}  // namespace

// mutant: lay_apart() puts the items one after the other
// mutant: rows that lie apart are given as they lie
TEST_CASE("items are laid along the axis that the model has them on, and its rows are gathered from there") {
  Rig rig(channels_first, R"("cache": false,)", scale_by_channel);
  auto const model = rig.model();
  std::vector<float> const three{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  auto const together = model.infer(request_of(three, {3, 2, 2}));
  CHECK(values_of(together) == std::vector<float>{10, 20, 31, 41, 50, 60, 71, 81, 90, 100, 111, 121});
  CHECK(together->outputs["y"].shape() == Shape{3, 2, 2});
  CHECK(rig.backend.shapes.back() == Shape{2, 3, 2});
  auto const alone = model.infer(request_of({1, 2, 3, 4}, {1, 2, 2}));
  CHECK(values_of(alone) == std::vector<float>{10, 20, 31, 41});
  CHECK(rig.backend.shapes.back() == Shape{2, 1, 2});

  std::vector<Request> requests;
  for (int i = 0; i < 8; ++i) {
    auto const first = static_cast<float>(i);
    requests.push_back(i % 2 == 0 ? request_of({first, first + 1}, {1, 2, 1})
                                  : request_of({first, first + 1, first + 2, first + 3}, {2, 2, 1}));
  }
  auto const answers = model.infer_many(requests);
  for (std::size_t i = 0; i < 8; ++i) {
    auto const first = static_cast<float>(i) * 10;
    std::vector<float> expected{first, first + 11};
    if (i % 2 == 1) expected.insert(expected.end(), {first + 20, first + 31});
    CHECK(values_of(answers[i]) == expected);
  }
}

// mutant: a dry run keeps to batches of one item
TEST_CASE("a model whose batch axis is not the one that its manifest names is refused") {
  // It has its items along axis 0, whatever its manifest says.
  auto const sum_of_row_zero = [](Run const& run) {
    Shape const shape = run.shape();
    std::vector<float> y(run.x().begin(), run.x().end());
    for (std::size_t i = y.size() / static_cast<std::size_t>(shape[0]); i < y.size(); ++i) y[i] += y[0];
    for (std::int64_t item = 1; item < shape[1]; ++item) y[static_cast<std::size_t>(item)] += 1;
    run.give(0, shape, std::move(y));
  };
  Rig mixed(channels_first, "", sum_of_row_zero);
  CHECK(mixed.refusal().find("dry run of 2 items: output y: element 0 of item 1 of 2") != std::string::npos);
  Rig rows(channels_first, "", [](Run const& run) {
    Shape const shape{run.shape()[1], 2, run.shape()[2]};
    run.give(0, shape, std::vector<float>(run.x().begin(), run.x().end()));
  });
  CHECK(rows.refusal().find("output y: expected 1 rows along axis 1, the backend returned 2") !=
        std::string::npos);
}

// mutant: a model without a batch axis is given the items as its first
TEST_CASE("a model without a batch axis runs once for each item of a request") {
  Rig rig(tensors(R"(["items", "time"])", R"(["time"])", "[]", R"(["items"])"),
          R"("batching": {"max_items": 1}, "cache": false,)", [](Run const& run) {
            float sum = 0;
            for (float const value : run.x()) sum += value;
            run.give(0, Shape{}, {sum});
          });
  auto const model = rig.model();
  auto const answer = model.infer(request_of({1, 2, 3, 4, 5, 6}, {3, 2}));
  CHECK(values_of(answer) == std::vector<float>{3, 7, 11});
  CHECK(answer->outputs["y"].shape() == Shape{3});
  CHECK(rig.backend.shapes == std::vector<Shape>(3, Shape{2}));
  CHECK(values_of(model.infer(request_of({5}, {1, 1}))) == std::vector<float>{5});
}

// mutant: what holds for all of a run is the first item's only
TEST_CASE("an output without items holds for every item of the batch, and must not depend on the others") {
  std::string const labelled = tensors(R"(["items"])", R"(["items"])", "[2]", R"(["items", 2])");
  Rig rig(labelled, R"("cache": false,)", [](Run const& run) { run.give(0, Shape{2}, {7, 8}); });
  auto const model = rig.model();
  CHECK(values_of(model.infer(request_of({1, 2, 3}, {3}))) == std::vector<float>{7, 8, 7, 8, 7, 8});
  CHECK(values_of(model.infer(request_of({1}, {1}))) == std::vector<float>{7, 8});

  Rig counting(labelled, "", [](Run const& run) {
    run.give(0, Shape{2}, {static_cast<float>(run.batch.items), 8});
  });
  CHECK(counting.refusal().find("dry run of 2 items: output y: element 0 of item 0 of 2") !=
        std::string::npos);
  Rig scalar(labelled, "", [](Run const& run) { run.give(0, Shape{}, {7}); });
  CHECK(scalar.refusal().find("output y: expected f32 [2], the backend returned []") != std::string::npos);
}

TEST_CASE("outputs of no elements are answers, whatever axis the items have") {
  Rig first(tensors(R"(["items"])", R"(["items"])", R"(["items", 0])", R"(["items", 0])"), "",
            [](Run const& run) {
              run.give(0, Shape{run.batch.items, 0}, {});
            });
  auto answer = first.model().infer(request_of({1, 2}, {2}));
  REQUIRE_MESSAGE(answer, answer.error().message);
  CHECK(answer->outputs["y"].shape() == Shape{2, 0});
  Rig last(tensors(R"(["items"])", R"(["items"])", R"([null, "items"])", R"(["items", null])"), "",
           [](Run const& run) {
             run.give(0, Shape{0, run.batch.items}, {});
           });
  answer = last.model().infer(request_of({1, 2}, {2}));
  REQUIRE_MESSAGE(answer, answer.error().message);
  CHECK(answer->outputs["y"].shape() == Shape{2, 0});
}
