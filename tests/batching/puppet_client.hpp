/// A client under the test's control, and slots that remember what happened to them.
#pragma once

#include <functional>
#include <vector>

#include <athanor/batching/detail/lane.hpp>
#include <athanor/core/simulation.hpp>

namespace athanor::batching {

struct TestCall : Slot {
  int finished = 0;
  TimePoint ended{};  ///< as the lane told it
  bool succeeded = false;
  Error answer;
  bool poison = false;    ///< a piece that holds it fails
  bool unwanted = false;  ///< its caller has left
  std::uint32_t executions = 0;
  std::uint32_t lone_executions = 0;
  std::vector<Part> parts;  ///< successful, in the order of execution
};

struct BatchRecord {
  std::uint32_t items = 0;
  std::size_t parts = 0;
  bool on_caller = false;
  TimePoint at{};
};

struct PuppetClient {
  std::vector<BatchRecord> executed;
  std::vector<Verdict> verdicts;
  std::vector<TestCall*> finished;
  std::vector<std::uint32_t> inside;  ///< per instance, executions now
  std::uint32_t most_inside = 0;
  bool entered_twice = false;
  std::uint32_t open = 0;  ///< batches between begin and end
  std::uint64_t limit_breaches = 0;
  std::uint32_t max_items = 32;
  std::int64_t max_cost = std::numeric_limits<std::int64_t>::max();
  std::function<void(Batch const&)> during;  ///< called while a batch runs
  std::function<Result<void>(Batch const&)> permit;
  std::function<void(TestCall&)> on_finish;
  Error failure{Code::internal, Reason::backend_failure, "poison", {}};

  explicit PuppetClient(std::uint32_t instances = 1) : inside(instances) {}

  bool wanted(Slot& slot) noexcept { return !static_cast<TestCall&>(slot).unwanted; }

  Result<void> begin(Batch const& batch) noexcept {
    if (permit) {
      auto permission = permit(batch);
      if (!permission) return permission;
    }
    ++open;
    return {};
  }

  Result<void> execute(Batch const& batch) noexcept {
    executed.push_back({batch.items, batch.parts.size(), batch.on_caller, Simulation::current().now()});
    entered_twice = entered_twice || inside[batch.instance] != 0;
    ++inside[batch.instance];
    std::uint32_t now_inside = 0;
    for (auto count : inside) now_inside += count;
    most_inside = std::max(most_inside, now_inside);
    check_limits(batch);
    for (Part const& part : batch.parts) {
      auto& call = static_cast<TestCall&>(*part.slot);
      ++call.executions;
      call.lone_executions += batch.parts.size() == 1 ? 1U : 0U;
    }
    if (during) during(batch);
    --inside[batch.instance];
    bool poisoned = false;
    for (Part const& part : batch.parts) poisoned = poisoned || static_cast<TestCall&>(*part.slot).poison;
    if (poisoned) return tl::unexpected(failure);
    for (Part const& part : batch.parts) static_cast<TestCall&>(*part.slot).parts.push_back(part);
    return {};
  }

  void end(Batch const&, Verdict verdict, TimePoint) noexcept {
    --open;
    verdicts.push_back(verdict);
  }

  void finish(Slot& slot, Error const* error, TimePoint now) noexcept {
    auto& call = static_cast<TestCall&>(slot);
    ++call.finished;
    call.ended = now;
    call.succeeded = error == nullptr;
    if (error != nullptr) call.answer = *error;
    finished.push_back(&call);
    if (on_finish) on_finish(call);
  }

 private:
  void check_limits(Batch const& batch) {
    std::uint32_t items = 0;
    for (Part const& part : batch.parts) {
      items += part.count;
      if (part.slot->batch_key != batch.parts[0].slot->batch_key) ++limit_breaches;
      if (part.slot->alone && batch.parts.size() != 1) ++limit_breaches;
    }
    if (items != batch.items || items > max_items) ++limit_breaches;
    if (batch.cost > max_cost && batch.items > 1) ++limit_breaches;
  }
};

template <class Policy>
using SimulatedLane = Lane<SimulatedEnv, Policy, PuppetClient>;

}  // namespace athanor::batching
