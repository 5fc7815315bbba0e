// Streams and other calls of models that the engine steps, under seeded schedules.
#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <memory>

#include <simulation/seeds.hpp>
#include <simulation/stream_world.hpp>

using namespace athanor_tests;

namespace {

#if !defined(__OPTIMIZE__) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::uint64_t usual_schedules = 1'000;
#else
constexpr std::uint64_t usual_schedules = 100'000;
#endif

}  // namespace

// ATHANOR_SEED runs one seed alone, ATHANOR_SCHEDULES
// changes how many run, ATHANOR_FIRST_SEED where they begin.
// mutant: a call goes on although its reader has not read
// mutant: a part comes after the end of its stream
// mutant: a step leaves its state where it was
// mutant: only the first step of a call leaves its state
// mutant: a step gives its part after its stream has failed or was cancelled
// mutant: a call is stepped once more than its parameter says
// mutant: a report counts the last step alone
// mutant: parameters for the whole batch that differ by little have one key
// mutant: a step that finds no memory for its part goes on without it
// mutant: a stream goes on in the child of a fork
TEST_CASE("every stream of every seeded schedule gives its parts in order, each once, and ends once") {
  StepFolders const folders;
  std::uint64_t const only = from_environment("ATHANOR_SEED", 0);
  std::uint64_t const schedules = only != 0 ? 1 : schedule_count(usual_schedules);
  std::uint64_t const first = only != 0 ? only : from_environment("ATHANOR_FIRST_SEED", 1);
  auto const start = std::chrono::steady_clock::now();
  StreamTotals totals;
  int failures = 0;
  for (std::uint64_t seed = first; failures < 3 && seed < first + schedules; ++seed) {
    auto world = std::make_unique<StreamWorld>(seed, folders);
    auto const wrong = world->play(totals);
    if (world->stuck()) static_cast<void>(world.release());
    if (wrong.empty()) continue;
    ++failures;
    FAIL_CHECK(wrong << "; replay with ATHANOR_SEED=" << seed);
  }
  std::chrono::duration<double> const seconds = std::chrono::steady_clock::now() - start;
  if (only == 0) {
    CHECK(totals.whole > totals.calls / 4);
    CHECK(totals.shared > totals.calls / 8);
  }
  MESSAGE(schedules, " schedules, ", static_cast<double>(schedules) / seconds.count(),
          " per second: ", totals.calls, " calls, ", totals.whole, " whole, ", totals.parts, " parts, ",
          totals.shared, " shared batches, ", totals.replacements, " models replaced");
}
