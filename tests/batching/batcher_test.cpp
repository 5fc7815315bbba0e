#include <athanor/batching/batcher.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <athanor/core/simulation.hpp>
#include <support/thread_memory.hpp>

using namespace athanor;
using athanor_tests::thread_memory;
using namespace std::chrono_literals;

namespace {

using Simulated = Batcher<int, int, SimulatedEnv>;

/// Doubles; remembers its batches; -1 is refused.
struct Doubler {
  std::vector<std::size_t>* batches;
  Result<void> operator()(std::span<int const> inputs, std::span<int> outputs) const {
    batches->push_back(inputs.size());
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (inputs[i] < 0) return fail(Code::invalid_argument, Reason::value_range, "negative");
      outputs[i] = 2 * inputs[i];
    }
    return {};
  }
};

struct Answers {
  std::vector<Result<int>> got;
  static void take(void* context, Result<int> result) noexcept {
    static_cast<Answers*>(context)->got.push_back(std::move(result));
  }
};

/// An output that sometimes cannot be made.
struct Unmade {
  static inline bool fails = false;
  int value = 0;
  Unmade() {
    if (fails) throw std::runtime_error("it broke");
  }
};

}  // namespace

// mutant: a batcher's call does not lend its thread
TEST_CASE("a lone call of a batcher runs on its caller and allocates nothing once warm") {
  std::uint64_t runs = 0;
  auto doubler =
      *Batcher<int, int>::create({.max_items = 8}, [&](std::span<int const> in, std::span<int> out) {
        ++runs;
        for (std::size_t i = 0; i < in.size(); ++i) out[i] = 2 * in[i];
      });
  CHECK(doubler.run(1) == 2);
  auto const before = thread_memory().allocations;
  int sum = 0;
  for (int i = 0; i < 1000; ++i) sum += *doubler.run(i);
  auto const after_calls = thread_memory().allocations;
  CHECK(after_calls - before == 0);
  CHECK(sum == 999'000);
  CHECK(runs == 1001);
  CHECK(doubler.snapshot().caller_batches == 1001);
}

// mutant: a submit whose input cannot be moved keeps its place
TEST_CASE("an input that cannot be moved costs its submitter an exception, and the batcher nothing") {
  struct Fragile {
    int copies = 9;
    Fragile() = default;
    explicit Fragile(int sound_copies) : copies(sound_copies) {}
    Fragile(Fragile const& other) : copies(other.copies - 1) {
      if (copies < 0) throw std::runtime_error("it broke");
    }
    Fragile& operator=(Fragile const&) = default;
  };
  auto batcher = *Batcher<Fragile, int>::create(
      {.max_held = 1}, [](std::span<Fragile const>, std::span<int> out) { out[0] = 7; });
  constexpr auto ignored = [](void*, Result<int>) noexcept {};
  // The first copy hands it on, the second would be the one in the call.
  CHECK_THROWS_AS(static_cast<void>(batcher.submit(Fragile(1), ignored, nullptr)), std::runtime_error);
  CHECK(batcher.run(Fragile()) == 7);
}

// mutant: a call whose output cannot be made keeps its place
TEST_CASE("an output that cannot be made costs its caller an error, and the batcher nothing") {
  Unmade::fails = true;
  auto batcher = *Batcher<int, Unmade>::create(
      {.max_held = 1}, [](std::span<int const>, std::span<Unmade> out) { out[0].value = 7; });
  auto const refused = batcher.run(1);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::internal);
  CHECK(refused.error().message == "batcher: an output cannot be made: it broke");
  Unmade::fails = false;
  auto const answer = batcher.run(1);
  REQUIRE(answer);
  CHECK(answer->value == 7);
}

// mutant: a batch's outputs are handed out from the last to the first
TEST_CASE("S1-2 submitted calls share a batch, and each gets its own answer") {
  Simulation world(1);
  std::vector<std::size_t> batches;
  Answers answers;
  auto doubler = *Simulated::create({.max_items = 4}, Doubler{&batches});
  for (int i = 0; i < 10; ++i) CHECK(doubler.submit(i, &Answers::take, &answers));
  CHECK(answers.got.empty());
  world.run_until_idle();
  CHECK(batches == std::vector<std::size_t>{4, 4, 2});
  REQUIRE(answers.got.size() == 10);
  for (int i = 0; i < 10; ++i) CHECK(answers.got[static_cast<std::size_t>(i)] == 2 * i);
}

// mutant: a failed batch is not tried again in pieces
TEST_CASE("S3-5 an input that the function refuses fails alone") {
  Simulation world(1);
  std::vector<std::size_t> batches;
  Answers answers;
  auto doubler = *Simulated::create({.max_items = 8}, Doubler{&batches});
  for (int value : {1, 2, -1, 4}) CHECK(doubler.submit(value, &Answers::take, &answers));
  world.run_until_idle();
  REQUIRE(answers.got.size() == 4);
  CHECK(answers.got[1] == 4);
  CHECK(answers.got[2].error().message == "negative");
  CHECK(answers.got[3] == 8);
}

// mutant: a batcher's call waits without a deadline
TEST_CASE("S3-17 a call whose deadline passes while it waits returns then, and is not executed") {
  Simulation world(1, {.order = Turns::Order::random, .switch_one_in = 8});
  std::vector<std::size_t> batches;
  auto doubler = *Simulated::create({.max_items = 4, .max_delay = 10ms}, Doubler{&batches});
  world.spawn([&] {
    TimePoint const start = world.now();
    auto const answer = doubler.run(3, 4ms);
    CHECK(answer.error().code == Code::deadline_exceeded);
    CHECK(answer.error().reason == Reason::deadline_waiting);
    CHECK(answer.error().message == "batcher: the deadline passed while the call waited");
    CHECK(world.now() - start == 4ms);
  });
  world.run_until_idle();
  CHECK(batches.empty());
  world.spawn([&] { CHECK(doubler.run(3, 20ms) == 6); });
  world.run_until_idle();
  CHECK(doubler.snapshot().queued_items == 0);
}

// mutant: a blocking call from inside the function is let in
TEST_CASE("a blocking call from inside the function is refused") {
  Batcher<int, int>* self = nullptr;
  Result<int> inner = 0;
  auto batcher =
      *Batcher<int, int>::create({}, [&](std::span<int const>, std::span<int>) { inner = self->run(1); });
  self = &batcher;
  CHECK(batcher.run(1) == 0);
  CHECK(inner.error().reason == Reason::reentrant);
}

TEST_CASE("what the function throws becomes an error, and the batcher serves on") {
  bool throws = true;
  auto batcher = *Batcher<std::string, std::string>::create(
      {}, [&](std::span<std::string const> in, std::span<std::string> out) {
        if (throws) throw std::runtime_error("no database");
        for (std::size_t i = 0; i < in.size(); ++i) out[i] = in[i] + "!";
      });
  CHECK(batcher.run("a").error().message == "batcher: the function threw: no database");
  throws = false;
  CHECK(batcher.run("a") == "a!");
}

// mutant: a batcher holds any number of calls
TEST_CASE("a batcher holds no more calls than max_held") {
  Simulation world(1);
  std::vector<std::size_t> batches;
  Answers answers;
  auto doubler = *Simulated::create({.max_held = 3}, Doubler{&batches});
  for (int i = 0; i < 3; ++i) CHECK(doubler.submit(i, &Answers::take, &answers));
  CHECK(doubler.submit(3, &Answers::take, &answers).error().reason == Reason::queue_full);
  world.run_until_idle();
  CHECK(answers.got.size() == 3);
  CHECK(doubler.submit(3, &Answers::take, &answers));
}

// mutant: a batcher's end refuses nothing that is queued
TEST_CASE("destroying a batcher answers everybody") {
  Simulation world(1);
  std::vector<std::size_t> batches;
  Answers answers;
  {
    auto doubler = *Simulated::create({.max_delay = 1s}, Doubler{&batches});
    for (int i = 0; i < 5; ++i) CHECK(doubler.submit(i, &Answers::take, &answers));
  }
  REQUIRE(answers.got.size() == 5);
  for (auto const& answer : answers.got) CHECK(answer.error().reason == Reason::stopping);
  CHECK(batches.empty());
}

// mutant: a batcher that stops looks at its room first
TEST_CASE("a completion that submits again while its batcher is destroyed learns that it stops") {
  struct Again {
    Simulated* batcher = nullptr;
    Result<void> submitted{};
    static void take(void* context, Result<int> result) noexcept {
      auto& again = *static_cast<Again*>(context);
      if (!result) again.submitted = again.batcher->submit(2, &Again::take, context);
    }
  };
  Simulation world(1);
  std::vector<std::size_t> batches;
  Again again;
  {
    auto doubler = *Simulated::create({.max_delay = 1s, .max_held = 1}, Doubler{&batches});
    again.batcher = &doubler;
    CHECK(doubler.submit(1, &Again::take, &again));
  }
  REQUIRE_FALSE(again.submitted);
  CHECK(again.submitted.error().code == Code::unavailable);
  CHECK(again.submitted.error().reason == Reason::stopping);
}

namespace {

/// An input whose last move, the one into the call that `submit` has made, waits for the test.
struct Slow {
  std::atomic<bool>* moving = nullptr;
  std::atomic<bool>* go_on = nullptr;
  int moves_before = 1;
  Slow() = default;
  Slow(std::atomic<bool>* moves, std::atomic<bool>* goes) : moving(moves), go_on(goes) {}
  Slow(Slow const&) = default;
  Slow& operator=(Slow const&) = default;
  Slow(Slow&& other) noexcept
      : moving(other.moving), go_on(other.go_on), moves_before(other.moves_before - 1) {
    if (moving == nullptr || moves_before >= 0) return;
    *moving = true;
    moving->notify_all();
    go_on->wait(false);
  }
};

}  // namespace

// mutant: a completion runs inside its own submit
TEST_CASE("a submit that the batcher's end overtakes returns the refusal, and completes nothing") {
  std::atomic<bool> moving{false}, go_on{false};
  std::atomic<int> completed{0};
  Result<void> overtaken{};
  Batcher<Slow, int>* self = nullptr;
  constexpr auto count = [](void* context, Result<int>) noexcept {
    ++*static_cast<std::atomic<int>*>(context);
  };
  constexpr auto free_it = [](void* context, Result<int> result) noexcept {
    CHECK(result.error().reason == Reason::stopping);
    auto& go = *static_cast<std::atomic<bool>*>(context);
    go = true;
    go.notify_all();
  };
  {
    auto batcher = *Batcher<Slow, int>::create({.max_items = 1}, [&](std::span<Slow const>, std::span<int>) {
      overtaken = self->submit(Slow(&moving, &go_on), count, &completed);
    });
    self = &batcher;
    CHECK(batcher.submit(Slow(), count, &completed));
    moving.wait(false);
    // It is queued behind the function; the destructor refuses it, and only then the other submit goes on.
    CHECK(batcher.submit(Slow(), free_it, &go_on));
  }
  CHECK(completed == 1);
  REQUIRE_FALSE(overtaken);
  CHECK(overtaken.error().reason == Reason::stopping);
}

// mutant: the copies of a batch's inputs are kept
TEST_CASE("a batcher keeps nothing of an input once it has answered") {
  auto batcher = *Batcher<std::shared_ptr<int>, int>::create(
      {.caller_runs = false},
      [](std::span<std::shared_ptr<int> const> in, std::span<int> out) { out[0] = *in[0]; });
  auto const input = std::make_shared<int>(5);
  CHECK(batcher.run(input) == 5);
  CHECK(input.use_count() == 1);
}

TEST_CASE("a batcher's outputs may be bool, or things that can only be moved") {
  auto even =
      *Batcher<int, bool>::create({.caller_runs = false}, [](std::span<int const> in, std::span<bool> out) {
        for (std::size_t i = 0; i < in.size(); ++i) out[i] = in[i] % 2 == 0;
      });
  CHECK(even.run(2) == true);
  CHECK(even.run(3) == false);
  auto boxes = *Batcher<int, std::unique_ptr<int>>::create(
      {}, [](std::span<int const> in, std::span<std::unique_ptr<int>> out) {
        out[0] = std::make_unique<int>(in[0]);
      });
  CHECK(**boxes.run(7) == 7);
}

// mutant: a submit without a completion is let in
TEST_CASE("a null completion and an empty function are refused") {
  auto const nothing = [](std::span<int const>, std::span<int>) {};
  auto batcher = *Batcher<int, int>::create({}, nothing);
  CHECK(batcher.submit(1, nullptr, nullptr).error().reason == Reason::option);
  using Function = std::function<void(std::span<int const>, std::span<int>)>;
  CHECK(Batcher<int, int>::create({}, Function{}).error().message ==
        "batching: function: expected a function, got an empty one");
  auto* const null = static_cast<void (*)(std::span<int const>, std::span<int>)>(nullptr);
  CHECK(Batcher<int, int>::create({}, null).error().reason == Reason::option);
}

// mutant: a batcher's options are not looked at
TEST_CASE("impossible options of a batcher are refused by name") {
  auto const nothing = [](std::span<int const>, std::span<int>) {};
  CHECK(Batcher<int, int>::create({.max_items = 0}, nothing).error().message ==
        "batching: max_items: expected between 1 and 1024, got 0");
  CHECK_FALSE(Batcher<int, int>::create({.max_items = 1025}, nothing));
  CHECK(batching::validate(BatcherOptions{.max_items = 1024}));
  CHECK(Batcher<int, int>::create({.instances = 4'000'000'000}, nothing).error().message ==
        "batching: instances: expected between 1 and 1024, got 4000000000");
  CHECK(Batcher<int, int>::create({.max_held = 0}, nothing).error().reason == Reason::option);
  CHECK(batching::validate(BatcherOptions{}));
  CHECK(batching::validate(BatcherOptions{.max_delay = -1ns}).error().message ==
        "batching: max_delay: expected 0 ns or more, got -1");
  CHECK_FALSE(batching::validate(BatcherOptions{.max_held = 1U << 31}));
}

// mutant: the input of a submit stays in the pooled call
TEST_CASE("a batcher keeps nothing of a submitted input once it has answered") {
  Simulation world(1);
  auto batcher = *Batcher<std::shared_ptr<int>, int, SimulatedEnv>::create(
      {}, [](std::span<std::shared_ptr<int> const>, std::span<int>) {});
  auto const input = std::make_shared<int>(5);
  constexpr auto ignored = [](void*, Result<int>) noexcept {};
  CHECK(batcher.submit(input, ignored, nullptr));
  CHECK(input.use_count() == 2);
  world.run_until_idle();
  CHECK(input.use_count() == 1);
}

// mutant: outputs hold what an earlier caller got
TEST_CASE("a function that writes no output gives everybody an empty one, not another caller's") {
  Simulation world(1);
  bool writes = true;
  Answers answers;
  auto batcher = *Simulated::create({.max_items = 4}, [&](std::span<int const>, std::span<int> out) {
    for (int& output : out) output = writes ? 7 : output;
  });
  auto const both_ways = [&] {
    CHECK(batcher.run(1) == (writes ? 7 : 0));
    for (int i = 0; i < 4; ++i) CHECK(batcher.submit(i, &Answers::take, &answers));
    world.run_until_idle();
    for (auto const& answer : answers.got) CHECK(answer == (writes ? 7 : 0));
    answers.got.clear();
  };
  both_ways();
  writes = false;
  both_ways();
}

// mutant: a Batcher's completion holds up the others of its batch
TEST_CASE("a completion that blocks does not delay the others of its batch") {
  struct Blocking {
    Simulation& world;
    Answers others;
    bool released = false;
    static void on_answer(void* context, Result<int>) noexcept {
      auto& self = *static_cast<Blocking*>(context);
      while (self.others.got.empty() && self.world.step()) {
      }
      self.released = !self.others.got.empty();
    }
  };
  Simulation world(1);
  Blocking blocking{world, {}};
  std::vector<std::size_t> batches;
  auto batcher = *Simulated::create({.max_items = 2, .instances = 2}, Doubler{&batches});
  CHECK(batcher.submit(1, &Blocking::on_answer, &blocking));
  CHECK(batcher.submit(2, &Answers::take, &blocking.others));
  world.run_until_idle();
  CHECK(batches == std::vector<std::size_t>{2});
  CHECK(blocking.released);
}

// mutant: inputs that were taken back fail the whole batch
TEST_CASE("a batch from which one caller took its inputs back is tried again without it") {
  CHECK(batching::splitting_may_help(make_error(Code::aborted, Reason::cancelled, "")));
  CHECK(batching::splitting_may_help(make_error(Code::internal, Reason::backend_failure, "")));
  CHECK_FALSE(batching::splitting_may_help(make_error(Code::unavailable, Reason::device_lost, "")));
}

// mutant: a caller of a batcher runs the completions of others
// mutant: a completion that finds no worker is lost
TEST_CASE("a caller whose batch held submitted calls returns before their completions run") {
  for (bool const no_threads : {false, true}) {
    CAPTURE(no_threads);
    Simulation world(1);
    std::vector<std::size_t> batches;
    Answers answers;
    auto doubler = *Simulated::create({.max_items = 3, .max_delay = 1s}, Doubler{&batches});
    CHECK(doubler.submit(1, &Answers::take, &answers));
    CHECK(doubler.submit(2, &Answers::take, &answers));
    world.refuse_threads(no_threads);
    CHECK(doubler.run(3) == 6);
    CHECK(batches == std::vector<std::size_t>{3});
    CHECK(answers.got.empty() != no_threads);
    world.refuse_threads(false);
    world.run_until_idle();
    REQUIRE(answers.got.size() == 2);
    for (auto const& answer : answers.got) CHECK(answer.has_value());
  }
}

// mutant: a batcher waits for the threads of its parent
TEST_CASE("in a child of a fork a batcher with a call under way is destroyed at once") {
  std::atomic<bool> inside{false}, go_on{false};
  Answers answers;
  auto batcher = std::make_unique<Batcher<int, int>>(
      *Batcher<int, int>::create({}, [&](std::span<int const>, std::span<int>) {
        inside = true;
        inside.notify_all();
        go_on.wait(false);
      }));
  CHECK(batcher->submit(1, &Answers::take, &answers));
  inside.wait(false);
  ::pid_t const child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::alarm(20);
    batcher.reset();
    ::_exit(answers.got.empty() ? 0 : 1);
  }
  int status = 0;
  CHECK(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  go_on = true;
  go_on.notify_all();
  batcher.reset();
  CHECK(answers.got.size() == 1);
}
