// Parameters on their way from a request to the processor and into the key of the answer.
#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <athanor/serving/engine.hpp>
#include <serving/simulated_engine.hpp>
#include <support/puppet.hpp>

using namespace athanor;
using namespace athanor_tests;

namespace {

// Gives the model `x` times `scale`, and more of it in mode "twice"; `said` is the seed.
struct ScalingProcessor {
  static constexpr char const* name = "scaling";
  struct Opened {
    static constexpr std::array<Port, 2> ports{{{"x", DType::f32}, {"said", DType::i64}}};
    std::span<Port const> made() const { return ports; }
    Result<Preprocessed> preprocess(Item const& item) const {
      auto const scale = item.parameter<double>(0);
      auto const mode = item.parameter<std::string_view>(1);
      auto const seed = item.parameter<std::int64_t>(2);
      if (!scale) return tl::unexpected(scale.error());
      if (!mode) return tl::unexpected(mode.error());
      if (!seed) return tl::unexpected(seed.error());
      if (std::signbit(*scale)) return fail(Code::internal, Reason::none, "a scale of -0.0");
      auto const factor = static_cast<float>(*scale * (*mode == "twice" ? 2 : 1));
      Tensor const given = item.input(0);
      auto x = Tensor::allocate(DType::f32, Shape{1, 2}).value();
      for (std::size_t i = 0; i < 2; ++i) x.mutable_as<float>()[i] = factor * given.as<float>()[i];
      auto said = Tensor::allocate(DType::i64, Shape{1}).value();
      said.mutable_as<std::int64_t>()[0] = *seed;
      return Preprocessed{{std::move(x), std::move(said)}, 1};
    }
  };
  Result<std::unique_ptr<Opened>> open(std::string_view, std::string_view) const {
    return std::make_unique<Opened>();
  }
};
static_assert(Processor<ScalingProcessor>);

constexpr std::string_view tensors = R"("processor": {"name": "scaling"},
  "inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
  "model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
  "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]},
              {"name": "said", "dtype": "i64", "shape": ["items"], "from": "processor:said"}],)";
constexpr std::string_view declared = R"("parameters": [
  {"name": "scale", "type": "f64", "default": 1, "max": 100},
  {"name": "mode", "type": "text", "default": "once", "choices": ["once", "twice"]},
  {"name": "seed", "type": "i64", "default": 5, "seed": true}],)";

struct Rig : Puppet {
  ScalingProcessor processor;
  ath_processor_table processor_table = make_table(processor);
  ModelFolder folder;
  Engine<> engine = Engine<>::create({.backends = {&table}, .processors = {&processor_table}}).value();

  explicit Rig(std::string_view parameters = declared) : folder(parameters, "scaled", "1.0.0", tensors) {}
  Model<> model() { return engine.load(folder.path()).value(); }
};

// A request with a seed, so that its answer may be cached.
Request seeded(float first) { return row(first).set("seed", 1); }

float y(Result<Answer> const& answer) {
  REQUIRE(answer);
  return answer->outputs["y"].as<float>()[0];
}

}  // namespace

// mutant: the processor is given no parameters
TEST_CASE("a processor is given the parameters of the request, and defaults for those left out") {
  Rig rig;
  auto const model = rig.model();
  CHECK(y(model.infer(row(3))) == 4);
  CHECK(y(model.infer(row(3).set("scale", 2.0))) == 7);
  CHECK(y(model.infer(row(3).set("scale", 2.0).set("mode", "twice"))) == 13);
  CHECK(y(model.infer(row(3).set("scale", -0.0))) == 1);
  auto const answer = model.infer(row(3).set("seed", 77));
  REQUIRE(answer);
  CHECK(answer->outputs["said"].as<std::int64_t>()[0] == 77);
}

TEST_CASE("parameters that the model does not take are refused before anything runs") {
  Rig rig;
  auto const model = rig.model();
  auto const runs = rig.control.runs.load();
  for (auto const& request :
       {row(1).set("scale", true), row(1).set("scale", 101), row(1).set("mode", "thrice"),
        row(1).set("speed", 1.0), row(1).set("seed", true)}) {
    auto const answer = model.infer(request);
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == Code::invalid_argument);
  }
  CHECK(rig.control.runs.load() == runs);
}

// mutant: parameters are no part of the key
TEST_CASE("S3-9 answers are shared by requests whose parameters come to the same values") {
  Rig rig;
  auto const model = rig.model();
  auto const cache_of = [&](Request const& request) {
    auto const answer = model.infer(request);
    REQUIRE(answer);
    return answer->report.cache;
  };
  CHECK(cache_of(seeded(1)) == CacheState::miss);
  CHECK(cache_of(seeded(1).set("scale", 1.0).set("mode", "once")) == CacheState::hit);
  CHECK(cache_of(seeded(1).set("scale", 1)) == CacheState::hit);
  CHECK(cache_of(seeded(1).set("scale", 2)) == CacheState::miss);
  CHECK(cache_of(seeded(1).set("scale", 2.0)) == CacheState::hit);
  CHECK(cache_of(seeded(1).set("mode", "twice")) == CacheState::miss);
  CHECK(cache_of(seeded(1).set("seed", 2)) == CacheState::miss);
  CHECK(cache_of(seeded(1).set("scale", 0.0)) == CacheState::miss);
  CHECK(cache_of(seeded(1).set("scale", -0.0)) == CacheState::hit);
}

// mutant: a request without a seed is cached
TEST_CASE("S3-9 a request that leaves out the seed is neither looked up nor stored") {
  Rig rig;
  auto const model = rig.model();
  for (int i = 0; i < 2; ++i) {
    auto const answer = model.infer(row(1));
    REQUIRE(answer);
    CHECK(answer->report.cache == CacheState::off);
  }
  CHECK(model.infer(row(1).set("seed", 5))->report.cache == CacheState::miss);
  auto const only = model.infer(row(1), {.cache = CacheMode::only_if_cached});
  REQUIRE_FALSE(only);
  CHECK(only.error().reason == Reason::not_cached);
  CHECK(only.error().message ==
        "scaled@1.0.0: expected a value for the seed, as the call reads the cache only");
  CHECK(model.infer(row(1).set("seed", 5), {.cache = CacheMode::only_if_cached}));
}

TEST_CASE("asynchronous calls and many at once have their own parameters") {
  Rig rig;
  auto const model = rig.model();
  std::vector<Request> requests;
  for (int i = 0; i < 40; ++i) requests.push_back(seeded(static_cast<float>(i)).set("scale", i % 5 * 1.0));
  auto const answers = model.infer_many(requests);
  for (int i = 0; i < 40; ++i)
    CHECK(y(answers[static_cast<std::size_t>(i)]) == static_cast<float>(i * (i % 5) + 1));

  std::atomic<int> right{0};
  std::atomic<int> done{0};
  struct Expected {
    std::atomic<int>& right;
    std::atomic<int>& done;
    float y;
  };
  std::vector<Expected> expected;
  for (int i = 0; i < 40; ++i) expected.push_back({right, done, static_cast<float>(i * 6 + 1)});
  for (int i = 0; i < 40; ++i) {
    std::string const mode = "twice";
    Request request = row(static_cast<float>(i)).set("scale", 3.0);
    request.set("mode", Tensor::copy_texts(std::array<std::string_view, 1>{mode}).value());
    auto const accepted = model.submit(std::move(request), {},
                                       {[](void* context, Result<Answer> answer) noexcept {
                                          auto& told = *static_cast<Expected*>(context);
                                          if (answer && answer->outputs["y"].as<float>()[0] == told.y)
                                            told.right.fetch_add(1);
                                          told.done.fetch_add(1);
                                        },
                                        &expected[static_cast<std::size_t>(i)]});
    REQUIRE(accepted);
  }
  rig.engine.stop(std::chrono::seconds(10));  // until no completion is inside what it was given
  CHECK(done.load() == 40);
  CHECK(right.load() == 40);
}

TEST_CASE("a processor whose parameters the manifest does not declare says which") {
  Rig rig(R"("parameters": [{"name": "scale", "type": "i64", "default": 1}],)");
  auto const model = rig.engine.add(rig.folder.path()).value();
  auto const answer = model.infer(row(1));
  REQUIRE_FALSE(answer);
  CHECK(answer.error().reason == Reason::manifest);
  CHECK(answer.error().message.find("parameters[0]: the processor expected f64, the manifest declares i64") !=
        std::string::npos);
}

TEST_CASE("a model is tried with defaults, and with made-up values for parameters that have none") {
  Rig rig(R"("parameters": [{"name": "scale", "type": "f64", "min": 2},
    {"name": "mode", "type": "text", "choices": ["twice"]}, {"name": "seed", "type": "i64"}],)");
  auto const model = rig.engine.load(rig.folder.path());
  REQUIRE(model);
  CHECK_FALSE(model->infer(row(1)));
  CHECK(y(model->infer(row(1).set("scale", 2.0).set("mode", "twice").set("seed", 0))) == 5);
}

namespace {

// The parameter `bias` as a second input of the puppet, of that shape.
std::string biased(std::string const& shape) {
  return R"("parameters": [{"name": "bias", "type": "f64", "default": 2}], "batching": {"max_items": 8}, "cache": false,
    "model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]},
                     {"name": "bias", "dtype": "f32", "shape": )" +
         shape + R"(, "from": "parameter:bias"}],)";
}

// What a batch's rows hold, and the biases beside them.
struct SeenBatch {
  std::vector<float> rows;
  std::vector<float> biases;
};

struct BiasedEngine : SimulatedEngine {
  std::vector<SeenBatch> batches;
  explicit BiasedEngine(std::string const& shape)
      : SimulatedEngine(biased(shape), {.caller_runs = CallerRuns::never}) {
    control.on_run = [this](ath_batch const& batch) {
      SeenBatch& seen = batches.emplace_back();
      auto const* x = static_cast<float const*>(batch.inputs[0].data);
      auto const* bias = static_cast<float const*>(batch.inputs[1].data);
      for (std::int64_t i = 0; i < batch.items; ++i) seen.rows.push_back(x[2 * i]);
      seen.biases.assign(bias, bias + batch.inputs[1].size_bytes / sizeof(float));
      return Result<void>();
    };
    REQUIRE(infer(row(0)));
    batches.clear();
  }
};

}  // namespace

TEST_CASE("requests whose parameters differ share a batch of a model that reads one value per item") {
  for (auto const* shape : {R"(["items"])", R"(["items", 1])"}) {
    BiasedEngine engine(shape);
    auto const tickets = engine.submit_all({row(1), row(2).set("bias", 5.0), row(3).set("bias", -0.0)});
    for (auto const& ticket : tickets) REQUIRE(ticket->has_value());
    REQUIRE(engine.batches.size() == 1);
    CHECK(engine.batches[0].rows == std::vector<float>{1, 2, 3});
    CHECK(engine.batches[0].biases == std::vector<float>{2, 5, 0});
  }
}

// mutant: a parameter for the whole batch is no part of its key
TEST_CASE("requests whose parameters differ share no batch of a model that reads one value for all of it") {
  for (auto const* shape : {"[]", "[1]"}) {
    BiasedEngine engine(shape);
    auto const tickets = engine.submit_all(
        {row(1), row(2).set("bias", 5.0), row(3), row(4).set("bias", 5.0), row(6).set("bias", 2.0)});
    for (auto const& ticket : tickets) {
      REQUIRE(ticket->has_value());
      CHECK((*ticket->answer)->report.attempts == 1);
    }
    REQUIRE(engine.batches.size() == 2);
    CHECK(engine.batches[0].rows == std::vector<float>{1, 3, 6});
    CHECK(engine.batches[0].biases == std::vector<float>{2});
    CHECK(engine.batches[1].rows == std::vector<float>{2, 4});
    CHECK(engine.batches[1].biases == std::vector<float>{5});
  }
}

TEST_CASE("a lone caller's parameter reaches the model on its own thread") {
  SimulatedEngine engine(biased(R"(["items"])"));
  float seen = 0;
  engine.control.on_run = [&](ath_batch const& batch) {
    seen = *static_cast<float const*>(batch.inputs[1].data);
    return Result<void>();
  };
  REQUIRE(engine.infer(row(1)));
  auto const answer = engine.infer(row(1).set("bias", 7.0));
  REQUIRE(answer);
  CHECK(answer->report.on_caller);
  CHECK(seen == 7);
}

TEST_CASE("a processor's model reads a parameter, too") {
  Puppet puppet;
  ScalingProcessor processor;
  ath_processor_table const processor_table = make_table(processor);
  ModelFolder const folder(
      R"("parameters": [{"name": "scale", "type": "f64", "default": 1}, {"name": "mode", "type": "text", "default": ""},
        {"name": "n", "type": "i64", "default": 0}], "processor": {"name": "scaling"},
      "model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]},
                       {"name": "n", "dtype": "i64", "shape": ["items"], "from": "parameter:n"}],)");
  std::vector<std::int64_t> seen;
  puppet.control.on_run = [&](ath_batch const& batch) {
    auto const* n = static_cast<std::int64_t const*>(batch.inputs[1].data);
    seen.assign(n, n + batch.items);
    return Result<void>();
  };
  auto engine = Engine<>::create({.backends = {&puppet.table}, .processors = {&processor_table}}).value();
  auto const model = engine.load(folder.path()).value();
  float const rows[4] = {1, 2, 3, 4};
  auto const answer = model.infer({{"x", Tensor::view<float>(rows, Shape{2, 2})}, {"n", 9}, {"scale", 3.0}},
                                  {.cache = CacheMode::skip});
  REQUIRE(answer);
  CHECK(answer->outputs["y"].as<float>()[3] == 13);
  CHECK(seen == std::vector<std::int64_t>{9, 9});
}
