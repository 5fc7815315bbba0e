// Calls that build on each other: whose state a call sees, what it leaves there, and when it is lost.
#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <serving/sequence_rig.hpp>

using namespace athanor;
using namespace athanor_tests;
using namespace std::chrono_literals;

namespace {

// Adds up what it is given: y is the sum of x over the calls of a sequence,
// with this one. The sum comes in and goes out, or is held by slot.
struct SumBackend {
  static constexpr char const* name = "puppet";
  static constexpr RunsOn runs_on = RunsOn::any_thread;
  std::function<Result<void>(ath_batch const&)> on_run = [](ath_batch const&) { return Result<void>(); };
  std::vector<std::vector<std::uint64_t>> slots;  // of each run
  std::vector<std::uint64_t> cleared;
  std::uint64_t slot_count = 0;
  int runs = 0;

  struct Instance {
    SumBackend& backend;
    bool held;
    std::map<std::uint64_t, float> sums{};
    std::vector<float> y{};
    std::vector<float> next{};

    Result<void> run(ath_batch& batch) {
      auto const items = static_cast<std::size_t>(batch.items);
      auto const* const x = static_cast<float const*>(batch.inputs[0].data);
      auto const* const sum = held ? nullptr : static_cast<float const*>(batch.inputs[1].data);
      y.resize(items);
      next.resize(items);
      for (std::size_t i = 0; i < items; ++i) {
        y[i] = x[i] + (held ? sums[batch.slots[i]] : sum[i]);
        next[i] = y[i];
        if (held) sums[batch.slots[i]] = y[i];
      }
      for (std::size_t output = 0; output < batch.output_count; ++output) {
        batch.outputs[output] = batch.inputs[0];
        batch.outputs[output].data = output == 0 ? y.data() : next.data();
      }
      if (is_made_up(x[0])) return {};
      ++backend.runs;
      backend.slots.emplace_back(batch.slots, batch.slots + items);
      return backend.on_run(batch);
    }
    void clear_slot(std::uint64_t slot) noexcept {
      sums[slot] = 0;
      backend.cleared.push_back(slot);
    }
    static bool is_made_up(float x) { return x == 0.015625F || x == -0.015625F; }
  };
  struct Model {
    using Instance = SumBackend::Instance;
    SumBackend& backend;
    bool held;
    std::uint64_t footprint() const { return 1000; }
    Result<std::unique_ptr<Instance>> make_instance() {
      return std::unique_ptr<Instance>(new Instance{backend, held});
    }
  };
  Result<std::unique_ptr<Model>> load(ModelSource const& source) {
    slot_count = source.slot_count;
    return std::unique_ptr<Model>(new Model{*this, source.input_count == 1});
  }
};
static_assert(Backend<SumBackend>);

constexpr std::string_view carried_tensors =
    R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 1]}],
  "model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 1]},
                   {"name": "sum", "dtype": "f32", "shape": ["items", 1], "from": "state:next"}],
  "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 1]}],)";
constexpr std::string_view held_tensors = R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 1]}],
  "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 1]}],)";

struct Sums : SequenceRig<SumBackend> {
  explicit Sums(Kept kept = Kept::carried, std::string const& sequences = R"("max": 8)",
                EngineOptions const& options = {})
      : SequenceRig(kept, kept == Kept::held ? held_tensors : carried_tensors, sequences, options) {}
};

Request number(float value) {
  return Request{{"x", Tensor::view<float>(std::span(&value, 1), Shape{1, 1}).clone().value()}};
}
float sum_of(Result<Answer> const& answer) {
  REQUIRE(answer);
  return answer->outputs["y"].as<float>()[0];
}
template <class R>
void check_lost(R const& result) {
  REQUIRE_FALSE(result);
  CHECK(result.error().code == Code::aborted);
  CHECK(result.error().reason == Reason::sequence_lost);
  CHECK(result.error().message.find("sums@1.0.0: ") != std::string::npos);
}

}  // namespace

// mutant: a sequence begins anew with every call
// mutant: the next value of a state never becomes the present one
TEST_CASE("each call of a sequence sees what the one before it left, whoever keeps it") {
  for (Kept const kept : {Kept::carried, Kept::held}) {
    Sums sums(kept);
    auto const one = sums.open();
    auto const other = sums.open();
    CHECK(sum_of(one.infer(number(1))) == 1);
    CHECK(sum_of(one.infer(number(10))) == 11);
    CHECK(sum_of(other.infer(number(5))) == 5);
    CHECK(sum_of(one.infer(number(100))) == 111);
    CHECK(sum_of(other.infer(number(5))) == 10);
    CHECK(sums.backend.slot_count == (kept == Kept::held ? 8 : 0));
  }
}

// mutant: answers of a model with state are cached
// mutant: a call without a sequence is let into a model with state
TEST_CASE("equal calls of sequences share no answer, and a call without a sequence is refused") {
  Sums sums;
  auto const sequence = sums.open();
  CHECK(sum_of(sequence.infer(number(1))) == 1);
  auto const again = sequence.infer(number(1));
  CHECK(sum_of(again) == 2);
  CHECK(again->report.cache == CacheState::off);
  auto const alone = sums.model->infer(number(1));
  REQUIRE_FALSE(alone);
  CHECK(alone.error().code == Code::invalid_argument);
  CHECK(alone.error().reason == Reason::missing_input);
  float const two[2] = {1, 2};
  auto const items = sequence.infer({{"x", Tensor::view<float>(two, Shape{2, 1})}});
  REQUIRE_FALSE(items);
  CHECK(items.error().message == "sums@1.0.0: a call of a sequence: expected 1 item, got 2");
  CHECK(sum_of(sequence.infer(number(1))) == 3);
}

TEST_CASE("a model without state opens no sequence") {
  SimulatedEngine engine;
  auto const opened = Model<SimulatedServing>(engine.state, *engine.served).open_sequence();
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code == Code::failed_precondition);
}

// mutant: a sequence is opened although the engine has stopped
TEST_CASE("an engine that has stopped opens no sequence") {
  Sums sums(Kept::carried, R"("max": 1)");
  sums.state->stop(Duration{0});
  auto const opened = sums.model->open_sequence();
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code == Code::unavailable);
  CHECK(opened.error().reason == Reason::stopping);
}

// mutant: every item of a batch is given the state of slot 0
// mutant: a batch names the slot of its first item for all
TEST_CASE("calls of different sequences share a batch, each with its own slot and state") {
  for (Kept const kept : {Kept::carried, Kept::held}) {
    Sums sums(kept, R"("max": 8)", {.caller_runs = CallerRuns::never});
    REQUIRE(sums.open().infer(number(0)));  // loads the model
    int const before = sums.backend.runs;
    std::vector<Sums::Opened> sequences;
    for (int i = 0; i < 5; ++i) sequences.push_back(sums.open());
    for (int round = 1; round <= 3; ++round) {
      std::array<Ticket, 5> tickets;
      for (std::size_t i = 0; i < 5; ++i)
        REQUIRE(sequences[i].submit(number(static_cast<float>(i + 1)), {}, tickets[i].completion()));
      sums.world.run_until_idle();
      for (std::size_t i = 0; i < 5; ++i)
        CHECK(sum_of(*tickets[i].answer) == static_cast<float>(round) * static_cast<float>(i + 1));
      CHECK(std::set(sums.backend.slots.back().begin(), sums.backend.slots.back().end()).size() ==
            sums.backend.slots.back().size());
    }
    CHECK(sums.backend.runs == before + 3);
  }
}

// mutant: the next value of a state is written over the present one
TEST_CASE(
    "a batch that runs again in pieces steps the state that it carries once, and that of who fails not at "
    "all") {
  Sums sums;
  sums.backend.on_run = [](ath_batch const& batch) -> Result<void> {
    for (std::int64_t i = 0; i < batch.items; ++i)
      if (static_cast<float const*>(batch.inputs[0].data)[i] == 99)
        return fail(Code::internal, Reason::backend_failure, "poison");
    return {};
  };
  std::vector<Sums::Opened> sequences;
  for (int i = 0; i < 4; ++i) sequences.push_back(sums.open());
  for (auto const& sequence : sequences) CHECK(sum_of(sequence.infer(number(1))) == 1);
  std::array<Ticket, 4> tickets;
  for (std::size_t i = 0; i < 4; ++i)
    REQUIRE(sequences[i].submit(number(i == 2 ? 99.0F : 10.0F), {}, tickets[i].completion()));
  sums.world.run_until_idle();
  for (std::size_t i = 0; i < 4; ++i) {
    if (i != 2) CHECK(sum_of(*tickets[i].answer) == 11);
    if (i == 2) CHECK(tickets[i].answer->error().reason == Reason::backend_failure);
    CHECK(sum_of(sequences[i].infer(number(100))) == (i == 2 ? 101 : 111));
  }
}

// mutant: a failed batch with held state runs again in pieces
// mutant: a held state is kept after a run that failed
// mutant: a model that fails as a late or cancelled call does hides that the state is lost
TEST_CASE("a failed batch with state that the backend holds ends its sequences, and does not run again") {
  for (Code const code : {Code::internal, Code::deadline_exceeded, Code::cancelled}) {
    Sums sums(Kept::held);
    auto const bystander = sums.open();
    CHECK(sum_of(bystander.infer(number(7))) == 7);
    bool fails = true;
    sums.backend.on_run = [&](ath_batch const&) -> Result<void> {
      if (!fails) return {};
      return fail(code, Reason::backend_failure, "a fault");
    };
    auto const one = sums.open();
    auto const other = sums.open();
    int const before = sums.backend.runs;
    std::array<Ticket, 2> tickets;
    REQUIRE(one.submit(number(1), {}, tickets[0].completion()));
    REQUIRE(other.submit(number(1), {}, tickets[1].completion()));
    sums.world.run_until_idle();
    CHECK(sums.backend.runs == before + 1);
    fails = false;
    for (Ticket const& ticket : tickets) {
      REQUIRE_FALSE(*ticket.answer);
      CHECK(ticket.answer->error().reason == Reason::sequence_lost);
      CHECK(ticket.answer->error().message.find("a fault") != std::string::npos);
    }
    check_lost(one.infer(number(1)));
    check_lost(one.infer(number(1)));
    REQUIRE(one.reset());
    CHECK(sum_of(one.infer(number(3))) == 3);
    CHECK(sum_of(bystander.infer(number(7))) == 14);
  }
}

// mutant: a sequence takes what another load of its model holds for its state
TEST_CASE("the state is lost with the model's memory, and a sequence that has none yet loses nothing") {
  for (Kept const kept : {Kept::carried, Kept::held}) {
    Sums sums(kept);
    auto const sequence = sums.open();
    auto const unused = sums.open();
    CHECK(sum_of(sequence.infer(number(1))) == 1);
    REQUIRE(sums.model->unload());
    CHECK(sum_of(unused.infer(number(2))) == 2);
    check_lost(sequence.infer(number(1)));
    check_lost(sequence.infer(number(1)));
    REQUIRE(sequence.reset());
    CHECK(sum_of(sequence.infer(number(4))) == 4);
    REQUIRE(sums.model->unload());
    CHECK(sequence.close());
  }
}

// mutant: a sequence goes on although a call of it was given up while it ran
// mutant: a carried state is lost with a run that failed
TEST_CASE("a call that misses its deadline loses the state if it ran, and leaves it if it waited") {
  for (Kept const kept : {Kept::carried, Kept::held}) {
    Sums sums(kept);
    Duration takes = 0ms;
    auto const sequence = sums.open();
    CHECK(sum_of(sequence.infer(number(1))) == 1);
    Ticket waits;
    sums.backend.on_run = [&](ath_batch const&) -> Result<void> {
      REQUIRE(sequence.submit(number(1), {.deadline = 10ms}, waits.completion()));
      sums.world.advance(50ms);
      return {};
    };
    CHECK(sum_of(sums.open().infer(number(1))) == 1);
    sums.world.run_until_idle();
    REQUIRE_FALSE(*waits.answer);
    CHECK(waits.answer->error().reason == Reason::deadline_waiting);
    sums.backend.on_run = [&](ath_batch const&) -> Result<void> {
      sums.world.advance(takes);
      return {};
    };
    CHECK(sum_of(sequence.infer(number(1))) == 2);
    takes = 50ms;
    auto const late = sequence.infer(number(1), {.deadline = 10ms});
    REQUIRE_FALSE(late);
    CHECK(late.error().code == Code::deadline_exceeded);
    takes = 0ms;
    check_lost(sequence.infer(number(1)));
    REQUIRE(sequence.reset());
    CHECK(sum_of(sequence.infer(number(1))) == 1);
  }
}

// mutant: an answer that is refused steps the state
TEST_CASE("an answer that is refused after the run steps no carried state, and loses a held one") {
  for (Kept const kept : {Kept::carried, Kept::held}) {
    Sums sums(kept);
    auto const sequence = sums.open();
    CHECK(sum_of(sequence.infer(number(1))) == 1);
    auto const infinite = std::numeric_limits<float>::max();
    CHECK(sum_of(sequence.infer(number(infinite))) == infinite);
    auto const refused = sequence.infer(number(infinite));  // the sum is no number any more
    REQUIRE_FALSE(refused);
    if (kept == Kept::carried) {
      CHECK(refused.error().reason == Reason::non_finite);
      CHECK(sum_of(sequence.infer(number(-infinite))) == 0);
    } else {
      check_lost(sequence.infer(number(-infinite)));
    }
  }
}

// mutant: two calls of a sequence run at once
TEST_CASE("a sequence has one call at a time, whose end lets the next one begin, inside its completion") {
  Sums sums(Kept::carried, R"("max": 2)", {.caller_runs = CallerRuns::never});
  auto sequence = sums.open();
  Ticket first;
  Ticket second;
  REQUIRE(sequence.submit(number(1), {}, first.completion()));
  auto const refused = sequence.submit(number(1), {}, second.completion());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::failed_precondition);
  CHECK(refused.error().reason == Reason::sequence_busy);
  CHECK(sequence.reset().error().reason == Reason::sequence_busy);
  sums.world.run_until_idle();
  CHECK(sum_of(*first.answer) == 1);

  struct Chain {
    Sums::Opened& sequence;
    std::vector<float> seen{};
    static void on_answer(void* context, Result<Answer> answer) noexcept {
      auto& chain = *static_cast<Chain*>(context);
      chain.seen.push_back(answer ? answer->outputs["y"].as<float>()[0] : -1);
      if (chain.seen.size() < 4)
        static_cast<void>(chain.sequence.submit(number(1), {}, {&on_answer, &chain}));
    }
  } chain{sequence};
  REQUIRE(sequence.submit(number(1), {}, {&Chain::on_answer, &chain}));
  sums.world.run_until_idle();
  CHECK(chain.seen == std::vector<float>{2, 3, 4, 5});
}

// mutant: a slot is given away while its last call is in flight
// mutant: a sequence begins with what the slot held before
TEST_CASE("a slot that changes hands holds nothing of the sequence before, whose last call is answered") {
  for (Kept const kept : {Kept::carried, Kept::held}) {
    Sums sums(kept, R"("max": 1)", {.caller_runs = CallerRuns::never});
    Ticket last;
    {
      auto const sequence = sums.open();
      REQUIRE(sequence.submit(number(5), {}, last.completion()));
    }
    auto const early = sums.model->open_sequence();
    REQUIRE_FALSE(early);
    CHECK(early.error().reason == Reason::sequences_full);
    sums.world.run_until_idle();
    CHECK(sum_of(*last.answer) == 5);
    auto const next = sums.open();
    Ticket first;
    REQUIRE(next.submit(number(2), {}, first.completion()));
    sums.world.run_until_idle();
    CHECK(sum_of(*first.answer) == 2);
  }
}

// mutant: a sequence is never idle for too long
// mutant: a sequence whose caller has just learnt of its loss may lose its place at once
TEST_CASE("sequences are bounded, and one without a call for long loses its state and then its place") {
  Sums sums(Kept::carried, R"("max": 2, "idle_ms": 1000)");
  auto const idle = sums.open();
  CHECK(sum_of(idle.infer(number(1))) == 1);
  sums.world.advance(600ms);
  auto const busy = sums.open();
  CHECK(sum_of(busy.infer(number(1))) == 1);
  auto const refused = sums.model->open_sequence();
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::resource_exhausted);
  CHECK(refused.error().reason == Reason::sequences_full);
  CHECK(refused.error().retry_after == 400ms);
  CHECK(sums.model->statistics()->sequences == 2);
  CHECK(sums.state->metrics_text().find("athanor_sequences{model=\"sums\",version=\"1.0.0\"} 2\n") !=
        std::string::npos);
  sums.world.advance(400ms);
  check_lost(idle.infer(number(1)));
  CHECK_FALSE(sums.model->open_sequence());  // whoever learns of the loss has time to reset
  sums.world.advance(500ms);
  CHECK(sum_of(busy.infer(number(1))) == 2);
  sums.world.advance(500ms);
  auto const third = sums.open();
  CHECK(sum_of(third.infer(number(3))) == 3);
  check_lost(idle.infer(number(1)));
  check_lost(idle.reset());
  CHECK(idle.close().error().code == Code::failed_precondition);
  CHECK(sum_of(busy.infer(number(1))) == 3);
  CHECK(sum_of(third.infer(number(3))) == 6);
}

// mutant: a sequence is found by its slot
TEST_CASE(
    "a sequence that is closed twice, or used after that, gets one typed error, and no other sequence is "
    "affected") {
  Sums sums(Kept::carried, R"("max": 1)");
  auto sequence = sums.open();
  CHECK(sum_of(sequence.infer(number(1))) == 1);
  REQUIRE(sequence.close());
  auto const next = sums.open();
  auto const twice = sequence.close();
  REQUIRE_FALSE(twice);
  CHECK(twice.error().code == Code::failed_precondition);
  CHECK(twice.error().reason == Reason::sequence_lost);
  check_lost(sequence.infer(number(1)));
  check_lost(sequence.reset());
  CHECK(sum_of(next.infer(number(2))) == 2);
  Sums::Opened const moved = std::move(sequence);
  CHECK(sum_of(next.infer(number(2))) == 4);
}

// mutant: carried state is not charged to the model
TEST_CASE("carried state is charged to the model's memory when it is loaded") {
  for (std::size_t const most : {std::size_t{1}, std::size_t{1000}}) {
    Sums sums(Kept::carried, R"("max": )" + std::to_string(most));
    CHECK(sum_of(sums.open().infer(number(1))) == 1);
    CHECK(sums.model->statistics()->bytes == 1000 + (2 * most + 1) * sizeof(float));
  }
  Sums tight(Kept::carried, R"("max": 1000)", {.model_bytes = 2000});
  auto const refused = tight.open().infer(number(1));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().reason == Reason::budget);
}

// mutant: a backend without slots may hold state
TEST_CASE("state that a backend cannot hold is refused when the model is added") {
  SimulatedEngine engine;
  ModelFolder const folder(R"("sequences": {"held": true},)", "held");
  auto const added = engine.state->add(folder.path());
  REQUIRE_FALSE(added);
  CHECK(added.error().reason == Reason::manifest);
  CHECK(added.error().message ==
        "held@1.0.0: sequences.held: expected a backend that holds state, 'puppet' does not");
}

// mutant: a sequence goes on although a call of it was given up while it ran
TEST_CASE("a call that is cancelled loses the state if it ran, and leaves it if it waited") {
  for (Kept const kept : {Kept::carried, Kept::held}) {
    Sums sums(kept, R"("max": 8)", {.caller_runs = CallerRuns::never});
    auto const sequence = sums.open();
    Ticket first;
    REQUIRE(sequence.submit(number(1), {}, first.completion()));
    sums.world.run_until_idle();
    Ticket waits;
    auto waiting = sequence.submit(number(1), {}, waits.completion());
    REQUIRE(waiting);
    waiting->cancel();
    sums.world.run_until_idle();
    CHECK(waits.answer->error().code == Code::cancelled);
    Ticket second;
    REQUIRE(sequence.submit(number(1), {}, second.completion()));
    sums.world.run_until_idle();
    CHECK(sum_of(*second.answer) == 2);

    std::optional<Submission<SimulatedServing>> running;
    sums.backend.on_run = [&](ath_batch const&) -> Result<void> {
      running->cancel();
      return {};
    };
    Ticket runs;
    running.emplace(sequence.submit(number(1), {}, runs.completion()).value());
    sums.world.run_until_idle();
    CHECK(runs.answer->error().code == Code::cancelled);
    sums.backend.on_run = [](ath_batch const&) -> Result<void> { return {}; };
    check_lost(sequence.infer(number(1)));
    REQUIRE(sequence.reset());
    Ticket anew;
    REQUIRE(sequence.submit(number(5), {}, anew.completion()));
    sums.world.run_until_idle();
    CHECK(sum_of(*anew.answer) == 5);
  }
}

TEST_CASE("a model with state is proved by the first calls of as many sequences as there are") {
  SumBackend backend;
  auto const table = make_table(backend);
  for (auto const tensors : {carried_tensors, held_tensors}) {
    ModelFolder const folder(
        R"("sequences": {"max": 2, "held": )" + std::string(tensors == held_tensors ? "true" : "false") +
            R"(}, "self_test": [{"inputs": {"x": [[1], [2]]}, "outputs": {"y": [[1], [2]]}}],
               "warm_up": {"batches": [2, 2]},)",
        "sums", "1.0.0", tensors);
    auto engine = Engine<>::create({.backends = {&table}}).value();
    CHECK(engine.load(folder.path()));
  }
}

// On threads of the system: each sequence has its own sum, whoever shares its batches.
TEST_CASE("many sequences on many threads each add up their own") {
  SumBackend backend;
  auto const table = make_table(backend);
  for (auto const tensors : {carried_tensors, held_tensors}) {
    ModelFolder const folder(R"("sequences": {"max": 4, "held": )" +
                                 std::string(tensors == held_tensors ? "true" : "false") + "},",
                             "sums", "1.0.0", tensors);
    auto engine = Engine<>::create({.backends = {&table}}).value();
    auto const model = engine.load(folder.path()).value();
    std::vector<std::thread> threads;
    std::array<float, 4> wrong{};
    for (std::size_t i = 0; i < 4; ++i)
      threads.emplace_back([&, i] {
        auto const sequence = model.open_sequence().value();
        for (int round = 1; round <= 50; ++round) {
          auto const answer = sequence.infer(number(static_cast<float>(i + 1)));
          if (!answer ||
              answer->outputs["y"].as<float>()[0] != static_cast<float>(round) * static_cast<float>(i + 1))
            ++wrong[i];
        }
      });
    for (auto& thread : threads) thread.join();
    CHECK(wrong == std::array<float, 4>{});
  }
}

// mutant: two calls of a sequence run at once
TEST_CASE("of one sequence on many threads each call steps the state once or is told that another one does") {
  SumBackend backend;
  auto const table = make_table(backend);
  ModelFolder const folder(R"("sequences": {"max": 1},)", "sums", "1.0.0", carried_tensors);
  auto engine = Engine<>::create({.backends = {&table}}).value();
  auto const model = engine.load(folder.path()).value();
  auto const sequence = model.open_sequence().value();
  std::atomic<int> answered{0};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i)
    threads.emplace_back([&] {
      for (int round = 0; round < 50; ++round) {
        auto const answer = sequence.infer(number(1));
        if (answer) ++answered;
        if (!answer && answer.error().reason != Reason::sequence_busy) ++wrong;
      }
    });
  for (auto& thread : threads) thread.join();
  CHECK(wrong.load() == 0);
  CHECK(sum_of(sequence.infer(number(1))) == static_cast<float>(answered.load() + 1));
}

// What no caller can bring about: work that goes on although its caller has left.
// mutant: a batch runs a call of a sequence that was given up
TEST_CASE("work whose caller has left changes nothing for the calls after it") {
  TimePoint const now{1s};
  serving::SequencePlaces places(1, 1min, true);
  auto const id = places.open(now).value();
  auto left = places.begin(id, now).value();
  REQUIRE(places.enter(left, 1));
  places.settle(left, false, now);
  CHECK_FALSE(places.take(left));
  auto next = places.begin(id, now).value();
  CHECK_FALSE(places.take(left));
  CHECK_FALSE(places.enter(left, 1));
  REQUIRE(places.enter(next, 1));
  REQUIRE(places.take(next));
  CHECK_FALSE(places.end_work(left, true));
  places.settle(left, false, now);
  CHECK_FALSE(places.end_work(next, false));
  places.settle(next, true, now);
  auto third = places.begin(id, now).value();
  REQUIRE(places.enter(third, 1));
  CHECK_FALSE(third.fresh);
  CHECK(third.row != next.row);
}

// mutant: a sequence that another one takes the place of keeps its slot in that one's object
TEST_CASE("a sequence that another one takes the place of has given its slot back") {
  Sums sums(Kept::carried, R"("max": 2)");
  auto one = sums.open();
  auto other = sums.open();
  CHECK(sum_of(other.infer(number(4))) == 4);
  one = std::move(other);
  CHECK(sums.model->statistics()->sequences == 1);
  one = std::move(*&one);  // changes nothing
  CHECK(sum_of(one.infer(number(1))) == 5);
  auto const third = sums.open();
  CHECK(sum_of(third.infer(number(7))) == 7);
}
