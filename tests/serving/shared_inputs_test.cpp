// A tensor that a request has for all its items, and a batch once.
#include <doctest/doctest.h>

#include <array>
#include <memory>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include <athanor/serving/engine.hpp>
#include <serving/simulated_engine.hpp>
#include <support/puppet.hpp>

using namespace athanor;
using namespace athanor_tests;

namespace {

constexpr std::string_view labelled =
    R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]},
                  {"name": "labels", "dtype": "f32", "shape": ["labels", 2], "shared": true}],
       "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]}],)";

// `rows` rows of labels that count up from `first`.
Tensor labels_of(float first, std::int64_t rows = 2) {
  auto tensor = Tensor::allocate(DType::f32, Shape{rows, 2}).value();
  std::iota(tensor.mutable_as<float>().begin(), tensor.mutable_as<float>().end(), first);
  return tensor;
}

// What a batch holds: the first number of each row of x, and the labels.
struct SeenBatch {
  std::vector<float> rows;
  std::vector<float> labels;
  std::vector<std::int64_t> shape;

  explicit SeenBatch(ath_batch const& batch) {
    auto const* x = static_cast<float const*>(batch.inputs[0].data);
    std::int64_t const width = batch.inputs[0].shape[1];
    for (std::int64_t i = 0; i < batch.items; ++i) rows.push_back(x[width * i]);
    ath_tensor const& given = batch.inputs[1];
    auto const* values = static_cast<float const*>(given.data);
    labels.assign(values, values + given.size_bytes / sizeof(float));
    shape.assign(given.shape, given.shape + given.ndim);
  }
};

struct LabelledEngine : SimulatedEngine {
  std::vector<SeenBatch> batches;

  explicit LabelledEngine(std::string_view manifest = R"("batching": {"max_items": 8},)",
                          EngineOptions options = {.caller_runs = CallerRuns::never},
                          std::string_view tensors = labelled)
      : SimulatedEngine(manifest, options, 1, {}, tensors) {
    control.on_run = [this](ath_batch const& batch) {
      batches.emplace_back(batch);
      return Result<void>();
    };
    REQUIRE(infer(row(900).set("labels", labels_of(900))));
    batches.clear();
  }
};

/// Asks 30 requests at once, with three tables of labels among
/// them, of a model that is given `factor` times their rows.
void check_many(Puppet& puppet, Model<> const& model, int factor) {
  std::atomic<int> wrong{0};
  puppet.control.on_run = [&](ath_batch const& batch) {
    SeenBatch const seen(batch);
    for (float const each : seen.rows)
      if (seen.labels[0] != static_cast<float>(static_cast<int>(each) / factor % 3)) ++wrong;
    return Result<void>();
  };
  std::vector<Request> requests;
  for (int i = 0; i < 30; ++i)
    requests.push_back(row(static_cast<float>(i)).set("labels", labels_of(static_cast<float>(i % 3))));
  auto const answers = model.infer_many(requests);
  for (std::size_t i = 0; i < 30; ++i) {
    REQUIRE_MESSAGE(answers[i], answers[i].error().message);
    CHECK(answers[i]->outputs["y"].as<float>()[0] ==
          static_cast<float>(static_cast<std::size_t>(factor) * i + 1));
  }
  CHECK(wrong.load() == 0);
  puppet.control.on_run = [](ath_batch const&) { return Result<void>(); };
}

}  // namespace

// mutant: a tensor for the whole batch is no part of its key
TEST_CASE("requests whose labels are equal share a batch, which has them once; others do not") {
  LabelledEngine engine;
  auto const tickets =
      engine.submit_all({row(1).set("labels", labels_of(10)), row(2).set("labels", labels_of(20)),
                         row(3).set("labels", labels_of(10)), row(4).set("labels", labels_of(10, 3)),
                         row(5).set("labels", labels_of(20))});
  for (std::size_t i = 0; i < tickets.size(); ++i) {
    REQUIRE(tickets[i]->has_value());
    CHECK(tickets[i]->y() == static_cast<float>(i + 2));
  }
  REQUIRE(engine.batches.size() == 3);
  CHECK(engine.batches[0].rows == std::vector<float>{1, 3});
  CHECK(engine.batches[0].labels == std::vector<float>{10, 11, 12, 13});
  CHECK(engine.batches[0].shape == std::vector<std::int64_t>{2, 2});
  CHECK(engine.batches[1].rows == std::vector<float>{2, 5});
  CHECK(engine.batches[1].labels == std::vector<float>{20, 21, 22, 23});
  CHECK(engine.batches[2].rows == std::vector<float>{4});
  CHECK(engine.batches[2].shape == std::vector<std::int64_t>{3, 2});
}

// mutant: each part of a request has rows of its labels
TEST_CASE("each part of an oversize request has all of the labels, and many requests have their own") {
  LabelledEngine engine(R"("batching": {"max_items": 2},)");
  auto x = Tensor::allocate(DType::f32, Shape{5, 2}).value();
  std::iota(x.mutable_as<float>().begin(), x.mutable_as<float>().end(), 0.0F);
  auto const answer = engine.infer(Request{{"x", x}, {"labels", labels_of(10, 5)}});
  REQUIRE_MESSAGE(answer, answer.error().message);
  CHECK(answer->outputs["y"].as<float>()[9] == 10);
  REQUIRE(engine.batches.size() == 3);
  for (SeenBatch const& batch : engine.batches) CHECK(batch.shape == std::vector<std::int64_t>{5, 2});

  Puppet puppet;
  ModelFolder const folder(R"("batching": {"max_items": 8},)", "labelled", "1.0.0", labelled);
  auto threaded = Engine<>::create({.backends = {&puppet.table}}).value();
  auto const model = threaded.load(folder.path()).value();
  check_many(puppet, model, 1);
}

TEST_CASE("a lone caller's labels are not copied, and an answer is cached for its labels") {
  LabelledEngine engine(R"("batching": {"max_items": 8},)", {});
  void const* shown = nullptr;
  engine.control.on_run = [&](ath_batch const& batch) {
    shown = batch.inputs[1].data;
    return Result<void>();
  };
  auto const labels = labels_of(10);
  REQUIRE(engine.infer(row(1).set("labels", labels)));
  CHECK(shown == labels.data());
  CHECK(engine.infer(row(1).set("labels", labels_of(10)))->report.cache == CacheState::hit);
  CHECK(engine.infer(row(1).set("labels", labels_of(11)))->report.cache == CacheState::miss);
  auto const missing = engine.infer(row(1));
  REQUIRE_FALSE(missing);
  CHECK(missing.error().message ==
        "puppet@1.0.0: labels: expected f32 [labels, 2], got no input of that name");
}

// mutant: labels cost a batch as much as items do
TEST_CASE("labels are no part of what a batch may cost, which has them once") {
  LabelledEngine engine(R"("batching": {"max_cost": 32},)");
  auto const tickets =
      engine.submit_all({row(1).set("labels", labels_of(10, 50)), row(2).set("labels", labels_of(10, 50)),
                         row(3).set("labels", labels_of(10, 50)), row(4).set("labels", labels_of(10, 50))});
  for (auto const& ticket : tickets) REQUIRE(ticket->has_value());
  REQUIRE(engine.batches.size() == 1);
  CHECK(engine.batches[0].rows == std::vector<float>{1, 2, 3, 4});
}

TEST_CASE("padded items have their labels once, too") {
  LabelledEngine engine(R"("batching": {"max_items": 8},)", {.caller_runs = CallerRuns::never},
                        R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", "tokens"]},
    {"name": "labels", "dtype": "f32", "shape": ["labels", 2], "shared": true}],
  "model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items", "tokens"], "pad": {"buckets": {"tokens": [4, 8]}}},
    {"name": "labels", "dtype": "f32", "shape": ["labels", 2]}],
  "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", "tokens"]}],)");
  auto const of = [](float first, std::int64_t length, float labels) {
    auto x = Tensor::allocate(DType::f32, Shape{1, length}).value();
    std::iota(x.mutable_as<float>().begin(), x.mutable_as<float>().end(), first);
    return Request{{"x", std::move(x)}, {"labels", labels_of(labels)}};
  };
  auto const tickets = engine.submit_all({of(1, 3, 10), of(2, 2, 10), of(3, 4, 20), of(4, 6, 10)});
  for (auto const& ticket : tickets) REQUIRE(ticket->has_value());
  REQUIRE(engine.batches.size() == 3);
  CHECK(engine.batches[0].rows == std::vector<float>{1, 2});
  CHECK(engine.batches[0].labels == std::vector<float>{10, 11, 12, 13});
}

namespace {

// Gives the model twice its x.
struct DoublingProcessor {
  static constexpr char const* name = "doubling";
  struct Opened {
    static constexpr std::array<Port, 1> ports{{{"z", DType::f32}}};
    std::span<Port const> made() const { return ports; }
    Result<Preprocessed> preprocess(Item const& item) const {
      Tensor const x = item.input(0);
      auto z = Tensor::allocate(DType::f32, Shape{1, 2}).value();
      for (std::size_t i = 0; i < 2; ++i) z.mutable_as<float>()[i] = 2 * x.as<float>()[i];
      return Preprocessed{{std::move(z)}, 1};
    }
  };
  Result<std::unique_ptr<Opened>> open(std::string_view, std::string_view) const {
    return std::make_unique<Opened>();
  }
};

}  // namespace

TEST_CASE("labels pass a processor by, which makes the model's other inputs") {
  Puppet puppet;
  DoublingProcessor processor;
  ath_processor_table const processor_table = make_table(processor);
  ModelFolder const folder(R"("processor": {"name": "doubling"}, "batching": {"max_items": 8},
      "model_inputs": [{"name": "z", "dtype": "f32", "shape": ["items", 2]},
                       {"name": "labels", "dtype": "f32", "shape": ["labels", 2]}],)",
                           "doubled", "1.0.0", labelled);
  auto engine = Engine<>::create({.backends = {&puppet.table}, .processors = {&processor_table}}).value();
  auto const model = engine.load(folder.path()).value();
  check_many(puppet, model, 2);
}

namespace {

// The second item of a batch gets the row of the first.
struct Mixing {
  static constexpr char const* name = "puppet";
  static constexpr RunsOn runs_on = RunsOn::any_thread;
  struct Instance {
    std::vector<float> y{};
    Result<void> run(ath_batch& batch) {
      auto const* x = static_cast<float const*>(batch.inputs[0].data);
      y.assign(x, x + 2 * batch.items);
      if (batch.items > 1) y[2] = y[0];
      batch.outputs[0] = batch.inputs[0];
      batch.outputs[0].data = y.data();
      return {};
    }
  };
  struct Model {
    using Instance = Mixing::Instance;
    std::uint64_t footprint() const { return 1; }
    Result<std::unique_ptr<Instance>> make_instance() { return std::make_unique<Instance>(); }
  };
  Result<std::unique_ptr<Model>> load(ModelSource const&) { return std::make_unique<Model>(); }
};

}  // namespace

// mutant: a model with labels is tried with one item
TEST_CASE("a model that mixes the rows of its batch is refused beside labels, too") {
  Mixing backend;
  ath_backend_table const mixing = make_table(backend);
  ModelFolder const folder("", "mixing", "1.0.0", labelled);
  auto engine = Engine<>::create({.backends = {&mixing}}).value();
  auto const refused = engine.load(folder.path());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message.find("output y: element 0 of item 1 of 2") != std::string::npos);
}
