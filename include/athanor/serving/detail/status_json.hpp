/// An engine's description of itself.
#pragma once

#include <span>
#include <string>

#include <athanor/serving/detail/observe.hpp>
#include <athanor/serving/detail/tables.hpp>
#include <athanor/serving/health.hpp>
#include <athanor/serving/options.hpp>

namespace athanor::inline v1::serving {

/// Version, settings, backends, processors and models as a JSON object that ends with the members `more`.
/// `models` are those of `health`, in its order.
std::string describe(EngineOptions const& options, Tables const& tables, Health const& health,
                     std::span<ModelFacts const> models, std::span<JsonMember const> more);

}  // namespace athanor::inline v1::serving
