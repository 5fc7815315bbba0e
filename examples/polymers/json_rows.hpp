// Rows from JSON.
#pragma once

#include <memory>

#include "input.hpp"
#include "rows.hpp"

namespace polymers {

// One value per line, or one array of values: a text, or an object with a text for the
// SMILES and, if it likes, a `name`. The columns are the members of the first object.
athanor::Result<std::unique_ptr<Rows>> open_json(Text text, Input const& input);

}  // namespace polymers
