// Calls that the engine steps until they end: their state, their batches, and the streams of their parts.
#include <doctest/doctest.h>

#include <atomic>
#include <coroutine>
#include <optional>
#include <set>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <serving/counting_rig.hpp>

using namespace athanor;
using namespace athanor_tests;
using namespace std::chrono_literals;

namespace {

using Parts = Stream<SimulatedServing>;

// Checks that the stream gives parts `first` to `last` of a call with that mark.
void check_parts(Parts& stream, int first, int last, float mark) {
  for (int step = first; step <= last; ++step) {
    auto const part = stream.next();
    REQUIRE(part);
    auto const y = (*part)["y"].as<float>();
    CHECK(y[0] == static_cast<float>(step));
    CHECK(y[1] == static_cast<float>(step) * mark);
  }
}
void check_ends_well(Parts& stream) {
  CHECK_FALSE(stream.next());
  CHECK(stream.outcome());
}
void check_ends(Parts& stream, Code code, Reason reason) {
  CHECK_FALSE(stream.next());
  auto const outcome = stream.outcome();
  REQUIRE_FALSE(outcome);
  CHECK(outcome.error().code == code);
  CHECK(outcome.error().reason == reason);
}

}  // namespace

// mutant: a step leaves its state where it was
// mutant: each step begins with the initial state
TEST_CASE(
    "S3-24 a stream gives each step of its call, of its own state, until the model says that it is the "
    "last") {
  for (bool const held : {false, true}) {
    Counting counting(counting_tensors(held, until_done));
    auto stream = counting.open(7, 3);
    check_parts(stream, 1, 7, 3);
    check_ends_well(stream);
    CHECK(stream.outcome()->attempts == 7);
    CHECK(counting.state->routes() == 0);
    CHECK(counting.model->statistics()->sequences == 0);
    auto again = counting.open(2, 5);  // in the same slot
    check_parts(again, 1, 2, 5);
    check_ends_well(again);
  }
}

// mutant: a call is stepped until its model says that it is over
// mutant: a request cannot ask for fewer steps
TEST_CASE("a call is stepped no more often than the manifest, or its parameter, says") {
  Counting counting(counting_tensors(false, R"({"max": 3})"));
  auto stream = counting.open(50, 1);
  check_parts(stream, 1, 3, 1);
  check_ends_well(stream);
  Counting asked(counting_tensors(
      false, R"({"until": "done", "max": "steps"})",
      R"("parameters": [{"name": "steps", "type": "i64", "default": 4, "min": 1, "max": 10}],)"));
  auto usual = asked.open(50, 1);
  check_parts(usual, 1, 4, 1);
  check_ends_well(usual);
  Request request = row(50, 1);
  request.set("steps", std::int64_t{2});
  auto few = asked.model->stream(std::move(request)).value();
  check_parts(few, 1, 2, 1);
  check_ends_well(few);
}

// mutant: the first item of a batch says for all which step is the last
TEST_CASE("a call without a stream is answered with its last step") {
  for (bool const held : {false, true}) {
    Counting counting(counting_tensors(held, until_done));
    auto const answer = counting.model->infer(row(5, 2));
    REQUIRE(answer);
    CHECK(answer->outputs["y"].as<float>()[0] == 5);
    CHECK(answer->outputs["y"].as<float>()[1] == 10);
    auto const many = counting.model->infer_many(std::vector<Request>{row(2, 1), row(4, 3)});
    CHECK(many[0].value().outputs["y"].as<float>()[1] == 2);
    CHECK(many[1].value().outputs["y"].as<float>()[1] == 12);
    CHECK_FALSE(counting.backend.twice);
  }
}

TEST_CASE("a model that the engine steps opens no sequence, and takes one item in a call") {
  Counting counting;
  CHECK(counting.model->open_sequence().error().code == Code::failed_precondition);
  float const two[4] = {1, 1, 2, 2};
  auto const items = counting.model->stream({{"x", Tensor::view<float>(two, Shape{2, 2})}});
  REQUIRE_FALSE(items);
  CHECK(items.error().message == "counting@1.0.0: a call that the engine steps: expected 1 item, got 2");
  CHECK(counting.state->routes() == 0);
}

// mutant: what goes on after a batch is held like what enters
// mutant: what goes on after a batch is put back one by one
TEST_CASE("steps of different calls share their batches, and new calls join at the next one") {
  Counting counting(counting_tensors(false, until_done),
                    R"("batching": {"max_items": 8, "policy": "size_or_delay", "max_delay_us": 1000},)");
  auto one = counting.open(4, 1);
  auto other = counting.open(4, 2);
  check_parts(one, 1, 1, 1);  // the delay has passed for both
  auto const began = counting.world.now();
  auto third = counting.open(2, 3);
  check_parts(one, 2, 4, 1);
  CHECK(counting.world.now() == began);
  check_parts(other, 1, 4, 2);
  check_parts(third, 1, 2, 3);
  for (auto* stream : {&one, &other, &third}) check_ends_well(*stream);
  auto const& first = counting.backend.marks.front();
  CHECK(std::set<float>(first.begin(), first.end()) == std::set<float>{1, 2});
  CHECK(counting.backend.marks.size() <= 5);
  CHECK_FALSE(counting.backend.twice);
}

// mutant: a call goes on although its reader has not read
// mutant: a call that waits for its reader is not resumed
TEST_CASE("S3-24 four parts wait for the reader, then the call is left out of batches until there is room") {
  Counting counting;
  counting.backend.on_run = [&](ath_batch const&) {
    counting.world.advance(60us);
    return Result<void>();
  };
  auto stream = counting.open(9, 1);
  counting.run_now();
  CHECK(counting.made(1) == 4);
  CHECK(counting.model->statistics()->sequences == 1);
  auto other = counting.open(3, 2);
  check_parts(other, 1, 3, 2);
  check_ends_well(other);
  CHECK(counting.made(1) == 4);
  check_parts(stream, 1, 1, 1);
  counting.run_now();
  CHECK(counting.made(1) == 5);
  check_parts(stream, 2, 9, 1);
  check_ends_well(stream);
}

// mutant: a reader that blocks leaves short steps to the workers
// mutant: a reader makes steps that take longer than to wake a worker
TEST_CASE("a reader that blocks makes the short steps of its call itself, and no long ones") {
  Counting counting;
  auto stream = counting.open(9, 1);
  check_parts(stream, 1, 9, 1);
  check_ends_well(stream);
  CHECK(stream.outcome()->on_caller);
  counting.backend.on_run = [&](ath_batch const&) {
    counting.world.advance(60us);
    return Result<void>();
  };
  auto slow = counting.open(9, 2);
  check_parts(slow, 1, 9, 2);
  check_ends_well(slow);
  CHECK_FALSE(slow.outcome()->on_caller);
}

// mutant: a reader makes steps of its own of a call that others would share
TEST_CASE("two readers that block leave the steps that their calls share to a worker") {
  Counting counting;
  auto one = counting.open(9, 1);
  auto other = counting.open(9, 2);
  for (int step = 1; step <= 9; ++step) {
    check_parts(one, step, step, 1);
    check_parts(other, step, step, 2);
    counting.run_now();
  }
  CHECK(counting.backend.marks.size() < 14);
}

TEST_CASE("parts that wait when the deadline of their stream passes are not read any more") {
  Counting counting;
  auto stream = counting.open(9, 1, {.deadline = 10ms});
  counting.run_now();
  CHECK(counting.made(1) == 4);
  counting.world.advance(11ms);
  counting.run_now();
  check_ends(stream, Code::deadline_exceeded, Reason::deadline_running);
}

// mutant: a call that was left to a reader is left alone
TEST_CASE("a call that was left to a reader goes on on a worker if the reader does not block for it") {
  Counting counting;
  auto stream = counting.open(30, 1);
  check_parts(stream, 1, 12, 1);
  CHECK_FALSE(stream.ready());
  counting.run_now();
  CHECK(stream.ready());
  CHECK(counting.made(1) == 16);
  check_parts(stream, 13, 20, 1);
  CHECK(stream.next_async().await_suspend(std::noop_coroutine()));
  counting.run_now();
  CHECK(counting.made(1) == 24);
}

// mutant: many requests give up the rest when every sequence is taken
TEST_CASE("many requests wait for the sequences that those before them take") {
  Counting counting(counting_tensors(false, until_done, "", R"("max": 2)"));
  std::vector<Request> requests;
  for (int i = 0; i < 5; ++i) requests.push_back(row(2, static_cast<float>(i)));
  auto const answers = counting.model->infer_many(requests);
  for (std::size_t i = 0; i < answers.size(); ++i) {
    REQUIRE(answers[i]);
    CHECK(answers[i]->outputs["y"].as<float>()[1] == static_cast<float>(2 * i));
  }
}

// mutant: a call that waits for its reader outlives its stream
TEST_CASE(
    "a stream that nobody reads keeps its slot until its deadline, and one that is left gives it back") {
  for (bool const held : {false, true}) {
    Counting counting(counting_tensors(held, until_done, "", R"("max": 1)"));
    {
      auto unread = counting.open(9, 1, {.deadline = 10ms});
      counting.run_now();
      auto const full = counting.model->stream(row(1, 1));
      REQUIRE_FALSE(full);
      CHECK(full.error().reason == Reason::sequences_full);
      CHECK(full.error().retry_after > 0ms);
      counting.world.advance(10ms);
      counting.run_now();
      CHECK(counting.state->routes() == 0);
      auto next = counting.open(2, 7);
      check_parts(next, 1, 2, 7);
      check_ends(unread, Code::deadline_exceeded, Reason::deadline_running);
    }
    {
      auto const left = counting.open(9, 1);
      counting.run_now();
    }
    counting.run_now();
    CHECK(counting.state->routes() == 0);
    auto next = counting.open(2, 7);
    check_parts(next, 1, 2, 7);
  }
}

TEST_CASE("a stream that is cancelled between two parts ends there, and so does its work") {
  for (bool const held : {false, true}) {
    Counting counting(counting_tensors(held, until_done));
    auto stream = counting.open(50, 1);
    auto other = counting.open(6, 2);
    check_parts(stream, 1, 2, 1);
    stream.cancel();
    check_ends(stream, Code::cancelled, Reason::cancelled);
    check_parts(other, 1, 6, 2);
    check_ends_well(other);
    counting.run_now();
    CHECK(counting.made(1) <= 6);
    CHECK(counting.state->routes() == 0);
    CHECK(counting.model->statistics()->sequences == 0);
  }
}

TEST_CASE("a stream that is cancelled while its step runs gets no part of it") {
  for (bool const held : {false, true}) {
    Counting counting(counting_tensors(held, until_done));
    std::optional<Parts> stream;
    int runs = 0;
    counting.backend.on_run = [&](ath_batch const&) {
      if (++runs == 3) {
        stream->cancel();
        counting.run_now();
      }
      return Result<void>();
    };
    stream.emplace(counting.open(9, 1));
    counting.run_now();
    check_ends(*stream, Code::cancelled, Reason::cancelled);
    CHECK(runs == 3);
    CHECK(counting.state->routes() == 0);
    auto next = counting.open(2, 7);
    check_parts(next, 1, 2, 7);
    check_ends_well(next);
  }
}

// mutant: a slow reader gets parts after the deadline
TEST_CASE("S3-24 the deadline holds between the parts") {
  Counting counting;
  counting.backend.on_run = [&](ath_batch const&) {
    counting.world.advance(4ms);
    return Result<void>();
  };
  auto stream = counting.open(50, 1, {.deadline = 10ms});
  int parts = 0;
  while (stream.next()) ++parts;
  CHECK(parts == 2);
  CHECK(stream.outcome().error().code == Code::deadline_exceeded);
  counting.run_now();
  CHECK(counting.state->routes() == 0);
}

// mutant: a step that fails as a late call does takes the parts before it along
// mutant: a step that fails as a cancelled call does takes the parts before it along
TEST_CASE("a step that fails ends its stream after the parts before it, and harms no other") {
  for (Code const code : {Code::internal, Code::deadline_exceeded, Code::cancelled}) {
    Counting counting;
    int runs = 0;
    counting.backend.on_run = [&](ath_batch const& batch) -> Result<void> {
      if (++runs < 3) return {};
      for (std::int64_t i = 0; i < batch.items; ++i)
        if (static_cast<float const*>(batch.inputs[0].data)[2 * i + 1] == 13)
          return fail(code, Reason::backend_failure, "poison");
      return {};
    };
    auto poison = counting.open(9, 13);
    auto good = counting.open(4, 2);
    counting.run_now();
    check_parts(poison, 1, 2, 13);
    check_ends(poison, code, Reason::backend_failure);
    check_parts(good, 1, 4, 2);
    check_ends_well(good);
  }
}

TEST_CASE("a step that fails where the backend holds the state ends all streams of its batch, and no other") {
  Counting counting(counting_tensors(true, until_done));
  bool fails = false;
  counting.backend.on_run = [&](ath_batch const&) -> Result<void> {
    if (!fails) return {};
    return fail(Code::internal, Reason::backend_failure, "a fault");
  };
  auto one = counting.open(9, 1);
  auto other = counting.open(9, 2);
  counting.run_now();
  fails = true;
  check_parts(one, 1, 4, 1);
  check_ends(one, Code::aborted, Reason::sequence_lost);
  fails = false;
  check_parts(other, 1, 9, 2);
  check_ends_well(other);
}

TEST_CASE("a stream goes on after an unload, as it holds the model, and later ones load it again") {
  Counting counting;
  auto stream = counting.open(9, 1);
  counting.run_now();
  REQUIRE(counting.model->unload());
  check_parts(stream, 1, 9, 1);
  check_ends_well(stream);
  auto next = counting.open(3, 2);
  check_parts(next, 1, 3, 2);
  check_ends_well(next);
}

// mutant: a stop leaves the parts of a stream that wait
TEST_CASE("a stop ends streams, whether they wait for their reader or for a batch") {
  Counting counting;
  auto unread = counting.open(9, 2);
  counting.run_now();
  auto queued = counting.open(9, 1);
  CHECK(counting.state->stop(0ms) == 0);
  check_ends(queued, Code::unavailable, Reason::stopping);
  check_ends(unread, Code::unavailable, Reason::stopping);
  CHECK(counting.state->routes() == 0);
}

// mutant: who waits for a part is not told
TEST_CASE("callbacks get all parts in their order") {
  Counting counting;
  struct Seen {
    std::vector<float> parts{};
    int ends = 0;
    void part(Outputs part) noexcept { parts.push_back(part["y"].as<float>()[0]); }
    void end(Result<Report> outcome) noexcept { ends += outcome ? 1 : 100; }
  } seen;
  auto const opened = counting.model->stream(row(9, 1), {}, stream_callbacks<&Seen::part, &Seen::end>(&seen));
  REQUIRE(opened);
  counting.world.run_until_idle();
  CHECK(seen.parts == std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8, 9});
  CHECK(seen.ends == 1);
}

TEST_CASE("a stream holds the outputs that were asked for, in every part") {
  Counting counting(counting_tensors(false, until_done));
  std::string_view const wanted[] = {"y"};
  auto stream = counting.open(6, 1, {.outputs = wanted});
  int parts = 0;
  for (Outputs const& part : stream) {
    ++parts;
    CHECK(part.size() == 1);
  }
  CHECK(parts == 6);
}

// On threads of the system: each call has its own state,
// whoever shares its batches, and whatever its reader does.
TEST_CASE("many streams on many threads each give their own parts") {
  for (bool const held : {false, true}) {
    CountingBackend backend;
    auto const table = make_table(backend);
    ModelFolder const folder("", "counting", "1.0.0", counting_tensors(held, until_done));
    auto engine = Engine<>::create({.backends = {&table}}).value();
    auto const model = engine.load(folder.path()).value();
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int number = 1; number <= 4; ++number)
      threads.emplace_back([&, number] {
        auto const mark = static_cast<float>(number);
        for (int round = 0; round < 30; ++round) {
          int const wanted = 1 + (round * 7 + number) % 12;
          auto stream = model.stream(row(static_cast<float>(wanted), mark)).value();
          int parts = 0;
          while (auto const part = stream.next()) {
            auto const y = (*part)["y"].as<float>();
            ++parts;
            if (y[0] != static_cast<float>(parts) || y[1] != static_cast<float>(parts) * mark) ++wrong;
            if (round % 4 == 1 && parts == 3) stream.cancel();
            if (round % 4 == 2 && parts == 2) break;
          }
          bool const whole = round % 4 == 0 || round % 4 == 3;
          if (whole && (parts != wanted || !stream.outcome())) ++wrong;
        }
      });
    for (auto& thread : threads) thread.join();
    CHECK(wrong == 0);
    CHECK_FALSE(backend.twice);
  }
}
