// One run of a script: the engine over the stage, callers as actors, and the judge.
#pragma once

#include <cstdint>
#include <string>

#include <simulation/script.hpp>
#include <simulation/stage.hpp>

namespace athanor_tests {

// What runs saw, to be added up.
struct Tally {
  std::uint64_t schedules = 0;
  std::uint64_t calls = 0;
  std::uint64_t values = 0;
  std::uint64_t errors = 0;
  std::uint64_t trace = 0;      // hash over the order of outcomes: equal for equal scripts
  std::uint64_t half_open = 0;  // runs in which a breaker came to probes
  std::uint64_t degraded = 0;
  std::uint64_t operations = 0;
};

struct RunResult {
  std::string wrong;  // what did not hold; empty when all did
  Tally tally;
};

RunResult run_script(Script const& script, ModelFolders const& folders);

}  // namespace athanor_tests
