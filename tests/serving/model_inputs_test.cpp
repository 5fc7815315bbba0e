// Model inputs that no request holds, on their way to the model.
#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <athanor/serving/engine.hpp>
#include <serving/simulated_engine.hpp>
#include <support/puppet.hpp>

using namespace athanor;
using namespace athanor_tests;

namespace {

// `x` and a constant as the puppet's inputs.
std::string with_constant(std::string const& constant) {
  return R"("batching": {"max_items": 8}, "cache": false,
    "model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}, {"name": "c", )" +
         constant + "}],";
}

std::vector<std::int64_t> integers_in(ath_tensor const& tensor) {
  auto const* values = static_cast<std::int64_t const*>(tensor.data);
  return {values, values + tensor.size_bytes / sizeof(std::int64_t)};
}

}  // namespace

// mutant: a constant for all of a batch is not among the inputs
TEST_CASE("a constant reaches the model beside a lone caller's inputs, which are not copied") {
  Puppet puppet;
  ModelFolder const folder(with_constant(R"("dtype": "i64", "shape": [], "constant": 16000)"));
  auto engine = Engine<>::create({.backends = {&puppet.table}}).value();
  auto const model = engine.load(folder.path()).value();
  void const* seen = nullptr;
  puppet.control.on_run = [&](ath_batch const& batch) {
    CHECK(batch.input_count == 2);
    CHECK(batch.inputs[1].ndim == 0);
    CHECK(integers_in(batch.inputs[1]) == std::vector<std::int64_t>{16000});
    seen = batch.inputs[0].data;
    return Result<void>();
  };
  float const x[2] = {1, 2};
  REQUIRE(model.infer({{"x", Tensor::view<float>(x, Shape{1, 2})}}));
  REQUIRE(model.infer({{"x", Tensor::view<float>(x, Shape{1, 2})}}));
  CHECK(seen == x);
}

// mutant: the constant of a batch has one row
TEST_CASE("requests share a batch of a model that reads constants, a row for every item where it wants one") {
  struct Case {
    std::string declared;
    std::vector<std::int64_t> expected;
    std::int32_t ndim;
  };
  for (Case const& tried :
       {Case{R"("dtype": "i64", "shape": ["items"], "constant": 7)", {7, 7, 7}, 1},
        Case{R"("dtype": "i64", "shape": ["items", 2], "constant": [1, 2])", {1, 2, 1, 2, 1, 2}, 2},
        Case{R"("dtype": "i64", "shape": [2], "constant": [1, 2])", {1, 2}, 1}}) {
    SimulatedEngine engine(with_constant(tried.declared), {.caller_runs = CallerRuns::never});
    int batches = 0;
    REQUIRE(engine.infer(row(0)));
    engine.control.on_run = [&](ath_batch const& batch) {
      ++batches;
      CHECK(batch.items == 3);
      CHECK(batch.inputs[1].ndim == tried.ndim);
      CHECK(batch.inputs[1].shape[0] == (tried.expected.size() == 2 ? 2 : 3));
      CHECK(integers_in(batch.inputs[1]) == tried.expected);
      return Result<void>();
    };
    std::vector<std::unique_ptr<SimulatedEngine::Ticket>> tickets;
    for (int i = 1; i <= 3; ++i) tickets.push_back(engine.submit(row(static_cast<float>(i))));
    engine.world.run_until_idle();
    for (std::size_t i = 0; i < 3; ++i) {
      REQUIRE(tickets[i]->has_value());
      CHECK(tickets[i]->y() == static_cast<float>(i + 2));
    }
    CHECK(batches == 1);
  }
}

// mutant: the model is given the manifest's own constant
TEST_CASE("a model that writes to a constant is refused, and its next load sees the constant as it was") {
  Puppet puppet;
  ModelFolder const folder(with_constant(R"("dtype": "i64", "shape": [1], "constant": [7])") +
                           R"("self_test": [{"inputs": {"x": [[1, 2]]}, "outputs": {"y": [[2, 3]]}}],)");
  auto engine = Engine<>::create({.backends = {&puppet.table}}).value();
  auto const model = engine.add(folder.path()).value();
  bool writes = true;
  std::vector<std::int64_t> seen;
  puppet.control.on_run = [&](ath_batch const& batch) {
    seen = integers_in(batch.inputs[1]);
    if (writes) *static_cast<std::int64_t*>(batch.inputs[1].data) = 8;
    return Result<void>();
  };
  auto const refused = model.load();
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message.find("the model writes to its input 'c'") != std::string::npos);
  writes = false;
  REQUIRE(model.load());
  CHECK(seen == std::vector<std::int64_t>{7});
}

namespace {

// `x`, and a mask of 1 and 2 that a request may leave out; the puppet's second input.
constexpr std::string_view masked =
    R"("inputs": [{"name": "mask", "dtype": "f32", "shape": ["items", 2], "default": [1, 2]},
    {"name": "x", "dtype": "f32", "shape": ["items", 2]}],
  "model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]},
                   {"name": "mask", "dtype": "f32", "shape": ["items", 2]}],
  "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]}],)";

struct MaskedRig : Puppet {
  ModelFolder folder;
  std::vector<float> mask{};  // of the last batch
  Engine<> engine = Engine<>::create({.backends = {&table}}).value();

  explicit MaskedRig(std::string_view extra = "") : folder(extra, "masked", "1.0.0", masked) {
    control.on_run = [this](ath_batch const& batch) {
      auto const* values = static_cast<float const*>(batch.inputs[1].data);
      mask.assign(values, values + batch.inputs[1].size_bytes / sizeof(float));
      return Result<void>();
    };
  }
};

Request rows_of(std::vector<float> const& values) {
  auto const items = static_cast<std::int64_t>(values.size()) / 2;
  return Request{{"x", Tensor::view(std::span(values), Shape{items, 2}).clone().value()}};
}

}  // namespace

// mutant: a default stands for the first item only
TEST_CASE(
    "a request that leaves out an input has its default for each item, and shares the answer of one that "
    "says it") {
  MaskedRig rig;
  auto const model = rig.engine.load(rig.folder.path()).value();
  auto const left_out = model.infer(rows_of({1, 2, 3, 4, 5, 6}));
  REQUIRE_MESSAGE(left_out, left_out.error().message);
  CHECK(rig.mask == std::vector<float>{1, 2, 1, 2, 1, 2});
  CHECK(left_out->outputs["y"].as<float>()[5] == 7);
  std::vector<float> const said{1, 2, 1, 2, 1, 2};
  auto const same =
      model.infer(rows_of({1, 2, 3, 4, 5, 6}).set("mask", Tensor::view(std::span(said), Shape{3, 2})));
  REQUIRE_MESSAGE(same, same.error().message);
  CHECK(same->report.cache == CacheState::hit);
  auto const other =
      model.infer(rows_of({1, 2}).set("mask", Tensor::view(std::span(said).subspan(1, 2), Shape{1, 2})));
  REQUIRE_MESSAGE(other, other.error().message);
  CHECK(rig.mask == std::vector<float>{2, 1});
}

// mutant: a request that does not fit is refused without the name of its model
TEST_CASE("asynchronous calls and many at once leave out inputs, too, and those they say are checked") {
  MaskedRig rig(R"("cache": false,)");
  auto const model = rig.engine.load(rig.folder.path()).value();
  std::vector<Request> requests;
  for (int i = 0; i < 4; ++i) {
    requests.push_back(row(static_cast<float>(i)));
    std::vector<float> const own{5, 6};
    if (i % 2 == 1) requests.back().set("mask", Tensor::view(std::span(own), Shape{1, 2}).clone().value());
  }
  for (auto const& answer : model.infer_many(requests)) REQUIRE_MESSAGE(answer, answer.error().message);
  CHECK(model.infer(row(1).set("mask", 1.0)).error().message == "masked@1.0.0: mask: expected f32, got f64");
  CHECK(model.infer(row(1).set("musk", 1.0)).error().message ==
        "masked@1.0.0: musk: not an input of the model; the model takes mask, x");
  std::optional<Result<Answer>> answer;  // read when the engine has stopped
  REQUIRE(model.submit(row(7), {},
                       {[](void* context, Result<Answer> given) noexcept {
                          static_cast<std::optional<Result<Answer>>*>(context)->emplace(std::move(given));
                        },
                        &answer}));
  rig.engine.stop(std::chrono::seconds(10));
  REQUIRE(answer);
  REQUIRE_MESSAGE(*answer, answer->error().message);
  CHECK((*answer)->outputs["y"].as<float>()[0] == 8);
  CHECK(rig.mask == std::vector<float>{1, 2});
}

namespace {

// As `masked`, without a mask that stands for one that is left out.
constexpr std::string_view optional =
    R"("inputs": [{"name": "mask", "dtype": "f32", "shape": ["items", 2], "default": null},
    {"name": "x", "dtype": "f32", "shape": ["items", 2]}],
  "model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]},
                   {"name": "mask", "dtype": "f32", "shape": ["items", 2]}],
  "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]}],)";

struct SeenBatch {
  std::int64_t items;
  bool none;
};

}  // namespace

// mutant: whether an input is left out is no part of the batch key
// mutant: an input that is left out is gathered like any other
TEST_CASE("a model gets None for what a request leaves out, in batches of such requests only") {
  SimulatedEngine engine(R"("batching": {"max_items": 4},)", {.caller_runs = CallerRuns::never}, 1, {},
                         optional);
  std::vector<SeenBatch> batches;
  engine.control.on_run = [&](ath_batch const& batch) {
    ath_tensor const& mask = batch.inputs[1];
    batches.push_back({batch.items, mask.data == nullptr && mask.ndim == 0 && mask.size_bytes == 0});
    return Result<void>();
  };
  REQUIRE(engine.infer(row(0)));
  batches.clear();
  std::vector<float> const mask{5, 6};
  auto const with_mask = [&](float first) {
    return row(first).set("mask", Tensor::view(std::span(mask), Shape{1, 2}).clone().value());
  };
  auto const tickets = engine.submit_all({row(1), with_mask(2), row(3), with_mask(4), row(5)});
  for (std::size_t i = 0; i < tickets.size(); ++i) {
    REQUIRE(tickets[i]->has_value());
    CHECK(tickets[i]->y() == static_cast<float>(i + 2));
  }
  REQUIRE(batches.size() == 2);
  CHECK(batches[0].items == 3);
  CHECK(batches[0].none);
  CHECK(batches[1].items == 2);
  CHECK_FALSE(batches[1].none);
  CHECK(engine.infer(row(1))->report.cache == CacheState::hit);
  CHECK(engine.infer(with_mask(1))->report.cache == CacheState::miss);

  batches.clear();
  auto const oversize = engine.infer(rows_of(std::vector<float>(20, 7)));
  REQUIRE_MESSAGE(oversize, oversize.error().message);
  CHECK(batches.size() == 3);
  for (SeenBatch const& batch : batches) CHECK(batch.none);
}

TEST_CASE("a default counts against the bytes that calls may hold") {
  MaskedRig rig;
  auto engine = Engine<>::create({.backends = {&rig.table}, .max_bytes = 20}).value();
  auto const model = engine.load(rig.folder.path()).value();
  REQUIRE(model.infer(row(1)));
  auto const refused = model.infer(rows_of({1, 2, 3, 4}));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::resource_exhausted);
}
