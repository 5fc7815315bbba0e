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

// mutant: a call loads although a load runs
TEST_CASE("S3-14 twenty calls for one model are one load, and each gets its pin") {
  Simulation world(1);
  Disk disk;
  auto loader = Loader::create({}, disk.functions()).value();
  Callers client;
  auto& record = **loader.declare("tg");
  std::vector<Caller> callers(20);
  for (auto& caller : callers) CHECK(*loader.pin(caller, record, world.now(), client) == PinResult::parked);
  CHECK(disk.loads.empty());  // nothing is loaded on a caller's thread
  world.run_until_idle();
  CHECK(disk.loads["tg"] == 1);
  CHECK(loader.status(record).pins == 20);
  for (auto& caller : callers) {
    CHECK(caller.resumed == 1);
    CHECK_FALSE(caller.error);
    REQUIRE(caller.payload != nullptr);
    loader.unpin(caller);
  }
  CHECK(loader.status(record).pins == 0);
  Caller late;
  CHECK(*loader.pin(late, record, world.now(), client) == PinResult::ready);
  loader.unpin(late);
  CHECK(loader.statistics().loads == 1);
  CHECK(loader.statistics().joined == 19);
}

// mutant: a failed model is tried again before its time
TEST_CASE(
    "S0-16 a failed load reaches all who waited, is remembered, and is tried again after the back-off") {
  Simulation world(1);
  Disk disk;
  disk.broken["tg"] = missing;
  auto loader = Loader::create({}, disk.functions()).value();
  Callers client;
  auto& record = **loader.declare("tg");
  std::vector<Caller> callers(50);
  for (auto& caller : callers) CHECK(*loader.pin(caller, record, world.now(), client) == PinResult::parked);
  world.run_until_idle();
  CHECK(disk.loads["tg"] == 1);
  for (auto const& caller : callers) {
    CHECK(caller.resumed == 1);
    REQUIRE(caller.error);
    CHECK(caller.error->message == "tg: no such file");
    CHECK(caller.error->reason == Reason::file);
    CHECK(caller.error->retry_after >= 1s);
  }
  Caller next;
  for (int i = 0; i < 100; ++i) {
    auto const refused = loader.pin(next, record, world.now(), client);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().retry_after > 0ns);
  }
  CHECK(disk.loads["tg"] == 1);
  disk.broken.clear();
  world.advance(callers[0].error->retry_after);
  CHECK(*loader.pin(next, record, world.now(), client) == PinResult::parked);
  world.run_until_idle();
  CHECK(disk.loads["tg"] == 2);
  REQUIRE(next.payload != nullptr);
  loader.unpin(next);
}

// mutant: an overdue load leaves those who wait for it
// mutant: a late payload is freed without telling
// mutant: a payload that came too late to be measured is freed without telling
TEST_CASE("S3-14 the load deadline is kept: callers are told in time, and the late model is freed") {
  for (bool const in_warm_up : {false, true}) {
    CAPTURE(in_warm_up);
    Simulation world(1);
    Disk disk;
    (in_warm_up ? disk.warm_up_takes : disk.takes) = 10s;
    int released = 0;
    auto functions = disk.functions();
    functions.released = [&](LoadTarget const&, Model&) { ++released; };
    auto loader = Loader::create({.load_deadline = 2s}, functions).value();
    Callers client;
    auto& record = **loader.declare("tg");
    Caller caller;
    CHECK(*loader.pin(caller, record, world.now(), client) == PinResult::parked);
    world.run_until_idle();
    CHECK(caller.resumed == 1);
    REQUIRE(caller.error);
    CHECK(caller.error->code == Code::deadline_exceeded);
    CHECK(caller.error->message == "tg: the load did not end within 2000.000 ms");
    CHECK(disk.alive == 0);
    CHECK(released == 1);
    CHECK(loader.statistics().late == 1);
    CHECK(loader.statistics().occupied_bytes == 0);
    CHECK(loader.status(record).state == ModelState::failed);
  }
}

// mutant: every model is taken for pinned
TEST_CASE("S3-15 idle models make room, pinned ones stay, and the release hook runs after the last use") {
  Simulation world(1);
  Disk disk;
  std::vector<std::string> released;
  auto functions = disk.functions();
  functions.released = [&](LoadTarget const& target, Model&) { released.emplace_back(target.name); };
  auto loader = Loader::create({.budget_bytes = 20}, functions).value();
  {
    auto a = loader.acquire("a", 1s);
    REQUIRE(a);
    REQUIRE(loader.acquire("b", 1s));
    auto c = loader.acquire("c", 1s);
    REQUIRE(c);
    CHECK(released == std::vector<std::string>{"b"});
    CHECK(disk.alive == 2);
    auto const d = loader.acquire("d", 1s);
    REQUIRE_FALSE(d);
    CHECK(d.error().code == Code::resource_exhausted);
    CHECK(d.error().reason == Reason::memory_full);
    CHECK(d.error().retry_after > 0ns);
  }
  REQUIRE(loader.acquire("d", 1s));
  CHECK(loader.statistics().evictions == 2);
  CHECK(loader.statistics().occupied_bytes == 20);
}

// mutant: a draining model is freed while it is pinned
TEST_CASE("unloading waits for the last pin and refuses new ones until then") {
  Simulation world(1);
  Disk disk;
  auto loader = Loader::create({}, disk.functions()).value();
  auto first = loader.acquire("tg", 1s);
  auto second = loader.acquire("tg", 1s);
  REQUIRE(first);
  REQUIRE(second);
  REQUIRE(loader.unload("tg"));
  CHECK(loader.status("tg")->state == ModelState::draining);
  auto const refused = loader.acquire("tg", 1s);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().reason == Reason::stopping);
  first = tl::unexpected(Error{});
  CHECK(disk.alive == 1);
  second = tl::unexpected(Error{});
  world.run_until_idle();
  CHECK(disk.alive == 0);
  CHECK(loader.status("tg")->state == ModelState::unloaded);
  CHECK(loader.statistics().occupied_bytes == 0);
  CHECK(loader.acquire("tg", 1s));
  CHECK(loader.unload("nobody").error().reason == Reason::model_missing);
}

// mutant: a slot that is no longer parked is withdrawn
TEST_CASE("a withdrawn slot is not resumed, and the others are") {
  Simulation world(1);
  Disk disk;
  auto loader = Loader::create({}, disk.functions()).value();
  Callers client;
  auto& record = **loader.declare("tg");
  Caller callers[3];
  for (auto& caller : callers) REQUIRE(loader.pin(caller, record, world.now(), client));
  CHECK(loader.withdraw(callers[1]));
  CHECK_FALSE(loader.withdraw(callers[1]));
  world.run_until_idle();
  CHECK(callers[1].resumed == 0);
  CHECK(loader.status(record).pins == 2);
  for (int i : {0, 2}) {
    CHECK(callers[i].resumed == 1);
    CHECK_FALSE(loader.withdraw(callers[i]));
    loader.unpin(callers[i]);
  }
}

// mutant: a model whose warm-up failed is published
TEST_CASE("a model whose warm-up fails is freed and not used") {
  Simulation world(1);
  Disk disk;
  auto functions = disk.functions();
  functions.warm_up = [](LoadTarget const&, Model&) -> Result<void> {
    return fail(Code::failed_precondition, Reason::model_load, "self-test 0 differs");
  };
  auto loader = Loader::create({}, functions).value();
  auto const pin = loader.acquire("tg", 1s);
  REQUIRE_FALSE(pin);
  CHECK(pin.error().message == "tg: self-test 0 differs");
  CHECK(disk.alive == 0);
  CHECK(loader.statistics().occupied_bytes == 0);
}

TEST_CASE("a load function that throws or gives nothing is a failed load") {
  Simulation world(1);
  LoadFunctions<Model> functions;
  functions.load = [](LoadTarget const& target) -> Result<Loaded<Model>> {
    if (target.name == "throws") throw std::runtime_error("out of luck");
    return Loaded<Model>{};
  };
  auto loader = Loader::create({}, functions).value();
  CHECK(loader.acquire("throws", 1s).error().message == "throws: the load function threw: out of luck");
  CHECK(loader.acquire("empty", 1s).error().message ==
        "empty: the load function returned neither a payload nor an error");
}

// mutant: a stop leaves those who wait for a load
TEST_CASE("a stop answers all waiting callers and rejects new ones") {
  Simulation world(1);
  Disk disk;
  auto loader = Loader::create({}, disk.functions()).value();
  Callers client;
  auto& record = **loader.declare("tg");
  Caller caller, other;
  auto held = loader.acquire("held", 1s);
  REQUIRE(loader.pin(caller, record, world.now(), client));
  loader.stop();
  CHECK(caller.resumed == 1);
  REQUIRE(caller.error);
  CHECK(caller.error->reason == Reason::stopping);
  CHECK(loader.pin(other, record, world.now(), client).error().reason == Reason::stopping);
  CHECK(disk.alive == 1);
  held = tl::unexpected(Error{});
  world.run_until_idle();
  CHECK(disk.alive == 0);
  CHECK(loader.statistics().occupied_bytes == 0);
}

TEST_CASE("an explicit load does not wait for the back-off") {
  Simulation world(1);
  Disk disk;
  disk.broken["tg"] = missing;
  auto loader = Loader::create({}, disk.functions()).value();
  CHECK(loader.load("tg", 1s).error().reason == Reason::file);
  disk.broken.clear();
  CHECK_FALSE(loader.acquire("tg", 1s));
  CHECK(loader.load("tg", 1s));
  CHECK(loader.list().size() == 1);
  CHECK(loader.list()[0].state == ModelState::ready);
}

TEST_CASE("a caller whose time is up fails with deadline_exceeded, and the load continues for others") {
  Simulation world(1);
  Disk disk;
  auto loader = Loader::create({.load_deadline = 1h}, disk.functions()).value();
  Callers client;
  auto& record = **loader.declare("tg");
  auto const pin = loader.acquire("tg", 0ms);
  if (!pin) CHECK(pin.error().reason == Reason::deadline_waiting);
  Caller caller;
  REQUIRE(loader.pin(caller, record, world.now(), client));
  world.run_until_idle();
  CHECK(disk.loads["tg"] == 1);
  loader.unpin(caller);
}

// mutant: a model that measures above the whole budget is kept
TEST_CASE("S3-15 measured bytes count, not declared ones") {
  Simulation world(1);
  Disk disk;
  disk.bytes = 60;
  auto loader = Loader::create({.budget_bytes = 100}, disk.functions(1)).value();
  REQUIRE(loader.acquire("a", 1s));
  CHECK(loader.status("a")->bytes == 60);
  REQUIRE(loader.acquire("b", 1s));  // found too large for both: a goes
  CHECK(disk.alive == 1);
  CHECK(loader.status("a")->state == ModelState::unloaded);
  disk.bytes = 101;
  auto const large = loader.acquire("large", 1s);
  REQUIRE_FALSE(large);
  CHECK(large.error().reason == Reason::budget);
  CHECK(disk.alive == 1);
  CHECK(disk.loads["large"] == 1);
  world.advance(1h);
  CHECK(loader.acquire("large", 1s).error().reason == Reason::budget);
  CHECK(disk.loads["large"] == 1);  // its size is known now
}

// mutant: a load that was given up before it began is begun
TEST_CASE("a load that was given up before a thread took it is not begun") {
  Simulation world(1);
  Disk disk;
  auto loader = Loader::create({}, disk.functions()).value();
  Callers client;
  Caller caller;
  auto& record = **loader.declare("tg");
  REQUIRE(loader.pin(caller, record, world.now(), client));
  loader.unload(record);
  CHECK(caller.resumed == 1);
  world.run_until_idle();
  CHECK(disk.loads.empty());
  CHECK(loader.statistics().late == 1);
  CHECK(loader.statistics().occupied_bytes == 0);
}

// mutant: a new try keeps what the model was measured at
TEST_CASE("a model that was too large for the budget is loaded when it was replaced and load is asked for") {
  Simulation world(1);
  Disk disk;
  disk.bytes = 200;
  auto loader = Loader::create({.budget_bytes = 100}, disk.functions(10)).value();
  CHECK(loader.acquire("tg", 1s).error().reason == Reason::budget);
  disk.bytes = 50;
  CHECK(loader.acquire("tg", 1s).error().reason == Reason::budget);
  CHECK(disk.loads["tg"] == 1);
  CHECK(loader.load("tg", 1s));
  CHECK(disk.loads["tg"] == 2);
  CHECK(loader.acquire("tg", 1s));
}

// mutant: what expected_bytes throws is let through
// mutant: a loader knows any number of models
TEST_CASE("an exception of expected_bytes is an error, and a loader has at most max_models records") {
  Simulation world(1);
  Disk disk;
  auto functions = disk.functions();
  bool throws = true;
  functions.expected_bytes = [&](LoadTarget const&) -> std::uint64_t {
    if (throws) throw std::runtime_error("no such disk");
    return 10;
  };
  auto loader = Loader::create({.max_models = 1}, std::move(functions)).value();
  CHECK(loader.acquire("tg", 1s).error().message == "tg: expected_bytes threw: no such disk");
  throws = false;
  CHECK(loader.acquire("tg", 1s));
  CHECK(loader.acquire("other", 1s).error().code == Code::resource_exhausted);
}

// mutant: a loader's options are not looked at
// mutant: the longest back-off may be shorter than the first
TEST_CASE("impossible options of a loader are refused by name") {
  Simulation world(1);
  Disk disk;
  auto const refused = [&](ModelLoaderOptions const& options, LoadFunctions<Model> functions) {
    auto const loader = Loader::create(options, std::move(functions));
    REQUIRE_FALSE(loader);
    CHECK(loader.error().code == Code::invalid_argument);
    CHECK(loader.error().reason == Reason::option);
    return loader.error().message;
  };
  CHECK(refused({}, {}) == "loading: load: expected a function, got none");
  CHECK(refused({.load_deadline = 0ns}, disk.functions()) ==
        "loading: load_deadline: expected more than 0 ns, got 0");
  CHECK(refused({.first_backoff = -1ns}, disk.functions()) ==
        "loading: first_backoff: expected more than 0 ns, got -1");
  CHECK(refused({.first_backoff = 2ns, .longest_backoff = 1ns}, disk.functions()) ==
        "loading: longest_backoff: expected at least first_backoff, in ns, got 1");
  CHECK(refused({.busy_retry = 0ns}, disk.functions()) ==
        "loading: busy_retry: expected more than 0 ns, got 0");
  CHECK(refused({.load_threads = 0}, disk.functions()) ==
        "loading: load_threads: expected between 1 and 1024, got 0");
  CHECK(refused({.max_models = 0}, disk.functions()) == "loading: max_models: expected at least 1, got 0");
}

TEST_CASE("a loader moves, and pins taken before stay valid") {
  Simulation world(1);
  Disk disk;
  auto loader = Loader::create({}, disk.functions()).value();
  auto pin = loader.acquire("tg", 1s);
  REQUIRE(pin);
  auto moved = std::move(loader);
  CHECK(moved.status("tg")->pins == 1);
  pin = tl::unexpected(Error{});
  CHECK(moved.status("tg")->pins == 0);
}

// mutant: a forgotten model keeps its name
TEST_CASE(
    "a forgotten model goes with its last pin, its context with it, and its name can be declared anew") {
  Simulation world(1);
  Disk disk;
  std::vector<void*> contexts;
  auto functions = disk.functions();
  functions.released = [&](LoadTarget const& target, Model&) { contexts.push_back(target.context); };
  auto loader = Loader::create({.max_models = 2}, functions).value();
  Callers client;
  auto context = std::make_shared<int>(7);
  std::weak_ptr<int> const alive = context;
  auto& added = **loader.add("tg", 10, context);
  auto& declared = **loader.declare("tg");
  CHECK(&added != &declared);
  CHECK_FALSE(loader.add("third", 10));
  Caller pinned, parked;
  REQUIRE(loader.pin(pinned, added, world.now(), client));
  REQUIRE(loader.pin(parked, declared, world.now(), client));
  loader.forget(declared);
  REQUIRE(parked.error);
  CHECK(parked.error->message == "tg: removed while loading");
  CHECK_FALSE(loader.status("tg"));
  world.run_until_idle();
  REQUIRE(pinned.payload != nullptr);
  loader.forget(added);
  void* const known = context.get();
  context.reset();
  world.run_until_idle();
  CHECK(disk.alive == 1);
  CHECK(contexts.empty());
  CHECK_FALSE(alive.expired());
  loader.unpin(pinned);
  world.run_until_idle();
  CHECK(disk.alive == 0);
  CHECK(contexts == std::vector<void*>{known});
  CHECK(alive.expired());
  CHECK(loader.list().empty());
  CHECK(loader.statistics().occupied_bytes == 0);
  CHECK(loader.acquire("tg", 1s));
}

TEST_CASE("a model that holds no bytes is not loaded over its own payload, which is still being freed") {
  Simulation world(1);
  Disk disk;
  disk.bytes = 0;
  std::vector<int> alive_at_load;
  auto functions = disk.functions(0);
  functions.load = [&, load = functions.load](LoadTarget const& target) {
    alive_at_load.push_back(disk.alive);
    return load(target);
  };
  auto loader = Loader::create({}, functions).value();
  Callers client;
  Caller first, next;
  auto& record = **loader.declare("tg");
  REQUIRE(loader.pin(first, record, world.now(), client));
  world.run_until_idle();
  loader.unload(record);
  loader.unpin(first);  // posts the freeing
  REQUIRE(loader.pin(next, record, world.now(), client));
  world.run_until_idle();
  CHECK(alive_at_load == std::vector<int>{0, 0});
  CHECK(disk.alive == 1);
  REQUIRE(next.payload != nullptr);
  loader.unpin(next);
}

// mutant: loads run on the threads of the host
TEST_CASE("loads run on threads of the loader's own, at most load_threads at a time") {
  Simulation world(1);
  Disk disk;
  SimulatedExecutor host(1);
  std::size_t inside = 0, most = 0;
  bool host_was_free = true;
  auto functions = disk.functions();
  functions.load = [&, load = functions.load](LoadTarget const& target) {
    most = std::max(most, ++inside);
    host_was_free = host_was_free && host.idle();
    world.step_now();
    auto loaded = load(target);
    --inside;
    return loaded;
  };
  Loader loader(detail::Validated{}, {.load_threads = 2}, functions, host);
  Callers client;
  std::vector<Caller> callers(5);
  for (std::size_t i = 0; i < callers.size(); ++i)
    REQUIRE(loader.pin(callers[i], **loader.declare(std::to_string(i)), world.now(), client));
  world.run_until_idle();
  CHECK(most == 2);
  CHECK(host_was_free);
  for (auto& caller : callers) loader.unpin(caller);
}

// mutant: models are freed by load threads
// mutant: a forgotten model is freed on the thread that forgets it
TEST_CASE("a model is freed on a thread that neither loads models nor forgets this one") {
  Simulation world(1);
  Disk disk;
  SimulatedExecutor host(1);
  Loader* loader_of_all = nullptr;
  bool freed_here = true;
  bool freed = false;
  auto functions = disk.functions();
  functions.load = [&, load = functions.load](LoadTarget const& target) {
    if (target.name == "slow") {  // on the only load thread
      loader_of_all->forget(**loader_of_all->declare("tg"));
      freed_here = disk.alive == 0;
      while (disk.alive != 0 && world.step_now()) {
      }
      freed = disk.alive == 0;
    }
    return load(target);
  };
  Loader loader(detail::Validated{}, {.load_threads = 1}, functions, host);
  loader_of_all = &loader;
  REQUIRE(loader.load("tg", 1s));
  REQUIRE(loader.load("slow", 1s));
  CHECK_FALSE(freed_here);
  CHECK(freed);
  CHECK(loader.list().size() == 1);
}

// mutant: a load that nobody could keep the time of is begun
// mutant: a load that no thread runs leaves its callers waiting
TEST_CASE("a load that no thread can run, or keep the time of, is refused, and its memory is given back") {
  Simulation world(1);
  Disk disk;
  SimulatedExecutor host(1);
  Loader loader(detail::Validated{}, {.budget_bytes = 10}, disk.functions(), host);
  Callers client;
  Caller caller;
  auto& record = **loader.declare("tg");
  world.refuse_threads(true);
  auto const untimed = loader.pin(caller, record, world.now(), client);
  REQUIRE_FALSE(untimed);
  CHECK(untimed.error().code == Code::resource_exhausted);
  CHECK(untimed.error().message == "tg: no thread can be started to keep the load deadline");
  CHECK(loader.status(record).bytes == 0);
  world.refuse_threads(false);
  Timer timer;
  timer.fire = [](Timer&) noexcept {};
  REQUIRE(host.arm(timer, world.now()));  // from here on time is kept
  world.refuse_threads(true);
  REQUIRE(loader.pin(caller, record, world.now(), client));
  REQUIRE(caller.error);
  CHECK(caller.error->message == "tg: no thread can be started to load it");
  world.refuse_threads(false);
  world.advance(1h);
  REQUIRE(loader.pin(caller, record, world.now(), client));
  world.run_until_idle();
  REQUIRE(caller.payload != nullptr);
  loader.unpin(caller);
}

// mutant: the thread that keeps time tells all callers of an overdue load
// mutant: what is left to an idle thread waits for a busy one
TEST_CASE(
    "S3-14 an idle load thread tells the many callers of an overdue load, or else who keeps time does") {
  struct Client {
    int on_timer = 0;
    TimePoint last{};
    void resume(Slot& slot, Error const* error) noexcept {
      ++static_cast<Caller&>(slot).resumed;
      if (error != nullptr) static_cast<Caller&>(slot).error = *error;
      on_timer += SimulatedExecutor::on_timer_thread() ? 1 : 0;
      last = Simulation::current().now();
    }
  };
  for (std::uint32_t const threads : {1U, 2U}) {
    CAPTURE(threads);
    Simulation world(1, {.order = Turns::Order::random});
    Disk disk;
    auto functions = disk.functions();
    functions.load = [&](LoadTarget const&) -> Result<Loaded<Model>> {
      world.sleep(10s);
      return Loaded<Model>{std::make_unique<Model>(disk.alive), 10};
    };
    auto loader = Loader::create({.load_deadline = 2s, .load_threads = threads}, functions).value();
    Client client;
    std::vector<Caller> callers(100);
    auto& record = **loader.declare("tg");
    TimePoint const asked = world.now();
    for (auto& caller : callers) CHECK(*loader.pin(caller, record, asked, client) == PinResult::parked);
    world.run_until_idle();
    for (auto const& caller : callers) {
      CHECK(caller.resumed == 1);
      REQUIRE(caller.error);
      CHECK(caller.error->message == "tg: the load did not end within 2000.000 ms");
    }
    CHECK(client.last < asked + 3s);
    CHECK(client.on_timer == (threads == 1 ? 100 : 0));
    CHECK(disk.alive == 0);
  }
}
