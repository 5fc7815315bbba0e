#include <athanor/serving/detail/outputs.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <new>

#include <athanor/serving/detail/pieces.hpp>
#include <athanor/serving/detail/ragged.hpp>

namespace athanor::inline v1 {

void Outputs::no_output(std::string_view name) const noexcept {
  std::string known;
  for (std::size_t i = 0; i < size(); ++i) known += (known.empty() ? "" : ", ") + spec(i).name;
  detail::violated("Outputs: expected one of the outputs " + known + ", got " + std::string(name));
}

namespace serving {

Result<void> choose_named_outputs(OutputSet& set, ModelDescription const& description,
                                  std::span<std::string_view const> names) {
  auto const& specs = description.signature.outputs;
  std::string missing;
  set.chosen_count = 0;
  for (auto const name : names) {
    auto const spec = std::ranges::find(specs, name, &TensorSpec::name);
    if (spec == specs.end()) {
      missing += (missing.empty() ? "" : ", ") + std::string(name);
    } else if (set.chosen_count == max_tensors) {
      return fail(Code::invalid_argument, Reason::option, "{}: expected at most {} outputs, got {}",
                  description.id, max_tensors, names.size());
    } else {
      set.chosen[set.chosen_count++] = static_cast<std::uint8_t>(spec - specs.begin());
    }
  }
  if (missing.empty()) return {};
  std::string known;
  for (auto const& spec : specs) known += (known.empty() ? "" : ", ") + spec.name;
  return fail(Code::invalid_argument, Reason::output_missing, "{}: unknown output {}; expected one of {}",
              description.id, missing, known);
}

Result<void> check_room(OutputSet& answer, std::span<Tensor const> room) noexcept try {
  for (std::size_t i = 0; i < room.size(); ++i) {
    Tensor const& output = answer.tensor(answer.chosen[i]);
    if (room[i].dtype() != output.dtype() || room[i].shape() != output.shape())
      return fail(Code::invalid_argument, Reason::shape,
                  "{}: output {}: expected a tensor of {} {}, got {} {}", answer.owner.model,
                  answer.owner.specs[answer.chosen[i]].name, to_string(output.dtype()),
                  to_string(output.shape()), to_string(room[i].dtype()), to_string(room[i].shape()));
  }
  return {};
} catch (std::bad_alloc const&) {
  return fail(Code::invalid_argument, Reason::shape, "");
}

Result<void> put_texts(OutputPlan const& plan, std::span<MadeItem const> made, Shape const& shape,
                       Tensor& output) {
  std::vector<std::string_view> texts;
  texts.reserve(static_cast<std::size_t>(shape.elements()));
  for (auto const& item : made) {
    Tensor const given = from_view(item.tensor(plan.index));
    for (std::int64_t i = 0; i < given.shape().elements(); ++i) texts.push_back(given.text_at(i));
  }
  auto copied = Tensor::copy_texts(texts);
  if (!copied) return tl::unexpected(std::move(copied.error()));
  output = copied->reshaped(shape);
  return {};
}

Result<void> put_made(ModelDescription const& description, OutputPlan const& plan,
                      std::span<MadeItem const> made, std::int64_t items, Tensor& output) {
  TensorView const& like = made[0].tensor(plan.index);
  for (std::size_t item = 0; item < made.size(); ++item) {
    TensorView const& row = made[item].tensor(plan.index);
    if (!is_row_of(plan.spec, row) || shape_of(row) != shape_of(like))
      return fail(Code::internal, Reason::backend_contract,
                  "{}: output {}: item {}: expected one row of {}, of equal size, the processor gives {}",
                  description.id, plan.spec.name, item, to_string(plan.spec), to_string(shape_of(row)));
  }
  if (plan.spec.dtype == DType::bytes) return put_texts(plan, made, shape_with_items(like, items), output);
  if (auto stored = make_output(output, plan.spec.dtype, shape_with_items(like, items)); !stored)
    return stored;
  std::byte* to = output.mutable_data();
  for (auto const& item : made) {
    if (like.size_bytes != 0) std::memcpy(to, item.tensor(plan.index).data, like.size_bytes);
    to += like.size_bytes;
  }
  return {};
}

std::vector<TensorSpec> output_specs(ExecutionPlan const& plan) {
  std::vector<TensorSpec> specs;
  for (OutputPlan const& output : plan.outputs) specs.push_back(output.spec);
  return specs;
}

Result<void> put_postprocessed(ModelDescription const& description, std::span<MadeItem const> made,
                               std::span<Tensor> computed) {
  for (std::size_t i = 0; i < description.plan.outputs.size(); ++i)
    if (description.plan.outputs[i].from == OutputPlan::From::made_rows)
      if (auto counted = count_made(description, i, made, computed[i]); !counted) return counted;
  for (std::size_t i = 0; i < description.plan.outputs.size(); ++i) {
    OutputPlan const& plan = description.plan.outputs[i];
    if (plan.from != OutputPlan::From::postprocess) continue;
    if (!plan.has_item_rows()) {
      auto joined = put_made_rows(description, plan, made, computed[plan.ragged], computed[i]);
      if (!joined) return joined;
      continue;
    }
    auto stored = put_made(description, plan, made, static_cast<std::int64_t>(made.size()), computed[i]);
    if (!stored) return stored;
  }
  return {};
}

Result<void> check_rows(ModelDescription const& description, std::span<TensorView const> outputs,
                        std::span<Tensor const> computed) {
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (description.output_rows[i] != OutputPlan::Rows::copied) continue;
    Shape const& made = computed[i].shape();
    if (Shape const got = shape_with_items(outputs[i], made[0]); got != made)
      return fail(Code::internal, Reason::backend_contract,
                  "{}: output {}: expected rows of {} as in the first batch of this call, got {}",
                  description.id, description.plan.outputs[i].spec.name, to_string(made), to_string(got));
  }
  return {};
}

Result<void> cut_rows(ModelDescription const& description, std::span<TensorView const> outputs,
                      std::size_t row, std::size_t first, std::size_t count, PaddedLengths const& lengths,
                      std::span<Tensor> computed) {
  constexpr std::array<std::byte, sizeof(double)> zero{};
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    OutputPlan const& plan = description.plan.outputs[i];
    if (plan.padded.empty()) continue;
    auto const rows = static_cast<std::int64_t>(count);
    Shape to = computed[i].shape();
    to[0] = rows;
    Shape const from = shape_with_items(outputs[i], rows);
    Shape const extent = with_lengths(from, plan.padded, lengths);
    for (std::size_t dim = 1; dim < to.rank(); ++dim)
      if (plan.padded[dim] == not_padded && from[dim] != to[dim])
        return fail(Code::internal, Reason::backend_contract,
                    "{}: output {}: expected rows of {} as in the first batch of this call, got {}",
                    description.id, plan.spec.name, to_string(to), to_string(from));
    std::size_t const width = element_size(plan.spec.dtype);
    auto const in_row = [&](Shape const& shape) {
      return static_cast<std::size_t>(shape.elements() / rows) * width;
    };
    copy_block({from, extent, to}, static_cast<std::byte const*>(outputs[i].data) + row * in_row(from),
               computed[i].mutable_data() + first * in_row(to), width, zero.data());
  }
  return {};
}

Result<void> check_same_content(ModelDescription const& registered, Hash128 content) {
  if (registered.content == content) return {};
  return fail(
      Code::already_exists, Reason::manifest,
      "{}: a different manifest of that name and version is registered, from {}; give the new one its "
      "own version",
      registered.id, registered.folder);
}

Error cancelled_by_caller(ModelDescription const& description) {
  return make_error(Code::cancelled, Reason::cancelled, "{}: cancelled by the caller", description.id);
}

Error deadline_passed(ModelDescription const& description, Duration waited, bool running) {
  return make_error(Code::deadline_exceeded, running ? Reason::deadline_running : Reason::deadline_waiting,
                    "{}: no answer within {:.3g} ms; its work {}", description.id,
                    static_cast<double>(waited.count()) / 1e6, running ? "had begun" : "had not begun");
}

}  // namespace serving
}  // namespace athanor::inline v1
