/// Checks of the options that a host passes to an engine.
#pragma once

#include <athanor/core/error.hpp>
#include <athanor/serving/detail/tables.hpp>
#include <athanor/serving/options.hpp>

namespace athanor::inline v1::serving {

/// invalid_argument / option for settings that cannot work, naming the setting.
Result<void> validate(EngineOptions const& options);
/// Moves the tables that the options name into a list of copies. A table accepted before another one fails is
/// released.
Result<Tables> register_tables(EngineOptions& options);

/// The worker threads that the options ask for.
std::size_t thread_count(EngineOptions const& options) noexcept;

}  // namespace athanor::inline v1::serving
