#include <array>
#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <athanor/core/simulation.hpp>
#include <athanor/loading/model_loader.hpp>

using namespace athanor;
using namespace std::chrono_literals;
using loading::PinResult;

namespace {

constexpr std::uint64_t budget = 100;
constexpr std::size_t model_count = 6;
constexpr std::size_t caller_count = 24;

struct World;

/// Poisons itself when it goes, so that a use after that shows.
struct Model {
  explicit Model(World& world_, std::uint64_t bytes_);
  ~Model();
  World& world;
  std::uint64_t bytes;
  std::uint32_t sound = 0x600d;
};
using Loader = ModelLoader<Model, SimulatedEnv>;

/// Lives as long as the loader's record.
struct Context {
  explicit Context(World& world_);
  ~Context();
  World& world;
  std::uint32_t sound = 0x600d;
};

struct Caller : loading::Slot<Model> {
  enum class At { outside, parked, pinned } at = At::outside;
  std::uint64_t parked_times = 0;
  std::uint64_t ended_times = 0;  // resumed or withdrawn
};

struct World {
  Simulation simulation;
  std::uint64_t in_memory = 0;
  std::uint64_t contexts = 0;
  std::uint64_t replaced = 0;
  bool over_budget = false;
  bool unsound = false;
  int errors = 0;
  Loader loader;
  std::array<Caller, caller_count> callers{};
  std::vector<Loader::Record*> records;

  explicit World(std::uint64_t seed)
      : simulation(seed),
        loader(Loader::create({.budget_bytes = budget,
                               .load_deadline = 50ms,
                               .first_backoff = 10ms,
                               .longest_backoff = 100ms},
                              functions())
                   .value()) {
    records.resize(model_count);
    for (std::size_t i = 0; i < model_count; ++i) add(i);
  }

  void add(std::size_t model) {
    records[model] =
        *loader.add("m" + std::to_string(model), expected(model), std::make_shared<Context>(*this));
  }
  void replace(std::size_t model) {
    loader.forget(*records[model]);
    add(model);
    ++replaced;
  }

  static std::uint64_t expected(std::size_t model) { return 20 + 15 * model; }

  void check() {
    if (in_memory > budget || loader.statistics().occupied_bytes > budget) over_budget = true;
  }

  LoadFunctions<Model> functions() {
    LoadFunctions<Model> all;
    all.load = [this](LoadTarget const& target) -> Result<Loaded<Model>> {
      auto const model = static_cast<std::size_t>(target.name.back() - '0');
      auto const wiggle = simulation.below(8);
      std::uint64_t const bytes = wiggle == 0 ? expected(model) + 10 : expected(model) - wiggle;
      for (auto steps = simulation.below(4); steps > 0; --steps) act();
      if (simulation.below(10) == 0) simulation.advance(60ms);
      if (simulation.below(5) == 0) return fail(Code::unavailable, Reason::file, "broken");
      // A payload larger than declared is in memory before it can be weighed; it is counted from when it is
      // accepted.
      return Loaded<Model>{std::make_unique<Model>(*this, std::min(bytes, expected(model))), bytes};
    };
    all.warm_up = [this](LoadTarget const&, Model& model) -> Result<void> {
      if (model.sound != 0x600d) unsound = true;
      for (auto steps = simulation.below(3); steps > 0; --steps) act();
      if (simulation.below(10) == 0) return fail(Code::internal, Reason::model_load, "cold");
      return {};
    };
    all.released = [this](LoadTarget const& target, Model& model) {
      if (model.sound != 0x600d || static_cast<Context*>(target.context)->sound != 0x600d) unsound = true;
    };
    return all;
  }

  void resume(loading::Slot<Model>& slot, Error const* error) noexcept {
    auto& caller = static_cast<Caller&>(slot);
    if (caller.at != Caller::At::parked) unsound = true;
    ++caller.ended_times;
    caller.at = error == nullptr ? Caller::At::pinned : Caller::At::outside;
    if (error != nullptr) ++errors;
    if (error == nullptr && caller.payload == nullptr) unsound = true;
  }

  /// One random act of somebody.
  void act() {
    check();
    Caller& caller = callers[simulation.below(caller_count)];
    switch (simulation.below(12)) {
      case 0:
      case 1:
      case 2:
      case 3: enter(caller); break;
      case 4:
      case 5:
        for (auto& each : callers) leave(each);
        break;
      case 6:
        if (loader.withdraw(caller)) {
          if (caller.at != Caller::At::parked) unsound = true;
          ++caller.ended_times;
          caller.at = Caller::At::outside;
        }
        break;
      case 7:
        if (simulation.below(4) == 0) {
          loader.unload(*records[simulation.below(model_count)]);
        } else if (simulation.below(4) == 0) {
          replace(simulation.below(model_count));
        }
        break;
      case 8: simulation.advance(Duration(simulation.below(5'000'000))); break;
      default: simulation.step_now(); break;
    }
    check();
  }

  void enter(Caller& caller) {
    if (caller.at != Caller::At::outside) return;
    auto& record = *records[simulation.below(model_count)];
    auto const acquired = loader.pin(caller, record, simulation.now(), *this);
    if (!acquired) return;
    if (*acquired == PinResult::ready) {
      caller.at = Caller::At::pinned;
      return;
    }
    caller.at = Caller::At::parked;
    ++caller.parked_times;
  }

  void leave(Caller& caller) {
    if (caller.at != Caller::At::pinned) return;
    if (caller.payload->sound != 0x600d) unsound = true;
    caller.at = Caller::At::outside;
    loader.unpin(caller);
  }
};

Model::Model(World& world_, std::uint64_t bytes_) : world(world_), bytes(bytes_) { world.in_memory += bytes; }
Model::~Model() {
  world.in_memory -= bytes;
  sound = 0xdead;
}

Context::Context(World& world_) : world(world_) { ++world.contexts; }
Context::~Context() {
  --world.contexts;
  sound = 0xdead;
}

}  // namespace

// mutant: a load begins before what it displaces is freed
// mutant: a draining model is freed while it is pinned
// mutant: an overdue load leaves those who wait for it
// mutant: an overdue load is forgotten although it still runs
TEST_CASE(
    "S3-15 in any order of asking, letting go, failing and unloading the budget holds and everybody is "
    "answered once") {
  std::uint64_t loads = 0, evictions = 0, late = 0, replaced = 0;
  for (std::uint64_t seed = 1; seed <= 2000; ++seed) {
    CAPTURE(seed);
    World world(seed);
    for (int i = 0; i < 200; ++i) world.act();
    if (seed % 2 == 0) world.loader.stop();
    for (int round = 0; round < 50; ++round) {
      world.simulation.run_until_idle();
      for (auto& caller : world.callers) world.leave(caller);
    }
    world.loader.stop();
    world.simulation.run_until_idle();
    auto const statistics = world.loader.statistics();
    loads += statistics.loads;
    evictions += statistics.evictions;
    late += statistics.late;
    REQUIRE_FALSE(world.over_budget);
    REQUIRE_FALSE(world.unsound);
    REQUIRE(world.in_memory == 0);
    REQUIRE(world.contexts == model_count);
    replaced += world.replaced;
    REQUIRE(statistics.occupied_bytes == 0);
    for (auto const& caller : world.callers) {
      REQUIRE(caller.at == Caller::At::outside);
      REQUIRE(caller.parked_times == caller.ended_times);
    }
    for (auto const* record : world.records) REQUIRE(world.loader.status(*record).pins == 0);
  }
  // The schedules reach what they are for.
  CHECK(loads > 2000);
  CHECK(evictions > 500);
  CHECK(late > 100);
  CHECK(replaced > 1000);
}
