// The engine under real threads. Bounded in work, never by time; the interesting runs are those under TSan
// and ASan.
#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <athanor/core/cancellation.hpp>
#include <athanor/serving/jobs.hpp>
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

// mutant: a stop answers nobody
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

namespace {

// Three models of which two fit into memory, and what callers do while these come and go.
struct Traffic : Puppet {
  struct Expected {
    Traffic* traffic;
    float value;
  };
  std::array<ModelFolder, 3> folders{ModelFolder(batches, "a"), ModelFolder(batches, "b"),
                                     ModelFolder(batches, "c")};
  Engine<> engine =
      Engine<>::create({.backends = {&table}, .threads = 3, .cache_bytes = 16384, .model_bytes = 2500})
          .value();
  Jobs<> jobs = Jobs<>::create({.max_jobs = 32}).value();
  std::array<Cancellation, 64>
      tokens{};  // the n-th is passed to calls until it is cancelled, then the next one
  std::atomic<std::size_t> token{0};
  std::atomic<int> calls{0};
  std::atomic<int> accepted{0};
  std::atomic<int> completed{0};
  std::atomic<int> wrong{0};

  Traffic() {
    for (ModelFolder const& folder : folders) REQUIRE(engine.add(folder.path()));
  }

  void check(Result<Answer> const& answer, float value) {
    if (answer ? answer->outputs["y"].as<float>()[0] != value + 1 : answer.error().message.empty()) ++wrong;
  }
  static void on_answer(void* context, Result<Answer> answer) noexcept {
    std::unique_ptr<Expected> const expected(static_cast<Expected*>(context));
    expected->traffic->check(answer, expected->value);
    ++expected->traffic->completed;
  }
  void submit(Model<> const& model, float value, CallOptions const& options, bool cancels) {
    auto expected = std::make_unique<Expected>(this, value);
    auto submitted = model.submit(row(value), options, {&on_answer, expected.get()});
    if (!submitted) return;
    static_cast<void>(expected.release());
    ++accepted;
    if (cancels) submitted->cancel();
  }
  void run_job(Model<> const& model, float value, int choice) {
    std::string const key = std::to_string(static_cast<int>(value));
    if (!jobs.submit(key, model, row(value))) return;
    if (choice == 0) static_cast<void>(jobs.cancel(key));
    auto const status = jobs.wait(key, 10s);
    if (status && status->outcome) check(*status->outcome, value);
    if (choice == 1) static_cast<void>(jobs.forget(key));
  }

  void call(unsigned seed) {
    std::mt19937 random(seed);
    for (int i = 0; i < 300; ++i, ++calls) {
      constexpr std::array<std::string_view, 3> names{"a", "b", "c"};
      auto const model = engine.model(names[random() % 3]);
      if (!model) continue;
      auto const value = static_cast<float>(random() % 40);
      CallOptions const options{.cancellation = &tokens[token.load() % tokens.size()]};
      switch (random() % 8) {
        case 0: run_job(*model, value, static_cast<int>(random() % 3)); break;
        case 1: {
          std::vector<Request> requests;
          for (int one = 0; one < 12; ++one) requests.push_back(row(value));
          for (auto const& answer : model->infer_many(requests, options)) check(answer, value);
          break;
        }
        case 2:
        case 3: check(model->infer(row(value), options), value); break;
        default: submit(*model, value, options, random() % 4 == 0);
      }
    }
  }
  // Each of these may fail when it meets another one or the stop.
  void change(unsigned seed) {
    std::mt19937 random(seed);
    for (std::size_t i = 0; i < 3 * tokens.size(); ++i) {
      std::size_t const which = random() % folders.size();
      auto const model = engine.model(std::array<std::string_view, 3>{"a", "b", "c"}[which]);
      switch (random() % 4) {
        case 0:
          if (model) static_cast<void>(engine.remove(model->id()));
          static_cast<void>(engine.add(folders[which].path()));
          break;
        case 1:
          if (model) static_cast<void>(model->unload());
          break;
        case 2:
          if (model) model->forget_answers();
          break;
        default: wrong += engine.metrics_text().empty() ? 1 : 0;
      }
      if (i % 3 == 0) tokens[token++].cancel();
    }
  }

  static constexpr std::string_view batches = R"("batching": {"max_items": 8, "instances": 2},)";
};

}  // namespace

// mutant: a stop does not know removed models
TEST_CASE(
    "while models come and go each call has its own answer or an error, and a stop drains what was "
    "accepted") {
  Traffic traffic;
  {
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < 3; ++i) threads.emplace_back([&traffic, i] { traffic.call(i + 1); });
    threads.emplace_back([&] { traffic.change(11); });
    while (traffic.calls.load() < 600) std::this_thread::yield();
    CHECK(traffic.engine.stop(10s) == 0);
  }
  CHECK(traffic.wrong.load() == 0);
  CHECK(traffic.accepted.load() == traffic.completed.load());
  CHECK(traffic.completed.load() > 0);
}

// mutant: a stop waits for threads that are inside a backend
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
