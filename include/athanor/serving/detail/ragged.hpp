/// Outputs with rows along a ragged axis: an item has any number of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <athanor/core/error.hpp>
#include <athanor/core/tensor.hpp>
#include <athanor/serving/detail/ensemble.hpp>
#include <athanor/serving/detail/handles.hpp>

namespace athanor::inline v1::serving {

struct ModelDescription;

/// The rows of some items of a call, kept until those of all its items are there.
struct RaggedPart {
  std::uint32_t first = 0;   ///< of its items
  std::uint32_t count = 0;   ///< items
  std::vector<Tensor> rows;  ///< by output of the plan; only of those with ragged rows
};

/// True when the model itself gives outputs with rows along a ragged axis.
bool has_ragged_outputs(ModelDescription const& description) noexcept;

/// Copies the rows of items `row .. row + count` of the batch that ran last, of every output with ragged rows
/// that the model gave, to `to`, by output of the plan.
Result<void> copy_ragged(ModelDescription const& description, Ensemble const& ensemble, std::size_t row,
                         std::size_t count, std::span<Tensor> to);

/// Keeps a part of a call of `items` items, in place of those with any of the same items: they come from a
/// batch that failed after it had been copied, and is run again in pieces. With the last of the items, all
/// are joined in their order in `computed`, and none is kept.
Result<void> keep_part(ModelDescription const& description, RaggedPart part, std::size_t items,
                       std::vector<RaggedPart>& kept, std::span<Tensor> computed);

/// Stores how many rows postprocess made of each item, in output `index` of the plan: along one axis it makes
/// as many of every output.
Result<void> count_made(ModelDescription const& description, std::size_t index,
                        std::span<MadeItem const> made, Tensor& counts);

/// Stores an output whose rows postprocess made, those of each item as many as `counts` says.
Result<void> put_made_rows(ModelDescription const& description, OutputPlan const& plan,
                           std::span<MadeItem const> made, Tensor const& counts, Tensor& output);

}  // namespace athanor::inline v1::serving
