/// The dry run of a model before it serves: rows of a sample, in batches of any size, and their comparison.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <athanor/serving/detail/call_inputs.hpp>
#include <athanor/serving/detail/loaded_model.hpp>
#include <athanor/serving/detail/pieces.hpp>

namespace athanor::inline v1::serving {

/// The most bytes of a made-up item, and of a batch of any items.
inline constexpr std::int64_t most_trial_bytes = std::int64_t{64} << 20;

/// A request of a dry run, checked and preprocessed.
struct Sample {
  Request request;
  CheckedRequest checked;
  std::vector<Tensor> inputs;  ///< those that the processor is given
  std::vector<MadeItem> made;
  ParameterValues parameters;
  PaddedLengths longest{};
};

/// What a batch of samples gave, by output of the plan: in the memory of worker.ensemble, or cut back to
/// their longest item along padded axes. Empty for outputs of the processor.
struct BatchRows {
  std::vector<TensorView> views;
  std::vector<Tensor> cut;
  std::vector<std::vector<std::int64_t>>
      starts{};  ///< by ragged axis of the plan: where the rows of each item begin
};

Result<Sample> make_sample(ModelDescription const& description, Request const& request);

/// Runs one batch of `items` items: those of the samples, which may share a batch and have one `longest`,
/// cyclically from item `first` on; padded at least to the buckets of `least`. The result is valid until the
/// next run. Fails as the model does, also if a member of an ensemble broke the manifest's promises while
/// enough others answered, and with failed_precondition / model_load if the model wrote to an input.
Result<BatchRows> run_samples(ModelDescription const& description, Worker& worker,
                              std::span<Sample const> samples, std::int64_t first, std::int64_t items,
                              PaddedLengths const& least = {});

/// How many items samples have.
std::int64_t items_of(std::span<Sample const> samples) noexcept;

/// Whether that error says that a model wrote to its inputs.
bool is_written_input(Error const& error) noexcept;

/// Why element `at` of `got` is not element `index` of `expected`, as `expected ... within ..., got ...`. The
/// tolerance is relative, absolute below 1, and for floating-point types only. Nothing when they are equal;
/// so are two NaN.
std::optional<std::string> find_difference(TensorView const& got, std::size_t at, TensorView const& expected,
                                           std::size_t index, double tolerance);

}  // namespace athanor::inline v1::serving
