// What benchmarks count: benchmarks/support/figure.hpp.
#include <doctest/doctest.h>

#include <array>

#include <benchmarks/support/figure.hpp>

using namespace athanor::benchmarks;

namespace {

// A call that is right, but for the one of the given number.
auto wrong_at(int& calls, int wrong) {
  return [&calls, wrong] { return ++calls != wrong; };
}

Figures no_arguments() {
  std::array<char*, 1> arguments{};
  return {static_cast<int>(arguments.size()), arguments.data()};
}

}  // namespace

// mutant: a wrong answer of a benchmark is timed like a right one
TEST_CASE("S0-17 a benchmark with one wrong answer among the calls that it times has no figure") {
  int calls = 0;
  CHECK(microseconds_of_each(3, wrong_at(calls, 0)).size() == 3);
  calls = 0;
  CHECK(microseconds_of_each(3, wrong_at(calls, 2)).empty());
  CHECK(calls == 2);
  calls = 0;
  CHECK(median_microseconds(3, wrong_at(calls, 0)));
  int const last = calls;
  calls = 0;
  CHECK_FALSE(median_microseconds(3, wrong_at(calls, last)));
}

// mutant: a benchmark with a wrong answer succeeds
TEST_CASE("S0-17 a benchmark that says that an answer was wrong ends with an error") {
  Figures figures = no_arguments();
  CHECK(figures.exit_code() == 0);
  figures.fail("engine.example", "a wrong answer");
  CHECK(figures.exit_code() == 1);
}
