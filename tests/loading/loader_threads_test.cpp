#include <atomic>
#include <latch>
#include <mutex>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>
#include <athanor/loading/model_loader.hpp>

using namespace athanor;
using namespace std::chrono_literals;

namespace {

struct Index {
  explicit Index(std::atomic<int>& alive_) : alive(alive_) { ++alive; }
  ~Index() {
    sound = 0;
    --alive;
  }
  std::atomic<int>& alive;
  std::uint32_t sound = 0x600d;
};

/// Finds nothing to unload, and takes its time under the loader's lock.
struct Dwelling {
  std::latch* inside;
  std::latch* go_on;
  std::vector<std::size_t> victims(loading::MemorySnapshot const&) const {
    inside->count_down();
    go_on->wait();
    return {};
  }
};

// With room for three models.
ModelLoader<Index> make_small_loader(LoadFunctions<Index>& functions) {
  functions.expected_bytes = [](LoadTarget const&) { return 10U; };
  return ModelLoader<Index>::create({.budget_bytes = 30, .first_backoff = 1ns, .longest_backoff = 1ns},
                                    functions)
      .value();
}

}  // namespace

// mutant: a draining model is freed while it is pinned
TEST_CASE("threads that take, hold and displace models never see one that is gone") {
  std::atomic<int> alive{0};
  std::atomic<bool> unsound{false};
  std::atomic<int> got{0};
  {
    LoadFunctions<Index> functions;
    functions.load = [&](LoadTarget const&) -> Result<Loaded<Index>> {
      if (alive > 2) unsound = true;  // room for three, and this load has its share already
      return Loaded<Index>{std::make_unique<Index>(alive), 10};
    };
    auto loader = make_small_loader(functions);
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (unsigned i = 0; i < 400; ++i) {
          auto const name = "places@" + std::to_string((i * 7 + t) % 5);
          if (i % 50 == 49) (void)loader.unload(name);
          auto pin = loader.acquire(name, 5s);
          if (!pin) continue;
          ++got;
          if ((*pin)->sound != 0x600d) unsound = true;
        }
      });
    }
    for (auto& thread : threads) thread.join();
    CHECK(loader.statistics().occupied_bytes <= 30);
  }
  CHECK_FALSE(unsound);
  CHECK(alive == 0);
  CHECK(got > 0);
}

// mutant: only the first cell of pins is closed
// mutant: the pins of one cell are not seen
TEST_CASE(
    "a model that is pinned on one thread and released on another drains, and is refused to all meanwhile") {
  std::atomic<int> alive{0};
  LoadFunctions<Index> functions;
  functions.load = [&](LoadTarget const&) -> Result<Loaded<Index>> {
    return Loaded<Index>{std::make_unique<Index>(alive), 10};
  };
  auto loader = ModelLoader<Index>::create({}, functions).value();
  constexpr int count = 17;                   // more than there are cells, whichever numbers are taken
  auto const on_each_thread = [](auto act) {  // all of which live at the same time
    std::latch done(count);
    std::vector<std::thread> threads;
    for (int t = 0; t < count; ++t)
      threads.emplace_back([&] {
        static_cast<void>(athanor::detail::thread_number());
        done.arrive_and_wait();
        act();
      });
    for (auto& thread : threads) thread.join();
  };
  REQUIRE(loader.load("tg", 5s));
  std::mutex mutex;
  std::vector<ModelLoader<Index>::Pin> pins;
  on_each_thread([&] {
    auto pin = loader.acquire("tg", 5s);
    std::lock_guard const lock(mutex);
    if (pin) pins.push_back(std::move(*pin));
  });
  REQUIRE(pins.size() == count);
  CHECK(loader.status("tg")->pins == count);
  REQUIRE(loader.unload("tg"));
  std::atomic<int> refused{0};
  on_each_thread([&] {
    if (!loader.acquire("tg", 0s)) ++refused;
  });
  CHECK(refused == count);
  for (std::size_t left = pins.size(); left > 0; --left) {
    CHECK(alive == 1);
    CHECK(loader.status("tg")->pins == left);
    std::thread([&] { pins.pop_back(); }).join();
  }
  CHECK(loader.status("tg")->pins == 0);
  loader.stop();
  CHECK(loader.join(no_deadline) == 0);
  CHECK(alive == 0);
}

TEST_CASE("names are added while other threads displace models") {
  std::atomic<int> alive{0};
  {
    LoadFunctions<Index> functions;
    functions.load = [&](LoadTarget const&) -> Result<Loaded<Index>> {
      return Loaded<Index>{std::make_unique<Index>(alive), 10};
    };
    auto loader = make_small_loader(functions);
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 3; ++t) {
      threads.emplace_back([&, t] {
        for (unsigned i = 0; i < 300; ++i)
          (void)loader.acquire(t == 0 ? std::to_string(i) : std::to_string((i + t) % 5), 5s);
      });
    }
    for (auto& thread : threads) thread.join();
    CHECK(loader.statistics().occupied_bytes <= 30);
    CHECK(loader.list().size() >= 300);
  }
  CHECK(alive == 0);
}

TEST_CASE("a loader for any payload is two lines") {
  auto const load_index = [](LoadTarget const& target) -> Result<Loaded<std::string>> {
    return Loaded<std::string>{std::make_unique<std::string>(target.name), target.name.size()};
  };
  auto indices = ModelLoader<std::string>::create({.budget_bytes = 1024}, {.load = load_index});
  auto index = indices->acquire("places@2", 10s);
  REQUIRE(index);
  CHECK(**index == "places@2");
}

// mutant: a loader waits for the threads of its parent
TEST_CASE("in a child of a fork a loader is destroyed at once, whose lock a thread of the parent held") {
  std::latch inside(1), go_on(1);
  std::atomic<int> alive{0};
  LoadFunctions<Index> functions;
  functions.expected_bytes = [](LoadTarget const&) { return 20U; };
  functions.load = [&](LoadTarget const&) -> Result<Loaded<Index>> {
    return Loaded<Index>{std::make_unique<Index>(alive), 20};
  };
  auto loader = std::make_unique<ModelLoader<Index>>(
      ModelLoader<Index>::create({.budget_bytes = 30}, functions, Dwelling{&inside, &go_on}).value());
  REQUIRE(loader->load("idle", 20s));
  std::thread caller([&] { CHECK_FALSE(loader->acquire("m", 20s)); });
  inside.wait();
  ::pid_t const child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::alarm(20);
    loader.reset();
    ::_exit(0);
  }
  int status = 0;
  CHECK(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  go_on.count_down();
  caller.join();
}
