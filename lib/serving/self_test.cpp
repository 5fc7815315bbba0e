#include <athanor/serving/detail/self_test.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include <fmt/format.h>

#include <athanor/batching/policy.hpp>
#include <athanor/core/detail/view.hpp>
#include <athanor/serving/detail/contract.hpp>
#include <athanor/serving/detail/loaded_model.hpp>

#include "ragged_trial.hpp"
#include "trial.hpp"

namespace athanor::inline v1::serving {

namespace {

template <class... Args>
tl::unexpected<Error> refuse(fmt::format_string<Args...> sentence, Args&&... args) {
  return fail(Code::failed_precondition, Reason::model_load, "{}",
              fmt::format(sentence, std::forward<Args>(args)...));
}

/// The results of postprocess for the first `items` items of the sample.
Result<std::vector<MadeItem>> postprocess_batch(ModelDescription const& description, BatchRows const& ran,
                                                Sample const& sample, std::int64_t items) {
  std::vector<MadeItem> made;
  if (!description.postprocesses) return made;
  std::vector<Tensor> rows;
  for (TensorView const& output : std::span(ran.views).subspan(description.signature.outputs.size()))
    rows.push_back(from_view(output));
  for (std::int64_t row = 0; row < items; ++row) {
    auto const item = row % sample.checked.items;
    MadeItem const* const kept = sample.made.empty() ? nullptr : &sample.made[static_cast<std::size_t>(item)];
    auto answer = postprocess_item(description, sample.inputs, sample.parameters.values(), kept, rows,
                                   sample.longest, item, row);
    if (!answer) return tl::unexpected(std::move(answer.error()));
    for (OutputPlan const& plan : description.plan.outputs)
      if (plan.from == OutputPlan::From::postprocess && plan.has_item_rows() &&
          !is_row_of(plan.spec, answer->tensor(plan.index)))
        return fail(Code::internal, Reason::backend_contract,
                    "output {}: expected one row of {}, the processor returned {}", plan.spec.name,
                    to_string(plan.spec), to_string(shape_of(answer->tensor(plan.index))));
    made.push_back(std::move(*answer));
  }
  return made;
}

/// Compares a batch of `items` items of the sample, from its first on, with the answers of the self-test.
Result<void> compare(ModelDescription const& description, BatchRows const& ran,
                     manifest::SelfTest const& test, Sample const& sample, std::span<MadeItem const> post,
                     std::int64_t items, std::string const& where) {
  for (auto const& [name, value] : test.outputs) {
    auto const planned = std::ranges::find(description.plan.outputs, name,
                                           [](OutputPlan const& plan) { return plan.spec.name; });
    OutputPlan const& plan = *planned;
    if (!plan.has_item_rows() || plan.from == OutputPlan::From::made_rows) continue;
    auto const output = static_cast<std::size_t>(planned - description.plan.outputs.begin());
    TensorView const expected = to_view(value);
    auto const tested = static_cast<std::size_t>(sample.checked.items);
    auto const width = static_cast<std::size_t>(value.shape().elements()) / tested;
    bool const from_processor = plan.is_processed();
    bool const last = plan.from == OutputPlan::From::postprocess;
    for (std::size_t row = 0; row < static_cast<std::size_t>(items); ++row) {
      TensorView const& got = !from_processor ? ran.views[output]
                              : last          ? post[row].tensor(plan.index)
                                              : sample.made[row % tested].tensor(plan.index);
      std::size_t const rows = from_processor ? 1 : static_cast<std::size_t>(items);
      auto const elements = static_cast<std::size_t>(shape_of(got).elements());
      if (got.dtype != expected.dtype || elements != rows * width)
        return refuse("{}: output {}: expected {} {}, got {} elements of {}", where, name,
                      to_string(value.dtype()), to_string(value.shape()), elements, to_string(dtype_of(got)));
      for (std::size_t i = 0; i < width; ++i) {
        std::size_t const at = (from_processor ? 0 : row * width) + i;
        std::size_t const index = (row % tested) * width + i;
        if (auto const difference = find_difference(got, at, expected, index, test.tolerance))
          return refuse("{}: output {}: element {}: {}", where, name, row * width + i, *difference);
      }
    }
  }
  return compare_ragged(description, ran, test, sample, post, items, where);
}

/// Runs `items` items of a self-test in one batch and compares them with its answers.
Result<void> run_test(ModelDescription const& description, Worker& worker, manifest::SelfTest const& test,
                      std::int64_t items, std::string const& where) {
  auto const named = [&](Error error) {
    error.message = fmt::format("{}: {}", where, error.message);
    return tl::unexpected(std::move(error));
  };
  auto const sample = make_sample(description, test.inputs);
  if (!sample) return named(sample.error());
  if (items == 0) items = sample->checked.items;
  auto const ran = run_sample(description, worker, *sample, 0, items);
  if (!ran) return named(ran.error());
  auto const post = postprocess_batch(description, *ran, *sample, items);
  if (!post) return named(post.error());
  return compare(description, *ran, test, *sample, *post, items, where);
}

/// What an element of the first made-up item is: small, so that few functions refuse it, of both signs, and neither 0 nor 1,
/// with which a mistake may be no mistake. Each further item has twice the numbers of the one before, so that a model that
/// mixes them is seen.
constexpr float made_up = 0.015625F;
constexpr std::int64_t made_up_items = 2;
/// The most bytes of a made-up item, and of a batch of any items.
constexpr std::int64_t most_trial_bytes = std::int64_t{64} << 20;
constexpr std::int64_t most_trial_items = 4096;
/// What a position along padded axes is taken to hold.
constexpr std::int64_t bytes_of_a_position = 8;
/// How many items of a sample are run alone.
constexpr std::int64_t most_alone = 8;

/// Floating-point elements of `rows` items are made up; all others are zeros, which as a position or a token are never too
/// large.
void fill_made_up(Tensor& tensor, std::int64_t rows) noexcept {
  auto* const data = tensor.mutable_data();
  std::fill_n(data, tensor.size_bytes(), std::byte{0});
  auto const elements = static_cast<std::size_t>(tensor.shape().elements());
  std::size_t const in_row = elements / static_cast<std::size_t>(rows);
  for (std::size_t i = 0; i < elements; ++i) {
    std::size_t const row = i / in_row;
    float const value = std::ldexp(i % in_row % 2 == 0 ? made_up : -made_up, static_cast<int>(row));
    std::size_t const sign = i % in_row % 2 == 0 ? 0 : 0x8000;
    switch (tensor.dtype()) {
      case DType::f32: reinterpret_cast<float*>(data)[i] = value; break;
      case DType::f64: reinterpret_cast<double*>(data)[i] = static_cast<double>(value); break;
      case DType::f16:
        reinterpret_cast<std::uint16_t*>(data)[i] =
            static_cast<std::uint16_t>((0x2400 + row * 0x0400) | sign);
        break;
      case DType::bf16:
        reinterpret_cast<std::uint16_t*>(data)[i] =
            static_cast<std::uint16_t>((0x3c80 + row * 0x0080) | sign);
        break;
      default: return;
    }
  }
}

Result<Tensor> make_up(TensorSpec const& spec, std::int64_t items) {
  std::vector<std::int64_t> lengths;
  auto bytes =
      static_cast<std::int64_t>(spec.dtype == DType::bytes ? sizeof(std::int64_t) : element_size(spec.dtype));
  for (Dim const& dim : spec.dims) {
    std::int64_t const length = dim.kind == Dim::Kind::fixed ? dim.length : 1;
    lengths.push_back(lengths.empty() && spec.stacks() ? items : length);
    if (__builtin_mul_overflow(bytes, std::max<std::int64_t>(length, 1), &bytes) || bytes > most_trial_bytes)
      return refuse("input {}: {} is too large to be made up", spec.name, to_string(spec));
  }
  Shape const shape{std::span<std::int64_t const>(lengths)};
  if (spec.dtype == DType::bytes) {
    std::vector<std::string_view> const texts(static_cast<std::size_t>(shape.elements()));
    return Tensor::copy_texts(texts).map([&](Tensor const& tensor) { return tensor.reshaped(shape); });
  }
  auto tensor = Tensor::allocate(spec.dtype, shape);
  if (tensor) fill_made_up(*tensor, spec.stacks() ? items : 1);
  return tensor;
}

/// A value that `spec` allows, for a parameter that every request must set.
ParameterValue make_up(ParameterSpec const& spec) {
  if (!spec.choices.empty()) return spec.choices[0];
  ParameterValue const zeros[] = {false, std::int64_t{0}, 0.0, std::string()};
  ParameterValue const& zero = zeros[static_cast<std::size_t>(spec.type)];
  if (check(spec, view_of(zero))) return zero;
  return spec.least ? *spec.least : *spec.most;
}

/// A request of few items, or of one for a model of one at a time: small numbers, zeros and empty texts; an axis of any length
/// is 1 long.
Result<Request> make_up_request(ModelDescription const& description) {
  Request request;
  auto const& inputs = description.signature.inputs;
  bool const alone =
      description.manifest.batching.max_items == 1 ||
      !std::ranges::all_of(inputs, [](TensorSpec const& spec) { return spec.stacks() || spec.shared; });
  for (TensorSpec const& spec : inputs) {
    auto tensor = make_up(spec, alone ? 1 : made_up_items);
    if (!tensor) return tl::unexpected(std::move(tensor.error()));
    request.set(spec.name, std::move(*tensor));
  }
  for (ParameterSpec const& spec : description.signature.parameters) {
    if (spec.initial) continue;
    auto value = view_of(make_up(spec)).clone();
    if (!value) return tl::unexpected(std::move(value.error()));
    request.set(spec.name, std::move(*value));
  }
  return request;
}

/// How many items of the sample the largest batch of its trial holds.
std::int64_t largest_batch(ModelDescription const& description, Sample const& sample) {
  auto const& batching = description.manifest.batching;
  std::int64_t bytes = std::max<std::int64_t>(
      bytes_of_items(description, sample.request, sample.checked) / sample.checked.items, 1);
  std::int64_t cost = sample.made.empty() ? bytes : 1;
  for (MadeItem const& made : sample.made) cost = std::max(cost, made.cost());
  Padding const& padding = description.plan.padding;
  if (!padding.empty()) {
    cost = padding.positions_of(padding.buckets_of(sample.longest));
    bytes = std::max(bytes, cost * bytes_of_a_position);
  }
  std::int64_t items = std::min<std::int64_t>(policy_settings(batching).max_items, most_trial_items);
  if (batching.max_cost) items = std::min(items, *batching.max_cost / cost);
  if (auto const& sequences = description.manifest.sequences) items = std::min(items, sequences->max);
  return std::min(items, std::max<std::int64_t>(most_trial_bytes / bytes, 2));
}

/// The outputs of a batch, kept.
struct Outputs {
  std::vector<TensorView> views;
  std::vector<std::vector<std::byte>> memory;

  explicit Outputs(BatchRows const& rows) {
    for (TensorView const& view : rows.views) {
      auto const* data = static_cast<std::byte const*>(view.data);
      memory.emplace_back(data, data + view.size_bytes);
      views.push_back(view);
      views.back().data = memory.back().data();
    }
  }
};

/// How far the same row may be from itself in another batch: kernels for other sizes round otherwise.
double tolerance_of(DType dtype, double stated) noexcept {
  if (dtype == DType::f16) return std::max(stated, 1e-2);
  if (dtype == DType::bf16) return std::max(stated, 5e-2);
  return std::max(stated, 1e-4);
}

/// Compares the rows of a batch of `items` items with those that each item of the sample gave alone.
Result<void> compare_company(ModelDescription const& description, BatchRows const& ran,
                             std::vector<Outputs> const& alone, std::size_t tested, std::int64_t items,
                             double tolerance) {
  for (std::size_t output = 0; output < description.plan.outputs.size(); ++output) {
    OutputPlan const& plan = description.plan.outputs[output];
    if (plan.is_processed()) continue;
    TensorView const& got = ran.views[output];
    for (std::size_t row = 0; row < static_cast<std::size_t>(items); ++row) {
      std::size_t const item = row % tested;
      if (item >= alone.size()) continue;
      TensorView const& expected = alone[item].views[output];
      if (!plan.has_item_rows()) {
        auto const difference = find_ragged_difference(description, ran, output, row, expected,
                                                       tolerance_of(plan.spec.dtype, tolerance));
        if (!difference) continue;
        return refuse("output {}: item {} of {}: {} as for the item alone", plan.spec.name, row, items,
                      *difference);
      }
      auto const width = static_cast<std::size_t>(shape_of(expected).elements());
      if (got.size_bytes != expected.size_bytes * static_cast<std::size_t>(items))
        return refuse("output {}: expected rows of {} bytes as for an item alone, got {} bytes for {} items",
                      plan.spec.name, expected.size_bytes, got.size_bytes, items);
      for (std::size_t i = 0; i < width; ++i)
        if (auto const difference =
                find_difference(got, row * width + i, expected, i, tolerance_of(plan.spec.dtype, tolerance)))
          return refuse("output {}: element {} of item {} of {}: {} as for the item alone", plan.spec.name, i,
                        row, items, *difference);
    }
  }
  return {};
}

/// Whether what fails an item alone is no fault of made-up values: whatever a model is given, its outputs are what its
/// manifest declares, and its inputs stay as they are.
bool is_broken_promise(Error const& error) noexcept {
  return error.reason == Reason::backend_contract || is_written_input(error);
}

/// Runs the first item a second time, for a model that no company shows to keep state.
Result<void> try_again(ModelDescription const& description, Worker& worker, Sample const& sample,
                       std::vector<Outputs> const& alone, double tolerance) {
  auto const same = run_sample(description, worker, sample, 0, 1).and_then([&](BatchRows const& ran) {
    return compare_company(description, ran, alone, alone.size(), 1, tolerance);
  });
  if (same || same.error().reason == Reason::out_of_memory) return {};
  return refuse("dry run of an item for the second time: {}; a model may not keep state between calls",
                same.error().message);
}

/// Runs the first item padded to the next buckets, which may not show: in which one it runs depends on its company.
Result<void> try_padding(ModelDescription const& description, Worker& worker, Sample const& sample,
                         std::vector<Outputs> const& alone, double tolerance) {
  Padding const& padding = description.plan.padding;
  if (padding.empty()) return {};
  PaddedLengths const usual = padding.buckets_of(sample.longest);
  PaddedLengths next = usual;
  for (std::size_t axis = 0; axis < padding.axes().size(); ++axis)
    next[axis] = std::min(usual[axis] + 1, padding.axes()[axis].buckets.back());
  if (next == usual) return {};
  if (padding.positions_of(padding.buckets_of(next)) > most_trial_bytes / bytes_of_a_position) return {};
  auto const same = run_sample(description, worker, sample, 0, 1, next).and_then([&](BatchRows const& ran) {
    return compare_company(description, ran, alone, alone.size(), 1, tolerance);
  });
  if (same || same.error().reason == Reason::out_of_memory) return {};
  return refuse(
      "dry run of an item with more padding: {}; a model that is given padding must know it, by a mask or "
      "lengths",
      same.error().message);
}

constexpr std::string_view advice =
    "; a model that takes one item at a time says so with \"batching\": {\"max_items\": 1}, and one that "
    "takes certain "
    "batch sizes only with \"sizes\"";

}  // namespace

Result<void> check_processor_rows(ModelDescription const& description) {
  auto const& outputs = description.plan.outputs;
  bool const taken = std::ranges::count(outputs, OutputPlan::From::preprocess, &OutputPlan::from) != 0;
  if (!taken || description.manifest.self_tests.empty()) return {};
  auto const sample = make_sample(description, description.manifest.self_tests[0].inputs);
  if (!sample)
    return fail(Code::invalid_argument, Reason::manifest, "{}: self_test[0]: {}", description.id,
                sample.error().message);
  for (OutputPlan const& output : outputs) {
    if (output.from != OutputPlan::From::preprocess) continue;
    TensorView const& row = sample->made[0].tensor(output.index);
    if (is_row_of(output.spec, row)) continue;
    return fail(Code::invalid_argument, Reason::manifest,
                "{}: output {}: expected one row of {}, the processor returned {}", description.id,
                output.spec.name, to_string(output.spec), to_string(shape_of(row)));
  }
  return {};
}

Result<void> prove(ModelDescription const& description, Worker& worker) {
  auto const& tests = description.manifest.self_tests;
  for (std::size_t i = 0; i < tests.size(); ++i)
    if (auto right = run_test(description, worker, tests[i], 0, fmt::format("self_test[{}]", i)); !right)
      return right;
  if (tests.empty()) return {};
  for (std::int64_t const batch : description.manifest.warm_up_batches)
    if (auto right = run_test(description, worker, tests[0], batch,
                              fmt::format("warm_up: a batch of {} items", batch));
        !right)
      return right;
  return {};
}

Result<std::string> try_company(ModelDescription const& description, Worker& worker) {
  auto const& tests = description.manifest.self_tests;
  auto const sample = (tests.empty() ? make_up_request(description) : Result<Request>(tests[0].inputs))
                          .and_then([&](Request const& made) { return make_sample(description, made); });
  if (!sample) return sample.error().message;
  std::int64_t const tested = sample->checked.items;
  std::vector<Outputs> alone;
  for (std::int64_t item = 0; item < std::min(tested, most_alone); ++item) {
    auto const ran = run_sample(description, worker, *sample, item, 1);
    if (!ran && is_broken_promise(ran.error())) return refuse("dry run of one item: {}", ran.error().message);
    if (!ran) return ran.error().message;  // made-up values may be none that the model takes
    alone.emplace_back(*ran);
  }
  std::int64_t const largest = largest_batch(description, *sample);
  double const tolerance = tests.empty() ? 0 : tests[0].tolerance;
  if (auto same = try_padding(description, worker, *sample, alone, tolerance); !same)
    return tl::unexpected(std::move(same.error()));
  if (largest <= 1)
    if (auto same = try_again(description, worker, *sample, alone, tolerance); !same)
      return tl::unexpected(std::move(same.error()));
  std::set<std::int64_t> batches{2, largest};
  batches.insert(description.manifest.batching.sizes.begin(), description.manifest.batching.sizes.end());
  for (std::int64_t const items : batches) {
    if (items > largest || items < 2) continue;
    auto const same = run_sample(description, worker, *sample, 0, items).and_then([&](BatchRows const& ran) {
      return compare_company(description, ran, alone, static_cast<std::size_t>(tested), items, tolerance);
    });
    if (!same && same.error().reason == Reason::out_of_memory) return same.error().message;
    if (!same) return refuse("dry run of {} items: {}{}", items, same.error().message, advice);
  }
  return std::string();
}

}  // namespace athanor::inline v1::serving
