/// The comparison of rows along ragged axes in a dry run.
#pragma once

#include <span>
#include <string>
#include <vector>

#include <athanor/manifest/manifest.hpp>

#include "trial.hpp"

namespace athanor::inline v1::serving {

/// Compares the outputs with rows along ragged axes of a batch of `items` items of the sample, from its first
/// on, with the answers of a self-test, and how many of them postprocess made.
Result<void> compare_ragged(ModelDescription const& description, BatchRows const& ran,
                            manifest::SelfTest const& test, Sample const& sample,
                            std::span<MadeItem const> post, std::int64_t items, std::string const& where);

/// Why the rows of item `row` of a batch, in output `output` of the plan, are not all rows of `alone`.
/// Nothing when they are.
std::optional<std::string> find_ragged_difference(ModelDescription const& description, BatchRows const& ran,
                                                  std::size_t output, std::size_t row,
                                                  TensorView const& alone, double tolerance);

}  // namespace athanor::inline v1::serving
