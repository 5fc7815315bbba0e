// Which seeds a simulation runs, as the environment says.
#pragma once

#include <cstdint>
#include <cstdlib>

namespace athanor_tests {

inline std::uint64_t from_environment(char const* name, std::uint64_t otherwise) {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nobody sets variables here
  char const* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

}  // namespace athanor_tests
