/// What the loader keeps of a model: its members in memory and its instances ready to run.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <athanor/batching/detail/slot.hpp>
#include <athanor/core/env.hpp>
#include <athanor/serving/detail/assembler.hpp>
#include <athanor/serving/detail/carried_state.hpp>
#include <athanor/serving/detail/ensemble.hpp>
#include <athanor/serving/detail/handles.hpp>
#include <athanor/serving/detail/model_description.hpp>

namespace athanor::inline v1::serving {

/// One instance: buffers to gather a batch into, and one instance of every member. One batch at a time.
struct Worker {
  Worker(ExecutionPlan const& plan, std::vector<Instance> members, CarriedState carried)
      : assembler(plan.inputs, plan.padding),
        pieces(plan.inputs.size()),
        ensemble(plan, std::move(members)),
        state(std::move(carried)) {}

  Assembler assembler;
  Pieces pieces;                      ///< of the batch at hand
  std::vector<batching::Part> parts;  ///< of these pieces: without those whose inputs are gone
  Ensemble ensemble;
  CarriedState state;
};

/// How long a dry run should take at most, and the clock that tells.
struct TrialTime {
  Duration most = Duration::max();
  TimePoint (*now)() = &SystemEnv::now;
};

class LoadedModel {
 public:
  /// Verifies digests, loads every member, makes `instances` workers, and proves each of them: the manifest's
  /// self-test vectors, then its warm-up batches. Then the dry run. Nothing stays behind on failure.
  static Result<std::unique_ptr<LoadedModel>> load(ModelDescription const& description, std::size_t instances,
                                                   TrialTime const& trial = {});

  std::uint64_t bytes() const noexcept { return bytes_; }
  /// Why the dry run showed nothing, or not all; empty when it did.
  std::string const& note() const noexcept { return note_; }
  Worker& worker(std::size_t instance) noexcept { return *workers_[instance]; }

  /// Which of the loads of its model it is, from 1 on: state that sequences left in another one is not in
  /// this one.
  std::uint64_t number = 0;

 private:
  std::vector<LoadedFile> files_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::uint64_t bytes_ = 0;
  std::string note_;
};

}  // namespace athanor::inline v1::serving
