#include <athanor/loading/detail/loader_machine.hpp>

#include <doctest/doctest.h>

using namespace athanor;
using namespace athanor::loading;
using namespace std::chrono_literals;
using Want = LoaderMachine::Want;

namespace {

TimePoint at(Duration since) { return TimePoint(1h) + since; }

/// Takes a model to ready, as a shell would.
void make_ready(LoaderMachine& machine, LoaderMachine::Id id, TimePoint now) {
  auto const plan = machine.want(id, now);
  REQUIRE(plan.want == Want::load);
  machine.reserve(id, plan.victims, now);
  for (auto const victim : plan.victims) machine.freed(victim);
  REQUIRE(machine.next_start() == id);
  machine.charge_measured(id, machine.bytes(id));
  machine.mark_ready(id, now);
}

Error const broken{Code::unavailable, Reason::file, "model.pt: cannot be read", {}};

}  // namespace

// mutant: victims go by their size instead of their last use
// mutant: a victim that is not needed goes too
TEST_CASE("the models longest unused go first, and no more than needed") {
  LoaderMachine machine({.budget_bytes = 100});
  auto const a = machine.add("a", 40), b = machine.add("b", 30), c = machine.add("c", 20),
             d = machine.add("d", 50);
  make_ready(machine, a, at(3s));
  make_ready(machine, b, at(1s));
  make_ready(machine, c, at(2s));
  auto const plan = machine.want(d, at(4s));
  CHECK(plan.want == Want::load);
  // Free: 10. b is the oldest (30), c next (20): with both 60; b alone gives 40, so both are needed.
  CHECK(plan.victims == std::vector<LoaderMachine::Id>{b, c});
  machine.observe(b, true, at(1s));
  CHECK(machine.want(d, at(4s)).victims == std::vector<LoaderMachine::Id>{a});
}

// mutant: the policy names a victim twice
// mutant: too few victims are taken for enough
TEST_CASE("a policy of one's own chooses the victims, and a choice that does not suffice evicts nothing") {
  std::vector<std::size_t> choice;
  std::vector<std::uint64_t> seen;
  LoaderMachine machine({.budget_bytes = 100}, [&](MemorySnapshot const& snapshot) {
    CHECK(snapshot.needed_bytes == 30);
    seen.clear();
    for (auto const& model : snapshot.idle) seen.push_back(model.bytes);
    return choice;
  });
  auto const a = machine.add("a", 40), b = machine.add("b", 30), c = machine.add("c", 20),
             d = machine.add("d", 40);
  for (auto const id : {a, b, c}) make_ready(machine, id, at(Duration(id)));
  for (auto const& [chosen, victims] :
       {std::pair{std::vector<std::size_t>{0}, std::vector{a}}, {{2, 1}, {c, b}}, {{1}, {b}}}) {
    choice = chosen;
    auto const plan = machine.want(d, at(4s));
    CHECK(plan.want == Want::load);
    CHECK(plan.victims == victims);
  }
  CHECK(seen == std::vector<std::uint64_t>{40, 30, 20});
  for (auto const& bad : {std::vector<std::size_t>{}, {2}, {2, 2}, {0, 3}}) {
    choice = bad;
    CHECK(machine.want(d, at(4s)).error.reason == Reason::memory_full);
  }
  machine.observe(a, true, at(0s));
  choice = {0};
  CHECK(machine.want(d, at(4s)).victims == std::vector{b});
}

// mutant: a model larger than the budget is taken for one that may fit later
// mutant: a model larger than the whole budget is no obstacle
TEST_CASE("S3-15 a model larger than the budget is refused and evicts nothing") {
  LoaderMachine machine({.budget_bytes = 100});
  auto const small = machine.add("small", 60), large = machine.add("large", 101);
  make_ready(machine, small, at(0s));
  auto const plan = machine.want(large, at(1s));
  CHECK(plan.want == Want::refuse);
  CHECK(plan.error.reason == Reason::budget);
  CHECK(plan.error.retry_after == 0ns);
  CHECK(plan.error.message == "large: expected at most the whole budget of 100 bytes, the model needs 101");
  REQUIRE(machine.obstacle(large));
  CHECK(machine.obstacle(large)->message == plan.error.message);
  CHECK_FALSE(machine.obstacle(small));
  CHECK(plan.victims.empty());
  CHECK(machine.state(small) == ModelState::ready);
}

// mutant: a pinned model may be evicted
TEST_CASE("S3-15 when everything that could go is in use the call is refused with a time to come back") {
  LoaderMachine machine({.budget_bytes = 100, .busy_retry = 70ms});
  auto const pinned = machine.add("pinned", 60), idle = machine.add("idle", 30),
             wanted = machine.add("wanted", 50);
  make_ready(machine, pinned, at(0s));
  make_ready(machine, idle, at(0s));
  machine.observe(pinned, true, at(0s));
  auto const plan = machine.want(wanted, at(1s));
  CHECK(plan.want == Want::refuse);
  CHECK(plan.error.code == Code::resource_exhausted);
  CHECK(plan.error.reason == Reason::memory_full);
  CHECK(plan.error.retry_after == 70ms);
}

// mutant: a load begins before what it displaces is freed
// mutant: an evicted model's bytes are not counted as leaving
TEST_CASE("a load waits until what it displaces is freed") {
  LoaderMachine machine({.budget_bytes = 100});
  auto const old = machine.add("old", 80), first = machine.add("first", 50),
             second = machine.add("second", 20);
  make_ready(machine, old, at(0s));
  auto const plan = machine.want(first, at(1s));
  REQUIRE(plan.victims == std::vector<LoaderMachine::Id>{old});
  machine.reserve(first, plan.victims, at(1s));
  CHECK(machine.state(first) == ModelState::reserved);
  CHECK(machine.next_start() == LoaderMachine::none);
  CHECK(machine.occupied() == 80);
  // What fits beside the leaving model may begin at once.
  machine.reserve(second, {}, at(1s));
  CHECK(machine.next_start() == second);
  CHECK(machine.occupied() == 100);
  machine.freed(old);
  CHECK(machine.next_start() == first);
  CHECK(machine.occupied() == 70);
  CHECK(machine.committed() == 70);
}

// mutant: the back-off does not grow
// mutant: the back-off grows without a limit
// mutant: a success does not end the back-off
// mutant: a failed model is tried again before its time
TEST_CASE("S0-16 a failure is remembered, its back-off doubles up to its limit and ends with a success") {
  LoaderMachine machine({.first_backoff = 1s, .longest_backoff = 3s});
  auto const id = machine.add("tg", 10);
  TimePoint now = at(0s);
  for (Duration const expected : {1s, 2s, 3s, 3s}) {
    auto plan = machine.want(id, now);
    REQUIRE(plan.want == Want::load);
    machine.reserve(id, {}, now);
    REQUIRE(machine.next_start() == id);
    auto const told = machine.failed(id, broken, now, 0);
    CHECK(told.retry_after == expected);
    CHECK(told.message == "tg: model.pt: cannot be read");
    CHECK(told.reason == Reason::file);
    plan = machine.want(id, now + expected - 1ms);
    CHECK(plan.want == Want::refuse);
    CHECK(plan.error.retry_after == 1ms);
    CHECK(plan.error.reason == Reason::file);
    now += expected;
  }
  make_ready(machine, id, now);
  REQUIRE(machine.unload(id) == LoaderMachine::Unload::drain);
  machine.retire(id);
  machine.freed(id);
  machine.reserve(id, {}, now);
  REQUIRE(machine.next_start() == id);
  auto const anew = machine.failed(id, broken, now, ~0ULL).retry_after;
  CHECK(anew > 1249ms);
  CHECK(anew <= 1250ms);
  CHECK(machine.committed() == 0);
  CHECK(machine.occupied() == 0);
  CHECK(machine.statistics().loads == 6);
  CHECK(machine.statistics().failures == 5);
  CHECK(machine.statistics().unloads == 1);
}

// mutant: a model over the budget is told to come back
// mutant: a model whose backend breaks its contract is told to come back
TEST_CASE("a load that fails for what waiting does not change has no time to come back") {
  for (auto const& [code, reason, helps] :
       {std::tuple{Code::unavailable, Reason::file, true}, std::tuple{Code::not_found, Reason::file, true},
        std::tuple{Code::internal, Reason::backend_failure, true},
        std::tuple{Code::resource_exhausted, Reason::out_of_memory, true},
        std::tuple{Code::invalid_argument, Reason::dtype, false},
        std::tuple{Code::failed_precondition, Reason::model_load, false},
        std::tuple{Code::unimplemented, Reason::option, false},
        std::tuple{Code::data_loss, Reason::digest, false},
        std::tuple{Code::internal, Reason::backend_contract, false}}) {
    LoaderMachine machine({});
    auto const id = machine.add("tg", 10);
    machine.reserve(id, {}, at(0s));
    REQUIRE(machine.next_start() == id);
    CHECK((machine.failed(id, Error{code, reason, "no", {}}, at(0s), 0).retry_after > 0ns) == helps);
    auto const plan = machine.want(id, at(0s));
    CHECK(plan.want == Want::refuse);
    CHECK((plan.error.retry_after > 0ns) == helps);
  }
}

// mutant: an overdue load is forgotten although it still runs
// mutant: a load at its deadline is not yet overdue
TEST_CASE("S3-14 a load past its deadline has failed, still holds its room, and is not begun twice") {
  LoaderMachine machine({.budget_bytes = 100, .load_deadline = 5s});
  auto const slow = machine.add("slow", 60), other = machine.add("other", 60);
  machine.reserve(slow, {}, at(0s));
  REQUIRE(machine.next_start() == slow);
  CHECK_FALSE(machine.overdue(slow, at(4999ms), 0));
  CHECK(machine.overdue(slow, at(5s), 0));
  CHECK(machine.is_late(slow));
  CHECK(machine.failure(slow)->code == Code::deadline_exceeded);
  CHECK(machine.want(slow, at(1h)).want == Want::refuse);
  CHECK(machine.want(other, at(6s)).want == Want::refuse);
  machine.late_finish(slow);
  CHECK(machine.occupied() == 0);
  CHECK(machine.want(other, at(6s)).want == Want::load);
  CHECK(machine.want(slow, at(1h)).want == Want::load);
  CHECK(machine.statistics().late == 1);
}

// mutant: the growth of a model is not committed
TEST_CASE("S3-15 a model that turns out larger than declared displaces others, or fails when it cannot") {
  LoaderMachine machine({.budget_bytes = 100});
  auto const idle = machine.add("idle", 50), grows = machine.add("grows", 20),
             pinned = machine.add("pinned", 20);
  make_ready(machine, idle, at(0s));
  make_ready(machine, pinned, at(0s));
  machine.observe(pinned, true, at(0s));
  machine.reserve(grows, {}, at(1s));
  REQUIRE(machine.next_start() == grows);
  CHECK(machine.measured(grows, 30).victims.empty());
  CHECK(machine.measured(grows, 31).victims == std::vector<LoaderMachine::Id>{idle});
  CHECK(machine.measured(grows, 81).error.reason == Reason::memory_full);
  CHECK(machine.measured(grows, 101).error.reason == Reason::budget);
  machine.reserve_growth(grows, 80, {idle});
  CHECK(machine.committed() == 100);
  CHECK(machine.occupied() == 90);
  machine.freed(idle);
  machine.charge_measured(grows, 80);
  CHECK(machine.occupied() == 100);
  CHECK(machine.state(grows) == ModelState::warming);
}

// mutant: a measured model's growth ignores what is still being freed
TEST_CASE("a model that turns out larger than declared finds no room in what is still being freed") {
  LoaderMachine machine({.budget_bytes = 100});
  auto const leaves = machine.add("leaves", 50), grows = machine.add("grows", 20);
  make_ready(machine, leaves, at(0s));
  machine.reserve(grows, {}, at(1s));
  REQUIRE(machine.next_start() == grows);
  REQUIRE(machine.unload(leaves) == LoaderMachine::Unload::drain);
  machine.retire(leaves);
  CHECK(machine.measured(grows, 50).want == LoaderMachine::Want::load);
  CHECK(machine.measured(grows, 51).error.reason == Reason::memory_full);
  machine.freed(leaves);
  CHECK(machine.measured(grows, 51).want == LoaderMachine::Want::load);
}

TEST_CASE("unloading gives up a load in progress and forgets a failure") {
  LoaderMachine machine({});
  auto const id = machine.add("a", 10);
  CHECK(machine.unload(id) == LoaderMachine::Unload::nothing);
  machine.reserve(id, {}, at(0s));
  CHECK(machine.unload(id) == LoaderMachine::Unload::abandon);
  CHECK(machine.committed() == 0);
  machine.reserve(id, {}, at(0s));
  REQUIRE(machine.next_start() == id);
  CHECK(machine.unload(id) == LoaderMachine::Unload::abandon);
  CHECK(machine.want(id, at(0s)).want == Want::refuse);
  machine.late_finish(id);
  machine.reserve(id, {}, at(0s));
  REQUIRE(machine.next_start() == id);
  // How often it failed is forgotten, too: the back-off of the next failure is the first one again.
  for (int round = 0; round < 2; ++round) {
    CHECK(machine.failed(id, broken, at(0s), 0).retry_after == 1s);
    CHECK(machine.unload(id) == LoaderMachine::Unload::nothing);
    REQUIRE(machine.want(id, at(0s)).want == Want::load);
    machine.reserve(id, {}, at(0s));
    REQUIRE(machine.next_start() == id);
  }
}

// mutant: the jitter is added to the back-off without an end
TEST_CASE("a loader told never to try again of itself does not") {
  LoaderMachine machine({.first_backoff = Duration::max(), .longest_backoff = Duration::max()});
  auto const id = machine.add("a", 10);
  machine.reserve(id, {}, at(0s));
  REQUIRE(machine.next_start() == id);
  CHECK(machine.failed(id, broken, at(0s), ~0ULL).retry_after == Duration::max());
  CHECK(machine.want(id, at(std::chrono::years(100))).want == Want::refuse);
  machine.retry_now(id, {});
  CHECK(machine.want(id, at(1s)).want == Want::load);
}

// mutant: a new try keeps what the model was measured at
TEST_CASE(
    "a model once too large for the budget is expected anew at its expected size now, or its declared one") {
  LoaderMachine machine({.budget_bytes = 100});
  auto const grew = machine.add("grew", 20), large = machine.add("large", 200);
  machine.expect(grew, 150);
  CHECK(machine.want(grew, at(0s)).error.reason == Reason::budget);
  machine.retry_now(grew, {});
  CHECK(machine.want(grew, at(0s)).want == Want::load);
  machine.retry_now(large, {});
  CHECK(machine.want(large, at(0s)).error.reason == Reason::budget);
  machine.retry_now(large, 60);
  CHECK(machine.want(large, at(0s)).want == Want::load);
}

// mutant: a load begins in room that is promised to the growth of another
// mutant: a load begins over its own payload that is still being freed
TEST_CASE("a load begins only when its own old memory is free and beside what others were promised") {
  LoaderMachine machine({.budget_bytes = 100});
  auto const grows = machine.add("grows", 10), victim = machine.add("victim", 10),
             again = machine.add("again", 20);
  make_ready(machine, victim, at(0s));
  make_ready(machine, again, at(1s));
  machine.reserve(grows, {}, at(2s));
  REQUIRE(machine.next_start() == grows);
  REQUIRE(machine.unload(again) == LoaderMachine::Unload::drain);
  machine.retire(again);
  machine.reserve(again, {}, at(3s));
  CHECK(machine.next_start() == LoaderMachine::none);
  REQUIRE(machine.measured(grows, 80).victims == std::vector<LoaderMachine::Id>{victim});
  machine.reserve_growth(grows, 80, {victim});
  machine.freed(again);
  CHECK(machine.next_start() == LoaderMachine::none);  // 20 in memory and 70 promised
  machine.freed(victim);
  CHECK(machine.next_start() == again);
  machine.charge_measured(grows, 80);
  CHECK(machine.occupied() == 100);
}

// mutant: the youngest reservation loads first
TEST_CASE("loads that wait for memory begin in the order of their reservations") {
  LoaderMachine machine({.budget_bytes = 100});
  auto const old = machine.add("old", 100), later = machine.add("later", 50),
             first = machine.add("first", 50);
  make_ready(machine, old, at(0s));
  machine.reserve(first, {old}, at(1s));
  machine.reserve(later, {}, at(2s));
  CHECK(machine.next_start() == LoaderMachine::none);
  machine.freed(old);
  CHECK(machine.next_start() == first);
  CHECK(machine.next_start() == later);
}

// mutant: what was reserved beyond the measured bytes is never given back
TEST_CASE("a model smaller than reserved gives the rest back") {
  LoaderMachine machine({.budget_bytes = 100});
  auto const small = machine.add("small", 60), other = machine.add("other", 80);
  machine.reserve(small, {}, at(0s));
  REQUIRE(machine.next_start() == small);
  machine.charge_measured(small, 20);
  CHECK(machine.committed() == 20);
  CHECK(machine.occupied() == 20);
  CHECK(machine.want(other, at(0s)).want == Want::load);
  CHECK(machine.want(other, at(0s)).victims.empty());
}

// mutant: a removed model's number is not used again
// mutant: a model may be removed while it is being freed
TEST_CASE("the number of a removed model is given to a later one") {
  LoaderMachine machine({});
  auto const first = machine.add("first", 10), second = machine.add("second", 10);
  make_ready(machine, second, at(0s));
  CHECK(machine.is_removable(first));
  CHECK_FALSE(machine.is_removable(second));
  machine.remove(first);
  CHECK(machine.add("third", 20) == first);
  CHECK(machine.name(first) == "third");
  CHECK(machine.add("fourth", 10) == 2);
  REQUIRE(machine.unload(second) == LoaderMachine::Unload::drain);
  machine.retire(second);
  CHECK_FALSE(machine.is_removable(second));  // its memory is not free yet
  machine.freed(second);
  CHECK(machine.is_removable(second));
}
