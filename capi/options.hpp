/// The settings of an engine as a C host writes them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <athanor/serving/options.hpp>

namespace athanor::capi {

struct HostOptions {
  EngineOptions engine;
  std::vector<std::string> plugins;
};

/// invalid_argument / option, naming the key, what was expected and what came. Ranges that the engine checks
/// itself are left to it.
Result<HostOptions> parse_options(std::string_view text);

}  // namespace athanor::capi
