#include <athanor/breaking/machine.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <random>
#include <vector>

namespace {

using namespace athanor;
using namespace athanor::breaking;
using namespace std::chrono_literals;

/// A machine with a clock of its own, without jitter unless it is given a seed.
struct Bench {
  BreakerMachine machine;
  TimePoint now = TimePoint{} + 1h;

  explicit Bench(CircuitBreakerOptions const& options = {}) : machine(without_jitter(options), 1) {}
  Bench(CircuitBreakerOptions const& options, std::uint64_t seed) : machine(options, seed) {}

  Decision acquire() { return machine.acquire(now); }
  void settle(Lease const& lease, Outcome outcome) { machine.settle(lease, outcome, now); }
  void execute(Outcome outcome, int times = 1) {
    for (int i = 0; i < times; ++i) settle(acquire().lease, outcome);
  }
  void open() { execute(Outcome::failure, 5); }
  void half_open() {
    open();
    now += 1s;
    machine.abandon(acquire().lease, now);
    REQUIRE(machine.state() == State::half_open);
  }

 private:
  static CircuitBreakerOptions without_jitter(CircuitBreakerOptions options) {
    options.jitter = 0;
    return options;
  }
};

// mutant: a rate must be above the limit, not at it
// mutant: a rate is judged before there are enough calls
TEST_CASE("half of the window failed opens it, once there were enough calls") {
  Bench bench({.window = 20, .min_calls = 10, .consecutive = 0});
  for (int i = 0; i < 4; ++i) {
    bench.execute(Outcome::success);
    bench.execute(Outcome::failure);
  }
  bench.execute(Outcome::success);
  CHECK(bench.machine.state() == State::closed);
  bench.execute(Outcome::failure);
  CHECK(bench.machine.state() == State::open);
}

// mutant: the window slides without forgetting its oldest failure
TEST_CASE("only the last outcomes count") {
  Bench bench({.window = 20, .min_calls = 10, .consecutive = 0});
  bench.execute(Outcome::success, 11);
  bench.execute(Outcome::failure, 9);
  CHECK(bench.machine.statistics().window_failures == 9);
  bench.execute(Outcome::success, 20);
  CHECK(bench.machine.statistics().window_failures == 0);
  CHECK(bench.machine.statistics().window_calls == 20);
  bench.execute(Outcome::failure, 9);
  CHECK(bench.machine.state() == State::closed);
  bench.execute(Outcome::failure);
  CHECK(bench.machine.state() == State::open);
}

// mutant: failures in a row survive a success
// mutant: consecutive failures open one failure late
TEST_CASE("five failures in a row open it, four and a success do not") {
  Bench bench;
  bench.execute(Outcome::failure, 4);
  bench.execute(Outcome::success);
  bench.execute(Outcome::failure, 4);
  CHECK(bench.machine.state() == State::closed);
  bench.execute(Outcome::failure);
  CHECK(bench.machine.state() == State::open);
}

// mutant: every probe is granted the first place
TEST_CASE("S3-10 half-open admits exactly the configured probes; 49 of 50 others are refused at once") {
  for (std::uint32_t probes : {1U, 3U}) {
    Bench bench({.probes = probes});
    bench.half_open();
    std::uint32_t admitted = 0;
    for (int i = 0; i < 50; ++i) {
      auto const decision = bench.acquire();
      if (decision.admitted) {
        ++admitted;
      } else {
        CHECK(decision.retry_after > 0ns);
        CHECK(decision.state == State::half_open);
      }
    }
    CHECK(admitted == probes);
    CHECK(bench.machine.statistics().refused == 50 - probes);
  }
}

// mutant: an abandoned probe keeps its place
// mutant: an ignored probe counts as a success
// mutant: a probe's ticket is not compared
TEST_CASE("S3-10 a cancelled probe frees its place and counts nothing") {
  Bench bench({.probes = 1, .successes_to_close = 1});
  bench.half_open();
  auto const first = bench.acquire();
  bench.machine.abandon(first.lease, bench.now);
  auto const second = bench.acquire();
  REQUIRE(second.admitted);
  bench.settle(second.lease, Outcome::ignored);
  CHECK(bench.machine.state() == State::half_open);
  auto const third = bench.acquire();
  REQUIRE(third.admitted);
  bench.machine.abandon(second.lease, bench.now);  // a place is freed once, by who holds it
  CHECK_FALSE(bench.acquire().admitted);
  bench.settle(third.lease, Outcome::success);
  CHECK(bench.machine.state() == State::closed);
}

// mutant: a lease of acquire never expires
// mutant: a probe is lost one tick late
// mutant: a lost probe is not counted
// mutant: a lost probe is no failure
TEST_CASE(
    "S3-10 a lost probe counts as failed when its lease ends, and others may probe after the open time") {
  Bench bench({.probes = 1, .probe_lease = 30s});
  bench.half_open();
  auto const lost = bench.acquire();
  bench.now += 30s - 1ns;
  CHECK_FALSE(bench.acquire().admitted);
  CHECK(bench.machine.state() == State::half_open);
  bench.now += 1ns;
  auto const refused = bench.acquire();
  CHECK_FALSE(refused.admitted);
  CHECK(refused.retry_after == 2s);
  CHECK(bench.machine.statistics().expired_probes == 1);
  CHECK(bench.machine.statistics().failures == 6);  // five have opened it
  bench.settle(lost.lease, Outcome::success);       // too late to change anything
  CHECK(bench.machine.state() == State::open);
  bench.now += 2s;
  CHECK(bench.acquire().admitted);
}

// mutant: outcomes of an earlier generation are counted
// mutant: a late outcome of an earlier probe is counted
// mutant: stale outcomes are not counted as such
TEST_CASE("S3-11 an outcome of a call begun in an earlier state changes nothing") {
  Bench bench({.probes = 2, .successes_to_close = 2});
  std::vector<Decision> early;
  for (int i = 0; i < 4; ++i) early.push_back(bench.acquire());
  bench.open();
  auto const generation = bench.machine.generation();
  bench.settle(early[0].lease, Outcome::success);
  CHECK(bench.machine.state() == State::open);
  bench.now += 1s;
  auto const probe = bench.acquire();
  REQUIRE(probe.admitted);
  bench.settle(early[1].lease, Outcome::failure);
  CHECK(bench.machine.state() == State::half_open);
  bench.settle(early[2].lease, Outcome::success);
  bench.settle(probe.lease, Outcome::success);
  CHECK(bench.machine.state() == State::half_open);  // two successes are required, and this is the first
  bench.settle(probe.lease, Outcome::success);       // settled already
  CHECK(bench.machine.state() == State::half_open);
  bench.execute(Outcome::success);
  CHECK(bench.machine.state() == State::closed);
  CHECK(bench.machine.generation() == generation + 2);
  auto const before = bench.machine.statistics();
  for (int i = 0; i < 10; ++i) bench.settle(early[3].lease, Outcome::failure);
  CHECK(bench.machine.statistics().window_calls == 0);
  CHECK(bench.machine.statistics().stale == before.stale + 10);
}

// mutant: what is to be ignored is counted as a failure
TEST_CASE("S3-12 callers' faults, cancels and refusals never count") {
  Bench bench;
  bench.execute(Outcome::ignored, 1'000);
  CHECK(bench.machine.state() == State::closed);
  CHECK(bench.machine.statistics().window_calls == 0);

  auto const counts = [](Code code, Reason reason) {
    return outcome_of(Error{code, reason, "", {}}) == Outcome::failure;
  };
  CHECK_FALSE(counts(Code::invalid_argument, Reason::shape));
  CHECK_FALSE(counts(Code::invalid_argument, Reason::none));
  CHECK_FALSE(counts(Code::invalid_argument, Reason::too_large));
  CHECK_FALSE(counts(Code::cancelled, Reason::cancelled));
  CHECK_FALSE(counts(Code::resource_exhausted, Reason::queue_full));
  CHECK_FALSE(counts(Code::unavailable, Reason::breaker_open));
  CHECK_FALSE(counts(Code::unavailable, Reason::stopping));
  CHECK_FALSE(counts(Code::deadline_exceeded, Reason::deadline_waiting));
  CHECK(counts(Code::deadline_exceeded, Reason::deadline_running));
  CHECK(counts(Code::internal, Reason::backend_failure));
  CHECK(counts(Code::internal, Reason::backend_contract));
  CHECK(counts(Code::resource_exhausted, Reason::out_of_memory));
  CHECK(counts(Code::unavailable, Reason::device_lost));
  CHECK(counts(Code::unavailable, Reason::none));
  CHECK(counts(Code::unknown, Reason::none));
}

// mutant: a refusal tells the whole open time whenever it is asked
TEST_CASE("S3-12 a refusal says how long the breaker stays open") {
  Bench bench;
  bench.open();
  CHECK(bench.acquire().retry_after == 1s);
  bench.now += 270ms;
  CHECK(bench.acquire().retry_after == 730ms);
}

// mutant: a failed batch counts twice
TEST_CASE("S3-13 a lease is settled once, so that a failed batch of any size counts once") {
  Bench bench;
  auto const batch_of_32 = bench.acquire();
  bench.settle(batch_of_32.lease, Outcome::failure);
  CHECK(bench.machine.statistics().window_failures == 1);
  CHECK(bench.machine.state() == State::closed);
}

// mutant: the open time does not double
// mutant: the open time has no cap
// mutant: the open time has no jitter
TEST_CASE(
    "each failed probe doubles the open time up to its cap, and jitter shortens it by at most its share") {
  Bench bench({.open_for = 1s, .open_cap = 5s});
  bench.half_open();
  for (Duration expected : {Duration(2s), Duration(4s), Duration(5s), Duration(5s)}) {
    bench.execute(Outcome::failure);
    CHECK(bench.acquire().retry_after == expected);
    bench.now += expected;
  }
  Duration shortest = 10s;
  Duration longest{0};
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    Bench random({.open_for = 2s, .open_cap = 2s, .jitter = 0.5}, seed);
    random.open();
    shortest = std::min(shortest, random.acquire().retry_after);
    longest = std::max(longest, random.acquire().retry_after);
  }
  CHECK(shortest >= 1s);
  CHECK(shortest < 1100ms);
  CHECK(longest > 1900ms);
  CHECK(longest <= 2s);
}

// mutant: a long healthy time does not shorten the open time
// mutant: a healthy time is counted one execution short
TEST_CASE("after closing, the open time starts longer until a full window went well") {
  auto const reopened_after = [](int healthy) {
    Bench bench({.window = 50, .consecutive = 1});
    bench.half_open();
    bench.execute(Outcome::failure);
    bench.now += 2s;
    bench.execute(Outcome::success, 5);
    REQUIRE(bench.machine.state() == State::closed);
    bench.execute(Outcome::success, healthy);
    bench.execute(Outcome::failure);
    REQUIRE(bench.machine.state() == State::open);
    return bench.acquire().retry_after;
  };
  CHECK(reopened_after(0) == 2s);
  CHECK(reopened_after(49) == 2s);
  CHECK(reopened_after(50) == 1s);
}

// mutant: failures in a row survive a change of state
TEST_CASE("the failures that opened it are forgotten when it closes") {
  Bench bench;
  bench.half_open();
  bench.execute(Outcome::success, 5);
  REQUIRE(bench.machine.state() == State::closed);
  bench.execute(Outcome::failure, 4);
  CHECK(bench.machine.state() == State::closed);
}

// mutant: successes of probes survive a change of state
TEST_CASE("only successes since it was last half-open close it") {
  Bench bench({.probes = 1, .successes_to_close = 2});
  bench.half_open();
  bench.execute(Outcome::success);
  bench.execute(Outcome::failure);
  REQUIRE(bench.machine.state() == State::open);
  bench.now += 2s;
  bench.execute(Outcome::success);
  CHECK(bench.machine.state() == State::half_open);
  bench.execute(Outcome::success);
  CHECK(bench.machine.state() == State::closed);
}

// mutant: half-open refusals tell the open time although a probe expires sooner
TEST_CASE("a half-open refusal says when the first lease runs out, if the open time is longer") {
  Bench bench({.open_for = 1s, .probes = 2, .probe_lease = 300ms});
  bench.half_open();
  REQUIRE(bench.acquire().admitted);
  bench.now += 100ms;
  REQUIRE(bench.acquire().admitted);
  CHECK(bench.acquire().retry_after == 200ms);
}

// mutant: a reserved place expires
// mutant: begin does not let the lease run
TEST_CASE("S3-10 a reserved place does not expire, and its lease runs from the begin of the execution") {
  Bench bench({.probes = 1, .successes_to_close = 1, .probe_lease = 30s});
  bench.half_open();
  auto const reserved = bench.machine.reserve(bench.now);
  REQUIRE(reserved.admitted);
  CHECK_FALSE(bench.acquire().admitted);
  bench.now += 1h;
  CHECK(bench.acquire().retry_after == 1s);
  auto const begun = bench.machine.begin(reserved.lease, bench.now);
  REQUIRE(begun.admitted);
  SUBCASE("it ends in time") {
    bench.now += 30s - 1ns;
    bench.settle(begun.lease, Outcome::success);
    CHECK(bench.machine.state() == State::closed);
    CHECK(bench.machine.statistics().expired_probes == 0);
    CHECK(bench.machine.statistics().opened == 1);
  }
  SUBCASE("it is lost") {
    bench.now += 30s;
    CHECK_FALSE(bench.acquire().admitted);
    CHECK(bench.machine.statistics().expired_probes == 1);
  }
  SUBCASE("it does not take place") {
    bench.machine.abandon(begun.lease, bench.now);
    CHECK(bench.acquire().admitted);
  }
}

// mutant: what was reserved before the state changed begins unseen
TEST_CASE("what was reserved before the state changed begins as if it asked now") {
  Bench bench({.probes = 2, .successes_to_close = 1});
  bench.half_open();
  auto const reserved = bench.machine.reserve(bench.now);
  SUBCASE("open: refused") {
    bench.execute(Outcome::failure);
    auto const refused = bench.machine.begin(reserved.lease, bench.now);
    CHECK_FALSE(refused.admitted);
    CHECK(refused.retry_after == 2s);
  }
  SUBCASE("closed: admitted, and it counts") {
    bench.execute(Outcome::success);
    auto const begun = bench.machine.begin(reserved.lease, bench.now);
    REQUIRE(begun.admitted);
    bench.settle(begun.lease, Outcome::failure);
    CHECK(bench.machine.statistics().window_failures == 1);
  }
  SUBCASE("half-open again: a place of now") {
    bench.execute(Outcome::failure);
    bench.now += 2s;
    REQUIRE(bench.acquire().admitted);
    auto const begun = bench.machine.begin(reserved.lease, bench.now);
    REQUIRE(begun.admitted);
    CHECK(begun.lease.generation == bench.machine.generation());
    CHECK_FALSE(bench.acquire().admitted);
  }
}

// mutant: successes settled together are one
// mutant: successes settled when it is not closed are counted
TEST_CASE("successes settled together are as good as one by one") {
  for (int const count : {0, 1, 7, 19, 20, 21, 1'000}) {
    CAPTURE(count);
    CircuitBreakerOptions const options{.window = 20, .min_calls = 10, .consecutive = 4};
    Bench together(options);
    Bench singly(options);
    for (Bench* bench : {&together, &singly}) bench->execute(Outcome::failure, 3);
    together.machine.settle_successes(static_cast<std::uint64_t>(count));
    singly.execute(Outcome::success, count);
    for (int i = 0; i < 20; ++i) {
      auto const left = together.machine.statistics();
      auto const right = singly.machine.statistics();
      REQUIRE(left.state == right.state);
      REQUIRE(left.window_calls == right.window_calls);
      REQUIRE(left.window_failures == right.window_failures);
      REQUIRE(left.successes == right.successes);
      for (Bench* bench : {&together, &singly}) {
        bench->execute(Outcome::failure);
        bench->execute(Outcome::success);
      }
    }
  }
  Bench open;
  open.open();
  open.machine.settle_successes(3);
  CHECK(open.machine.state() == State::open);
  CHECK(open.machine.statistics().stale == 3);
}

// mutant: a breaker forced open lets through when its open time is over
// mutant: a breaker forced closed opens
// mutant: a reset leaves the breaker forced
// mutant: a reset keeps the grown open time
// mutant: a disabled breaker counts and opens
TEST_CASE("forced states hold until reset") {
  Bench bench;
  bench.open();
  bench.machine.force_open();
  bench.now += 1h;
  CHECK_FALSE(bench.acquire().admitted);
  CHECK(bench.acquire().retry_after == 60s);
  bench.machine.force_closed();
  bench.execute(Outcome::failure, 100);
  CHECK(bench.machine.state() == State::closed);
  bench.machine.reset();
  bench.open();
  CHECK(bench.machine.state() == State::open);
  bench.now += 1s;
  bench.execute(Outcome::failure);
  CHECK(bench.acquire().retry_after == 2s);
  bench.machine.reset();
  bench.open();
  CHECK(bench.acquire().retry_after == 1s);  // the open time, too, is that of a new breaker

  Bench off({.enabled = false});
  off.execute(Outcome::failure, 100);
  CHECK(off.machine.state() == State::closed);
}

// mutant: more calls than the window holds are awaited
TEST_CASE("impossible options of a breaker are refused by name") {
  CHECK(validate(CircuitBreakerOptions{}).has_value());
  auto const refused = [](CircuitBreakerOptions const& options, char const* name) {
    auto const result = validate(options);
    return !result && result.error().reason == Reason::option &&
           result.error().message.find(name) != std::string::npos;
  };
  CHECK(refused({.failure_rate = 0}, "failure_rate"));
  CHECK(refused({.failure_rate = 1.5}, "failure_rate"));
  CHECK(refused({.window = 0}, "window"));
  CHECK(refused({.window = 4'000'000'000}, "window"));
  CHECK(refused({.window = 10, .min_calls = 11}, "min_calls"));
  CHECK(refused({.open_for = 0s}, "open_for"));
  CHECK(refused({.open_for = 2s, .open_cap = 1s}, "open_cap"));
  CHECK(refused({.jitter = 2}, "jitter"));
  CHECK(refused({.probes = 0}, "probes"));
  CHECK(refused({.successes_to_close = 0}, "successes_to_close"));
  CHECK(refused({.probe_lease = 0s}, "probe_lease"));
}

// mutant: an error with the reason file is never a failure
TEST_CASE(
    "a file that cannot be reached is a failure of what is guarded, one that is not there the caller's") {
  CHECK(outcome_of({Code::unavailable, Reason::file, "disk: away", {}}) == Outcome::failure);
  CHECK(outcome_of({Code::not_found, Reason::file, "a.pt: no such file", {}}) == Outcome::ignored);
}

// mutant: the longest open time becomes negative
TEST_CASE("a breaker told to stay open for ever does") {
  for (double const jitter : {0.0, 0.5}) {
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      Bench bench({.open_for = Duration::max(), .open_cap = Duration::max(), .jitter = jitter}, seed);
      bench.open();
      bench.now += std::chrono::years(100);
      CHECK_FALSE(bench.acquire().admitted);
      CHECK(bench.machine.state() == State::open);
    }
  }
}

// mutant: probes of the old generation keep their places
TEST_CASE(
    "S3-10 whatever is lost, late or cancelled, the breaker never wedges and never exceeds its probes") {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 engine(seed);
    auto const below = [&](std::uint64_t bound) { return engine() % bound; };
    CircuitBreakerOptions const options{
        .window = 20, .min_calls = 5, .open_cap = 8s, .probes = 3, .probe_lease = 5s};
    Bench bench(options, seed);
    std::vector<Lease> out;
    for (int step = 0; step < 500; ++step) {
      bench.now += Duration(below(400'000'000));
      State const before = bench.machine.state();
      auto const opened = bench.machine.statistics().opened;
      if (below(2) == 0 || out.empty()) {
        if (auto const decision = bench.acquire(); decision.admitted) out.push_back(decision.lease);
      } else if (below(4) == 0) {
        // Reserved; it waits, and then it begins or gives its place back.
        auto const reserved = bench.machine.reserve(bench.now);
        bench.now += Duration(below(10'000'000'000));
        if (!reserved.admitted || below(3) == 0) {
          bench.machine.abandon(reserved.lease, bench.now);
        } else if (auto const begun = bench.machine.begin(reserved.lease, bench.now); begun.admitted) {
          out.push_back(begun.lease);
        }
      } else {
        std::size_t const chosen = below(out.size());
        Lease const lease = out[chosen];
        switch (below(5)) {
          case 0: break;  // lost
          case 1: bench.machine.abandon(lease, bench.now); break;
          default: bench.settle(lease, static_cast<Outcome>(below(3))); break;
        }
        if (below(4) != 0)
          out.erase(out.begin() + static_cast<std::ptrdiff_t>(chosen));  // else settled again later
      }
      State const after = bench.machine.state();
      REQUIRE_FALSE((before == State::closed && after == State::half_open &&
                     bench.machine.statistics().opened == opened));
      REQUIRE_FALSE((before == State::open && after == State::closed));
      REQUIRE(bench.machine.statistics().probes_out <= options.probes);
    }
    // Healthy again and asked again: it closes within one lease, one longest open time and the probes it
    // takes.
    TimePoint const limit = bench.now + options.probe_lease + options.open_cap + 1s;
    while (bench.machine.state() != State::closed && bench.now < limit) {
      bench.now += 100ms;
      if (auto const decision = bench.acquire(); decision.admitted)
        bench.settle(decision.lease, Outcome::success);
    }
    REQUIRE(bench.machine.state() == State::closed);
  }
}

}  // namespace
