// What the tests of a loader share: a disk that answers as
// it is told, and callers that count what they are told.
#pragma once

#include <map>
#include <optional>
#include <string>

#include <athanor/core/simulation.hpp>
#include <athanor/loading/model_loader.hpp>

namespace athanor::loading_tests {

/// Counts itself, so that a test sees what lies in memory.
struct Model {
  explicit Model(int& alive_) : alive(alive_) { ++alive; }
  ~Model() { --alive; }
  Model(Model const&) = delete;
  int& alive;
};
using Loader = ModelLoader<Model, SimulatedEnv>;
using Slot = loading::Slot<Model>;

struct Caller : Slot {
  int resumed = 0;
  std::optional<Error> error{};
};
struct Callers {
  void resume(Slot& slot, Error const* error) noexcept {
    auto& caller = static_cast<Caller&>(slot);
    ++caller.resumed;
    if (error != nullptr) caller.error = *error;
  }
};
static_assert(loading::LoaderClient<Callers, Model>);

/// A disk that tells how often it was asked.
struct Disk {
  int alive = 0;
  std::map<std::string, int, std::less<>> loads;
  std::map<std::string, Error, std::less<>> broken;
  Duration takes{0};
  Duration warm_up_takes{0};
  std::uint64_t bytes = 10;

  LoadFunctions<Model> functions(std::uint64_t expected = 10) {
    LoadFunctions<Model> all;
    all.load = [this](LoadTarget const& target) -> Result<Loaded<Model>> {
      ++loads[std::string(target.name)];
      pass(takes);
      if (auto const error = broken.find(target.name); error != broken.end())
        return tl::unexpected(error->second);
      return Loaded<Model>{std::make_unique<Model>(alive), bytes};
    };
    all.warm_up = [this](LoadTarget const&, Model&) -> Result<void> {
      pass(warm_up_takes);
      return {};
    };
    all.expected_bytes = [expected](LoadTarget const&) { return expected; };
    return all;
  }

 private:
  /// Others act while this thread reads or computes: timers fire, callers come.
  static void pass(Duration time) {
    Simulation::current().advance(time);
    for (int i = 0; time > Duration{0} && i < 8; ++i) Simulation::current().step_now();
  }
};

inline Error const missing{Code::not_found, Reason::file, "no such file", {}};

}  // namespace athanor::loading_tests
