/// Lists of whole numbers in ascending order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "core/json_text.hpp"

namespace athanor::inline v1::manifest {

/// Numbers of 1 to `largest` in ascending order, at least one and at most `most` of them; `what` names them
/// in an error. Reports to the node's reader, which keeps the first mistake.
std::vector<std::int64_t> read_ascending(json::Node const& node, std::string_view what, std::size_t most,
                                         std::int64_t largest);

}  // namespace athanor::inline v1::manifest
