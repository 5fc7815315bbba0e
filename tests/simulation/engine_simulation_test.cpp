#include <doctest/doctest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <string>

#include <simulation/run.hpp>
#include <simulation/seeds.hpp>

using namespace athanor_tests;

namespace {

// Unoptimised code, and that under a sanitizer, is ten times slower.
#if !defined(__OPTIMIZE__) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::uint64_t usual_schedules = 10'000;
#else
constexpr std::uint64_t usual_schedules = 200'000;
#endif

constexpr std::size_t most_failures = 6;

Scope const scope{.interrupts_one_in = static_cast<std::uint32_t>(
                      from_environment("ATHANOR_INTERRUPTS", Scope{}.interrupts_one_in))};

void add(Tally& sum, Tally const& one) {
  sum.schedules += one.schedules;
  sum.calls += one.calls;
  sum.values += one.values;
  sum.errors += one.errors;
  sum.half_open += one.half_open;
  sum.degraded += one.degraded;
  sum.operations += one.operations;
}

std::uint64_t running_seed = 0;

// A schedule that ends the program says which one it is.
struct SaysSeed {
  std::terminate_handler before = std::set_terminate([] {
    std::fprintf(stderr, "terminated in the schedule of ATHANOR_SEED=%llu\n",
                 static_cast<unsigned long long>(running_seed));
    std::abort();
  });
  ~SaysSeed() { std::set_terminate(before); }
};

// What was wrong, but for the particulars.
std::string kind_of(std::string const& wrong) {
  auto const why = wrong.find(" [");
  if (why == std::string::npos) return wrong.substr(0, wrong.rfind(": "));
  return wrong.substr(why, wrong.find("]: ", why) - why);
}

// What to read when a seed fails: its script, as small as it still fails.
std::string explain(Script const& script, std::string const& wrong, ModelFolders const& folders) {
  auto const same = [&](Script const& one) {
    return kind_of(run_script(one, folders).wrong) == kind_of(wrong);
  };
  return wrong + "\nreplay with ATHANOR_SEED=" + std::to_string(script.seed) +
         " ATHANOR_INTERRUPTS=" + std::to_string(scope.interrupts_one_in) + "; the smallest script:\n" +
         to_string(shrink(script, same));
}

}  // namespace

// ATHANOR_SEED runs one seed alone, ATHANOR_SCHEDULES changes how many run,
// ATHANOR_FIRST_SEED where they begin; ATHANOR_INTERRUPTS says that one
// schedule in so many interrupts its actors between any two operations.
// mutant: a call may be answered twice
// mutant: a call that is answered at once overlooks a stop or a cancellation
// mutant: a slot in execution is withdrawn
// mutant: a place keeps its state for whoever takes it next
// mutant: two neighbours of a batch are given one parameter
// mutant: half of the parameters are part of the key
// mutant: positions lead to the elements of the item before
// mutant: an item is given the rows of the one before it
// mutant: the rows that a processor makes are counted for another item
// mutant: the last element of a row is not filled up
// mutant: all items of a batch have the mask of the first
// mutant: what was padding stays in the answers of all items but the first
TEST_CASE("every call of every seeded schedule gets one outcome, one that the schedule explains") {
  ModelFolders const folders;
  std::uint64_t const only = from_environment("ATHANOR_SEED", 0);
  std::uint64_t const schedules = only != 0 ? 1 : schedule_count(usual_schedules);
  std::uint64_t const first = only != 0 ? only : from_environment("ATHANOR_FIRST_SEED", 1);
  SaysSeed const says_seed;
  auto const start = std::chrono::steady_clock::now();
  Tally sum;
  std::map<std::string, std::string> failures;  // one of each kind
  for (std::uint64_t seed = first; failures.size() < most_failures && seed < first + schedules; ++seed) {
    running_seed = seed;
    Script const script = make_script(seed, scope);
    auto const result = run_script(script, folders);
    add(sum, result.tally);
    if (!result.wrong.empty() && !failures.contains(kind_of(result.wrong)))
      failures[kind_of(result.wrong)] = explain(script, result.wrong, folders);
  }
  for (auto const& [kind, text] : failures) FAIL_CHECK(text);
  std::chrono::duration<double> const seconds = std::chrono::steady_clock::now() - start;
  CHECK(sum.values + sum.errors == sum.calls);
  if (only == 0) CHECK(sum.values > sum.calls / 4);
  MESSAGE(sum.schedules, " schedules, ", static_cast<double>(sum.schedules) / seconds.count(),
          " per second: ", sum.calls, " calls, ", sum.values, " values, ", sum.errors, " errors, ",
          sum.operations, " turns; half-open in ", sum.half_open, ", degraded answers: ", sum.degraded);
}

TEST_CASE("the same seed gives the same schedule") {
  ModelFolders const folders;
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    Script const script = make_script(seed, scope);
    CHECK(run_script(script, folders).tally.trace == run_script(script, folders).tally.trace);
  }
}
