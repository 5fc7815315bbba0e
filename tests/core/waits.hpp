// How a test waits for another thread.
#pragma once

#include <athanor/core/env.hpp>

#include <chrono>
#include <cstdint>

namespace athanor_tests {

using namespace athanor;

// When a thread that should have been woken is given up. Never reached when the code is right.
inline TimePoint give_up() { return after(SystemEnv::now(), std::chrono::seconds(10)); }

// Waits until `word` holds `value`; false when it never does.
inline bool reaches(SystemWord& word, std::uint32_t value) {
  TimePoint const limit = give_up();
  for (;;) {
    std::uint32_t const now = word.load();
    if (now == value) return true;
    if (!word.wait_until(now, limit)) return word.load() == value;
  }
}

}  // namespace athanor_tests
