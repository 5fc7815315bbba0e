// A loader whose callers meet another thread in the middle of a step.
#include "loader_world.hpp"

#include <algorithm>
#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace athanor;
using namespace athanor::loading_tests;
using namespace std::chrono_literals;
using loading::PinResult;

namespace {

/// What another thread does just before the next change of a word.
std::function<void()> other_thread;

/// A simulated world in which another thread acts in the middle of a pin or an eviction.
struct RacingEnv : SimulatedEnv {
  template <class T>
  struct Atomic : std::atomic<T> {
    using std::atomic<T>::atomic;
    T fetch_and(T bits, std::memory_order order) noexcept {
      let_others_act();
      return std::atomic<T>::fetch_and(bits, order);
    }
    T fetch_add(T value, std::memory_order order) noexcept {
      let_others_act();
      return std::atomic<T>::fetch_add(value, order);
    }
    T fetch_sub(T value, std::memory_order order) noexcept {
      let_others_act();
      return std::atomic<T>::fetch_sub(value, order);
    }
    T exchange(T desired, std::memory_order order = std::memory_order_seq_cst) noexcept {
      let_others_act();
      return std::atomic<T>::exchange(desired, order);
    }
    static void let_others_act() {
      if (auto const act = std::exchange(other_thread, nullptr)) act();
    }
  };
};

}  // namespace

// mutant: a victim that has just been pinned is evicted
TEST_CASE("S3-15 a model pinned while it is being chosen for eviction is spared, and another goes") {
  Simulation world(1);
  int alive = 0;
  LoadFunctions<Model> functions;
  functions.load = [&](LoadTarget const&) -> Result<Loaded<Model>> {
    return Loaded<Model>{std::make_unique<Model>(alive), 10};
  };
  functions.expected_bytes = [](LoadTarget const&) { return 10U; };
  using Racing = ModelLoader<Model, RacingEnv>;
  auto loader = Racing::create({.budget_bytes = 20}, functions).value();
  REQUIRE(loader.acquire("oldest", 1s));
  world.advance(1ms);
  REQUIRE(loader.acquire("older", 1s));
  Caller pinned;
  Callers client;
  auto& oldest = **loader.declare("oldest");
  // The pin does not count as a use here, so that only the look after closing can save the model.
  other_thread = [&] { REQUIRE(*loader.pin(pinned, oldest, TimePoint{}, client) == PinResult::ready); };
  REQUIRE(loader.acquire("new", 1s));
  CHECK(loader.status("oldest")->state == ModelState::ready);
  CHECK(loader.status("oldest")->pins == 1);
  CHECK(loader.status("older")->state == ModelState::unloaded);
  CHECK(alive == 2);
  loader.unpin(pinned);
}

namespace {

/// A loader of models of 10 bytes in the racing world.
struct RacingWorld {
  using Racing = ModelLoader<Model, RacingEnv>;
  Simulation world{1};
  int alive = 0;
  Racing loader;
  Callers client;

  explicit RacingWorld(std::uint64_t budget)
      : loader(Racing::create({.budget_bytes = budget},
                              {.load = [this](LoadTarget const&) -> Result<Loaded<Model>> {
                                return Loaded<Model>{std::make_unique<Model>(alive), 10};
                              }})
                   .value()) {}
};

}  // namespace

// mutant: a pin of a model that was retired concurrently is kept
TEST_CASE("a model unloaded in the middle of a pin is loaded anew, and no pin of it is left") {
  RacingWorld racing(100);
  Caller slot;
  auto& record = **racing.loader.declare("tg");
  REQUIRE(racing.loader.load(record, 1s));
  other_thread = [&] { racing.loader.unload(record); };
  REQUIRE(*racing.loader.pin(slot, record, racing.world.now(), racing.client) == PinResult::parked);
  racing.world.run_until_idle();
  REQUIRE(slot.payload != nullptr);
  CHECK(racing.loader.status(record).pins == 1);
  racing.loader.unpin(slot);
  CHECK(racing.loader.status(record).pins == 0);
}

// mutant: a drain hidden by a momentary pin is never finished
TEST_CASE("a model drains although a momentary pin hid that its last pin had gone") {
  RacingWorld racing(100);
  Caller held, slot;
  auto& record = **racing.loader.declare("tg");
  REQUIRE(racing.loader.load(record, 1s));
  REQUIRE(*racing.loader.pin(held, record, racing.world.now(), racing.client) == PinResult::ready);
  other_thread = [&] {
    racing.loader.unload(record);
    other_thread = [&] { racing.loader.unpin(held); };  // once the momentary pin is there
  };
  REQUIRE(racing.loader.pin(slot, record, racing.world.now(), racing.client));
  racing.world.run_until_idle();
  REQUIRE(slot.payload != nullptr);
  CHECK(racing.alive == 1);
  CHECK(racing.loader.statistics().loads == 2);
  racing.loader.unpin(slot);
}

// mutant: victims stay closed when one of them was pinned
TEST_CASE("when one of two victims is pinned while they are closed, the other stays in use") {
  RacingWorld racing(25);
  Slot first_slot, second_slot;
  auto& first = **racing.loader.declare("first");
  auto& second = **racing.loader.declare("second");
  REQUIRE(racing.loader.load(first, 1s));
  racing.world.advance(1ms);
  REQUIRE(racing.loader.load(second, 1s));
  auto& large = **racing.loader.add("large", 25);
  other_thread = [&] {
    other_thread = [&] {
      REQUIRE(*racing.loader.pin(second_slot, second, racing.world.now(), racing.client) == PinResult::ready);
    };
  };
  Caller slot;
  auto const refused = racing.loader.pin(slot, large, racing.world.now(), racing.client);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().reason == Reason::memory_full);
  REQUIRE(*racing.loader.pin(first_slot, first, racing.world.now(), racing.client) == PinResult::ready);
  racing.loader.unpin(first_slot);
  racing.loader.unpin(second_slot);
}
