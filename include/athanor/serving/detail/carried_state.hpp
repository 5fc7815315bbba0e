/// State that goes into a model and comes out of it as tensors, by slot.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <athanor/core/tensor.hpp>
#include <athanor/serving/detail/ensemble.hpp>
#include <athanor/serving/detail/sequences.hpp>

namespace athanor::inline v1::serving {

/// The memory of the carried state of one instance: for each state of the plan and each slot two rows, the
/// present value and the next one, and a row of zeros for whoever begins. Not thread-safe: only the thread
/// that runs the instance's batch has it.
class CarriedState {
 public:
  /// resource_exhausted / out_of_memory.
  static Result<CarriedState> allocate(ExecutionPlan const& plan);
  /// What `allocate` takes.
  static std::uint64_t bytes_of(ExecutionPlan const& plan) noexcept;

  /// The present value of state `state`, as one row; without a ticket, or with a fresh one, zeros. Valid
  /// while this is.
  TensorView present(std::size_t state, SequenceTicket const* ticket) const noexcept;
  /// Keeps row `row` of `outputs`, which is what the model gave for that state, as the next value.
  void keep_next(std::size_t state, SequenceTicket const& ticket, TensorView const& outputs,
                 std::size_t row) noexcept;

 private:
  struct State {
    TensorView like{};  // one row
    Buffer rows;        // the one of zeros, then two for each slot
  };
  std::vector<State> states_;
};

}  // namespace athanor::inline v1::serving
