// The public face of an engine and its models: what the scenarios do not go through.
#include <doctest/doctest.h>

#include <array>
#include <span>

#include <fmt/format.h>

#include <athanor/serving/engine.hpp>
#include <support/puppet.hpp>

using namespace athanor;
using namespace athanor_tests;

namespace {

constexpr std::string_view two_outputs = R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
      "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]},
                  {"name": "twice", "dtype": "f32", "shape": ["items", 2]}],)";

struct Opened : Puppet {
  ModelFolder folder;
  Engine<> engine = Engine<>::create({.backends = {&table}}).value();
  Model<> model = engine.load(folder.path()).value();
};

}  // namespace

// mutant: a lone call runs on a worker
// mutant: a hit is reported as a miss
TEST_CASE("a lone call runs on its caller's thread and reports what happened") {
  Opened processor;
  auto answer = processor.model.infer(row(1, 2));
  REQUIRE(answer);
  CHECK(answer->outputs["y"].as<float>()[0] == 2);
  CHECK(answer->outputs["y"].as<float>()[1] == 3);
  CHECK(answer->report.on_caller == true);
  CHECK(answer->report.cache == CacheState::miss);
  CHECK(answer->report.batch_items == 1);
  auto again = processor.model.infer(row(1, 2));
  REQUIRE(again);
  CHECK(again->report.cache == CacheState::hit);
  CHECK(again->outputs["y"].as<float>()[1] == 3);
  CHECK(processor.control.runs.load() == 1);
}

// mutant: the status of a model does not say why it cannot be loaded
TEST_CASE("an engine whose only model exceeds the budget is not ready, and says why") {
  Puppet puppet;
  ModelFolder const folder;
  auto engine = Engine<>::create({.backends = {&puppet.table}, .model_bytes = 3}).value();
  CHECK_FALSE(engine.load(folder.path()));
  auto const health = engine.health();
  CHECK_FALSE(health.ready);
  CHECK(health.reason.find("puppet@1.0.0: expected at most the whole budget of 3 bytes") !=
        std::string::npos);
}

// mutant: the error of a run does not say which model ran
// mutant: the metrics leave out what a breaker refused
TEST_CASE("a breaker that opens and refuses shows in the metrics") {
  Opened processor;
  processor.control.on_run = [](ath_batch const&) {
    return Result<void>(fail(Code::internal, Reason::backend_failure, "down"));
  };
  CallOptions const options{.cache = CacheMode::skip};
  for (int i = 0; i < 5; ++i)
    CHECK(processor.model.infer(row(1), options).error().message == "puppet@1.0.0: down");
  CHECK(processor.model.infer(row(1), options).error().reason == Reason::breaker_open);
  auto const text = processor.engine.metrics_text();
  for (auto const* line : {"athanor_breaker_open{model=\"puppet\",version=\"1.0.0\"} 1\n",
                           "athanor_breaker_opened_total{model=\"puppet\",version=\"1.0.0\"} 1\n",
                           "athanor_breaker_refused_total{model=\"puppet\",version=\"1.0.0\"} 1\n"})
    CHECK_MESSAGE(text.find(line) != std::string::npos, line);
}

// mutant: an answer is written in the order of the signature
TEST_CASE("an answer is written into the caller's memory, in the order asked for") {
  Puppet puppet;
  ModelFolder const folder("", "two", "1.0.0", two_outputs);
  auto engine = Engine<>::create({.backends = {&puppet.table}}).value();
  auto model = engine.load(folder.path()).value();
  std::array<float, 2> twice{};
  std::array<float, 2> y{};
  std::array<Tensor, 2> room{Tensor::view<float>(twice, Shape{1, 2}), Tensor::view<float>(y, Shape{1, 2})};
  std::array<std::string_view, 2> const names{"twice", "y"};
  for (CacheState const state : {CacheState::miss, CacheState::hit}) {
    twice = y = {};
    auto const report = model.infer_into(row(3, 4), room, {.outputs = names});
    REQUIRE(report);
    CHECK(report->cache == state);
    CHECK(twice == std::array<float, 2>{6, 8});
    CHECK(y == std::array<float, 2>{4, 5});
  }
}

// mutant: the number of outputs to write to is looked at after the run
// mutant: outputs are written to null
// mutant: a call whose outputs have no room is not counted
TEST_CASE("a wrong number of tensors to write to, or one without memory, is refused before the model runs") {
  Opened processor;
  std::array<float, 2> y{};
  std::array<Tensor, 2> room{Tensor::view<float>(y, Shape{1, 2}), Tensor::view<float>(y, Shape{1, 2})};
  std::array<std::string_view, 1> const names{"y"};
  for (CallOptions const& options : {CallOptions{}, CallOptions{.outputs = names}})
    for (std::size_t const count : {0U, 2U}) {
      auto const report = processor.model.infer_into(row(1), std::span(room).first(count), options);
      REQUIRE_FALSE(report);
      CHECK(report.error().message == fmt::format("puppet@1.0.0: expected 1 output tensors, got {}", count));
    }
  Tensor nowhere = Tensor::view(DType::f32, nullptr, Shape{1, 2});
  auto const report = processor.model.infer_into(row(1), {&nowhere, 1});
  REQUIRE_FALSE(report);
  CHECK(report.error().code == Code::invalid_argument);
  CHECK(report.error().message == "puppet@1.0.0: outputs[0]: expected memory of 8 bytes, got null");
  CHECK(processor.control.runs.load() == 0);
  CHECK(processor.model.statistics()->requests_with(Code::invalid_argument) == 5);
}

// mutant: the tensors that an answer is written into are not counted
// mutant: of the memory for an answer only the size is compared
// mutant: an answer that does not fit the memory of its caller counts as given
TEST_CASE("memory that does not fit an answer is refused by the output's name and left alone") {
  Opened processor;
  auto const refused = [&](std::span<Tensor> room) {
    auto const report = processor.model.infer_into(row(1), room);
    REQUIRE_FALSE(report);
    CHECK(report.error().code == Code::invalid_argument);
    CHECK(report.error().reason == Reason::shape);
    return report.error().message;
  };
  std::array<float, 2> y{7, 7};
  std::array<std::int32_t, 2> whole{7, 7};
  Tensor standing = Tensor::view<float>(y, Shape{2, 1});
  Tensor whole_numbers = Tensor::view<std::int32_t>(whole, Shape{1, 2});
  CHECK(refused({}) == "puppet@1.0.0: expected 1 output tensors, got 0");
  CHECK(refused({&standing, 1}) == "puppet@1.0.0: output y: expected a tensor of f32 [1, 2], got f32 [2, 1]");
  CHECK(refused({&whole_numbers, 1}) ==
        "puppet@1.0.0: output y: expected a tensor of f32 [1, 2], got i32 [1, 2]");
  auto const counted = processor.model.statistics();
  CHECK(counted->requests_with(Code::invalid_argument) == 3);
  CHECK(counted->requests_with(Code::ok) == 0);
  CHECK(y == std::array<float, 2>{7, 7});
  CHECK(whole == std::array<std::int32_t, 2>{7, 7});
}

// mutant: an output is written before the next one is looked at
TEST_CASE("an answer of which one output does not fit is not written at all") {
  Puppet puppet;
  ModelFolder const folder("", "two", "1.0.0", two_outputs);
  auto engine = Engine<>::create({.backends = {&puppet.table}}).value();
  auto model = engine.load(folder.path()).value();
  std::array<float, 2> y{7, 7};
  std::array<Tensor, 2> room{Tensor::view<float>(y, Shape{1, 2}), Tensor::view<float>(y, Shape{2, 1})};
  auto const report = model.infer_into(row(3, 4), room);
  REQUIRE_FALSE(report);
  CHECK(report.error().message == "two@1.0.0: output twice: expected a tensor of f32 [1, 2], got f32 [2, 1]");
  CHECK(y == std::array<float, 2>{7, 7});
}

// mutant: a model forgets the answers of another one
TEST_CASE("a model forgets its answers and no other model's") {
  Opened processor;
  ModelFolder const other_folder("", "other");
  auto other = processor.engine.load(other_folder.path()).value();
  REQUIRE(processor.model.infer(row(1)));
  REQUIRE(other.infer(row(1)));
  processor.model.forget_answers();
  CHECK(processor.model.infer(row(1))->report.cache == CacheState::miss);
  CHECK(other.infer(row(1))->report.cache == CacheState::hit);
}

// mutant: a batching section that is refused does not name its model
TEST_CASE("a model whose batching section its policy refuses is not added") {
  Puppet puppet;
  auto engine = Engine<>::create({.backends = {&puppet.table}}).value();
  auto const refusal = [&](std::string_view batching) {
    ModelFolder const folder(batching);
    auto const error = engine.add(folder.path()).error();
    CHECK(error.code == Code::invalid_argument);
    CHECK(error.reason == Reason::manifest);
    return error.message;
  };
  std::string const unknown = refusal(R"("batching": {"policy": "eager"},)");
  CHECK(unknown.starts_with("puppet@1.0.0: batching: policy: expected 'immediate' or "));
  CHECK(unknown.ends_with(", got 'eager'"));
  CHECK(refusal(R"("batching": {"max_delay_us": 500},)") ==
        "puppet@1.0.0: batching: unknown key 'max_delay_us'; known: max_items, max_cost, sizes, instances, "
        "policy; the policy 'immediate' takes no parameters");
  CHECK(refusal(R"("batching": {"max_costs": 20000},)") ==
        "puppet@1.0.0: batching: unknown key 'max_costs'; known: max_items, max_cost, sizes, instances, "
        "policy; the policy 'immediate' takes no parameters");
  CHECK(engine.health().models.empty());
  ModelFolder const folder(R"("batching": {"policy": "size_or_delay", "max_delay_us": 1},)");
  CHECK(engine.load(folder.path()));
}
