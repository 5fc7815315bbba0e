#include <athanor/loading/policy.hpp>

#include <algorithm>
#include <numeric>

namespace athanor::inline v1::loading {

std::vector<std::size_t> LeastRecentlyUsed::victims(MemorySnapshot const& snapshot) const {
  auto const& idle = snapshot.idle;
  std::vector<std::size_t> order(idle.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, {}, [&](std::size_t index) { return idle[index].last_used; });
  std::vector<std::size_t> victims;
  std::uint64_t missing = snapshot.needed_bytes;
  for (std::size_t const index : order) {
    if (missing == 0) break;
    victims.push_back(index);
    missing -= std::min(missing, idle[index].bytes);
  }
  if (missing != 0) return {};
  std::uint64_t surplus = 0;
  for (std::size_t const index : victims) surplus += idle[index].bytes;
  surplus -= snapshot.needed_bytes;
  std::erase_if(victims, [&](std::size_t index) {
    bool const spare = idle[index].bytes <= surplus;
    if (spare) surplus -= idle[index].bytes;
    return spare;
  });
  return victims;
}

}  // namespace athanor::inline v1::loading
