// A backend that asks whether anybody waits for its batch, and what its callers get then.
#include <doctest/doctest.h>

#include <functional>
#include <memory>
#include <vector>

#include <athanor/batching/cost_model.hpp>
#include <athanor/core/cancellation.hpp>
#include <serving/asking.hpp>
#include <support/counting_backend.hpp>

using namespace athanor;
using namespace athanor_tests;
using namespace std::chrono_literals;

namespace {

struct Rig : SimulatedEngine {
  std::vector<bool> answers{};  // to what the backend asked

  explicit Rig(std::string_view manifest = "", EngineOptions const& options = {})
      : SimulatedEngine(manifest, options) {
    // So many that a caller with a deadline runs the model itself.
    for (std::uint64_t i = 0; i < batching::CostModel::trusted_samples; ++i)
      REQUIRE(infer(row(0), {.cache = CacheMode::skip}));
  }

  // Asks, lets the test act and asks again; gives up if it may.
  void ask_around(std::function<void()> act) {
    control.on_run = [this, act = std::move(act)](ath_batch const& batch) -> Result<void> {
      return ask_twice(
          answers, [&] { return is_cancelled(batch); }, act);
    };
  }
  std::uint64_t failures() const { return state->statistics(*served).value().batch_failures; }
};

}  // namespace

// mutant: a backend is never told that nobody waits
// mutant: a batch that was given up counts as a failure
TEST_CASE("S2-7 a backend is told that the caller has cancelled, or that the deadline has passed") {
  for (bool const late : {false, true}) {
    Rig rig;
    std::unique_ptr<SimulatedEngine::Ticket> ticket;
    rig.ask_around([&] { leave(rig, late, [&] { rig.cancel(*ticket); }); });
    ticket = rig.submit(row(1), {.deadline = 10ms});
    rig.world.run_until_idle();
    CHECK(rig.answers == no_then_yes);
    REQUIRE(ticket->done());
    CHECK(ticket->error().code == code_of_leaving(late));
    CHECK(rig.failures() == 0);
  }
}

// mutant: a failure is none where nobody waits any more
TEST_CASE("a backend that never asked has failed, also where nobody waits any more") {
  Rig rig;
  rig.control.on_run = [&](ath_batch const&) -> Result<void> {
    rig.world.advance(11ms);
    return fail(Code::internal, Reason::backend_failure, "a fault");
  };
  auto const ticket = rig.submit(row(1), {.deadline = 10ms});
  rig.world.run_until_idle();
  CHECK(ticket->error().code == Code::deadline_exceeded);
  CHECK(rig.failures() == 1);
}

// mutant: on its caller's thread a backend is not told of a cancellation
// mutant: a caller gets the error of a batch that was given up
TEST_CASE("a backend on its caller's own thread is told so, too, and its caller gets the reason") {
  for (bool const late : {false, true}) {
    Rig rig;
    rig.world.refuse_threads(true);  // only its caller's thread can run the model
    BasicCancellation<SimulatedEnv> token;
    rig.ask_around([&] { leave(rig, late, [&] { token.cancel(); }); });
    auto const answer = rig.infer(row(1), {.deadline = 10ms, .cancellation = &token});
    CHECK(rig.answers == no_then_yes);
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == code_of_leaving(late));
    CHECK(rig.failures() == 0);
  }
}

// mutant: what was taken back is run all the same, until its caller has been answered
// mutant: a caller that runs its batches is linked to its cancellation after the last of them
// mutant: of many requests only the first is taken back
TEST_CASE("S2-7 many requests, and one in many batches, are taken back from their caller's own thread") {
  std::vector<float> const values{1, 0, 2, 0, 3, 0};
  Request const three{{"x", Tensor::view<float>(values, {3, 2})}};
  for (bool const one : {false, true}) {
    for (bool const gives_up : {false, true}) {
      Rig rig(R"("batching": {"max_items": 1},)");
      rig.world.refuse_threads(true);  // only its caller's thread can run the model
      BasicCancellation<SimulatedEnv> token;
      rig.control.on_run = [&](ath_batch const& batch) -> Result<void> {
        auto const told = ask_twice(
            rig.answers, [&] { return is_cancelled(batch); }, [&] { token.cancel(); });
        return gives_up ? told : Result<void>();
      };
      auto const runs = rig.control.runs.load();
      std::vector<Result<Answer>> answers;
      if (one) {
        answers.push_back(rig.infer(three, {.cancellation = &token}));
      } else {
        Model<SimulatedServing> const model(rig.state, *rig.served);
        answers = model.infer_many(std::vector{row(1), row(2), row(3)}, {.cancellation = &token});
      }
      CHECK(rig.answers == no_then_yes);
      CHECK(rig.control.runs.load() == runs + 1);  // what had not begun is not run
      for (std::size_t i = 0; i < answers.size(); ++i) {
        bool const ran = !one && i == 0 && !gives_up;
        REQUIRE(answers[i].has_value() == ran);
        if (!ran) CHECK(answers[i].error().message == "puppet@1.0.0: cancelled by the caller");
      }
      CHECK(rig.failures() == 0);
      CHECK(rig.state->routes() == 0);
    }
  }
}

// mutant: a backend gives up what a neighbour waits for
TEST_CASE("a backend is not told of callers who have left while another one of the batch waits") {
  Rig rig(R"("batching": {"max_items": 2, "policy": "size_or_delay", "max_delay_us": 1000},)",
          {.caller_runs = CallerRuns::never});
  std::vector<std::unique_ptr<SimulatedEngine::Ticket>> tickets;
  rig.ask_around([&] { rig.cancel(*tickets[0]); });
  tickets.push_back(rig.submit(row(1)));
  tickets.push_back(rig.submit(row(2)));
  rig.world.run_until_idle();
  CHECK(rig.control.largest_batch.load() == 2);
  CHECK(rig.answers == no_then_no);
  CHECK(tickets[0]->error().code == Code::cancelled);
  REQUIRE(tickets[1]->has_value());
  CHECK(tickets[1]->y() == 3);
}

// mutant: a processor gives up what others wait for
TEST_CASE("a backend is not told of a caller who has left while an equal call waits for the answer") {
  Rig rig;
  std::unique_ptr<SimulatedEngine::Ticket> first;
  std::unique_ptr<SimulatedEngine::Ticket> second;
  rig.ask_around([&] {
    second = rig.submit(row(1));
    rig.cancel(*first);
  });
  first = rig.submit(row(1));
  rig.world.run_until_idle();
  CHECK(rig.answers == no_then_no);
  CHECK(first->error().code == Code::cancelled);
  REQUIRE(second->has_value());
}

// mutant: a batch that was given up has failed with the error of its backend
TEST_CASE("a backend that gives up for all of a batch is not run again for any of them") {
  Rig rig(R"("batching": {"max_items": 2, "policy": "size_or_delay", "max_delay_us": 1000},)",
          {.caller_runs = CallerRuns::never});
  std::vector<std::unique_ptr<SimulatedEngine::Ticket>> tickets;
  rig.ask_around([&] {
    rig.cancel(*tickets[0]);
    rig.world.advance(11ms);
  });
  auto const runs = rig.control.runs.load();
  tickets.push_back(rig.submit(row(1)));
  tickets.push_back(rig.submit(row(2), {.deadline = 10ms}));
  rig.world.run_until_idle();
  CHECK(rig.answers == no_then_yes);
  CHECK(rig.control.runs.load() == runs + 1);
  CHECK(tickets[0]->error().code == Code::cancelled);
  CHECK(tickets[1]->error().code == Code::deadline_exceeded);
}

// mutant: the call of a stream that is cancelled goes on
TEST_CASE("a backend is told that the reader of a stream has left") {
  Simulation world{1};
  CountingBackend backend;
  ath_backend_table const table = make_table(backend);
  ModelFolder const folder("", "counting", "1.0.0",
                           counting_tensors(false, R"({"until": "done", "max": 100})"));
  auto state = std::make_shared<serving::EngineState<SimulatedServing>>(EngineOptions{});
  REQUIRE(state->add_backend(table));
  Model<SimulatedServing> const model(*state->add(folder.path()));
  std::vector<bool> answers;
  auto stream = model.stream(row(7, 3)).value();
  REQUIRE(stream.next());
  backend.on_run = [&](ath_batch const& batch) -> Result<void> {
    answers.push_back(is_cancelled(batch));
    stream.cancel();
    answers.push_back(is_cancelled(batch));
    return {};
  };
  CHECK_FALSE(stream.next());
  CHECK(answers == no_then_yes);
  auto const outcome = stream.outcome();
  REQUIRE_FALSE(outcome);
  CHECK(outcome.error().code == Code::cancelled);
  state->stop(0ms);
}

// mutant: where nobody can be asked, nobody waits
TEST_CASE("while a model is loaded nobody is said to have left") {
  bool asked = false;
  Rig rig;
  ModelFolder const tested(R"("self_test": [{"inputs": {"x": [[1, 2]]}, "outputs": {"y": [[2, 3]]}}],)",
                           "tested");
  rig.control.on_run = [&](ath_batch const& batch) -> Result<void> {
    asked = true;
    CHECK((batch.is_cancelled == nullptr));
    CHECK_FALSE(is_cancelled(batch));
    return {};
  };
  Model<SimulatedServing> const model(rig.state->add(tested.path()).value());
  REQUIRE(model.load());
  CHECK(asked);
}
