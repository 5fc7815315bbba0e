// without NAME: a Backend has `static constexpr char const* name`
// without RUNS_ON: a Backend has `static constexpr RunsOn runs_on`
// without MODEL: a Backend names its `Model` type
// without LOAD: a Backend has `load(ModelSource const&)`
// without FOOTPRINT: a Model has `footprint()`
// without INSTANCE: a Model names its `Instance` type
// without MAKE_INSTANCE: a Model has `make_instance()`
// without RUN: an Instance has `run(ath_batch&)`
// without RUN_RESULT: an Instance's `run(ath_batch&)` returns Result<void>
#include <athanor/core/backend.hpp>

namespace {

struct MinimalInstance {
#if defined(WITHOUT_RUN_RESULT)
  void run(ath_batch&) {}
#elif !defined(WITHOUT_RUN)
  athanor::Result<void> run(ath_batch&) { return {}; }
#endif
};

struct MinimalModel {
#ifndef WITHOUT_INSTANCE
  using Instance = MinimalInstance;
#endif
#ifndef WITHOUT_FOOTPRINT
  std::uint64_t footprint() const { return 1; }
#endif
#ifndef WITHOUT_MAKE_INSTANCE
  athanor::Result<std::unique_ptr<MinimalInstance>> make_instance() {
    return std::make_unique<MinimalInstance>();
  }
#endif
};

struct MinimalBackend {
#ifndef WITHOUT_NAME
  static constexpr char const* name = "minimal";
#endif
#ifndef WITHOUT_RUNS_ON
  static constexpr athanor::RunsOn runs_on = athanor::RunsOn::any_thread;
#endif
#ifndef WITHOUT_MODEL
  using Model = MinimalModel;
#endif
#ifndef WITHOUT_LOAD
  athanor::Result<std::unique_ptr<MinimalModel>> load(athanor::ModelSource const&) {
    return std::make_unique<MinimalModel>();
  }
#endif
};

}  // namespace

int main() {
  MinimalBackend backend;
  static_cast<void>(athanor::make_table(backend));
}
