#include <athanor/serving/detail/ensemble.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>

#include <fmt/format.h>
#include <Eigen/Core>

#include <athanor/core/detail/reason_table.hpp>
#include <athanor/core/detail/view.hpp>
#include <athanor/serving/detail/contract.hpp>

namespace athanor::inline v1::serving {

namespace {

std::size_t elements_of(TensorView const& view) noexcept {
  return static_cast<std::size_t>(shape_of(view).elements());
}

std::int64_t code_at(TensorView const& view, std::size_t index) noexcept {
  if (dtype_of(view) == DType::i32) return static_cast<std::int32_t const*>(view.data)[index];
  return static_cast<std::int64_t const*>(view.data)[index];
}

using Numbers = Eigen::Map<Eigen::ArrayXd>;
using ConstNumbers = Eigen::Map<Eigen::ArrayXd const>;

Numbers numbers_in(std::span<double> values) {
  return {values.data(), static_cast<Eigen::Index>(values.size())};
}

/// Calls `use` with the elements of an array of f32 or f64, in the answer's unit, as f64.
template <class Use>
void with_numbers(TensorView const& view, Scaler const& scaler, Use use) {
  auto const count = static_cast<Eigen::Index>(elements_of(view));
  if (dtype_of(view) == DType::f64) {
    use(ConstNumbers(static_cast<double const*>(view.data), count) * scaler.scale + scaler.center);
  } else {
    Eigen::Map<Eigen::ArrayXf const> const numbers(static_cast<float const*>(view.data), count);
    use(numbers.cast<double>() * scaler.scale + scaler.center);
  }
}

/// Fills an array of f32 or f64.
template <class Values>
void put_numbers(TensorView& view, Values const& values) {
  if (dtype_of(view) == DType::f64) {
    Numbers(static_cast<double*>(view.data), values.size()) = values;
  } else {
    Eigen::Map<Eigen::ArrayXf>(static_cast<float*>(view.data), values.size()) = values.template cast<float>();
  }
}

/// The median; of an even number, halfway between the two in the middle. NaN if any value is NaN. Reorders
/// the values.
double median_of(std::span<double> values) {
  if (std::ranges::any_of(values, [](double value) { return std::isnan(value); }))
    return std::numeric_limits<double>::quiet_NaN();
  auto const middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  if (values.size() % 2 == 1) return *middle;
  return std::midpoint(*std::max_element(values.begin(), middle), *middle);
}

bool maps_tokens(ExecutionPlan const& plan) {
  return std::ranges::any_of(plan.members, [](MemberPlan const& member) {
    return !std::ranges::all_of(member.lookups, &TokenLookup::empty);
  });
}

bool chooses_inputs(ExecutionPlan const& plan) {
  return std::ranges::any_of(plan.members, [](MemberPlan const& member) { return !member.inputs.empty(); });
}

bool is_passed(ExecutionPlan const& plan, std::size_t output) {
  Scaler const& scaler = plan.members[0].scalers[output];
  return plan.outputs[output].from == OutputPlan::From::model && plan.outputs[output].index == output &&
         scaler.scale == 1 && scaler.center == 0;
}

/// Whether two addresses are multiples of the same element sizes.
bool are_aligned_alike(void const* one, void const* other) noexcept {
  return (reinterpret_cast<std::uintptr_t>(one) ^ reinterpret_cast<std::uintptr_t>(other)) % 8 == 0;
}

/// Whether `got` equals a tensor that has passed the checks in every field that they look at. `passed`
/// without dimensions stands for none. Texts are always checked, because their offsets may have changed.
bool is_like(TensorView const& got, TensorView const& passed) noexcept {
  return passed.ndim > 0 && got.ndim == passed.ndim && got.dtype == passed.dtype &&
         got.size_bytes == passed.size_bytes && got.device_type == passed.device_type &&
         got.data != nullptr && are_aligned_alike(got.data, passed.data) && dtype_of(got) != DType::bytes &&
         equal_lengths(got.shape, passed.shape, static_cast<std::size_t>(got.ndim));
}

bool passes_outputs(ExecutionPlan const& plan) {
  bool passes = plan.members.size() == 1 && plan.outputs.size() == plan.model_outputs.size();
  for (std::size_t i = 0; passes && i < plan.outputs.size(); ++i) passes = is_passed(plan, i);
  return passes;
}

}  // namespace

TokenLookup::TokenLookup(std::span<std::int64_t const> codes) {
  rows_.reserve(codes.size());
  for (std::size_t i = 0; i < codes.size(); ++i)
    rows_.push_back({codes[i], static_cast<std::int64_t>(i) + 2});
  std::ranges::sort(rows_, {}, &Row::code);
}

std::int64_t TokenLookup::token(std::int64_t code) const noexcept {
  auto const row = std::ranges::lower_bound(rows_, code, {}, &Row::code);
  return row != rows_.end() && row->code == code ? row->token : unknown;
}

Ensemble::Ensemble(ExecutionPlan const& plan, std::vector<Instance> members)
    : plan_(plan),
      members_(std::move(members)),
      maps_tokens_(maps_tokens(plan)),
      chooses_inputs_(chooses_inputs(plan)),
      passes_outputs_(passes_outputs(plan)),
      tokens_(plan.inputs.size()),
      mapped_(plan.inputs.size()),
      raw_(plan.members.size() * plan.model_outputs.size()),
      passed_(raw_.size()),
      moved_(raw_.size()),
      computed_(plan.outputs.size()),
      answered_(plan.members.size()),
      outputs_(plan.outputs.size()),
      ragged_(plan.ragged_model_outputs) {
  ragged_.resize(plan.model_outputs.size(), OutputPlan::not_ragged);
  starts_.resize(plan.ragged.size());
  for (std::size_t i = 0; i < plan.model_outputs.size(); ++i) order_.push_back(i);
  auto const ragged = std::ranges::stable_partition(
      order_, [this](std::size_t output) { return ragged_[output] == OutputPlan::not_ragged; });
  first_ragged_ = order_.size() - ragged.size();
  for (std::size_t i = 0; i < plan.model_outputs.size(); ++i)
    batch_axes_.push_back(ragged_[i] == OutputPlan::not_ragged ? batch_axis_of(plan.model_outputs[i]) : 0);
  for (TensorSpec const& output : plan.model_outputs)
    padded_.push_back(padded_dims_of(plan.padding.axes(), output));
  for (ModelInput const& input : plan.inputs) {
    auto const segment = std::ranges::find_if(plan.inputs, [&](ModelInput const& other) {
      return other.assemble == Assemble::segment && other.axis == input.axis;
    });
    segments_.push_back(
        segment == plan.inputs.end() ? none : static_cast<std::size_t>(segment - plan.inputs.begin()));
  }
}

/// Replaces codes by the member's tokens; passes every other input through.
void Ensemble::map_tokens(std::size_t member, std::span<TensorView const> inputs) {
  std::ranges::copy(inputs, mapped_.begin());
  std::ranges::fill(unknown_here_, 0);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    TokenLookup const& lookup = plan_.members[member].lookups[i];
    if (lookup.empty()) continue;
    auto const* item_of =
        segments_[i] == none ? nullptr : static_cast<std::int64_t const*>(inputs[segments_[i]].data);
    auto const tokens = tokens_[i].make_numbers<std::int64_t>(elements_of(inputs[i]));
    auto const rows = static_cast<std::size_t>(inputs[i].ndim > 0 ? inputs[i].shape[0] : 1);
    std::size_t const per_row = rows == 0 ? 1 : tokens.size() / rows;
    for (std::size_t k = 0; k < tokens.size(); ++k) {
      tokens[k] = lookup.token(code_at(inputs[i], k));
      if (tokens[k] == TokenLookup::unknown && item_of != nullptr)
        ++unknown_here_[static_cast<std::size_t>(item_of[k / per_row])];
    }
    mapped_[i].data = tokens.data();
    mapped_[i].dtype = static_cast<std::int32_t>(DType::i64);
    mapped_[i].size_bytes = tokens.size_bytes();
  }
  for (std::size_t item = 0; item < unknown_.size(); ++item)
    unknown_[item] = std::max(unknown_[item], unknown_here_[item]);
}

/// The inputs that the member reads, in its order.
std::span<TensorView const> Ensemble::choose(MemberPlan const& member, std::span<TensorView const> inputs) {
  if (member.inputs.empty()) return inputs;
  chosen_.clear();
  for (std::size_t const input : member.inputs) chosen_.push_back(inputs[input]);
  return chosen_;
}

tl::unexpected<Error> Ensemble::refuse_output(std::size_t member, std::size_t output,
                                              std::string const& fault) const {
  return fail(Code::internal, Reason::backend_contract, "{}: output {}: {}", plan_.members[member].file,
              plan_.model_outputs[output].name, fault);
}

/// How many rows a model output has in a batch of `items`.
std::int64_t Ensemble::rows_of(std::size_t output, std::int64_t items) const noexcept {
  std::size_t const axis = ragged_[output];
  return axis == OutputPlan::not_ragged ? items : starts_[axis].back();
}

/// Finds out where the rows of items begin along every ragged axis. Outputs that count them have passed their
/// checks.
Result<void> Ensemble::count_rows(std::size_t member, std::int64_t items, InputStarts const& starts) {
  for (std::size_t axis = 0; axis < plan_.ragged.size(); ++axis) {
    RaggedPlan const& ragged = plan_.ragged[axis];
    auto& of_axis = starts_[axis];
    of_axis.assign(1, 0);
    auto const* const counts =
        ragged.of_inputs
            ? nullptr
            : static_cast<std::int64_t const*>(raw_[member * plan_.model_outputs.size() + ragged.index].data);
    for (std::size_t item = 0; item < static_cast<std::size_t>(items); ++item) {
      if (ragged.of_inputs) {
        of_axis.push_back(starts.at(item + 1, ragged.index));
        continue;
      }
      std::int64_t end = 0;
      if (counts[item] < 0 || __builtin_add_overflow(of_axis.back(), counts[item], &end))
        return refuse_output(member, ragged.index,
                             fmt::format("item {}: expected a number of rows, got {}", item, counts[item]));
      of_axis.push_back(end);
    }
  }
  return {};
}

Result<void> Ensemble::check_output(std::size_t member, std::size_t output, std::int64_t rows) const {
  TensorSpec const& spec = plan_.model_outputs[output];
  TensorView const& got = raw_[member * plan_.model_outputs.size() + output];
  if (auto const fault = find_fault(got, spec.dtype); !fault.empty())
    return refuse_output(member, output, fault);
  Shape const shape = shape_of(got);
  std::size_t const batch_axis = batch_axes_[output];
  if (batch_axis < shape.rank() && shape[batch_axis] != rows)
    return refuse_output(
        member, output,
        fmt::format("expected {} rows{}{}, the backend returned {}", rows,
                    batch_axis == 0 ? "" : fmt::format(" along axis {}", batch_axis),
                    ragged_[output] == OutputPlan::not_ragged ? "" : ", as those of all items add up to",
                    shape[batch_axis]));
  bool fits = shape.rank() == spec.dims.size();
  for (std::size_t axis = 0; fits && axis < shape.rank(); ++axis)
    fits = spec.dims[axis].kind != Dim::Kind::fixed || spec.dims[axis].length == shape[axis];
  if (!fits)
    return refuse_output(
        member, output,
        fmt::format("expected {}, the backend returned {}", to_string(spec), to_string(shape)));
  Shape const padded = with_lengths(shape, padded_[output], widths_);
  if (shape == padded) return {};
  return refuse_output(member, output,
                       fmt::format("expected {} as the batch is padded, the backend returned {}",
                                   to_string(padded), to_string(shape)));
}

/// Makes the items the first axis of an output, as in answers: gathers rows that are not contiguous, and
/// repeats for every item a value that all items of a run have in common.
void Ensemble::put_items_first(std::size_t slot, std::size_t axis, std::int64_t items) {
  TensorView& got = raw_[slot];
  auto const count = static_cast<std::size_t>(items);
  auto const* from = static_cast<std::byte const*>(got.data);
  std::size_t outer = 1;  // contiguous parts of a row
  std::size_t bytes = got.size_bytes;
  bool const for_all = axis == no_batch_axis;
  if (for_all) {
    std::copy_backward(got.shape, got.shape + got.ndim, got.shape + got.ndim + 1);
    got.shape[0] = items;
    ++got.ndim;
    got.size_bytes *= count;
  } else {
    outer = static_cast<std::size_t>(Shape(std::span<std::int64_t const>(got.shape, axis)).elements());
    bytes = outer == 0 ? 0 : bytes / (outer * count);
    std::rotate(got.shape, got.shape + axis, got.shape + axis + 1);
  }
  if (items == 1 || bytes == 0 || (!for_all && outer == 1)) return;
  auto const memory = moved_[slot].make_numbers<std::byte>(got.size_bytes);
  for (std::size_t item = 0; item < count; ++item)
    for (std::size_t i = 0; i < outer; ++i)
      std::memcpy(memory.data() + (item * outer + i) * bytes, from + (for_all ? 0 : i * count + item) * bytes,
                  bytes);
  got.data = memory.data();
}

/// Outputs with a row for each item first: some of them count the rows of others.
Result<void> Ensemble::check_ragged_outputs(std::size_t member, std::int64_t items,
                                            InputStarts const& starts) {
  std::span<std::size_t const> const outputs = order_;
  if (auto checked = check_outputs(member, items, outputs.first(first_ragged_)); !checked) return checked;
  if (auto counted = count_rows(member, items, starts); !counted) return counted;
  return check_outputs(member, items, outputs.subspan(first_ragged_));
}

Result<void> Ensemble::check_outputs(std::size_t member, std::int64_t items,
                                     std::span<std::size_t const> outputs) {
  std::size_t const width = plan_.model_outputs.size();
  for (std::size_t const i : outputs) {
    TensorView const& got = raw_[member * width + i];
    TensorView& passed = passed_[member * width + i];
    std::size_t const axis = batch_axes_[i];
    std::int64_t const rows = rows_of(i, items);
    if (!is_like(got, passed) || (axis != no_batch_axis && got.shape[axis] != rows)) {
      if (auto checked = check_output(member, i, rows); !checked) return checked;
      passed = got;
    }
    if (axis != 0) put_items_first(member * width + i, axis, items);
    // Members that answered earlier have equal shapes: comparing with any of them is enough.
    for (std::size_t other = 0; other < member; ++other) {
      if (answered_[other] == 0) continue;
      Shape const theirs = shape_of(raw_[other * width + i]);
      if (theirs != shape_of(got))
        return refuse_output(member, i,
                             fmt::format("expected the {} of {}, the backend returned {}", to_string(theirs),
                                         plan_.members[other].file, to_string(shape_of(got))));
    }
  }
  return {};
}

Result<void> Ensemble::run_member(std::size_t member, std::span<TensorView const> inputs, std::int64_t items,
                                  InputStarts const& starts, BatchWork const& work) {
  if (maps_tokens_) {
    map_tokens(member, inputs);
    inputs = mapped_;
  }
  if (chooses_inputs_) inputs = choose(plan_.members[member], inputs);
  std::size_t const width = plan_.model_outputs.size();
  std::span<TensorView> const out(raw_.data() + member * width, width);
  std::ranges::fill(out, TensorView{});
  ath_batch batch{};
  batch.struct_size = sizeof(ath_batch);
  batch.items = items;
  batch.inputs = inputs.data();
  batch.input_count = inputs.size();
  batch.outputs = out.data();
  batch.output_count = out.size();
  if (!slots_.empty()) batch.slots = slots_.data();
  batch.is_cancelled = work.is_cancelled;
  batch.work = work.work;
  if (auto ran = members_[member].run(batch); !ran) return ran;
  return plan_.ragged.empty() ? check_outputs(member, items, order_)
                              : check_ragged_outputs(member, items, starts);
}

Result<std::uint32_t> Ensemble::run(std::span<TensorView const> inputs, std::int64_t items,
                                    PaddedLengths const& widths, InputStarts starts, BatchWork work) {
  if (widths != widths_)
    std::ranges::fill(passed_, TensorView{});  // of other lengths: everything is checked anew
  widths_ = widths;
  if (maps_tokens_ || !passes_outputs_) {
    unknown_.assign(static_cast<std::size_t>(items), 0);
    unknown_here_.resize(static_cast<std::size_t>(items));
  }
  std::uint32_t good = 0;
  std::optional<Error> first;
  for (std::size_t member = 0; member < members_.size(); ++member) {
    auto ran = run_member(member, inputs, items, starts, work);
    answered_[member] = ran ? 1 : 0;
    if (ran) {
      ++good;
      continue;
    }
    if (!broken_promise_ && ran.error().reason == Reason::backend_contract) broken_promise_ = ran.error();
    if (members_.size() == 1) return tl::unexpected(std::move(ran.error()));
    if (!first) {
      first = std::move(ran.error());
      first->message = athanor::detail::format("member {}: {}", plan_.members[member].file, first->message);
      // Invalid input is not a failure of the model: its reason stays.
      bool const failed = detail::fault_of(first->code, first->reason) == detail::Fault::model;
      if (failed && first->reason != Reason::out_of_memory && first->reason != Reason::device_lost)
        first->reason = Reason::member_failed;
    }
    if (members_.size() - member - 1 + good < plan_.min_members) return tl::unexpected(std::move(*first));
  }
  for (std::size_t i = 0; i < outputs_.size() && !passes_outputs_; ++i) fill_output(i, items, good);
  return good;
}

/// The mean over the members that answered.
void Ensemble::average(OutputPlan const& plan, std::uint32_t good, std::span<double> mean) const {
  Numbers sum = numbers_in(mean);
  sum.setZero();
  for (std::size_t member = 0; member < answered_.size(); ++member)
    if (answered_[member] != 0)
      with_numbers(raw_[member * plan_.model_outputs.size() + plan.index],
                   plan_.members[member].scalers[plan.index], [&](auto const& values) { sum += values; });
  sum /= good;
}

/// The population standard deviation over the members that answered.
void Ensemble::deviate(OutputPlan const& plan, std::uint32_t good, std::span<double const> mean,
                       std::span<double> deviation) const {
  ConstNumbers const middle(mean.data(), static_cast<Eigen::Index>(mean.size()));
  Numbers squares = numbers_in(deviation);
  squares.setZero();
  for (std::size_t member = 0; member < answered_.size(); ++member)
    if (answered_[member] != 0)
      with_numbers(raw_[member * plan_.model_outputs.size() + plan.index],
                   plan_.members[member].scalers[plan.index],
                   [&](auto const& values) { squares += (values - middle).square(); });
  squares = (squares / good).sqrt();
}

/// The median over the members that answered.
void Ensemble::take_median(OutputPlan const& plan, std::uint32_t good, std::span<double> median) {
  auto const numbers = given_.make_numbers<double>(median.size() * good);
  Eigen::Map<Eigen::ArrayXXd> given(numbers.data(), good, static_cast<Eigen::Index>(median.size()));
  Eigen::Index row = 0;
  for (std::size_t member = 0; member < answered_.size(); ++member)
    if (answered_[member] != 0)
      with_numbers(raw_[member * plan_.model_outputs.size() + plan.index],
                   plan_.members[member].scalers[plan.index],
                   [&](auto const& values) { given.row(row++) = values.transpose(); });
  for (std::size_t i = 0; i < median.size(); ++i) median[i] = median_of(numbers.subspan(i * good, good));
}

TensorView Ensemble::buffer_for(std::size_t output, TensorView const& like) {
  TensorView view = like;
  view.size_bytes = elements_of(like) * element_size(dtype_of(like));
  view.data = computed_[output].make_numbers<std::byte>(view.size_bytes).data();
  return view;
}

/// The count that an output holds for an item.
std::int64_t Ensemble::count_of(OutputPlan const& plan, std::size_t item, std::uint32_t good) const noexcept {
  if (plan.from == OutputPlan::From::unknown) return unknown_[item];
  if (plan.from == OutputPlan::From::members) return static_cast<std::int64_t>(good);
  return starts_[plan.ragged][item + 1] - starts_[plan.ragged][item];
}

void Ensemble::fill_output(std::size_t output, std::int64_t items, std::uint32_t good) {
  OutputPlan const& plan = plan_.outputs[output];
  outputs_[output] = TensorView{};
  if (plan.is_processed()) return;
  if (plan.from == OutputPlan::From::unknown || plan.from == OutputPlan::From::members ||
      plan.from == OutputPlan::From::rows) {
    TensorView counts{};
    counts.dtype = static_cast<std::int32_t>(DType::i64);
    counts.device_type = static_cast<std::int32_t>(DeviceType::cpu);
    counts.ndim = 1;
    counts.shape[0] = items;
    outputs_[output] = buffer_for(output, counts);
    for (std::size_t row = 0; row < static_cast<std::size_t>(items); ++row)
      static_cast<std::int64_t*>(outputs_[output].data)[row] = count_of(plan, row, good);
    return;
  }
  auto const first =
      static_cast<std::size_t>(std::ranges::find(answered_, std::uint8_t{1}) - answered_.begin());
  TensorView const& raw = raw_[first * plan_.model_outputs.size() + plan.index];
  Scaler const& scaler = plan_.members[first].scalers[plan.index];
  if (plan.from == OutputPlan::From::model && scaler.scale == 1 && scaler.center == 0) {
    outputs_[output] = raw;
    return;
  }
  outputs_[output] = buffer_for(output, raw);
  if (plan.from == OutputPlan::From::model)
    return with_numbers(raw, scaler, [&](auto const& values) { put_numbers(outputs_[output], values); });
  if (plan.from == OutputPlan::From::median) {
    auto const median = median_.make_numbers<double>(elements_of(raw));
    take_median(plan, good, median);
    return put_numbers(outputs_[output], numbers_in(median));
  }
  auto const mean = mean_.make_numbers<double>(elements_of(raw));
  average(plan, good, mean);
  if (plan.from == OutputPlan::From::mean) return put_numbers(outputs_[output], numbers_in(mean));
  auto const deviation = deviation_.make_numbers<double>(mean.size());
  deviate(plan, good, mean, deviation);
  put_numbers(outputs_[output], numbers_in(deviation));
}

}  // namespace athanor::inline v1::serving
