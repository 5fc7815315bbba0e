/// Plugins: backends and processors in shared libraries that are opened when a model is first asked for.
/// Opened libraries stay in the process.
#pragma once

#include <string>
#include <vector>

#include <athanor/core/detail/lock.hpp>
#include <athanor/serving/engine.hpp>

namespace athanor::capi {

/// Thread-safe.
class Plugins {
 public:
  explicit Plugins(std::vector<std::string> names);

  /// Opens what is not open yet and makes its tables known to `engine`. Stops at the first that fails; a
  /// later call tries it again.
  Result<void> open_all(Engine<>& engine);

  struct State {
    std::string name;
    std::string file;  ///< empty until it is open
  };
  std::vector<State> states() const;

 private:
  mutable SystemMutex mutex_;
  std::vector<State> plugins_ ATH_GUARDED_BY(mutex_);
};

}  // namespace athanor::capi
