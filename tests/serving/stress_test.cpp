// The engine under real threads. Bounded in work, never by time; the interesting runs are those under TSan
// and ASan.
#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include <athanor/serving/engine.hpp>
#include <support/puppet.hpp>

using namespace athanor;
using namespace athanor_tests;
using namespace std::chrono_literals;

namespace {

struct Rig : Puppet {
  ModelFolder folder{R"("batching": {"max_items": 8, "instances": 2},)"};
  Engine<> engine =
      Engine<>::create({.backends = {&table}, .threads = 3, .cache_bytes = 16384, .breaker = false}).value();
  Model<> model = engine.load(folder.path()).value();
};

// One caller's mixture of everything; counts what is wrong.
struct Caller {
  struct Async {
    Caller* caller;
    float value;
  };
  Rig& rig;
  std::mt19937 random;
  std::atomic<int> wrong{0};
  std::atomic<int> outstanding{0};
  std::array<Async, 64> slots{};
  std::array<std::atomic<bool>, 64> busy{};

  Caller(Rig& rig_, unsigned seed) : rig(rig_), random(seed) {}

  static void on_answer(void* context, Result<Answer> answer) noexcept {
    auto& slot = *static_cast<Async*>(context);
    Caller& caller = *slot.caller;
    if (answer && answer->outputs["y"].as<float>()[1] != slot.value + 1) ++caller.wrong;
    caller.busy[static_cast<std::size_t>(&slot - caller.slots.data())] = false;
    --caller.outstanding;
  }

  void blocking(float value) {
    float const values[2] = {value, value};
    Request const request{{"x", Tensor::view<float>(values, Shape{1, 2})}};
    CallOptions options;
    if (random() % 4 == 0) options.deadline = std::chrono::microseconds(random() % 200);
    auto const answer = rig.model.infer(request, options);
    if (answer ? answer->outputs["y"].as<float>()[0] != value + 1 : answer.error().message.empty()) ++wrong;
  }

  // More items than a batch holds: its parts end on both instances at once.
  void oversize(float value) {
    std::vector<float> const values(60, value);
    Request const request{{"x", Tensor::view(std::span<float const>(values), Shape{30, 2})}};
    auto const answer = rig.model.infer(request, {.cache = CacheMode::skip});
    if (answer ? answer->outputs["y"].as<float>()[59] != value + 1 : answer.error().message.empty()) ++wrong;
  }

  void many(float value) {
    std::vector<float> const values(2, value);
    std::vector<Request> const requests(
        12, Request{{"x", Tensor::view(std::span<float const>(values), Shape{1, 2})}});
    for (auto const& answer : rig.model.infer_many(requests))
      if (answer ? answer->outputs["y"].as<float>()[0] != value + 1 : answer.error().message.empty()) ++wrong;
  }

  void asynchronous(float value) {
    std::size_t place = 0;
    while (place < slots.size() && busy[place].exchange(true)) ++place;
    if (place == slots.size()) return;
    slots[place] = {this, value};
    ++outstanding;
    CallOptions options;
    if (random() % 3 == 0) options.deadline = std::chrono::microseconds(random() % 300);
    auto submitted = rig.model.submit(row(value, value), options, {&on_answer, &slots[place]});
    if (!submitted) {
      busy[place] = false;
      --outstanding;
    } else if (random() % 4 == 0) {
      submitted->cancel();
    }
  }

  void run(int actions) {
    for (int i = 0; i < actions; ++i) {
      float const value = static_cast<float>(random() % 40);
      switch (random() % 32) {
        case 0: oversize(value); break;
        case 1: many(value); break;
        default: random() % 2 == 0 ? blocking(value) : asynchronous(value);
      }
    }
    while (outstanding.load() != 0) std::this_thread::yield();
  }
};

}  // namespace

// mutant: EngineState::abandon that does not wait for the gather of borrowed inputs (an ASan or TSan report).
TEST_CASE("callers of every kind on real threads get their own answers") {
  Rig rig;
  std::vector<std::unique_ptr<Caller>> callers;
  for (unsigned i = 0; i < 4; ++i) callers.push_back(std::make_unique<Caller>(rig, i + 1));
  {
    std::vector<std::jthread> threads;
    for (auto& caller : callers) threads.emplace_back([&] { caller->run(4000); });
  }
  for (auto const& caller : callers) CHECK(caller->wrong.load() == 0);
  CHECK(rig.control.most_inside.load() <= 2);
  CHECK(rig.control.largest_batch.load() <= 8);
}

// mutant: EngineState::stop that does not answer calls whose batch is still running.
TEST_CASE("an engine that stops under load answers everybody, and its handles may outlive it") {
  for (int round = 0; round < 20; ++round) {
    auto rig = std::make_unique<Rig>();
    std::vector<std::unique_ptr<Caller>> callers;
    for (unsigned i = 0; i < 3; ++i) callers.push_back(std::make_unique<Caller>(*rig, i + 7));
    auto kept =
        rig->model.infer(Request{{"x", Tensor::view<float>(std::array<float, 2>{1, 2}, Shape{1, 2})}});
    {
      std::vector<std::jthread> threads;
      for (auto& caller : callers) threads.emplace_back([&] { caller->run(200); });
      CHECK(rig->engine.stop(10s) == 0);
    }
    for (auto const& caller : callers) CHECK(caller->wrong.load() == 0);
    rig.reset();
    CHECK(kept->outputs["y"].as<float>()[0] == 2);
  }
}

// mutant: EngineState::stop that joins a thread which is inside a backend.
TEST_CASE("a backend that does not come back is abandoned and counted when the engine stops") {
  Puppet puppet;
  Held held(puppet.control);
  ModelFolder const folder;
  struct Seen {
    std::atomic<int> answers{0};
    std::atomic<Reason> reason{Reason::none};
    static void on_answer(void* context, Result<Answer> answer) noexcept {
      auto& seen = *static_cast<Seen*>(context);
      if (!answer) seen.reason = answer.error().reason;
      ++seen.answers;
    }
  } seen;
  {
    auto engine = Engine<>::create({.backends = {&puppet.table}}).value();
    auto model = engine.load(folder.path()).value();
    auto submitted = model.submit(row(1), {}, {&Seen::on_answer, &seen});
    REQUIRE(submitted);
    held.wait_until_inside();
    CHECK(engine.stop(1ms) == 1);
    CHECK(seen.answers.load() == 1);
    CHECK(seen.reason.load() == Reason::stopping);
  }
  held.let_go();
  // The abandoned thread keeps what it touches alive until it is through; the model goes with it.
  while (puppet.control.unloads.load() == 0) std::this_thread::yield();
  CHECK(held.left());
  CHECK(seen.answers.load() == 1);
}
