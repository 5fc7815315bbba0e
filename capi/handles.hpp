/// What stands behind the opaque objects of athanor.h.
#pragma once

#include <atomic>
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

/// What an engine shares with everything made from it: how many callbacks are still to run. Outlives the
/// engine.
class Callbacks {
 public:
  void expect() noexcept { expected_.fetch_add(1); }
  void done() noexcept {
    if (expected_.fetch_sub(1) == 1) expected_.notify_all();
  }
  void wait_for_all() noexcept {
    for (auto expected = expected_.load(); expected != 0; expected = expected_.load())
      expected_.wait(expected);
  }
  /// True on a thread that is inside one of these callbacks.
  bool running_here() const noexcept { return Inside<Callbacks>::holds(this); }

 private:
  std::atomic<std::uint32_t> expected_{0};
};

}  // namespace athanor::capi

struct ath_text {
  std::string value;
};

struct ath_engine {
  athanor::Engine<> engine;
  athanor::capi::Plugins plugins;
  std::shared_ptr<athanor::capi::Callbacks> callbacks;
};

struct ath_model {
  athanor::Model<> model;
  std::shared_ptr<athanor::capi::Callbacks> callbacks;
};

struct ath_request {
  athanor::Model<> model;
  std::shared_ptr<athanor::capi::Callbacks> callbacks;
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
