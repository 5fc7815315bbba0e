#include <athanor/serving/detail/self_test.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>

#include <fmt/format.h>

#include <athanor/serving/detail/loaded_model.hpp>
#include <athanor/serving/detail/pieces.hpp>

namespace athanor::inline v1::serving {

namespace {

/// The difference between element `at` of `got` and element `index` of `expected`, relative to the latter
/// (absolute below 1); infinite when one of them is not finite. Elements that are not numbers are equal (0) or
/// not (infinite).
double distance(TensorView const& got, std::size_t at, Tensor const& expected, std::size_t index) noexcept {
  if (!is_computable(expected.dtype())) {
    std::size_t const width = element_size(expected.dtype());
    bool const same = std::memcmp(static_cast<std::byte const*>(got.data) + at * width,
                                  expected.data() + index * width, width) == 0;
    return same ? 0 : HUGE_VAL;
  }
  double const wanted = number_at(to_view(expected), index);
  double const difference = std::abs(number_at(got, at) - wanted) / std::max(1.0, std::abs(wanted));
  return std::isfinite(difference) ? difference : HUGE_VAL;
}

/// The sentence about an element that differs from the expected one.
std::string mismatch(TensorView const& got, std::size_t at, Tensor const& expected, std::size_t index,
                     double tolerance) {
  if (!is_computable(expected.dtype()))
    return fmt::format("element {}: differs from the expected value", index);
  return fmt::format("element {}: expected {:.6g} within {:.3g}, got {:.6g}", index,
                     number_at(to_view(expected), index), tolerance, number_at(got, at));
}

/// A request of the manifest, checked and preprocessed.
struct Sample {
  Request const* request;
  CheckedRequest checked;
  std::vector<MadeItem> made;
  Result<void> run;
};

Result<Sample> make_sample(ModelDescription const& description, Request const& request) {
  auto checked = check(description.signature, request);
  if (!checked) return tl::unexpected(std::move(checked.error()));
  Sample sample{&request, *checked, {}, {}};
  if (!description.processor) return sample;
  std::vector<Tensor> inputs;
  for (std::size_t const input : description.processor_inputs)
    inputs.push_back(request.inputs()[checked->index[input]].value);
  for (std::int64_t item = 0; item < checked->items; ++item) {
    auto made = preprocess_item(description, inputs, item);
    if (!made) return tl::unexpected(std::move(made.error()));
    sample.made.push_back(std::move(*made));
  }
  return sample;
}

/// Runs one batch that repeats the sample until it holds at least `batch` items.
Result<void> run_sample(ModelDescription const& description, Worker& worker, Sample const& sample,
                        std::int64_t batch) {
  worker.pieces.clear();
  std::int64_t items = 0;
  do {
    append_pieces(description, *sample.request, sample.checked, sample.made, 0,
                  static_cast<std::uint32_t>(sample.checked.items), worker.pieces);
    items += sample.checked.items;
  } while (items < batch);
  if (auto gathered = worker.assembler.gather(worker.pieces, false); !gathered) return gathered;
  auto ran = worker.ensemble.run(worker.assembler.inputs(), items);
  if (!ran) return tl::unexpected(std::move(ran.error()));
  return {};
}

Result<void> compare(ModelDescription const& description, Worker const& worker,
                     manifest::SelfTest const& test, Sample const& sample, std::size_t number) {
  for (auto const& [name, expected] : test.outputs) {
    auto const planned = std::ranges::find(description.plan.outputs, name,
                                           [](OutputPlan const& plan) { return plan.spec.name; });
    OutputPlan const& plan = *planned;
    auto const output = static_cast<std::size_t>(planned - description.plan.outputs.begin());
    auto const per_item = static_cast<std::size_t>(expected.shape().elements() /
                                                   std::max<std::int64_t>(sample.checked.items, 1));
    for (std::size_t i = 0; i < static_cast<std::size_t>(expected.shape().elements()); ++i) {
      bool const from_processor = plan.from == OutputPlan::From::processor;
      TensorView const& got =
          from_processor ? sample.made[i / per_item].tensor(plan.index) : worker.ensemble.outputs()[output];
      std::size_t const whole =
          from_processor ? per_item : static_cast<std::size_t>(expected.shape().elements());
      if (got.dtype != static_cast<std::int32_t>(expected.dtype()) ||
          got.size_bytes != whole * element_size(expected.dtype()))
        return fail(Code::failed_precondition, Reason::model_load,
                    "self_test[{}]: output {}: expected {} {}, got {} bytes of {}", number, name,
                    to_string(expected.dtype()), to_string(expected.shape()), got.size_bytes,
                    to_string(static_cast<DType>(got.dtype)));
      std::size_t const at = from_processor ? i % per_item : i;
      if (distance(got, at, expected, i) <= test.tolerance) continue;
      return fail(Code::failed_precondition, Reason::model_load, "self_test[{}]: output {}: {}", number, name,
                  mismatch(got, at, expected, i, test.tolerance));
    }
  }
  return {};
}

}  // namespace

Result<void> check_processor_rows(ModelDescription const& description) {
  auto const& outputs = description.plan.outputs;
  bool const taken = std::ranges::count(outputs, OutputPlan::From::processor, &OutputPlan::from) != 0;
  if (!taken || description.manifest.self_tests.empty()) return {};
  auto const sample = make_sample(description, description.manifest.self_tests[0].inputs);
  if (!sample)
    return fail(Code::invalid_argument, Reason::manifest, "{}: self_test[0]: {}", description.id,
                sample.error().message);
  for (OutputPlan const& output : outputs) {
    if (output.from != OutputPlan::From::processor) continue;
    TensorView const& row = sample->made[0].tensor(output.index);
    if (is_row_of(output.spec, row)) continue;
    auto const rank = static_cast<std::size_t>(std::clamp<std::int32_t>(row.ndim, 0, Shape::max_rank));
    Shape const shape(std::span<std::int64_t const>(row.shape, rank));
    return fail(Code::invalid_argument, Reason::manifest,
                "{}: output {}: expected one row of {}, the processor gives {}", description.id,
                output.spec.name, to_string(output.spec), to_string(shape));
  }
  return {};
}

Result<void> prove(ModelDescription const& description, Worker& worker) {
  auto const& tests = description.manifest.self_tests;
  for (std::size_t i = 0; i < tests.size(); ++i) {
    auto sample = make_sample(description, tests[i].inputs);
    if (sample) sample->run = run_sample(description, worker, *sample, 1);
    if (!sample || !sample->run) {
      Error error = sample ? sample->run.error() : sample.error();
      error.message = fmt::format("self_test[{}]: {}", i, error.message);
      return tl::unexpected(std::move(error));
    }
    if (auto same = compare(description, worker, tests[i], *sample, i); !same) return same;
  }
  if (tests.empty()) return {};
  for (std::int64_t const batch : description.manifest.warm_up_batches) {
    auto sample = make_sample(description, tests[0].inputs);
    if (!sample) return tl::unexpected(std::move(sample.error()));
    if (auto ran = run_sample(description, worker, *sample, batch); !ran) return ran;
  }
  return {};
}

}  // namespace athanor::inline v1::serving
