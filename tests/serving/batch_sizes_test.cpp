// Models that take batches of certain sizes only.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <athanor/core/detail/view.hpp>
#include <athanor/serving/engine.hpp>
#include <serving/scripted_backend.hpp>
#include <serving/simulated_engine.hpp>
#include <support/puppet.hpp>

using namespace athanor;
using namespace athanor_tests;

namespace {

constexpr std::string_view sizes = R"("batching": {"sizes": [2, 4, 8]},)";

// The first number of each row of one input.
std::vector<float> rows_of(ath_tensor const& tensor) {
  std::vector<float> rows;
  auto const* const data = static_cast<float const*>(tensor.data);
  for (std::int64_t row = 0; row < tensor.shape[0]; ++row) rows.push_back(data[row * tensor.shape[1]]);
  return rows;
}

struct SizedEngine : SimulatedEngine {
  std::vector<std::vector<float>> batches;

  explicit SizedEngine(std::string_view manifest = sizes, EngineOptions options = {},
                       std::string_view tensors = puppet_tensors)
      : SimulatedEngine(manifest, options, 1, {}, tensors) {
    control.on_run = [this](ath_batch const& batch) {
      CHECK(batch.items == batch.inputs[0].shape[0]);
      batches.push_back(rows_of(batch.inputs[0]));
      return Result<void>();
    };
  }
};

// Items of two equal numbers, counting up from `first`.
Request counting(float first, std::int64_t items = 1) {
  auto tensor = Tensor::allocate(DType::f32, Shape{items, 2}).value();
  auto* const values = reinterpret_cast<float*>(tensor.mutable_data());
  for (std::int64_t i = 0; i < 2 * items; ++i) values[i] = first + static_cast<float>(i / 2);
  return Request{{"x", std::move(tensor)}};
}

void check_answer(Result<Answer> const& answer, float first, std::int64_t items = 1) {
  REQUIRE_MESSAGE(answer, answer.error().message);
  REQUIRE(answer->outputs["y"].shape() == Shape{items, 2});
  auto const y = answer->outputs["y"].as<float>();
  for (std::int64_t i = 0; i < 2 * items; ++i)
    CHECK(y[static_cast<std::size_t>(i)] == first + 1 + static_cast<float>(i / 2));
}

}  // namespace

// mutant: a batch is not filled up
TEST_CASE("a batch is filled up to a size with copies of its last item, of which no answer knows") {
  SizedEngine engine;
  auto const answer = engine.infer(counting(10, 3));
  check_answer(answer, 10, 3);
  CHECK(answer->report.batch_items == 3);
  REQUIRE(engine.batches.size() == 1);
  CHECK(engine.batches[0] == std::vector<float>{10, 11, 12, 12});

  check_answer(engine.infer(counting(20)), 20);
  CHECK(engine.batches[1] == std::vector<float>{20, 20});
}

TEST_CASE("requests that share a batch are filled up together") {
  SizedEngine engine;
  check_answer(engine.infer(counting(900)), 900);
  engine.batches.clear();
  auto const tickets = engine.submit_all({counting(10), counting(20, 2), counting(30, 3)});
  REQUIRE(engine.batches.size() == 1);
  CHECK(engine.batches[0] == std::vector<float>{10, 20, 21, 30, 31, 32, 32, 32});
  check_answer(*tickets[0]->answer, 10);
  check_answer(*tickets[1]->answer, 20, 2);
  check_answer(*tickets[2]->answer, 30, 3);
  CHECK((*tickets[0]->answer)->report.batch_items == 6);
}

TEST_CASE("a request of a size that the model takes is not copied on its caller's thread") {
  SizedEngine engine;
  check_answer(engine.infer(counting(900)), 900);
  auto const request = counting(10, 4);
  void const* shown = nullptr;
  engine.control.on_run = [&](ath_batch const& batch) {
    shown = batch.inputs[0].data;
    return Result<void>();
  };
  check_answer(engine.infer(request), 10, 4);
  CHECK(shown == request.inputs()[0].value.data());
}

TEST_CASE("a request above the largest size is run in parts, of which the last is filled up") {
  SizedEngine engine;
  check_answer(engine.infer(counting(0, 19)), 0, 19);
  REQUIRE(engine.batches.size() == 3);
  CHECK(engine.batches[0].size() == 8);
  CHECK(engine.batches[1].size() == 8);
  CHECK(engine.batches[2] == std::vector<float>{16, 17, 18, 18});
}

// mutant: the parts of a request may give rows of different shapes
TEST_CASE("the parts of a request give rows of one shape, or the model is at fault") {
  Rig rig([](Run const& run) {
    run.add(0);
    bool const high = run.x()[0] == 9;
    ath_tensor& y = run.batch.outputs[0];
    y.ndim = 3;
    y.shape[1] = high ? 2 : 1;
    y.shape[2] = high ? 1 : 2;
    return done();
  });
  ModelFolder const folder(R"("batching": {"max_items": 2},)", "shapes", "1.0.0",
                           R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
      "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", null, null]}],)");
  auto const model = rig.engine.load(folder.path()).value();
  CHECK(model.infer(counting(1, 4)).value().outputs["y"].shape() == Shape{4, 1, 2});
  CHECK(model.infer(counting(9, 2)).value().outputs["y"].shape() == Shape{2, 2, 1});
  auto const mixed = model.infer(counting(7, 4));
  REQUIRE_FALSE(mixed);
  CHECK(mixed.error().reason == Reason::backend_contract);
  CHECK(mixed.error().message ==
        "shapes@1.0.0: output y: expected rows of [4, 1, 2] as in the first batch of this call, got "
        "[4, 2, 1]");
}

// mutant: what fills up is read from the first of its part
TEST_CASE("what fills up a batch of lent inputs is read while they are held") {
  EngineOptions options;
  options.caller_runs = CallerRuns::never;
  SizedEngine engine(sizes, options);
  std::vector<float> const values{10, 10, 11, 11, 12, 12};
  Request const request{{"x", Tensor::view(std::span<float const>(values), Shape{3, 2})}};
  auto call = engine.state->make_call(*engine.served, request, {}, SimulatedEnv::now()).value();
  engine.state->start(*call);
  engine.state->wait(*call);
  check_answer(engine.state->collect(*call), 10, 3);
  REQUIRE(engine.batches.size() == 1);
  CHECK(engine.batches[0] == std::vector<float>{10, 11, 12, 12});
}

// mutant: what fills up a batch counts as items
TEST_CASE("what fills up a batch is padding in statistics and metrics") {
  SizedEngine engine;
  check_answer(engine.infer(counting(10, 3)), 10, 3);
  check_answer(engine.infer(counting(20, 5)), 20, 5);
  auto const seen = engine.state->statistics(*engine.served).value();
  CHECK(seen.positions == 8);
  CHECK(seen.padding == 4);
  CHECK(seen.batch_items.sum == 8);
}

// mutant: the dry run compares what fills up, too
TEST_CASE("a model is tried in the sizes that it takes, and its self-test is filled up") {
  SizedEngine engine(R"("batching": {"sizes": [4, 16]}, "warm_up": {"batches": [1, 9]},
    "self_test": [{"inputs": {"x": [[1, 1], [2, 2], [3, 3]]}, "outputs": {"y": [[2, 2], [3, 3], [4, 4]]}}],)");
  check_answer(engine.infer(counting(10)), 10);
  std::vector<std::size_t> tried;
  for (auto const& batch : engine.batches) tried.push_back(batch.size());
  for (std::size_t const size : tried) CHECK((size == 4 || size == 16));
  CHECK(std::ranges::count(tried, std::size_t{16}) == 2);  // the second warm-up, and the dry run
}

TEST_CASE("a model that refuses a batch of a size that it should take is not used") {
  SizedEngine engine(R"("batching": {"sizes": [4, 8, 16]},
    "self_test": [{"inputs": {"x": [[1, 1]]}, "outputs": {"y": [[2, 2]]}}],)");
  engine.control.on_run = [](ath_batch const& batch) -> Result<void> {
    if (batch.items != 8) return {};
    return fail(Code::internal, Reason::backend_failure, "8 rows");
  };
  auto const answer = engine.infer(counting(10));
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Code::failed_precondition);
  CHECK(answer.error().message.find("dry run of 8 items: ") != std::string::npos);
  CHECK(answer.error().message.find("\"sizes\"") != std::string::npos);
}

TEST_CASE("padded items are filled up in both directions, and cut back") {
  SizedEngine engine(R"("batching": {"sizes": [4]},)", {},
                     R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", "tokens"]}],
      "model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items", "tokens"], "pad": {"buckets": {"tokens": [3, 6]}}}],
      "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", "tokens"]}],)");
  check_answer(engine.infer(counting(900)), 900);
  engine.batches.clear();
  auto const tickets = engine.submit_all({counting(10, 2), counting(20)});
  REQUIRE(engine.batches.size() == 1);
  CHECK(engine.batches[0] == std::vector<float>{10, 11, 20, 20});
  check_answer(*tickets[0]->answer, 10, 2);
  check_answer(*tickets[1]->answer, 20);
  auto const seen = engine.state->statistics(*engine.served).value();
  CHECK(seen.positions == 2 + 3 * 2);  // the first call's, too
  CHECK(seen.padding == 2 * 4 * 3 - 8);
}
