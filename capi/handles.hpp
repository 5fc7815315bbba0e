/// What stands behind the opaque objects of athanor.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <athanor.h>

#include <athanor/core/detail/inside.hpp>
#include <athanor/serving/engine.hpp>

#include "plugins.hpp"
#include "refusals.hpp"

namespace athanor::capi {

/// Names an engine to everything made from it. Outlives the engine.
class Origin {
 public:
  /// True on a thread that is inside a callback of the engine.
  bool in_callback() const noexcept { return Inside<Origin>::holds(this); }
};

}  // namespace athanor::capi

struct ath_text {
  std::string value;
};

struct ath_engine {
  athanor::Engine<> engine;
  athanor::capi::Plugins plugins;
  std::shared_ptr<athanor::capi::Origin> origin;
};

struct ath_model {
  athanor::Model<> model;
  std::shared_ptr<athanor::capi::Origin> origin;
};

struct ath_request {
  athanor::Model<> model;
  std::shared_ptr<athanor::capi::Origin> origin;
  athanor::Request inputs;
  std::int64_t deadline_ns = ATH_DEADLINE_DEFAULT;
  athanor::CacheMode cache = athanor::CacheMode::use;
  std::vector<std::string> output_names;
  std::vector<std::string_view> outputs;  // of output_names
  athanor::capi::Refusals refusals;       // by input, or by function where no input is set

  athanor::CallOptions options() const noexcept {
    athanor::CallOptions options;
    if (deadline_ns != ATH_DEADLINE_DEFAULT) options.deadline = athanor::Duration(deadline_ns);
    options.cache = cache;
    options.outputs = outputs;
    return options;
  }
};

struct ath_response {
  athanor::Answer answer;
};
