/// How the names of a manifest find their places in a model.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <athanor/core/error.hpp>

namespace athanor::inline v1::libtorch {

/// `a, b, c`.
std::string join(std::vector<std::string> const& names);

/// The place of each name of the manifest among those that the model records; a recorded name that is empty
/// says nothing. When the model records all of them, they are told by name. When it records none of them, or
/// only some that stand at the same place in both lists, they are taken in their order. A recorded name at
/// another place fails with model_load: no shape would show that mistake. `subject` and `what` (`arguments of
/// forward`) begin the sentence.
Result<std::vector<std::size_t>> find_places(std::string_view subject, std::string_view what,
                                             std::vector<std::string> const& recorded,
                                             std::vector<std::string> const& stated);

}  // namespace athanor::inline v1::libtorch
