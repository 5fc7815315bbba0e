// Who writes which memory: the table in docs/performance.md. Two threads act in turns; atomics, words and
// mutexes tell who wrote them, and in a library with ATHANOR_RECORD_WRITES also the reference counts of
// buffers and the cells of metrics. What else an engine and its models hold is compared before and after.
#include <condition_variable>
#include <cstring>
#include <functional>
#include <mutex>
#include <semaphore>
#include <thread>

#include <doctest/doctest.h>
#include <athanor/serving/engine.hpp>
#include <support/puppet.hpp>
#include <support/recorded_env.hpp>

using namespace athanor_tests;

namespace {

/// Its clock stands still, so that every batch takes as long as the others: the largest
/// run time of a batch is one word of all callers of a lane, written when it changes.
struct TimelessEnv : Recorded<SystemEnv> {
  static TimePoint now() noexcept {
    static TimePoint const start = SystemEnv::now();
    return start;
  }
};

struct RecordedServing : DefaultServing {
  using Env = TimelessEnv;
};
using State = serving::EngineState<RecordedServing>;
using Served = serving::ServedModel<RecordedServing>;

/// A caller's thread, which does what it is told, one thing after the other.
class Hand {
 public:
  explicit Hand(int caller) : thread_([this, caller] { serve(caller); }) {}
  ~Hand() {
    begin({});
    thread_.join();
  }
  void begin(std::function<void()> work) {
    std::lock_guard const lock(mutex_);
    work_ = std::move(work);
    busy_ = true;
    changed_.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !busy_; });
  }
  void act(std::function<void()> work) {
    begin(std::move(work));
    wait();
  }

 private:
  void serve(int caller) {
    Recorder::caller = caller;
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return busy_; });
      if (work_) work_();
      busy_ = false;
      changed_.notify_all();
      if (!work_) return;
    }
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::function<void()> work_;
  bool busy_ = false;
  std::thread thread_;
};

/// Keeps a worker inside a task, but while its hand acts: so each
/// hand has a worker of its own, which counts as the same caller.
class WorkersHold : Task {
 public:
  explicit WorkersHold(int caller) : caller_(caller) {
    run = [](Task& self) noexcept {
      auto& hold = static_cast<WorkersHold&>(self);
      Recorder::caller = hold.caller_;
      hold.begun_.release();
      hold.let_go_.acquire();
    };
  }
  /// Returns once a worker is held: that which was let go has then done what came before.
  void take(State& state) {
    CHECK(state.executor().post(*this));
    begun_.acquire();
  }
  void let_go() { let_go_.release(); }

 private:
  int caller_;
  std::binary_semaphore begun_{0};
  std::binary_semaphore let_go_{0};
};

/// The lines of an object that have changed since the last look.
class Object {
 public:
  Object(void const* at, std::size_t bytes)
      : at_(static_cast<unsigned char const*>(at)), seen_(at_, at_ + bytes) {}
  std::set<std::size_t> changes() {
    std::set<std::size_t> lines;
    for (std::size_t i = 0; i < seen_.size(); ++i)
      if (std::exchange(seen_[i], at_[i]) != at_[i])
        lines.insert((reinterpret_cast<std::uintptr_t>(at_) + i) / 64);
    return lines;
  }

 private:
  unsigned char const* at_;
  std::vector<unsigned char> seen_;
};

struct World : Puppet {
  RecordsCounts const records_counts{};
  ModelFolder first_folder{R"("batching": {"instances": 2},)", "first"};
  ModelFolder second_folder{"", "second"};
  std::shared_ptr<State> state = std::make_shared<State>(EngineOptions{.threads = 2});
  std::shared_ptr<Served> first = add(first_folder);
  std::shared_ptr<Served> second = add(second_folder);
  std::array<Hand, 2> hands{Hand(1), Hand(2)};
  std::array<WorkersHold, 2> holds{WorkersHold(1), WorkersHold(2)};

  ~World() { state->stop(Duration{0}); }

  std::shared_ptr<Served> add(ModelFolder const& folder) {
    static_cast<void>(state->add_backend(table));
    auto model = state->add(folder.path()).value();
    CHECK(state->loader().load(model->load_record(), std::chrono::seconds(10)));
    return model;
  }
  void call(Served& model, float value, CacheMode mode, bool wanted = true) {
    std::array<float, 2> const values{value, 0};
    std::int64_t const width = wanted ? 2 : 1;
    Request const request{{"x", Tensor::view(DType::f32, values.data(), Shape{1, width})}};
    auto call = state->make_call(model, request, {.cache = mode}, RecordedServing::Env::now());
    REQUIRE(call.has_value() == wanted);
    if (!wanted) return;
    state->start(**call);
    state->wait(**call);
    auto const answer = state->collect(**call);
    INFO((answer ? std::string() : to_string(answer.error())));
    CHECK(answer);
    CHECK((answer ? answer->outputs[0].as<float>()[0] : 0) == value + 1);
  }
  /// An asynchronous call of a hand, whose worker has not begun with it.
  struct Submitted {
    std::binary_semaphore done{0};
    float y = 0;
    static void on_answer(void* context, Result<Answer> answer) noexcept {
      auto& self = *static_cast<Submitted*>(context);
      if (answer) self.y = answer->outputs[0].as<float>()[0];
      answer = {};
      self.done.release();
    }
  };
  void submit(std::size_t hand, std::shared_ptr<Served> const& model, Submitted& submitted) {
    hands[hand].act([&] {
      auto call =
          state->submit(model, row(1), {.cache = CacheMode::skip}, {&Submitted::on_answer, &submitted});
      CHECK(call);
      if (call) (*call)->unref();
    });
  }
  /// Returns once the worker, too, has nothing more to do with it.
  void finish(std::size_t hand, Submitted& submitted) {
    holds[hand].let_go();
    submitted.done.acquire();
    holds[hand].take(*state);
    CHECK(submitted.y == 2);
  }
  /// Both call at once and meet inside the backend: then each thread keeps a call and outputs of its own.
  void meet(Served& one, Served& other) {
    std::mutex mutex;
    std::condition_variable met;
    int inside = 0;
    control.on_run = [&](ath_batch const&) -> Result<void> {
      std::unique_lock lock(mutex);
      ++inside;
      met.notify_all();
      met.wait(lock, [&] { return inside == 2; });
      return {};
    };
    hands[0].begin([&] { call(one, 1, CacheMode::skip); });
    hands[1].begin([&] { call(other, 1, CacheMode::skip); });
    for (Hand& hand : hands) hand.wait();
    control.on_run = [](ath_batch const&) { return Result<void>{}; };
  }
  /// What one hand asks again and again; not `wanted`: a request that is refused.
  struct Ask {
    Served& model;
    float value;
    CacheMode mode;
    bool wanted = true;
  };
  /// Checks that the two write nothing in common, once they are warm.
  void compare(Ask const& one, Ask const& other) {
    std::array const asks{one, other};
    for (int i = 0; i < 5; ++i) meet(one.model, other.model);
    compare([&](std::size_t hand) {
      Ask const& ask = asks[hand];
      hands[hand].act([&] { call(ask.model, ask.value, ask.mode, ask.wanted); });
    });
  }
  template <class Act>
  void compare(Act act) {
    for (int i = 0; i < 20; ++i) act(0), act(1);
    std::vector<Object> objects{
        {state.get(), sizeof(State)}, {first.get(), sizeof(Served)}, {second.get(), sizeof(Served)}};
    Recorder::clear();
    std::array<std::set<std::size_t>, 2> changed;
    for (int i = 0; i < 20; ++i)
      for (std::size_t caller = 0; caller < 2; ++caller) {
        act(caller);
        for (Object& object : objects) changed[caller].merge(object.changes());
      }
    CHECK(Recorder::writers.size() > 4);
    CHECK(Recorder::shared() == 0);
    CHECK(!changed[0].empty());
    std::set<std::size_t> common;
    for (std::size_t const line : changed[0])
      if (changed[1].contains(line)) common.insert(line);
    CHECK(common.empty());
  }
};

}  // namespace

// mutant: a histogram has one set of buckets for all threads
TEST_CASE("lone calls of two threads to two models write no common line") {
  World world;
  world.compare({*world.first, 1, CacheMode::skip}, {*world.second, 2, CacheMode::skip});
}

TEST_CASE("hits of two keys on two threads write no common line") {
  World world;
  world.compare({*world.first, 1, CacheMode::use}, {*world.first, 2, CacheMode::use});
}

TEST_CASE("two callers of one model with two idle instances write no common line") {
  World world;
  world.compare({*world.first, 1, CacheMode::skip}, {*world.first, 2, CacheMode::skip});
}

TEST_CASE("a refused call and one that is answered write no common line") {
  World world;
  world.compare({*world.first, 1, CacheMode::skip, false}, {*world.first, 2, CacheMode::skip});
}

// mutant: a call stays with the worker that ended it
TEST_CASE("asynchronous calls of two threads to two models, on two workers, write no common line") {
  World world;
  for (auto& hold : world.holds) hold.take(*world.state);
  {
    // Both are in flight at once: then each hand keeps a call of its own.
    std::array<World::Submitted, 2> met;
    world.submit(0, world.first, met[0]);
    world.submit(1, world.second, met[1]);
    for (std::size_t hand = 0; hand < 2; ++hand) world.finish(hand, met[hand]);
  }
  world.compare([&](std::size_t hand) {
    World::Submitted submitted;
    world.submit(hand, hand == 0 ? world.first : world.second, submitted);
    world.finish(hand, submitted);
  });
  for (auto& hold : world.holds) hold.let_go();
}
