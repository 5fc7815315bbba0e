// What is kept for the next call: calls, and the memory of answers.
#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include <athanor/core/simulation.hpp>
#include <athanor/serving/detail/pool.hpp>
#include <athanor/serving/engine.hpp>
#include <support/puppet.hpp>

using namespace athanor;
using namespace athanor_tests;

namespace {

// An environment in which others act between a thread's look at an
// atomic and its compare-and-exchange. All threads may share a number.
struct PausingEnv : SystemEnv {
  static constexpr std::size_t own_numbers = 0;
  static inline std::function<void()> others;

  template <class T>
  struct Atomic : std::atomic<T> {
    using std::atomic<T>::atomic;
    using std::atomic<T>::compare_exchange_strong;
    bool compare_exchange_strong(T& expected, T desired, std::memory_order order) noexcept {
      if (auto act = std::exchange(others, nullptr)) act();
      return std::atomic<T>::compare_exchange_strong(expected, desired, order);
    }
  };
};

// Threads with numbers of their own, which the actors set.
struct NumberedEnv : SimulatedEnv {
  static constexpr std::size_t own_numbers = 4;
  static inline std::size_t number = 0;
  static std::size_t thread_number() noexcept { return number; }
};

// Threads whose numbers are nobody's own.
struct SharingEnv : SystemEnv {
  static constexpr std::size_t own_numbers = 0;
};

template <class T, class Env>
using ClosedPool = serving::Pool<T, Env, serving::PoolEnd::before_its_users>;

struct Object {
  bool out = false;  // with a taker, or on its way back
};

struct Opened : Puppet {
  ModelFolder folder{"", "any", "1.0.0",
                     R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", null]}],
                        "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", null]}],)"};
  std::optional<Engine<>> engine{Engine<>::create({.backends = {&table}, .cache_bytes = 0}).value()};
  std::optional<Model<>> model{engine->load(folder.path()).value()};

  Answer ask(std::int64_t width) {
    std::vector<float> const values(static_cast<std::size_t>(width), 1.0F);
    return model->infer(Request{{"x", Tensor::view<float>(values, Shape{1, width})}}).value();
  }
};

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define ATHANOR_COUNTS_BYTES
constexpr int burst_calls = 4'000;

std::size_t bytes_in_use() {
  auto const info = ::mallinfo2();
  return info.uordblks + info.hblkhd;
}
#endif

}  // namespace

// mutant: an object is taken without a comparison
TEST_CASE("a pool gives an object to one taker, whatever others take and keep meanwhile") {
  for (int const rounds : {1, 2, 65'535, 65'536}) {
    ClosedPool<int, PausingEnv> pool;
    std::array<int, 3> objects{};
    REQUIRE(pool.take() == nullptr);
    for (int& object : objects) REQUIRE(pool.keep(object, PausingEnv::thread_number()));
    std::set<int*> taken;
    PausingEnv::others = [&] {
      for (int i = 0; i < rounds; ++i) {
        int* const a = pool.take();
        int* const b = pool.take();
        pool.keep(*b, PausingEnv::thread_number());
        pool.keep(*a, PausingEnv::thread_number());
      }
      taken.insert(pool.take());
    };
    // Where others have gone round the ring meanwhile, a look may miss what is left of them.
    for (int i = 0; i < 3; ++i)
      if (int* const object = pool.take()) CHECK(taken.insert(object).second);
    pool.close([&](int& object) { CHECK(taken.insert(&object).second); });
    CHECK(taken.size() == objects.size());
  }
}

// mutant: an object is kept for another thread without a comparison
TEST_CASE("a place that another thread fills meanwhile, or closes, is left to it") {
  std::array<int, 2> objects{};
  {
    ClosedPool<int, PausingEnv> pool;
    REQUIRE(pool.take() == nullptr);
    PausingEnv::others = [&] { REQUIRE(pool.keep(objects[0], PausingEnv::thread_number())); };
    REQUIRE(pool.keep(objects[1], PausingEnv::thread_number()));
    CHECK(std::set<int*>{pool.take(), pool.take()} == std::set<int*>{&objects[0], &objects[1]});
  }
  ClosedPool<int, PausingEnv> pool;
  REQUIRE(pool.take() == nullptr);
  PausingEnv::others = [&] { pool.close([](int&) {}); };
  CHECK_FALSE(pool.keep(objects[0], PausingEnv::thread_number()));
}

// mutant: an object is kept without a comparison in a magazine that may be closed
// mutant: a pool that closes leaves the magazines
// mutant: a pool that closes leaves the rings
TEST_CASE("an object is with one thread, and dropped once, whoever gives it back while the pool closes") {
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    CAPTURE(seed);
    Simulation world(seed, {.order = Turns::Order::random, .switch_one_in = 3});
    world.give_each_actor(NumberedEnv::number);
    ClosedPool<Object, NumberedEnv> pool;
    std::array<Object, 24> objects;
    std::size_t fresh = 0;
    std::size_t gone = 0;  // dropped, or not kept
    std::vector<Object*> sent;
    bool over = false;
    auto const give_back = [&](Object& object) {
      object.out = false;
      if (pool.keep(object, 1)) return;
      CHECK_FALSE(std::exchange(object.out, true));
      ++gone;
    };
    world.spawn([&] {
      NumberedEnv::number = 1;
      for (int i = 0; i < 40; ++i) {
        Object* object = pool.take();
        if (object == nullptr && fresh < objects.size()) object = &objects[fresh++];
        if (object == nullptr) continue;
        CHECK_FALSE(std::exchange(object->out, true));
        if (world.below(3) == 0) {
          give_back(*object);
        } else {
          sent.push_back(object);
        }
      }
      over = true;
      for (; !sent.empty() && world.below(4) != 0; SimulatedEnv::relax()) {
        Object& object = *sent.back();
        sent.pop_back();
        give_back(object);
      }
    });
    for (std::size_t number : {2, 3})
      world.spawn([&, number] {
        NumberedEnv::number = number;
        for (; !over || !sent.empty(); SimulatedEnv::relax()) {
          if (sent.empty()) continue;
          Object& object = *sent.back();
          sent.pop_back();
          give_back(object);
        }
      });
    world.spawn([&] {
      while (!over) SimulatedEnv::relax();
      pool.close([&](Object& object) {
        CHECK_FALSE(std::exchange(object.out, true));
        ++gone;
      });
    });
    world.run_until_idle();
    REQUIRE(world.actors() == 0);
    CHECK(gone == fresh);
  }
}

// mutant: what others gave back is taken first
TEST_CASE("what a thread gave back itself it takes before what others gave back, the last first") {
  std::array<int, 3> objects{};
  ClosedPool<int, SystemEnv> pool;
  std::size_t const own = SystemEnv::thread_number();
  REQUIRE(pool.take() == nullptr);
  std::jthread([&] { REQUIRE(pool.keep(objects[0], own)); }).join();
  REQUIRE(pool.keep(objects[1], own));
  REQUIRE(pool.keep(objects[2], own));
  for (int i : {2, 1, 0}) CHECK(pool.take() == &objects[static_cast<std::size_t>(i)]);
  CHECK(pool.take() == nullptr);
}

// mutant: who gives back for another thread uses the magazine of that
TEST_CASE("a pool keeps so many objects for a thread, and none for one that never took") {
  std::vector<int> objects(200);
  serving::Pool<int, SystemEnv, serving::PoolEnd::with_its_users> pool;
  std::size_t const own = SystemEnv::thread_number();
  CHECK_FALSE(pool.keep(objects[0], own));
  REQUIRE(pool.take() == nullptr);
  CHECK_FALSE(pool.keep(objects[0], own + 1));
  std::size_t kept = 0;
  for (int& object : objects) kept += pool.keep(object, own) ? 1 : 0;
  CHECK(kept == 72);
  std::set<int*> taken;
  while (int* const object = pool.take()) CHECK(taken.insert(object).second);
  CHECK(taken.size() == kept);
}

// mutant: an object is taken without a comparison
// mutant: an object is kept for another thread without a comparison
TEST_CASE_TEMPLATE("threads that take and give back never hold the same object", Env, SystemEnv, SharingEnv) {
  constexpr std::size_t count = 8;
  ClosedPool<std::atomic<int>, Env> pool;
  std::array<std::atomic<int>, count> objects{};
  std::array<std::atomic<std::atomic<int>*>, 3> sent{};
  std::atomic<int> shared{0};
  std::atomic<bool> over{false};
  std::size_t const own = Env::thread_number();
  auto const give_back = [&](std::atomic<int>& object) {
    object.fetch_sub(1);
    if (!pool.keep(object, own)) shared.fetch_add(1);
  };
  REQUIRE(pool.take() == nullptr);
  for (auto& object : objects) REQUIRE(pool.keep(object, own));
  {
    std::vector<std::jthread> threads;
    for (auto& box : sent)
      threads.emplace_back([&] {
        // A thread whose number is nobody's own takes from the same cell.
        while (!over.load()) {
          if (auto* const object = box.exchange(nullptr)) give_back(*object);
          if (Env::own_numbers != 0) continue;
          auto* const object = pool.take();
          if (object == nullptr) continue;
          if (object->fetch_add(1) != 0) shared.fetch_add(1);
          give_back(*object);
        }
        if (auto* const object = box.exchange(nullptr)) give_back(*object);
      });
    for (std::size_t i = 0; i < 60'000; ++i) {
      auto* const object = pool.take();
      if (object == nullptr) continue;
      if (object->fetch_add(1) != 0) shared.fetch_add(1);
      if (auto* const before = sent[i % sent.size()].exchange(object)) give_back(*before);
    }
    over.store(true);
  }
  CHECK(shared.load() == 0);
  std::size_t kept = 0;
  pool.close([&](auto&) { ++kept; });
  CHECK(kept == count);
  CHECK_FALSE(pool.keep(objects[0], own));
}

TEST_CASE("an answer outlives its model and its engine") {
  Opened opened;
  Answer answer = opened.ask(2);
  opened.model.reset();
  opened.engine.reset();
  CHECK(answer.outputs.spec(0).name == "y");
  CHECK(answer.outputs["y"].as<float>()[1] == 2);
  CHECK(answer.report.model == "any@1.0.0");
  Answer const moved = std::move(answer);
  CHECK(answer.outputs.size() == 0);  // NOLINT(bugprone-use-after-move): this is what is tested
  CHECK(moved.outputs.size() == 1);
}

// mutant: any buffer that is large enough is reused
TEST_CASE("a small answer does not hold the buffer of a large one") {
  Opened opened;
  CHECK(opened.ask(1 << 18).outputs[0].size_bytes() == 1 << 20);
  Answer const small = opened.ask(2);
  CHECK(small.outputs[0].size_bytes() == 8);
  CHECK(small.outputs[0].buffer().capacity() <= 256);
}

#if defined(ATHANOR_COUNTS_BYTES)

// mutant: a set of outputs has room for the most that a model may have
TEST_CASE("an answer that is kept holds its outputs and a small constant, and pools shrink again") {
  Opened opened;
  opened.ask(2);
  constexpr std::size_t count = 10'000;
  std::vector<Answer> kept;
  kept.reserve(count);
  std::size_t const before = bytes_in_use();
  for (std::size_t i = 0; i < count; ++i) kept.push_back(opened.ask(2));
  std::size_t const per_answer = (bytes_in_use() - before) / count;
  CHECK(per_answer <= 384);
  MESSAGE(per_answer, " bytes per answer of 8 bytes");
  kept.clear();
  CHECK(bytes_in_use() <= before + (std::size_t{256} << 10));
}

// mutant: large outputs are kept without a limit
TEST_CASE("of large answers a model keeps the memory of 64 MiB at most") {
  Opened opened;
  opened.ask(1 << 20);
  std::size_t const before = bytes_in_use();  // with one of 4 MiB
  {
    std::vector<Answer> large;
    for (int i = 0; i < 24; ++i) large.push_back(opened.ask(1 << 20));
  }
  CHECK(bytes_in_use() > before + (std::size_t{32} << 20));
  CHECK(bytes_in_use() <= before + (std::size_t{64} << 20));
}

// mutant: every call is kept
TEST_CASE("what a burst of calls needed is given back") {
  Opened opened;
  opened.ask(2);
  std::size_t const before = bytes_in_use();
  struct Burst {
    std::vector<Answer> answers;
    std::mutex mutex;
    std::atomic<int> left = burst_calls;
    void on_answer(Result<Answer> answer) noexcept {
      {
        std::scoped_lock const lock(mutex);
        if (answer) answers.push_back(std::move(*answer));
      }
      if (left.fetch_sub(1) == 1) left.notify_all();
    }
  };
  {
    Held held(opened.control);
    Burst burst;
    burst.answers.reserve(burst_calls);
    std::vector<float> const values(256, 1.0F);
    for (int i = 0; i < burst_calls; ++i)
      REQUIRE(opened.model->submit(Request{{"x", Tensor::view<float>(values, Shape{1, 256})}}, {},
                                   callback<&Burst::on_answer>(&burst)));
    held.let_go();
    for (int left = burst.left.load(); left != 0; left = burst.left.load()) burst.left.wait(left);
    CHECK(burst.answers.size() == burst_calls);
    opened.engine->stop(std::chrono::seconds(60));
  }
  CHECK(bytes_in_use() <= before + (std::size_t{2} << 20));
}

#endif
