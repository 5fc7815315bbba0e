/// What an engine says about itself.
#pragma once

#include <string>

#include <athanor/core/error.hpp>
#include <athanor/serving/health.hpp>
#include <athanor/serving/options.hpp>

namespace athanor::inline v1::serving {

/// invalid_argument / option for a table that is shorter than this version's, has no name, or lacks a
/// function.
Result<void> validate(ath_backend_table const& table);
Result<void> validate(ath_processor_table const& table);
/// invalid_argument / option for settings that cannot work, naming the setting.
Result<void> validate(EngineOptions const& options);

/// Version, settings, backends, processors and models as JSON.
std::string describe(EngineOptions const& options, Health const& health);

}  // namespace athanor::inline v1::serving
