#include <athanor/serving/detail/carried_state.hpp>

#include <cstring>

namespace athanor::inline v1::serving {

namespace {

/// One row of a state, without memory.
TensorView row_of(TensorSpec const& spec) noexcept {
  TensorView row{};
  row.dtype = static_cast<std::int32_t>(spec.dtype);
  row.device_type = static_cast<std::int32_t>(DeviceType::cpu);
  row.ndim = static_cast<std::int32_t>(spec.dims.size());
  row.shape[0] = 1;
  row.size_bytes = element_size(spec.dtype);
  for (std::size_t axis = 1; axis < spec.dims.size(); ++axis) {
    row.shape[axis] = spec.dims[axis].length;
    row.size_bytes *= static_cast<std::uint64_t>(spec.dims[axis].length);
  }
  return row;
}

std::uint64_t rows_of(ExecutionPlan const& plan) noexcept { return 1 + 2 * plan.slots; }

}  // namespace

std::uint64_t CarriedState::bytes_of(ExecutionPlan const& plan) noexcept {
  std::uint64_t bytes = 0;
  for (StatePlan const& state : plan.states)
    bytes += rows_of(plan) * row_of(plan.inputs[state.input].spec).size_bytes;
  return bytes;
}

Result<CarriedState> CarriedState::allocate(ExecutionPlan const& plan) {
  CarriedState carried;
  for (StatePlan const& planned : plan.states) {
    State& state = carried.states_.emplace_back();
    TensorSpec const& spec = plan.inputs[planned.input].spec;
    state.like = row_of(spec);
    state.rows = Buffer::allocate(rows_of(plan) * state.like.size_bytes);
    if (!state.rows)
      return fail(Code::resource_exhausted, Reason::out_of_memory,
                  "{}: no memory for the state of {} sequences", spec.name, plan.slots);
    std::memset(state.rows.data(), 0, state.like.size_bytes);
  }
  return carried;
}

TensorView CarriedState::present(std::size_t state, SequenceTicket const* ticket) const noexcept {
  TensorView row = states_[state].like;
  bool const begins = ticket == nullptr || ticket->fresh;
  std::size_t const index = begins ? 0 : 1 + 2 * std::size_t{ticket->slot} + ticket->row;
  row.data = states_[state].rows.data() + index * row.size_bytes;
  return row;
}

void CarriedState::keep_next(std::size_t state, SequenceTicket const& ticket, TensorView const& outputs,
                             std::size_t row) noexcept {
  std::size_t const bytes = states_[state].like.size_bytes;
  std::size_t const index = 1 + 2 * std::size_t{ticket.slot} + (1 - ticket.row);
  if (bytes != 0)
    std::memcpy(states_[state].rows.data() + index * bytes,
                static_cast<std::byte const*>(outputs.data) + row * bytes, bytes);
}

}  // namespace athanor::inline v1::serving
