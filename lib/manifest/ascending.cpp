#include "ascending.hpp"

namespace athanor::inline v1::manifest {

std::vector<std::int64_t> read_ascending(json::Node const& node, std::string_view what, std::size_t most,
                                         std::int64_t largest) {
  std::vector<std::int64_t> numbers;
  for (json::Node const& entry : node.list(1, most)) {
    std::int64_t const number = entry.integer(1, largest);
    if (!numbers.empty() && number <= numbers.back())
      node.reader().refuse(entry.path(), "expected more than {}, as {} ascend; got {}", numbers.back(), what,
                           number);
    numbers.push_back(number);
  }
  return numbers;
}

}  // namespace athanor::inline v1::manifest
