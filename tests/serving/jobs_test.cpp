// Jobs over the simulated engine: one state machine, its clock, and every order of its threads.
#include <doctest/doctest.h>

#include <string>

#include <athanor/serving/jobs.hpp>
#include <serving/simulated_engine.hpp>

using namespace athanor;
using namespace athanor_tests;
using namespace std::chrono_literals;

namespace {

using TestJobs = Jobs<SimulatedServing>;

struct World : SimulatedEngine {
  TestJobs jobs;
  Model<SimulatedServing> const model;

  explicit World(JobOptions const& options = {}, std::uint64_t seed = 1, Turns const& turns = {})
      : SimulatedEngine("", {.threads = 2, .caller_runs = CallerRuns::never}, seed, turns),
        jobs(TestJobs::create(options).value()),
        model(state, *served) {}

  bool submit(std::string key, float x = 1) { return jobs.submit(std::move(key), model, row(x)).value(); }
  void run(std::string const& key) {
    REQUIRE(submit(key));
    world.run_until_idle();
  }
  JobState state_of(std::string_view key) const { return jobs.status(key).value().state; }
};

float answer_of(JobStatus const& status) { return status.outcome->value().outputs["y"].as<float>()[0]; }

}  // namespace

TEST_CASE("a job is pending until it is answered, and tells when") {
  World engine;
  engine.world.advance(5ms);
  REQUIRE(engine.submit("a", 4));
  CHECK(engine.state_of("a") == JobState::pending);
  CHECK(engine.jobs.status("a")->outcome == nullptr);
  TimePoint const submitted = engine.world.now();
  engine.world.advance(2ms);
  engine.world.run_until_idle();
  auto const status = engine.jobs.status("a").value();
  CHECK(status.state == JobState::succeeded);
  CHECK(status.submitted == submitted);
  CHECK(status.finished >= submitted + 2ms);
  CHECK(answer_of(status) == 5);
}

TEST_CASE("a job whose call fails has the call's error") {
  World engine;
  engine.control.on_run = [](ath_batch const&) {
    return fail(Code::internal, Reason::none, "the puppet broke");
  };
  engine.run("a");
  auto const status = engine.jobs.status("a").value();
  CHECK(status.state == JobState::failed);
  CHECK(status.outcome->error().message.find("the puppet broke") != std::string::npos);
}

TEST_CASE("a request that the model refuses leaves no job behind") {
  World engine;
  auto const refused = engine.jobs.submit("a", engine.model, Request{});
  CHECK(refused.error().reason == Reason::missing_input);
  CHECK(engine.jobs.size() == 0);
  CHECK(engine.jobs.status("a").error().code == Code::not_found);
}

TEST_CASE("a job owns what its request borrowed") {
  World engine;
  {
    std::array<float, 2> values{7, 8};
    Request request;
    request.set("x", Tensor::view(std::span<float const>(values), Shape{1, 2}));
    REQUIRE(engine.jobs.submit("a", engine.model, std::move(request)).value());
    values = {0, 0};
  }
  engine.world.run_until_idle();
  CHECK(answer_of(engine.jobs.status("a").value()) == 8);
}

// mutant: a finished job may change its state
TEST_CASE("S4-11 a job that is cancelled stays cancelled when its answer arrives afterwards") {
  World engine;
  REQUIRE(engine.submit("a"));
  JobState during{};
  engine.control.on_run = [&](ath_batch const&) {
    during = engine.jobs.cancel("a").value();
    return Result<void>{};
  };
  engine.world.run_until_idle();
  CHECK(during == JobState::cancelled);
  CHECK(engine.state_of("a") == JobState::cancelled);
  CHECK(engine.jobs.status("a")->outcome->error().code == Code::cancelled);
}

// mutant: the call of a cancelled job goes on
TEST_CASE("S4-12 a job cancelled in the queue is never run") {
  World engine;
  REQUIRE(engine.submit("a"));
  CHECK(engine.jobs.cancel("a").value() == JobState::cancelled);
  engine.world.run_until_idle();
  CHECK(engine.control.runs.load() == 0);
}

TEST_CASE("cancelling a finished job changes nothing and returns what it came to") {
  World engine;
  engine.run("a");
  CHECK(engine.jobs.cancel("a").value() == JobState::succeeded);
  CHECK(engine.state_of("a") == JobState::succeeded);
}

// mutant: a call unloads its model when it ends
TEST_CASE("S4-14 jobs share the loaded model with each other and with calls") {
  World engine;
  REQUIRE(engine.submit("a", 1));
  REQUIRE(engine.submit("b", 2));
  REQUIRE(engine.infer(row(3)));
  engine.world.run_until_idle();
  CHECK(engine.state_of("a") == JobState::succeeded);
  CHECK(engine.state_of("b") == JobState::succeeded);
  REQUIRE(engine.infer(row(4)));
  CHECK(engine.control.loads.load() == 1);
}

// mutant: a job is kept from its submission on
TEST_CASE("a finished job is kept for the retention from its end on") {
  World engine({.retention = 1min});
  REQUIRE(engine.submit("a"));
  engine.world.advance(10s);
  engine.world.run_until_idle();
  TimePoint const finished = engine.jobs.status("a")->finished;
  engine.world.advance(finished + 1min - 1ns - engine.world.now());
  CHECK(engine.jobs.size() == 1);
  auto const kept = engine.jobs.status("a").value();
  engine.world.advance(1ns);
  CHECK(engine.jobs.status("a").error().code == Code::not_found);
  CHECK(engine.jobs.size() == 0);
  CHECK(answer_of(kept) == 2);
}

TEST_CASE("a key may be used again once its job is forgotten, which a pending job cannot be") {
  World engine;
  REQUIRE(engine.submit("a", 1));
  CHECK(engine.jobs.forget("a").error().code == Code::failed_precondition);
  engine.world.run_until_idle();
  CHECK_FALSE(engine.submit("a", 2));
  CHECK(answer_of(engine.jobs.status("a").value()) == 2);
  REQUIRE(engine.jobs.forget("a"));
  CHECK(engine.jobs.forget("a").error().code == Code::not_found);
  CHECK(engine.submit("a", 2));
  engine.world.run_until_idle();
  CHECK(answer_of(engine.jobs.status("a").value()) == 3);
}

// mutant: a full table drops the job that finished last
TEST_CASE("a full table drops the job finished longest ago, and rejects a job when all are pending") {
  World engine({.max_jobs = 2});
  engine.run("a");
  engine.run("b");
  REQUIRE(engine.submit("c"));
  CHECK(engine.jobs.status("a").error().code == Code::not_found);
  CHECK(engine.state_of("b") == JobState::succeeded);
  REQUIRE(engine.submit("d"));
  auto const refused = engine.jobs.submit("e", engine.model, row(1));
  CHECK(refused.error().code == Code::resource_exhausted);
  CHECK(refused.error().message == "job e: expected fewer than 2 pending jobs, got 2");
  engine.world.run_until_idle();
  CHECK(engine.submit("e"));
}

TEST_CASE("a job that is refused takes no finished job's place") {
  World engine({.max_jobs = 1});
  engine.run("a");
  CHECK_FALSE(engine.jobs.submit("b", engine.model, Request{}));
  CHECK(engine.state_of("a") == JobState::succeeded);
  REQUIRE(engine.submit("b"));
  CHECK(engine.jobs.status("a").error().code == Code::not_found);
}

TEST_CASE("waiting ends with the job, or when its time has passed") {
  World engine;
  REQUIRE(engine.submit("a"));
  CHECK(engine.jobs.wait("a", 0ms)->state == JobState::pending);
  CHECK(engine.jobs.wait("a", 1s)->state == JobState::succeeded);
  CHECK(engine.jobs.wait("a", 0ms)->state == JobState::succeeded);
  CHECK(engine.jobs.wait("b", 1s).error().message == "job b: unknown key, or the job is no longer kept");
}

// mutant: one key makes two jobs
// mutant: a job that was cancelled inside its submit is run
// mutant: the end of a job wakes nobody
TEST_CASE("S2-21 S4-15 any order of threads makes one job of one key, and each waits for its end") {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    World engine({}, seed, {.order = Turns::Order::random, .switch_one_in = 2});
    int made = 0;
    int submitted = 0;
    int ended = 0;
    int late_runs = 0;
    JobState cancelled{};
    engine.control.on_run = [&](ath_batch const&) {
      if (submitted == 3 && cancelled == JobState::cancelled) ++late_runs;
      return Result<void>{};
    };
    for (int thread = 0; thread < 3; ++thread)
      engine.world.spawn([&] {
        made += engine.submit("a") ? 1 : 0;
        ++submitted;
        ended += engine.jobs.wait("a", 1h)->state == JobState::pending ? 0 : 1;
      });
    engine.world.spawn([&] {
      if (auto const state = engine.jobs.cancel("a")) cancelled = *state;
    });
    engine.world.run_until_idle();
    REQUIRE(engine.world.actors() == 0);
    CHECK(made == 1);
    CHECK(ended == 3);
    CHECK(late_runs == 0);
    CHECK(engine.world.now() < TimePoint{} + 1h);
    CHECK(engine.jobs.size() == 1);
    if (cancelled != JobState::pending) CHECK(engine.state_of("a") == cancelled);
  }
}

TEST_CASE("a table that is destroyed cancels its pending jobs") {
  World engine;
  {
    auto jobs = TestJobs::create().value();
    REQUIRE(jobs.submit("a", engine.model, row(1)).value());
  }
  engine.world.run_until_idle();
  CHECK(engine.control.runs.load() == 0);
}

TEST_CASE("a table that another one is moved to cancels its pending jobs") {
  World engine;
  auto jobs = TestJobs::create().value();
  auto other = TestJobs::create().value();
  REQUIRE(jobs.submit("a", engine.model, row(1)).value());
  jobs = std::move(other);
  engine.world.run_until_idle();
  CHECK(engine.control.runs.load() == 0);
  CHECK(jobs.size() == 0);
}

TEST_CASE("bad options, an empty key and a cancellation are refused by name") {
  World engine;
  CHECK(TestJobs::create({.retention = 0ns}).error().message ==
        "jobs: retention: expected more than 0 ns, got 0");
  CHECK(TestJobs::create({.max_jobs = 0}).error().message == "jobs: max_jobs: expected at least 1, got 0");
  CHECK(engine.jobs.submit("", engine.model, row(1)).error().reason == Reason::value_range);
  Cancellation cancellation;
  CHECK(engine.jobs.submit("a", engine.model, row(1), {.cancellation = &cancellation}).error().reason ==
        Reason::option);
}

TEST_CASE("in a child of a fork a table of jobs refuses, and its destructor returns") {
  World engine;
  engine.run("a");
  engine.world.fork();
  CHECK(engine.jobs.status("a").error().code == Code::failed_precondition);
  CHECK(engine.jobs.size() == 0);
}
