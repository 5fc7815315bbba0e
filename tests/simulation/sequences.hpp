// The sequences of the simulated world, and what is known of their state.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include <athanor/core/error.hpp>
#include <athanor/core/time.hpp>
#include <simulation/stage.hpp>

namespace athanor_tests {

// The clock stands still for long, so what came before what is told by an order of its own.
using Order = std::uint64_t;

// What answers say of one sequence since it was opened or reset. Every answer shows
// the state that its call found: which call it is, counted from 0, and the values of
// those before it. So a call that stepped twice, not at all, or another sequence's
// state is one that does not fit to the others, however late its answer is looked at.
struct SequenceFacts {
  ModelKind model = ModelKind::carried;
  Order since = 0;
  TimePoint used{};
  int calls = 0;          // in flight
  bool given_up = false;  // a call was answered while its work may have gone on
  bool closed = false;    // or about to be
  bool over = false;      // it has been closed or reset
  Order lost = 0;         // since then a call knows it; 0: none does
  struct Step {
    std::uint32_t mix;
    std::uint32_t value;
  };
  std::map<std::uint32_t, Step> steps{};

  // What is wrong with an answer that began at `from`; empty when nothing is.
  std::string judge(Order from, std::uint32_t value, StateSeen const& seen);
  // What is wrong with all of them, when no more come.
  std::string judge_whole() const;
};

}  // namespace athanor_tests
