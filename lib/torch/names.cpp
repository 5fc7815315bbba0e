#include "names.hpp"

#include <algorithm>
#include <optional>

#include <fmt/ranges.h>

namespace athanor::inline v1::libtorch {

std::string join(std::vector<std::string> const& names) { return fmt::format("{}", fmt::join(names, ", ")); }

Result<std::vector<std::size_t>> find_places(std::string_view subject, std::string_view what,
                                             std::vector<std::string> const& recorded,
                                             std::vector<std::string> const& stated) {
  std::vector<std::size_t> by_name;
  std::vector<std::size_t> in_order;
  std::optional<std::size_t> misplaced;
  for (std::size_t i = 0; i < stated.size(); ++i) {
    in_order.push_back(i);
    auto const place = static_cast<std::size_t>(std::ranges::find(recorded, stated[i]) - recorded.begin());
    if (place == recorded.size()) continue;
    by_name.push_back(place);
    if (place != i) misplaced = i;
  }
  if (by_name.size() == stated.size()) return by_name;
  if (!misplaced) return in_order;
  return fail(
      Code::failed_precondition, Reason::model_load,
      "{}: expected the {}, all by their names ({}) or in their order; got ({}), where '{}' is at another "
      "place",
      subject, what, join(recorded), join(stated), stated[*misplaced]);
}

}  // namespace athanor::inline v1::libtorch
