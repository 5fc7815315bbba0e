/// The outputs of a call: which are chosen, where they are stored, and how they are checked and counted. What
/// every call of a lone caller runs is inline.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include <athanor/core/detail/view.hpp>
#include <athanor/core/time.hpp>
#include <athanor/serving/answer.hpp>
#include <athanor/serving/detail/handles.hpp>
#include <athanor/serving/detail/model_description.hpp>
#include <athanor/serving/detail/model_metrics.hpp>
#include <athanor/serving/detail/pieces.hpp>
#include <athanor/serving/options.hpp>

namespace athanor::inline v1::serving {

/// How a call's route, or its answer, ended: with an error, or with a value that is kept elsewhere.
struct Ending {
  bool failed = false;
  // Undefined unless `failed`:
  Error error{};
  bool turned_away = false;  ///< nothing was done for the call, and it waited for nothing
};

/// Chooses the named outputs, in that order. invalid_argument for unknown names and for more than
/// max_tensors.
Result<void> choose_named_outputs(OutputSet& set, ModelDescription const& description,
                                  std::span<std::string_view const> names);

/// Fails unless each tensor of `room` has the element type and the shape of the chosen output at its place.
Result<void> check_room(OutputSet& answer, std::span<Tensor const> room) noexcept;

/// Sets which outputs the answer holds: all, or the named ones.
inline Result<void> choose_outputs(OutputSet& set, ModelDescription const& description,
                                   std::span<std::string_view const> names) {
  if (!names.empty()) return choose_named_outputs(set, description, names);
  set.chosen_count = description.signature.outputs.size();
  for (std::size_t i = 0; i < set.chosen_count; ++i) set.chosen[i] = static_cast<std::uint8_t>(i);
  return {};
}

/// The specs of all outputs of the plan, in its order.
std::vector<TensorSpec> output_specs(ExecutionPlan const& plan);

/// Stores the outputs of postprocess, one result per item, in `computed`.
Result<void> put_postprocessed(ModelDescription const& description, std::span<MadeItem const> made,
                               std::span<Tensor> computed);

/// Stores the texts of one output of a processor, those of each item in turn, in that shape.
Result<void> put_texts(OutputPlan const& plan, std::span<MadeItem const> made, Shape const& shape,
                       Tensor& output);

/// Stores one output of preprocess or of postprocess: one row of each item's result.
Result<void> put_made(ModelDescription const& description, OutputPlan const& plan,
                      std::span<MadeItem const> made, std::int64_t items, Tensor& output);

/// The shape of `view` with another number of items.
inline Shape shape_with_items(TensorView const& view, std::int64_t items) {
  Shape shape = shape_of(view);
  shape[0] = items;
  return shape;
}

/// Whether `output`, which no answer holds any more, already has that type and the shape of `view` with
/// `items` rows, as it has if the last call that used it had as many items.
inline bool is_ready(Tensor const& output, DType dtype, TensorView const& view, std::int64_t items) noexcept {
  auto const dims = output.shape().dims();
  return output.buffer().unique() && output.dtype() == dtype &&
         dims.size() == static_cast<std::size_t>(view.ndim) && dims[0] == items &&
         equal_lengths(dims.data() + 1, view.shape + 1, dims.size() - 1);
}

/// Makes `computed` hold `items` rows of every output, shaped like `outputs` of one batch but `longest` along
/// padded axes, and fills those that preprocess made; those of postprocess and those with rows along ragged
/// axes come later.
inline Result<void> make_outputs(ModelDescription const& description, std::span<TensorView const> outputs,
                                 std::span<MadeItem const> made, std::int64_t items,
                                 PaddedLengths const& longest, std::span<Tensor> computed) {
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    OutputPlan::Rows const rows = description.output_rows[i];
    OutputPlan const& plan = description.plan.outputs[i];
    if (rows == OutputPlan::Rows::copied && is_ready(computed[i], plan.spec.dtype, outputs[i], items))
      continue;
    if (rows == OutputPlan::Rows::later) continue;
    auto stored = rows == OutputPlan::Rows::made
                      ? put_made(description, plan, made, items, computed[i])
                      : make_output(computed[i], plan.spec.dtype,
                                    with_lengths(shape_with_items(outputs[i], items), plan.padded, longest));
    if (!stored) return stored;
  }
  return {};
}

/// Whether `outputs` of another batch of a call have rows of the shape that its first batch gave `computed`.
/// Outputs along padded axes are left to cut_rows.
Result<void> check_rows(ModelDescription const& description, std::span<TensorView const> outputs,
                        std::span<Tensor const> computed);

/// Copies `count` rows of a batch of `batch_items`, from row `row` on, to rows `first ..` of
/// `computed`, which has rows of their shape. Outputs along padded axes are left to cut_rows.
inline void copy_rows(ModelDescription const& description, std::span<TensorView const> outputs,
                      std::int64_t batch_items, std::size_t row, std::size_t first, std::size_t count,
                      std::span<Tensor> computed) noexcept {
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (description.output_rows[i] != OutputPlan::Rows::copied) continue;
    // The division would cost as much as the rest of this loop.
    std::size_t const width = batch_items == 1
                                  ? outputs[i].size_bytes
                                  : outputs[i].size_bytes / static_cast<std::size_t>(batch_items);
    if (width == 0) continue;
    std::memcpy(computed[i].mutable_data() + width * first,
                static_cast<std::byte const*>(outputs[i].data) + width * row, width * count);
  }
}

/// The same for outputs along padded axes, of rows that are all `lengths` long: what is padding in them is
/// left out, and what `computed` is longer is zero.
Result<void> cut_rows(ModelDescription const& description, std::span<TensorView const> outputs,
                      std::size_t row, std::size_t first, std::size_t count, PaddedLengths const& lengths,
                      std::span<Tensor> computed);

/// Fails if an output holds NaN or infinity and its spec forbids them.
inline Result<void> check_finite(ModelDescription const& description, std::span<Tensor const> computed) {
  auto const& specs = description.signature.outputs;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].non_finite == NonFinite::allow) continue;
    if (auto const element = first_non_finite(computed[i]); element >= 0)
      return fail(Code::internal, Reason::non_finite,
                  "{}: output {}: element {}: expected a finite value, the model gave NaN or infinity",
                  description.id, specs[i].name, element);
  }
  return {};
}

/// already_exists when `content` is not that of the registered model.
Result<void> check_same_content(ModelDescription const& registered, Hash128 content);

/// Counts an answered call.
inline void record_answer(ModelMetrics& metrics, ModelDescription const& description, Ending const& ending,
                          Report const& report) noexcept {
  auto const code = ending.failed ? ending.error.code : Code::ok;
  metrics.count_request(code);
  if (ending.failed && ending.turned_away) return;
  metrics.latency.record(static_cast<std::uint64_t>(std::max<std::int64_t>(report.total.count(), 0)));
  // The report of a failed call may still be written: its caller may have abandoned work that runs.
  if (ending.failed) return;
  if (report.cache == CacheState::hit) metrics.counts.add(ModelMetrics::cache_hits);
  if (report.cache == CacheState::joined) metrics.counts.add(ModelMetrics::cache_joined);
  if (report.members != 0 && report.members < description.plan.members.size())
    metrics.counts.add(ModelMetrics::degraded);
}

/// The error of a call that its caller cancelled, and of one whose deadline passed after `waited`.
Error cancelled_by_caller(ModelDescription const& description);
Error deadline_passed(ModelDescription const& description, Duration waited, bool running);

}  // namespace athanor::inline v1::serving
