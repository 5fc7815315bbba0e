// Who asks whether anybody waits, before and after its caller leaves.
#pragma once

#include <chrono>
#include <vector>

#include <serving/simulated_engine.hpp>

namespace athanor_tests {

inline std::vector<bool> const no_then_yes{false, true};
inline std::vector<bool> const no_then_no{false, false};

// What who was told that nobody waits gives up with.
inline Result<void> gave_up() { return fail(Code::internal, Reason::backend_failure, "nobody waits"); }

// Asks, lets the test act and asks again; gives up if it may.
template <class Asks, class Act>
Result<void> ask_twice(std::vector<bool>& answers, Asks const& asks, Act const& act) {
  answers.push_back(asks());
  act();
  answers.push_back(asks());
  return answers.back() ? gave_up() : Result<void>();
}

// A caller whose deadline is 10 ms leaves at it, or by `cancel`.
template <class Cancel>
void leave(SimulatedEngine& engine, bool late, Cancel const& cancel) {
  if (late) {
    engine.world.advance(std::chrono::milliseconds(11));
  } else {
    cancel();
  }
}

// What it is told then.
inline Code code_of_leaving(bool late) { return late ? Code::deadline_exceeded : Code::cancelled; }

}  // namespace athanor_tests
