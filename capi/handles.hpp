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

/// What an engine shares with everything made from it. Outlives the engine; never changes.
class Origin {
 public:
  /// True on a thread that is inside a callback of the engine.
  bool in_callback() const noexcept { return Inside<Origin, SystemEnv>::holds(this); }
  /// True in a child of the process that made the engine. There the engine has no threads, and its locks may
  /// be held by ones that do not exist: nothing of it may be used, nor destroyed.
  bool forked() const noexcept { return SystemEnv::forks() != forks_; }
  Result<void> check_process(char const* function) const {
    if (!forked()) return {};
    return fail(
        Code::failed_precondition, Reason::none,
        "{}: the engine was created before a fork and cannot be used in the child; create an engine there",
        function);
  }

 private:
  std::uint64_t const forks_ = SystemEnv::forks();
};

/// A model and the engine that it is of, as its object and all requests for it share them: by one count.
struct Source {
  Model<> model;
  std::shared_ptr<Origin> origin;
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
  std::shared_ptr<athanor::capi::Source const> source;

  athanor::Model<> const& model() const noexcept { return source->model; }
  athanor::capi::Origin const& origin() const noexcept { return *source->origin; }
};

struct ath_request {
  std::shared_ptr<athanor::capi::Source const> source;
  athanor::Request inputs;
  std::int64_t deadline_ns = ATH_DEADLINE_DEFAULT;
  athanor::CacheMode cache = athanor::CacheMode::use;
  std::vector<std::string> output_names;
  std::vector<std::string_view> outputs;  // of output_names
  athanor::capi::Refusals refusals;       // by input, or by function where no input is set
  std::size_t home = 0;                   // of Kept

  athanor::Model<> const& model() const noexcept { return source->model; }
  athanor::capi::Origin const& origin() const noexcept { return *source->origin; }

  athanor::CallOptions options() const noexcept {
    athanor::CallOptions options;
    if (deadline_ns != ATH_DEADLINE_DEFAULT) options.deadline = athanor::Duration(deadline_ns);
    options.cache = cache;
    options.outputs = outputs;
    return options;
  }

  /// Keeps only the memory of the list of inputs.
  void clear() noexcept {
    inputs.clear();
    deadline_ns = ATH_DEADLINE_DEFAULT;
    cache = athanor::CacheMode::use;
    outputs = std::vector<std::string_view>();
    output_names = std::vector<std::string>();
    refusals = athanor::capi::Refusals();
  }
};

struct ath_response {
  athanor::Answer answer;
  std::size_t home = 0;  // of Kept
};
