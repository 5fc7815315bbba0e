/// What a model's manifest says, checked against the backends and processors at hand and translated once
/// into what every call needs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <athanor/batching/policy.hpp>
#include <athanor/core/hash.hpp>
#include <athanor/manifest/manifest.hpp>
#include <athanor/serving/detail/ensemble.hpp>
#include <athanor/serving/detail/handles.hpp>

namespace athanor::inline v1::serving {

/// How long the engine steps a call.
struct StepsPlan {
  static constexpr std::size_t none = static_cast<std::size_t>(-1);
  std::size_t until = none;      ///< the model output that says so, a bool per item
  std::int64_t most = 1;         ///< steps
  std::size_t parameter = none;  ///< of the signature, with the number of steps that a request wants at most

  std::int64_t most_of(std::span<ath_value const> parameters) const noexcept {
    return parameter == none ? most : parameters[parameter].integer;
  }
};

/// Immutable.
struct ModelDescription {
  std::string id;  ///< `name@version`
  std::string folder;
  Manifest manifest;
  Hash128 content{};    ///< over the manifest, whose digests cover the files
  Signature signature;  ///< what callers see
  ExecutionPlan plan;
  std::vector<BackendTable> backends;  ///< by member
  bool runs_on_any_thread = true;      ///< all of them
  /// Opened with the description, so that bad input is rejected before it costs a load.
  std::optional<OpenProcessor> processor;
  bool preprocesses = false;   ///< the processor makes the model's inputs
  bool postprocesses = false;  ///< the processor reads the model's outputs
  /// With preprocessing: model input i is the processor's output made_of_input[i].
  std::vector<std::size_t> made_of_input;
  /// With a processor: the signature inputs that it reads, in its order.
  std::vector<std::size_t> processor_inputs;
  /// Without preprocessing, and for every `common` input: model input i is signature input request_index[i].
  std::vector<std::size_t> request_index;
  /// A model input i that is `repeat` or `share` holds signature parameter parameter_of_input[i].
  std::vector<std::size_t> parameter_of_input;
  /// Without preprocessing: every model input is an input of the request, unchanged, with one item per row,
  /// and a batch may have any size. A batch of one request may read the request's memory.
  bool shows_requests = false;
  bool pads_requests = false;        ///< without preprocessing: requests have lengths along padded axes
  bool adds_bytes = false;           ///< a batch takes more bytes than its requests, see held_bytes
  std::optional<StepsPlan> steps{};  ///< of a model whose sequences the engine steps
  bool has_ragged_outputs = false;   ///< the model itself gives outputs with rows along a ragged axis
  /// Not all calls can share a batch, because some model input has dimensions beyond axis 0 that are not
  /// fixed, or one value for the whole batch.
  bool batches_differ = false;
  bool has_common = false;  ///< some model input is a tensor that a request has for all its items
  bool has_none = false;    ///< some model input may be None
  std::vector<OutputPlan::Rows> output_rows;  ///< by output of the plan
};

/// Reads the folder's manifest and checks it against the backends and processors at hand.
Result<ModelDescription> describe_model(std::string const& folder, Tables const& tables);

/// The bytes that the model is expected to hold when loaded, estimated from the files of its members.
std::uint64_t expected_bytes_of(ModelDescription const& description);

/// What a manifest says to the batching policy, as the room batching reads it.
batching::PolicySettings policy_settings(manifest::BatchingSection const& section);

}  // namespace athanor::inline v1::serving
