#include <athanor/core/time.hpp>

#include <doctest/doctest.h>

using namespace athanor;
using namespace std::chrono_literals;

// mutant: sums of time overflow
// mutant: products of time overflow
TEST_CASE("spans of time saturate instead of wrapping") {
  static_assert(saturating_sum(1s, 2s) == 3s && saturating_product(2s, 3) == 6s);
  CHECK(saturating_sum(1s, 2s) == 3s);
  CHECK(saturating_sum(Duration::max() - 1ns, 1ns) == Duration::max());
  CHECK(saturating_sum(Duration::max(), 1ns) == Duration::max());
  CHECK(saturating_sum(std::uint64_t{1}, std::uint64_t{2}) == 3);
  CHECK(saturating_sum(~std::uint64_t{0} - 1, std::uint64_t{2}) == ~std::uint64_t{0});
  CHECK(saturating_product(2s, 3) == 6s);
  CHECK(saturating_product(Duration::max(), 1) == Duration::max());
  CHECK(saturating_product(Duration::max() / 2, 3) == Duration::max());
  CHECK(saturating_product(Duration::max(), 0) == 0s);
  CHECK(after(TimePoint(1s), Duration::max()) == no_deadline);
}
