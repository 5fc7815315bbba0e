// A processor that asks whether anybody waits for its item, and what its callers get then.
#include <doctest/doctest.h>

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <athanor/core/cancellation.hpp>
#include <serving/asking.hpp>
#include <support/counting_backend.hpp>

using namespace athanor;
using namespace athanor_tests;
using namespace std::chrono_literals;

namespace {

// Both halves pass on what they are given, and tell the test before.
struct AskingProcessor {
  static constexpr char const* name = "asking";
  std::function<Result<void>(Item const&)> before = [](Item const&) { return Result<void>(); };
  std::function<Result<void>(Item const&)> after = [](Item const&) { return Result<void>(); };

  struct Opened {
    static constexpr std::array<Port, 1> made_ports{{{"x", DType::f32}}};
    static constexpr std::array<Port, 1> output_ports{{{"z", DType::f32}}};
    AskingProcessor& processor;
    std::span<Port const> made() const { return made_ports; }
    std::span<Port const> outputs() const { return output_ports; }
    Result<Preprocessed> preprocess(Item const& item) const {
      if (auto told = processor.before(item); !told) return tl::unexpected(told.error());
      return Preprocessed{{item.input(0).clone().value()}};
    }
    Result<std::vector<Tensor>> postprocess(Item const& item, void const*,
                                            std::span<Tensor const> rows) const {
      if (auto told = processor.after(item); !told) return tl::unexpected(told.error());
      return std::vector{rows[0].clone().value()};
    }
  };
  Result<std::unique_ptr<Opened>> open(std::string_view, std::string_view) {
    return std::make_unique<Opened>(Opened{*this});
  }
};

constexpr std::string_view asked = R"("processor": {"name": "asking"},
  "inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
  "model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
  "model_outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]}],
  "outputs": [{"name": "z", "dtype": "f32", "shape": ["items", 2], "from": "processor:z"}],)";

struct Rig : SimulatedEngine {
  AskingProcessor processor;
  ath_processor_table processor_table = make_table(processor);
  ModelFolder asking{"", "asking", "1.0.0", asked};
  std::vector<bool> answers{};  // to what the processor asked

  explicit Rig(EngineOptions const& options = {}) : SimulatedEngine("", options) {
    REQUIRE(state->add_processor(processor_table));
    served = state->add(asking.path()).value().get();
    REQUIRE(infer(row(0), {.cache = CacheMode::skip}));
  }
  ~Rig() { state->stop(0ms); }

  // Asks, lets the test act and asks again; gives up if it may.
  std::function<Result<void>(Item const&)> asks_around(std::function<void()> act) {
    return [this, act = std::move(act)](Item const& item) {
      return ask_twice(
          answers, [&] { return item.is_cancelled(); }, act);
    };
  }
};

}  // namespace

// mutant: a processor is never told that nobody waits
TEST_CASE("S2-7 a processor is told that the caller has cancelled, or that the deadline has passed") {
  for (bool const late : {false, true})
    for (bool const second_half : {false, true}) {
      Rig rig;
      std::unique_ptr<SimulatedEngine::Ticket> ticket;
      auto const runs = rig.control.runs.load();
      (second_half ? rig.processor.after : rig.processor.before) =
          rig.asks_around([&] { leave(rig, late, [&] { rig.cancel(*ticket); }); });
      ticket = rig.submit(row(1), {.deadline = 10ms});
      rig.world.run_until_idle();
      CHECK(rig.answers == no_then_yes);
      REQUIRE(ticket->done());
      CHECK(ticket->error().code == code_of_leaving(late));
      CHECK(rig.control.runs.load() == runs + (second_half ? 1 : 0));
    }
}

// mutant: on its caller's thread a processor is not told of a cancellation
// mutant: a caller gets the error of a processor that gave up
TEST_CASE("a processor on its caller's own thread is told so, too, and its caller gets the reason") {
  for (bool const late : {false, true})
    for (bool const second_half : {false, true}) {
      Rig rig;
      BasicCancellation<SimulatedEnv> token;
      (second_half ? rig.processor.after : rig.processor.before) =
          rig.asks_around([&] { leave(rig, late, [&] { token.cancel(); }); });
      auto const answer = rig.infer(row(1), {.deadline = 10ms, .cancellation = &token});
      CHECK(rig.answers == no_then_yes);
      REQUIRE_FALSE(answer);
      CHECK(answer.error().code == code_of_leaving(late));
    }
}

// mutant: a processor gives up what others wait for
TEST_CASE("a processor is not told of a caller who has left while an equal call waits for the answer") {
  Rig rig;
  std::unique_ptr<SimulatedEngine::Ticket> first;
  std::unique_ptr<SimulatedEngine::Ticket> second;
  rig.processor.before = rig.asks_around([&] {
    second = rig.submit(row(1));
    rig.cancel(*first);
  });
  first = rig.submit(row(1));
  rig.world.run_until_idle();
  CHECK(rig.answers == no_then_no);
  CHECK(first->error().code == Code::cancelled);
  REQUIRE(second->has_value());
}

// mutant: items that nobody waits for are preprocessed
TEST_CASE("items of a request that nobody waits for any more are left out") {
  Rig rig;
  int items = 0;
  rig.processor.before = [&](Item const&) {
    ++items;
    rig.world.advance(6ms);
    return Result<void>();
  };
  std::array<float, 8> const numbers{};
  auto const answer = rig.infer({{"x", Tensor::view<float>(numbers, Shape{4, 2})}}, {.deadline = 10ms});
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Code::deadline_exceeded);
  CHECK(items == 2);
}

// mutant: a processor is not told that its part is not wanted
TEST_CASE("a processor of a stream's part is told that the stream was cancelled") {
  Simulation world{1};
  CountingBackend backend;
  AskingProcessor processor;
  ath_backend_table const table = make_table(backend);
  ath_processor_table const processor_table = make_table(processor);
  std::string tensors = counting_tensors(false, R"({"until": "done", "max": 100})");
  std::string const of_model = R"("outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2])";
  tensors.replace(tensors.find(of_model), of_model.size(),
                  R"("processor": {"name": "asking", "rows": ["model:y"]},
                     "outputs": [{"name": "z", "dtype": "f32", "shape": ["items", 2], "from": "processor:z")");
  ModelFolder const folder("", "counting", "1.0.0", tensors);
  auto state = std::make_shared<serving::EngineState<SimulatedServing>>(EngineOptions{});
  REQUIRE(state->add_backend(table));
  REQUIRE(state->add_processor(processor_table));
  auto const added = state->add(folder.path());
  REQUIRE_MESSAGE(added, added.error().message);
  Model<SimulatedServing> const model(*added);
  auto stream = model.stream(row(7, 3)).value();
  REQUIRE(stream.next());
  std::vector<bool> answers;
  processor.after = [&](Item const& item) {
    answers.push_back(item.is_cancelled());
    stream.cancel();
    answers.push_back(item.is_cancelled());
    return gave_up();
  };
  CHECK_FALSE(stream.next());
  CHECK(answers == no_then_yes);
  auto const outcome = stream.outcome();
  REQUIRE_FALSE(outcome);
  CHECK(outcome.error().code == Code::cancelled);
  state->stop(0ms);
}
