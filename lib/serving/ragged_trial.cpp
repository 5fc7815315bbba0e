#include "ragged_trial.hpp"

#include <algorithm>

#include <fmt/format.h>

#include <athanor/core/detail/view.hpp>
#include <athanor/serving/detail/ragged.hpp>

namespace athanor::inline v1::serving {

namespace {

/// Some rows of a tensor.
struct Rows {
  TensorView tensor{};
  std::size_t first = 0;
  std::size_t count = 0;
};

std::size_t in_row(TensorView const& tensor) noexcept {
  auto const rows = static_cast<std::size_t>(tensor.shape[0]);
  return rows == 0 ? 0 : static_cast<std::size_t>(shape_of(tensor).elements()) / rows;
}

/// The rows of item `row` of a batch.
Rows rows_of(OutputPlan const& plan, std::size_t output, BatchRows const& ran, std::span<MadeItem const> post,
             std::size_t row) noexcept {
  if (plan.is_processed()) {
    TensorView const& made = post[row].tensor(plan.index);
    return {made, 0, static_cast<std::size_t>(made.shape[0])};
  }
  auto const& starts = ran.starts[plan.ragged];
  return {ran.views[output], static_cast<std::size_t>(starts[row]),
          static_cast<std::size_t>(starts[row + 1] - starts[row])};
}

std::optional<std::string> compare_rows(Rows const& got, Rows const& expected, double tolerance) {
  if (got.count != expected.count) return fmt::format("expected {} rows, got {}", expected.count, got.count);
  std::size_t const width = in_row(expected.tensor);
  if (got.count != 0 && in_row(got.tensor) != width)
    return fmt::format("expected rows of {} elements, got {}", width, in_row(got.tensor));
  for (std::size_t i = 0; i < got.count * width; ++i)
    if (auto const difference = find_difference(got.tensor, got.first * width + i, expected.tensor,
                                                expected.first * width + i, tolerance))
      return fmt::format("element {}: {}", i, *difference);
  return std::nullopt;
}

Result<void> compare_output(OutputPlan const& plan, std::size_t output, BatchRows const& ran,
                            Tensor const& value, Sample const& sample, std::span<MadeItem const> post,
                            std::int64_t items, double tolerance, std::string const& where) {
  auto const tested = static_cast<std::size_t>(sample.checked.items);
  auto const batch = static_cast<std::size_t>(items);
  auto const rows = static_cast<std::size_t>(value.shape()[0]);
  std::vector<std::size_t> begins(1, 0);  // of each item, in the self-test's answer
  for (std::size_t item = 0; item < std::min(tested, batch); ++item)
    begins.push_back(begins.back() + rows_of(plan, output, ran, post, item).count);
  bool const complete = batch >= tested;
  if (complete ? begins.back() != rows : begins.back() > rows)
    return fail(Code::failed_precondition, Reason::model_load, "{}: output {}: expected {} rows, got {}",
                where, plan.spec.name, rows, begins.back());
  for (std::size_t row = 0; row < batch; ++row) {
    std::size_t const item = row % tested;
    Rows const expected{to_view(value), begins[item], begins[item + 1] - begins[item]};
    if (auto const difference = compare_rows(rows_of(plan, output, ran, post, row), expected, tolerance))
      return fail(Code::failed_precondition, Reason::model_load, "{}: output {}: item {}: {}", where,
                  plan.spec.name, row, *difference);
  }
  return {};
}

/// How many rows postprocess made of each item.
Result<void> compare_counts(ModelDescription const& description, std::size_t output, Tensor const& value,
                            Sample const& sample, std::span<MadeItem const> post, std::string const& where) {
  Tensor counts;
  if (auto counted = count_made(description, output, post, counts); !counted) return counted;
  auto const got = counts.as<std::int64_t>();
  auto const expected = value.as<std::int64_t>();
  for (std::size_t row = 0; row < got.size(); ++row)
    if (auto const item = row % static_cast<std::size_t>(sample.checked.items); got[row] != expected[item])
      return fail(Code::failed_precondition, Reason::model_load,
                  "{}: output {}: element {}: expected {}, got {}", where,
                  description.plan.outputs[output].spec.name, row, expected[item], got[row]);
  return {};
}

}  // namespace

Result<void> compare_ragged(ModelDescription const& description, BatchRows const& ran,
                            manifest::SelfTest const& test, Sample const& sample,
                            std::span<MadeItem const> post, std::int64_t items, std::string const& where) {
  for (std::size_t output = 0; output < description.signature.outputs.size(); ++output) {
    OutputPlan const& plan = description.plan.outputs[output];
    auto const named = std::ranges::find(test.outputs, plan.spec.name, &NamedTensor::name);
    if (named == test.outputs.end()) continue;
    Result<void> same;
    if (plan.from == OutputPlan::From::made_rows) {
      same = compare_counts(description, output, named->value, sample, post, where);
    } else if (!plan.has_item_rows()) {
      same = compare_output(plan, output, ran, named->value, sample, post, items, test.tolerance, where);
    }
    if (!same) return same;
  }
  return {};
}

std::optional<std::string> find_ragged_difference(ModelDescription const& description, BatchRows const& ran,
                                                  std::size_t output, std::size_t row,
                                                  TensorView const& alone, double tolerance) {
  Rows const expected{alone, 0, static_cast<std::size_t>(alone.shape[0])};
  return compare_rows(rows_of(description.plan.outputs[output], output, ran, {}, row), expected, tolerance);
}

}  // namespace athanor::inline v1::serving
