#include <athanor/core/detail/park.hpp>

#include <doctest/doctest.h>
#include <athanor/core/simulation.hpp>

using namespace athanor;
using namespace std::chrono_literals;

namespace {

constexpr auto is_one = [](std::uint32_t word) { return word == 1; };

/// Sets its word to 1 when it fires.
struct Setter : Timer {
  explicit Setter(SimulatedWord& word_) : word(word_) {
    fire = [](Timer& self) noexcept { static_cast<Setter&>(self).word.store(1); };
  }
  SimulatedWord& word;
};

}  // namespace

// mutant: work is taken back at every wake-up
TEST_CASE("a parked thread goes on when its word is done, and withdraws at the deadline") {
  Simulation world(1);
  SimulatedExecutor executor(1);
  SimulatedWord word;
  Setter setter(word);
  int asked = 0;
  auto const withdraw = [&] { return ++asked > 0; };
  executor.arm(setter, world.now() + 1ms);
  CHECK(detail::park_until(word, is_one, world.now() + 2ms, withdraw));
  CHECK(asked == 0);
  word.store(0);
  TimePoint const deadline = world.now() + 2ms;
  CHECK_FALSE(detail::park_until(word, is_one, deadline, withdraw));
  CHECK(asked == 1);
  CHECK(world.now() == deadline);
}

// mutant: the deadline goes on when work cannot be taken back
TEST_CASE("work that cannot be withdrawn is waited for without a deadline, and asked for once") {
  /// Its deadline passes at once; without one, another thread sets it.
  struct Word {
    std::uint32_t load() const { return value; }
    bool wait_until(std::uint32_t, TimePoint deadline) {
      if (deadline == no_deadline) value = 1;
      return deadline == no_deadline;
    }
    std::uint32_t value = 0;
  } word;
  int asked = 0;
  auto const cannot_withdraw = [&] {
    ++asked;
    return false;
  };
  CHECK(detail::park_until(word, is_one, TimePoint{}, cannot_withdraw));
  CHECK(asked == 1);
}
