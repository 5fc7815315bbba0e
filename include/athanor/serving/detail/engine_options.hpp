/// Checks of what a host hands to an engine.
#pragma once

#include <athanor/core/error.hpp>
#include <athanor/serving/options.hpp>

namespace athanor::inline v1::serving {

/// invalid_argument / option for a table that is shorter than this version's, has no name, or lacks a
/// function.
Result<void> validate(ath_backend_table const& table);
Result<void> validate(ath_processor_table const& table);
/// invalid_argument / option for settings that cannot work, naming the setting.
Result<void> validate(EngineOptions const& options);

}  // namespace athanor::inline v1::serving
