// Items of different length share a batch: padded on their way in, cut back on their way out.
#include <doctest/doctest.h>

#include <array>
#include <cstring>
#include <functional>
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

constexpr std::string_view padded =
    R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", "tokens"]}],
  "model_inputs": [
    {"name": "x", "dtype": "f32", "shape": ["items", "tokens"], "pad": {"buckets": {"tokens": [4, 8, 16]}, "value": -1}},
    {"name": "mask", "dtype": "i64", "shape": ["items", "tokens"], "make": "mask"},
    {"name": "length", "dtype": "i32", "shape": ["items"], "make": "length", "axis": "tokens"}],
  "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", "tokens"]}],)";

template <class T>
std::vector<T> values_of(ath_tensor const& tensor) {
  auto const* data = static_cast<T const*>(tensor.data);
  return {data, data + tensor.size_bytes / sizeof(T)};
}

// A batch as the model saw it.
struct Seen {
  std::vector<std::int64_t> shape;
  std::vector<float> x;
  std::vector<std::int64_t> mask;
  std::vector<std::int32_t> lengths;

  explicit Seen(ath_batch const& batch)
      : shape(batch.inputs[0].shape, batch.inputs[0].shape + batch.inputs[0].ndim),
        x(values_of<float>(batch.inputs[0])),
        mask(values_of<std::int64_t>(batch.inputs[1])),
        lengths(values_of<std::int32_t>(batch.inputs[2])) {}
};

// Items of `length` numbers that count up from `first`.
Request counting(float first, std::int64_t length, std::int64_t items = 1) {
  auto tensor = Tensor::allocate(DType::f32, Shape{items, length}).value();
  auto* const values = reinterpret_cast<float*>(tensor.mutable_data());
  std::iota(values, values + items * length, first);
  return Request{{"x", std::move(tensor)}};
}

std::vector<float> y_of(Result<Answer> const& answer) {
  REQUIRE_MESSAGE(answer, answer.error().message);
  auto const y = answer->outputs["y"].as<float>();
  return {y.begin(), y.end()};
}

std::vector<float> one_more(std::vector<float> values) {
  for (float& value : values) value += 1;
  return values;
}

struct PaddedEngine : SimulatedEngine {
  std::vector<Seen> batches;

  explicit PaddedEngine(std::string_view manifest = "", EngineOptions options = {},
                        std::string_view tensors = padded)
      : SimulatedEngine(manifest, options, 1, {}, tensors) {
    control.on_run = [this](ath_batch const& batch) {
      batches.emplace_back(batch);
      return Result<void>();
    };
    REQUIRE(infer(counting(900, 1)));
    batches.clear();
  }
};

}  // namespace

// mutant: the rest of a row is not filled up
TEST_CASE("an item is padded to the smallest bucket that holds it, and its answer is cut back") {
  PaddedEngine engine;
  auto const answer = engine.infer(counting(10, 5));
  CHECK(y_of(answer) == std::vector<float>{11, 12, 13, 14, 15});
  CHECK(answer->outputs["y"].shape() == Shape{1, 5});
  REQUIRE(engine.batches.size() == 1);
  CHECK(engine.batches[0].shape == std::vector<std::int64_t>{1, 8});
  CHECK(engine.batches[0].x == std::vector<float>{10, 11, 12, 13, 14, -1, -1, -1});
  CHECK(engine.batches[0].mask == std::vector<std::int64_t>{1, 1, 1, 1, 1, 0, 0, 0});
  CHECK(engine.batches[0].lengths == std::vector<std::int32_t>{5});
}

TEST_CASE("an item that fills its bucket is not copied on its caller's thread") {
  PaddedEngine engine;
  auto const request = counting(1, 8);
  void const* shown = nullptr;
  engine.control.on_run = [&](ath_batch const& batch) {
    shown = batch.inputs[0].data;
    return Result<void>();
  };
  REQUIRE(engine.infer(request));
  CHECK(shown == request.inputs()[0].value.data());
}

// mutant: the batch key has the length in place of the bucket
TEST_CASE("requests of one bucket share a batch, and others do not") {
  PaddedEngine engine;
  auto const tickets = engine.submit_all({counting(10, 5), counting(20, 3), counting(30, 8),
                                          counting(40, 7, 2), counting(60, 4), counting(70, 9)});
  for (auto const& ticket : tickets) REQUIRE(ticket->has_value());
  REQUIRE(engine.batches.size() == 3);
  CHECK(engine.batches[0].shape == std::vector<std::int64_t>{4, 8});
  CHECK(engine.batches[0].lengths == std::vector<std::int32_t>{5, 8, 7, 7});
  CHECK(engine.batches[1].shape == std::vector<std::int64_t>{2, 4});
  CHECK(engine.batches[1].lengths == std::vector<std::int32_t>{3, 4});
  CHECK(engine.batches[2].shape == std::vector<std::int64_t>{1, 16});
  for (std::size_t i = 0; i < tickets.size(); ++i) {
    auto const request = std::vector{counting(10, 5),    counting(20, 3), counting(30, 8),
                                     counting(40, 7, 2), counting(60, 4), counting(70, 9)}[i];
    auto const& x = request.inputs()[0].value;
    CHECK(y_of(*tickets[i]->answer) == one_more({x.as<float>().begin(), x.as<float>().end()}));
    CHECK((*tickets[i]->answer)->outputs["y"].shape() == x.shape());
  }
}

// mutant: no length is too long
TEST_CASE("an item that no bucket holds, or an empty one, is refused before anything is spent on it") {
  PaddedEngine engine;
  auto const too_long = engine.infer(counting(0, 1'000'000));
  REQUIRE_FALSE(too_long);
  CHECK(too_long.error().code == Code::invalid_argument);
  CHECK(too_long.error().reason == Reason::too_large);
  CHECK(too_long.error().message ==
        "puppet@1.0.0: x: axis 'tokens': expected a length of 1 to 16, got 1000000");
  auto const empty = engine.submit(counting(0, 0));
  REQUIRE(empty->refusal);
  CHECK(empty->refusal->reason == Reason::shape);
  CHECK(empty->refusal->message == "puppet@1.0.0: x: axis 'tokens': expected a length of 1 to 16, got 0");
  CHECK(engine.batches.empty());
  CHECK(y_of(engine.infer(counting(5, 2))) == std::vector<float>{6, 7});
}

// mutant: the cost of a request is its bytes
TEST_CASE("a request costs its items times their bucket") {
  PaddedEngine engine(R"("batching": {"max_cost": 24},)");
  auto const tickets =
      engine.submit_all({counting(0, 5), counting(1, 6), counting(2, 7), counting(3, 8), counting(4, 5)});
  for (auto const& ticket : tickets) REQUIRE(ticket->has_value());
  REQUIRE(engine.batches.size() == 2);
  CHECK(engine.batches[0].shape[0] == 3);
  CHECK(engine.batches[1].shape[0] == 2);
  engine.batches.clear();
  REQUIRE(engine.infer(counting(0, 6, 7)));
  REQUIRE(engine.batches.size() == 3);
  CHECK(engine.batches[0].shape[0] ==
        2);  // the dearest item of a request that is split counts as one more than its share
}

// mutant: an item's rows are as long as those of its batch
TEST_CASE("an oversize request is joined in order, at its own length") {
  PaddedEngine engine(R"("batching": {"max_items": 2},)");
  auto const request = counting(100, 3, 5);
  auto const answer = engine.infer(request);
  CHECK(y_of(answer) == one_more({request.inputs()[0].value.as<float>().begin(),
                                  request.inputs()[0].value.as<float>().end()}));
  CHECK(answer->outputs["y"].shape() == Shape{5, 3});
  CHECK(engine.batches.size() == 3);
}

TEST_CASE("a cached answer is as long as its request, and two lengths of one bucket are two answers") {
  PaddedEngine engine;
  for (std::int64_t const length : {5, 6}) {
    REQUIRE(engine.infer(counting(10, length)));
    auto const again = engine.infer(counting(10, length));
    CHECK(y_of(again).size() == static_cast<std::size_t>(length));
    CHECK(again->report.cache == CacheState::hit);
  }
  CHECK(engine.batches.size() == 2);
}

// mutant: padding is counted as items
TEST_CASE("how much of the work was padding is counted") {
  PaddedEngine engine;
  auto const before = engine.state->statistics(*engine.served).value();
  engine.submit_all({counting(10, 5), counting(20, 6, 2)});
  auto const after = engine.state->statistics(*engine.served).value();
  CHECK(after.positions - before.positions == 17);
  CHECK(after.padding - before.padding == 7);
  auto const text = engine.state->metrics_text();
  CHECK(text.find(R"(athanor_positions_total{model="puppet",version="1.0.0",kind="item"} )" +
                  std::to_string(after.positions)) != std::string::npos);
  CHECK(text.find(R"(athanor_positions_total{model="puppet",version="1.0.0",kind="padding"} )" +
                  std::to_string(after.padding)) != std::string::npos);
}

// mutant: the run time of padded items is learned by their number
// mutant: a padded request is predicted as one that costs nothing
TEST_CASE("whether a request can end in time is told by the bucket that its items are padded to") {
  using namespace std::chrono_literals;
  PaddedEngine engine("", {.caller_runs = CallerRuns::never});
  engine.control.on_run = [&](ath_batch const& batch) {
    engine.world.advance(batch.inputs[0].shape[0] * batch.inputs[0].shape[1] * 1ms);
    return Result<void>();
  };
  for (int i = 0; i < 10; ++i)
    for (std::int64_t const length : {3, 16})
      engine.submit_all({counting(static_cast<float>(100 * i), length)});
  auto const ahead = engine.submit(counting(1, 4));
  auto const late = engine.submit(counting(2, 10), {.deadline = 12ms});
  REQUIRE(late->refusal);
  CHECK(late->refusal->reason == Reason::expected_wait);
  auto const brief = engine.submit(counting(3, 2), {.deadline = 12ms});
  engine.world.run_until_idle();
  CHECK(ahead->has_value());
  CHECK(brief->has_value());
}

// mutant: padding is not held against the engine's bytes
TEST_CASE("a request holds the bytes that it is padded to") {
  constexpr std::string_view wide =
      R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", "tokens"]}],
    "model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items", "tokens"],
                      "pad": {"buckets": {"tokens": [4, 1048576]}}}],
    "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", "tokens"]}],)";
  EngineOptions options;
  options.max_bytes = 1 << 20;
  SimulatedEngine engine("", options, 1, {}, wide);
  REQUIRE(engine.infer(counting(1, 4)));
  auto const refused = engine.infer(counting(1, 5));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::resource_exhausted);
}

TEST_CASE("a model that returns another length than it was given is at fault, by name") {
  PaddedEngine engine;
  engine.control.on_run = [&](ath_batch const& batch) {
    const_cast<std::int64_t*>(batch.inputs[0].shape)[1] = 7;  // the puppet answers in this shape
    const_cast<std::uint64_t&>(batch.inputs[0].size_bytes) = 7 * sizeof(float);
    return Result<void>();
  };
  auto const answer = engine.infer(counting(1, 8));
  REQUIRE_FALSE(answer);
  CHECK(answer.error().reason == Reason::backend_contract);
  CHECK(answer.error().message ==
        "puppet@1.0.0: model.bin: output y: expected [1, 8] as the batch is padded, the backend returned "
        "[1, 7]");
}

namespace {

// Makes of a text a number for each of its letters, and of
// what the model gave for them the text's sum and count.
struct Letters {
  static constexpr char const* name = "letters";
  struct Opened {
    static constexpr std::array<Port, 1> made_ports{{{"x", DType::f32}}};
    static constexpr std::array<Port, 2> output_ports{{{"sum", DType::f32}, {"count", DType::i64}}};
    std::span<Port const> made() const { return made_ports; }
    std::span<Port const> outputs() const { return output_ports; }
    Result<Preprocessed> preprocess(Item const& item) const {
      auto const text = item.input(0).text_at(0);
      auto x = Tensor::allocate(DType::f32, Shape{1, static_cast<std::int64_t>(text.size())}).value();
      for (std::size_t i = 0; i < text.size(); ++i)
        reinterpret_cast<float*>(x.mutable_data())[i] = static_cast<float>(text[i] - 'a');
      return Preprocessed{{std::move(x)}, 1, {}};
    }
    Result<std::vector<Tensor>> postprocess(Item const&, void const*, std::span<Tensor const> rows) const {
      auto const y = rows[0].as<float>();
      auto sum = Tensor::allocate(DType::f32, Shape{1}).value();
      *reinterpret_cast<float*>(sum.mutable_data()) = std::accumulate(y.begin(), y.end(), 0.0F);
      auto count = Tensor::allocate(DType::i64, Shape{1}).value();
      *reinterpret_cast<std::int64_t*>(count.mutable_data()) = rows[0].shape()[1];
      return std::vector{std::move(sum), std::move(count)};
    }
  };
  Result<std::unique_ptr<Opened>> open(std::string_view, std::string_view) const {
    return std::make_unique<Opened>();
  }
};

constexpr std::string_view spelled = R"("processor": {"name": "letters"},
  "inputs": [{"name": "text", "dtype": "bytes", "shape": ["items"]}],
  "model_inputs": [
    {"name": "x", "dtype": "f32", "shape": ["items", "letters"], "pad": {"buckets": {"letters": [2, 4, 8]}, "value": 50}},
    {"name": "mask", "dtype": "i64", "shape": ["items", "letters"], "make": "mask"},
    {"name": "length", "dtype": "i32", "shape": ["items"], "make": "length", "axis": "letters"}],
  "model_outputs": [{"name": "y", "dtype": "f32", "shape": ["items", "letters"]}],
  "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", "letters"]},
              {"name": "sum", "dtype": "f32", "shape": ["items"], "from": "processor:sum"},
              {"name": "count", "dtype": "i64", "shape": ["items"], "from": "processor:count"}],
  "self_test": [{"inputs": {"text": ["abc", "c"]}, "outputs": {"y": [[1, 2, 3], [3, 0, 0]], "sum": [6, 3],
                 "count": [3, 1]}}], "warm_up": {"batches": [3]},)";

struct SpellingRig : Puppet {
  Letters letters;
  ath_processor_table processor = make_table(letters);
  ModelFolder folder{"", "letters", "1.0.0", spelled};
  Engine<> engine = Engine<>::create({.backends = {&table}, .processors = {&processor}}).value();
  std::vector<Seen> batches;
  Model<> model = engine.load(folder.path()).value();

  SpellingRig() {
    REQUIRE(infer({"zz"}));
    control.on_run = [this](ath_batch const& batch) {
      batches.emplace_back(batch);
      return Result<void>();
    };
  }
  Result<Answer> infer(std::vector<std::string_view> const& texts) {
    return model.infer({{"text", Tensor::copy_texts(texts).value()}}, {.cache = CacheMode::skip});
  }
};

}  // namespace

// mutant: the bucket is that of the last item
TEST_CASE("items that a processor makes are padded together, and each gets its own length back") {
  SpellingRig rig;
  auto const answer = rig.infer({"ab", "abcde", "c"});
  CHECK(y_of(answer) == std::vector<float>{1, 2, 0, 0, 0, 1, 2, 3, 4, 5, 3, 0, 0, 0, 0});
  CHECK(answer->outputs["y"].shape() == Shape{3, 5});
  auto const sums = answer->outputs["sum"].as<float>();
  CHECK(std::vector(sums.begin(), sums.end()) == std::vector<float>{3, 15, 3});
  auto const counts = answer->outputs["count"].as<std::int64_t>();
  CHECK(std::vector(counts.begin(), counts.end()) == std::vector<std::int64_t>{2, 5, 1});
  REQUIRE(rig.batches.size() == 1);
  CHECK(rig.batches[0].shape == std::vector<std::int64_t>{3, 8});
  CHECK(rig.batches[0].lengths == std::vector<std::int32_t>{2, 5, 1});
}

TEST_CASE(
    "a text of which a processor makes too much, or nothing, is refused by its item, and others are "
    "answered") {
  SpellingRig rig;
  auto const too_long = rig.infer({"ab", "abcdefghi"});
  REQUIRE_FALSE(too_long);
  CHECK(too_long.error().code == Code::invalid_argument);
  CHECK(too_long.error().reason == Reason::too_large);
  CHECK(too_long.error().message == "item 1: x: axis 'letters': expected a length of 1 to 8, got 9");
  auto const empty = rig.infer({""});
  REQUIRE_FALSE(empty);
  CHECK(empty.error().message == "x: axis 'letters': expected a length of 1 to 8, got 0");
  CHECK(rig.batches.empty());
  CHECK(rig.infer({"abc"}));
}

TEST_CASE("parts of an oversize request of a processor keep the bucket of its longest item") {
  Puppet puppet;
  Letters letters;
  ath_processor_table const processor = make_table(letters);
  ModelFolder const folder(R"("batching": {"max_items": 2},)", "letters", "1.0.0", spelled);
  auto engine = Engine<>::create({.backends = {&puppet.table}, .processors = {&processor}}).value();
  auto const model = engine.load(folder.path()).value();
  REQUIRE(model.infer({{"text", Tensor::text("zz")}}));
  std::vector<Seen> batches;
  puppet.control.on_run = [&](ath_batch const& batch) {
    batches.emplace_back(batch);
    return Result<void>();
  };
  std::vector<std::string_view> const texts{"a", "b", "abcde"};
  auto const answer = model.infer({{"text", Tensor::copy_texts(texts).value()}}, {.cache = CacheMode::skip});
  CHECK(y_of(answer) == std::vector<float>{1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1, 2, 3, 4, 5});
  REQUIRE(batches.size() == 2);
  CHECK(batches[0].shape == std::vector<std::int64_t>{2, 8});
  CHECK(batches[1].shape == std::vector<std::int64_t>{1, 8});
}

namespace {

// The mean of a row: of the whole of it, or of what its mask, the second input, leaves.
struct MeanBackend {
  static constexpr char const* name = "puppet";
  static constexpr RunsOn runs_on = RunsOn::any_thread;
  struct Instance {
    std::vector<float> means;
    Result<void> run(ath_batch& batch) {
      auto const x = values_of<float>(batch.inputs[0]);
      auto const items = static_cast<std::size_t>(batch.items);
      std::vector<float> const mask =
          batch.input_count > 1 ? values_of<float>(batch.inputs[1]) : std::vector<float>(x.size(), 1.0F);
      means.assign(items, 0);
      for (std::size_t item = 0; item < items; ++item) {
        float weight = 0;
        for (std::size_t i = item * x.size() / items; i < (item + 1) * x.size() / items; ++i) {
          means[item] += x[i] * mask[i];
          weight += mask[i];
        }
        means[item] /= weight;
      }
      batch.outputs[0] = to_view(Tensor::view<float>(means, Shape{batch.items}));
      return {};
    }
  };
  struct Model {
    using Instance = MeanBackend::Instance;
    std::uint64_t footprint() const { return 1; }
    Result<std::unique_ptr<Instance>> make_instance() { return std::make_unique<Instance>(); }
  };
  Result<std::unique_ptr<Model>> load(ModelSource const&) { return std::make_unique<Model>(); }
};
static_assert(Backend<MeanBackend>);

Result<Answer> mean_of(std::string_view mask, Request const& request) {
  MeanBackend backend;
  ath_backend_table const table = make_table(backend);
  std::string const tensors = R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", "tokens"]}],
    "model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items", "tokens"], "pad": {"buckets": {"tokens": [4, 8]}}})" +
                              std::string(mask) +
                              R"(], "outputs": [{"name": "y", "dtype": "f32", "shape": ["items"]}],)";
  ModelFolder const folder("", "mean", "1.0.0", tensors);
  auto engine = Engine<>::create({.backends = {&table}}).value();
  return engine.load(folder.path()).and_then([&](Model<> const& model) { return model.infer(request); });
}

}  // namespace

// mutant: the dry run pads no more than it must
TEST_CASE("a model whose rows depend on their padding is not used") {
  CHECK(y_of(mean_of(R"(, {"name": "m", "dtype": "f32", "shape": ["items", "tokens"], "make": "mask"})",
                     counting(1, 5))) == std::vector<float>{3});
  auto const refused = mean_of("", counting(1, 5));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().reason == Reason::model_load);
  CHECK(refused.error().message.find("dry run of an item with more padding: output y: element 0") !=
        std::string::npos);
  CHECK(refused.error().message.find("by a mask or lengths") != std::string::npos);
}
