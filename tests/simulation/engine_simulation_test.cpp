#include <doctest/doctest.h>

#include <cstdlib>
#include <string>

#include <simulation/world.hpp>

using namespace athanor_tests;

namespace {

constexpr char const* batching_section =
    R"("batching": {"max_items": 4, "instances": 2, "policy": "size_or_delay", "max_delay_us": 200},)";

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::uint64_t usual_schedules = 10'000;
#else
constexpr std::uint64_t usual_schedules = 100'000;
#endif

std::uint64_t from_environment(char const* name, std::uint64_t otherwise) {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nobody sets variables here
  char const* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

}  // namespace

// mutant: EngineState::abandon without claim(), or Lane::withdraw that returns true for a slot in execution.
TEST_CASE("every seeded schedule of submit, cancel, expire, fail, unload and stop answers each call once") {
  ModelFolder const folder(batching_section);
  // A failing seed is printed; ATHANOR_SEED replays it alone, ATHANOR_SCHEDULES changes how many run.
  std::uint64_t const only = from_environment("ATHANOR_SEED", 0);
  std::uint64_t const schedules = only != 0 ? 1 : from_environment("ATHANOR_SCHEDULES", usual_schedules);
  Tally sum;
  for (std::uint64_t i = 0; i < schedules; ++i) {
    std::uint64_t const seed = only != 0 ? only : i + 1;
    World world(seed, folder.path());
    std::string const wrong = world.run(24);
    sum.calls += world.tally().calls;
    sum.values += world.tally().values;
    sum.errors += world.tally().errors;
    sum.refusals += world.tally().refusals;
    INFO("seed ", seed, ": replay with ATHANOR_SEED=", seed);
    REQUIRE_MESSAGE(wrong.empty(), wrong);
  }
  CHECK(sum.values + sum.errors + sum.refusals == sum.calls);
  CHECK(sum.values > sum.calls / 4);
  MESSAGE(schedules, " schedules, ", sum.calls, " calls: ", sum.values, " values, ", sum.errors, " errors, ",
          sum.refusals, " refusals");
}

// mutant: draw one decision of World from something else than its seed.
TEST_CASE("the same seed gives the same schedule") {
  ModelFolder const folder(batching_section);
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    World first(seed, folder.path());
    first.run(24);
    std::uint64_t const trace = first.tally().trace;
    World second(seed, folder.path());
    second.run(24);
    CHECK(second.tally().trace == trace);
  }
}
