#include <athanor/serving/detail/ragged.hpp>

#include <algorithm>
#include <cstring>

#include <athanor/core/detail/view.hpp>
#include <athanor/serving/detail/model_description.hpp>
#include <athanor/serving/detail/outputs.hpp>
#include <athanor/serving/detail/pieces.hpp>

namespace athanor::inline v1::serving {

namespace {

/// Whether the model gives that output, with ragged rows.
bool is_ragged(OutputPlan const& plan) noexcept { return !plan.is_processed() && !plan.has_item_rows(); }

void copy_bytes(std::byte* to, void const* from, std::size_t bytes) noexcept {
  if (bytes != 0) std::memcpy(to, from, bytes);
}

/// Rows without elements take no memory, so that nothing else limits their number.
tl::unexpected<Error> too_many_rows(ModelDescription const& description, OutputPlan const& plan) {
  return fail(Code::internal, Reason::backend_contract,
              "{}: output {}: expected a number of rows that fits into 63 bits, got more", description.id,
              plan.spec.name);
}

/// Joins one output of all parts, which are in order.
Result<void> join(ModelDescription const& description, std::size_t index, std::span<RaggedPart const> parts,
                  Tensor& output) {
  OutputPlan const& plan = description.plan.outputs[index];
  Shape shape = parts[0].rows[index].shape();
  std::int64_t rows = 0;
  for (RaggedPart const& part : parts) {
    Shape like = part.rows[index].shape();
    if (__builtin_add_overflow(rows, like[0], &rows)) return too_many_rows(description, plan);
    like[0] = shape[0];
    if (like != shape)
      return fail(Code::internal, Reason::backend_contract,
                  "{}: output {}: expected rows of {} as in the first batch of this call, got {}",
                  description.id, plan.spec.name, to_string(shape), to_string(like));
  }
  shape[0] = rows;
  if (auto stored = make_output(output, plan.spec.dtype, shape); !stored) return stored;
  std::byte* to = output.mutable_data();
  for (RaggedPart const& part : parts) {
    Tensor const& from = part.rows[index];
    copy_bytes(to, from.data(), from.size_bytes());
    to += from.size_bytes();
  }
  return {};
}

}  // namespace

bool has_ragged_outputs(ModelDescription const& description) noexcept {
  return std::ranges::any_of(description.plan.outputs, is_ragged);
}

Result<void> copy_ragged(ModelDescription const& description, Ensemble const& ensemble, std::size_t row,
                         std::size_t count, std::span<Tensor> to) {
  for (std::size_t i = 0; i < description.plan.outputs.size(); ++i) {
    OutputPlan const& plan = description.plan.outputs[i];
    if (!is_ragged(plan)) continue;
    auto const starts = ensemble.starts(plan.ragged);
    TensorView const& from = ensemble.outputs()[i];
    auto const width = from.shape[0] == 0 ? 0 : from.size_bytes / static_cast<std::size_t>(from.shape[0]);
    auto const shape = shape_with_items(from, starts[row + count] - starts[row]);
    if (auto stored = make_output(to[i], plan.spec.dtype, shape); !stored) return stored;
    copy_bytes(to[i].mutable_data(),
               static_cast<std::byte const*>(from.data) + width * static_cast<std::size_t>(starts[row]),
               to[i].size_bytes());
  }
  return {};
}

Result<void> keep_part(ModelDescription const& description, RaggedPart part, std::size_t items,
                       std::vector<RaggedPart>& kept, std::span<Tensor> computed) {
  std::erase_if(kept, [&](RaggedPart const& other) {
    return other.first < part.first + part.count && part.first < other.first + other.count;
  });
  kept.insert(std::ranges::lower_bound(kept, part.first, {}, &RaggedPart::first), std::move(part));
  std::size_t there = 0;
  for (RaggedPart const& each : kept) there += each.count;
  if (there < items) return {};
  for (std::size_t i = 0; i < description.plan.outputs.size(); ++i)
    if (is_ragged(description.plan.outputs[i]))
      if (auto joined = join(description, i, kept, computed[i]); !joined) return joined;
  kept.clear();
  return {};
}

Result<void> count_made(ModelDescription const& description, std::size_t index,
                        std::span<MadeItem const> made, Tensor& counts) {
  auto const& outputs = description.plan.outputs;
  if (auto stored = make_output(counts, DType::i64, Shape{static_cast<std::int64_t>(made.size())}); !stored)
    return stored;
  auto const rows = counts.mutable_as<std::int64_t>();
  OutputPlan const* first = nullptr;
  for (OutputPlan const& plan : outputs) {
    if (plan.from != OutputPlan::From::postprocess || plan.ragged != index) continue;
    std::int64_t all = 0;
    for (std::size_t item = 0; item < made.size(); ++item) {
      TensorView const& tensor = made[item].tensor(plan.index);
      std::int64_t const here = tensor.ndim > 0 ? tensor.shape[0] : 0;
      if (first != nullptr && here != rows[item])
        return fail(Code::internal, Reason::backend_contract,
                    "{}: output {}: item {}: expected {} rows as of '{}', the processor gives {}",
                    description.id, plan.spec.name, item, rows[item], first->spec.name, here);
      if (__builtin_add_overflow(all, here, &all)) return too_many_rows(description, plan);
      rows[item] = here;
    }
    if (first == nullptr) first = &plan;
  }
  return {};
}

Result<void> put_made_rows(ModelDescription const& description, OutputPlan const& plan,
                           std::span<MadeItem const> made, Tensor const& counts, Tensor& output) {
  std::int64_t rows = 0;
  for (auto const count : counts.as<std::int64_t>()) rows += count;
  TensorView const& like = made[0].tensor(plan.index);
  for (std::size_t item = 0; item < made.size(); ++item) {
    TensorView const& tensor = made[item].tensor(plan.index);
    bool const fits = has_rows_of(plan.spec, tensor) &&
                      std::equal(tensor.shape + 1, tensor.shape + tensor.ndim, like.shape + 1);
    if (!fits)
      return fail(Code::internal, Reason::backend_contract,
                  "{}: output {}: item {}: expected rows of {}, of equal size, the processor gives {}",
                  description.id, plan.spec.name, item, to_string(plan.spec), to_string(shape_of(tensor)));
  }
  if (plan.spec.dtype == DType::bytes) return put_texts(plan, made, shape_with_items(like, rows), output);
  if (auto stored = make_output(output, plan.spec.dtype, shape_with_items(like, rows)); !stored)
    return stored;
  std::byte* to = output.mutable_data();
  for (auto const& item : made) {
    TensorView const& tensor = item.tensor(plan.index);
    copy_bytes(to, tensor.data, tensor.size_bytes);
    to += tensor.size_bytes;
  }
  return {};
}

}  // namespace athanor::inline v1::serving
