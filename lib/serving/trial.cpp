#include "trial.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include <athanor/core/detail/half.hpp>
#include <athanor/core/detail/view.hpp>
#include <athanor/serving/detail/outputs.hpp>

namespace athanor::inline v1::serving {

namespace {

/// Stands in the sentence of every input that was written to.
constexpr std::string_view wrote = "the model writes to its input";

template <class T>
T element(TensorView const& view, std::size_t index) noexcept {
  T value{};
  std::memcpy(&value, static_cast<std::byte const*>(view.data) + index * sizeof(T), sizeof(T));
  return value;
}

std::optional<double> real_at(TensorView const& view, std::size_t index) noexcept {
  switch (dtype_of(view)) {
    case DType::f16: return static_cast<double>(from_f16(element<std::uint16_t>(view, index)));
    case DType::bf16: return static_cast<double>(from_bf16(element<std::uint16_t>(view, index)));
    case DType::f32: return static_cast<double>(element<float>(view, index));
    case DType::f64: return element<double>(view, index);
    default: return std::nullopt;
  }
}

/// The digits of an integer or a boolean.
std::string integer_at(TensorView const& view, std::size_t index) {
  switch (dtype_of(view)) {
    case DType::i64: return std::to_string(element<std::int64_t>(view, index));
    case DType::i32: return std::to_string(element<std::int32_t>(view, index));
    case DType::i16: return std::to_string(element<std::int16_t>(view, index));
    case DType::i8: return std::to_string(element<std::int8_t>(view, index));
    case DType::u64: return std::to_string(element<std::uint64_t>(view, index));
    case DType::u32: return std::to_string(element<std::uint32_t>(view, index));
    case DType::u16: return std::to_string(element<std::uint16_t>(view, index));
    default: return std::to_string(element<std::uint8_t>(view, index));
  }
}

bool are_near(double got, double expected, double tolerance) noexcept {
  if (std::isnan(expected) || std::isinf(expected))
    return std::isnan(expected) ? std::isnan(got) : got == expected;
  return std::abs(got - expected) / std::max(1.0, std::abs(expected)) <= tolerance;
}

std::vector<std::vector<std::byte>> bytes_of(std::span<TensorView const> tensors) {
  std::vector<std::vector<std::byte>> bytes;
  for (TensorView const& tensor : tensors) {
    auto const* data = static_cast<std::byte const*>(tensor.data);
    bytes.emplace_back(data, data + tensor.size_bytes);
  }
  return bytes;
}

Result<void> check_unwritten(ModelDescription const& description, std::span<TensorView const> inputs,
                             std::vector<std::vector<std::byte>> const& before) {
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (!std::equal(before[i].begin(), before[i].end(), static_cast<std::byte const*>(inputs[i].data)))
      return fail(Code::failed_precondition, Reason::model_load, "{} '{}', which belongs to its callers",
                  wrote, description.plan.inputs[i].spec.name);
  return {};
}

/// The outputs of the batch that ran last.
Result<BatchRows> rows_of(ModelDescription const& description, Worker const& worker,
                          PaddedLengths const& longest) {
  auto const outputs = worker.ensemble.outputs();
  BatchRows rows{{outputs.begin(), outputs.end()}, std::vector<Tensor>(outputs.size())};
  for (std::size_t axis = 0; axis < description.plan.ragged.size(); ++axis) {
    auto const starts = worker.ensemble.starts(axis);
    rows.starts.emplace_back(starts.begin(), starts.end());
  }
  if (description.plan.padding.empty()) return rows;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    OutputPlan const& plan = description.plan.outputs[i];
    if (plan.padded.empty()) continue;
    auto cut = Tensor::allocate(plan.spec.dtype, with_lengths(shape_of(outputs[i]), plan.padded, longest));
    if (!cut) return tl::unexpected(std::move(cut.error()));
    rows.cut[i] = std::move(*cut);
    rows.views[i] = to_view(rows.cut[i]);
  }
  std::size_t row = 0;
  for (std::size_t piece = 0; piece < worker.pieces.size(); ++piece) {
    std::uint32_t const items = worker.pieces.items(piece);
    auto cut = cut_rows(description, outputs, row, row, items, worker.assembler.lengths(piece), rows.cut);
    if (!cut) return tl::unexpected(std::move(cut.error()));
    row += items;
  }
  return rows;
}

/// The sample, and the item of it, that is item `index` of samples which begin again after the last.
std::pair<Sample const&, std::int64_t> find_item(std::span<Sample const> samples, std::int64_t index) {
  index %= items_of(samples);
  std::size_t sample = 0;
  for (; index >= samples[sample].checked.items; ++sample) index -= samples[sample].checked.items;
  return {samples[sample], index};
}

/// Each item is the first of a sequence.
void begin_sequences(ModelDescription const& description, Worker& worker, std::int64_t items) {
  auto& slots = worker.ensemble.slots();
  slots.resize(static_cast<std::size_t>(items));
  std::iota(slots.begin(), slots.end(), std::uint64_t{0});
  if (!description.manifest.sequences->held) return;
  for (std::uint64_t const slot : slots) worker.ensemble.clear_slot(slot);
}

/// Leaves of the outputs of a batch those of its first `items` items.
void keep_first(ModelDescription const& description, std::int64_t batch, std::int64_t items,
                BatchRows& rows) {
  for (auto& starts : rows.starts) starts.resize(static_cast<std::size_t>(items) + 1);
  for (std::size_t i = 0; i < rows.views.size(); ++i) {
    OutputPlan const& plan = description.plan.outputs[i];
    TensorView& view = rows.views[i];
    if (plan.is_processed()) continue;
    std::int64_t const all = plan.has_item_rows() ? batch : view.shape[0];
    std::int64_t const kept = plan.has_item_rows() ? items : rows.starts[plan.ragged].back();
    if (all != 0)
      view.size_bytes = view.size_bytes / static_cast<std::uint64_t>(all) * static_cast<std::uint64_t>(kept);
    view.shape[0] = kept;
  }
}

}  // namespace

Result<Sample> make_sample(ModelDescription const& description, Request const& request) {
  PaddedLengths lengths{};
  auto checked = check_request(description, request, lengths);
  if (!checked) return tl::unexpected(std::move(checked.error()));
  Sample sample{request, *checked, {}, {}, {}};
  sample.longest = lengths;
  add_defaults(description.signature, sample.request, sample.checked);
  sample.parameters.assign(description.signature, request, *checked);
  for (std::size_t const input : description.processor_inputs)
    sample.inputs.push_back(sample.request.inputs()[sample.checked.index[input]].value);
  if (!description.preprocesses) return sample;
  for (std::int64_t item = 0; item < checked->items; ++item) {
    auto made = preprocess_item(description, sample.inputs, {sample.parameters.values()}, item);
    if (!made) return tl::unexpected(std::move(made.error()));
    sample.longest = longest_of(sample.longest, item_lengths(description, &*made, {}));
    sample.made.push_back(std::move(*made));
  }
  return sample;
}

std::int64_t items_of(std::span<Sample const> samples) noexcept {
  std::int64_t items = 0;
  for (Sample const& sample : samples) items += sample.checked.items;
  return items;
}

Result<BatchRows> run_samples(ModelDescription const& description, Worker& worker,
                              std::span<Sample const> samples, std::int64_t first, std::int64_t items,
                              PaddedLengths const& least) {
  worker.pieces.clear();
  worker.pieces.widen(least);
  for (std::int64_t done = 0; done < items;) {
    auto [sample, from] = find_item(samples, first + done);
    std::int64_t const count = std::min(sample.checked.items - from, items - done);
    append_pieces(description,
                  {sample.request, sample.checked, sample.made, sample.parameters.values(), &worker.state},
                  static_cast<std::uint32_t>(from), static_cast<std::uint32_t>(count), worker.pieces);
    done += count;
  }
  worker.pieces.fill_up(description.manifest.batching.sizes);
  if (description.plan.slots != 0) begin_sequences(description, worker, items);
  if (auto gathered = worker.assembler.gather(worker.pieces, false); !gathered)
    return tl::unexpected(std::move(gathered.error()));
  auto const before = bytes_of(worker.assembler.inputs());
  auto const ran = worker.ensemble.run(worker.assembler.inputs(), worker.assembler.items(),
                                       worker.assembler.widths(), worker.assembler.starts());
  if (auto same = check_unwritten(description, worker.assembler.inputs(), before); !same)
    return tl::unexpected(std::move(same.error()));
  if (auto broken = worker.ensemble.take_broken_promise()) return tl::unexpected(std::move(*broken));
  if (!ran) return tl::unexpected(ran.error());
  auto rows = rows_of(description, worker, samples[0].longest);
  if (rows && worker.pieces.filling() != 0) keep_first(description, worker.assembler.items(), items, *rows);
  return rows;
}

bool is_written_input(Error const& error) noexcept {
  return error.reason == Reason::model_load && error.message.find(wrote) != std::string::npos;
}

std::optional<std::string> find_difference(TensorView const& got, std::size_t at, TensorView const& expected,
                                           std::size_t index, double tolerance) {
  if (dtype_of(expected) == DType::bytes) {
    auto const wanted = from_view(expected).text_at(static_cast<std::int64_t>(index));
    auto const given = from_view(got).text_at(static_cast<std::int64_t>(at));
    if (given == wanted) return std::nullopt;
    return fmt::format("expected '{}', got '{}'", wanted, given);
  }
  if (auto const wanted = real_at(expected, index)) {
    double const given = *real_at(got, at);
    if (are_near(given, *wanted, tolerance)) return std::nullopt;
    return fmt::format("expected {:.6g} within {:.3g}, got {:.6g}", *wanted, tolerance, given);
  }
  std::size_t const size = element_size(dtype_of(expected));
  if (std::memcmp(static_cast<std::byte const*>(expected.data) + index * size,
                  static_cast<std::byte const*>(got.data) + at * size, size) == 0)
    return std::nullopt;
  return fmt::format("expected {}, got {}", integer_at(expected, index), integer_at(got, at));
}

}  // namespace athanor::inline v1::serving
