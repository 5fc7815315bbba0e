// Which seeds a simulation runs, as the environment says.
#pragma once

#include <cstdint>
#include <cstdlib>

namespace athanor_tests {

inline std::uint64_t from_environment(char const* name, std::uint64_t otherwise) {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): no thread sets variables
  char const* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

// ATHANOR_SCHEDULES, or what the preset sets. A preset does not set ATHANOR_SCHEDULES itself, because ctest
// would then replace the caller's.
inline std::uint64_t schedule_count(std::uint64_t usual) {
  return from_environment("ATHANOR_SCHEDULES", from_environment("ATHANOR_PRESET_SCHEDULES", usual));
}

}  // namespace athanor_tests
