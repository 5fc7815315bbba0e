// An engine in a simulated world whose locks, posts and looks at the
// clock a test may act beside; compiled once, in hooked_engine.cpp.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>

#include <support/puppet.hpp>
#include <support/simulated_serving.hpp>

namespace athanor_tests {

// Lets a test act where another thread could: before the next mutex is locked, before and after the next task
// is posted, and after the clock is read. Counts the atomics that are read.
struct Hooks {
  static inline bool no_thread = false;      // executors take nothing
  static inline bool no_timekeeper = false;  // executors take no timer
  static inline std::function<void()> after_look;
  static inline std::function<void()> before_lock;
  static inline std::function<void()> before_post;
  static inline std::function<void()> after_post;
  static inline std::uint64_t loads = 0;
  static void run(std::function<void()>& hook) {
    if (auto const once = std::exchange(hook, nullptr)) once();
  }
};

class ATH_CAPABILITY("mutex") HookedMutex {
 public:
  void lock() ATH_ACQUIRE() {
    Hooks::run(Hooks::before_lock);
    mutex_.lock();
  }
  bool try_lock() ATH_TRY_ACQUIRE(true) { return mutex_.try_lock(); }
  void unlock() ATH_RELEASE() { mutex_.unlock(); }

 private:
  SimulatedMutex mutex_;
};

struct HookedExecutor : SimulatedExecutor {
  using SimulatedExecutor::SimulatedExecutor;
  bool arm(Timer& timer, TimePoint at) noexcept {
    return !Hooks::no_thread && !Hooks::no_timekeeper && SimulatedExecutor::arm(timer, at);
  }
  bool post(Task& task) noexcept {
    Hooks::run(Hooks::before_post);
    bool const taken = !Hooks::no_thread && SimulatedExecutor::post(task);
    Hooks::run(Hooks::after_post);
    return taken;
  }
  bool post_if_idle(Task& task) noexcept { return idle() && post(task); }
};

template <class T>
struct CountedAtomic : SimulatedAtomic<T> {
  using SimulatedAtomic<T>::SimulatedAtomic;
  T load(std::memory_order order = std::memory_order_seq_cst) const noexcept {
    ++Hooks::loads;
    return SimulatedAtomic<T>::load(order);
  }
};

struct HookedEnv : SimulatedEnv {
  template <class T>
  using Atomic = CountedAtomic<T>;
  using Mutex = HookedMutex;
  using Executor = HookedExecutor;
  static TimePoint now() noexcept {
    TimePoint const seen = SimulatedEnv::now();
    Hooks::run(Hooks::after_look);
    return seen;
  }
};

struct HookedServing : DefaultServing {
  using Env = HookedEnv;
};

}  // namespace athanor_tests

namespace athanor::inline v1 {
extern template class batching::Lane<athanor_tests::HookedEnv, batching::ShippedPolicy,
                                     serving::ServedModel<athanor_tests::HookedServing>>;
extern template class serving::ServedModel<athanor_tests::HookedServing>;
extern template class serving::EngineState<athanor_tests::HookedServing>;
extern template class Engine<athanor_tests::HookedServing>;
extern template class Model<athanor_tests::HookedServing>;
}  // namespace athanor::inline v1

namespace athanor_tests {

struct HookedEngine : Puppet {
  Simulation world{1};
  ModelFolder folder;
  Engine<HookedServing> engine;
  Model<HookedServing> model;

  explicit HookedEngine(EngineOptions options = {}, std::string_view tensors = puppet_tensors)
      : folder("", "puppet", "1.0.0", tensors),
        engine(make(table, std::move(options))),
        model(engine.load(folder.path()).value()) {}

  static Engine<HookedServing> make(ath_backend_table const& table, EngineOptions options) {
    options.backends = {&table};
    return Engine<HookedServing>::create(std::move(options)).value();
  }
};

// What one completion got.
struct Outcome {
  std::optional<Result<Answer>> answer;
  std::function<void()> then;
  static void on_answer(void* context, Result<Answer> answer) noexcept {
    auto& outcome = *static_cast<Outcome*>(context);
    outcome.answer.emplace(std::move(answer));
    if (outcome.then) outcome.then();
  }
  Completion completion() { return {&on_answer, this}; }
  Reason reason() const { return answer->has_value() ? Reason::none : answer->error().reason; }
};

}  // namespace athanor_tests
