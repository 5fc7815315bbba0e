// Model inputs that no request holds, on their way to the model.
#include <doctest/doctest.h>

#include <cstdint>
#include <string>
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

// mutant: a lone caller's inputs are copied for a model with a constant
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
