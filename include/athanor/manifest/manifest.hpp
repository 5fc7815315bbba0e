/// Manifests: what `athanor.json` in a model's folder says, read and checked as a whole before anything is
/// loaded. docs/manifest.md describes the format. Reading executes nothing, and a manifest cannot name a path
/// outside the folder.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <athanor/core/error.hpp>
#include <athanor/core/hash.hpp>
#include <athanor/core/signature.hpp>
#include <athanor/core/tensor.hpp>
#include <athanor/manifest/model_input.hpp>

namespace athanor::inline v1 {

/// The version of the manifest format that this library reads.
inline constexpr std::int64_t manifest_format = 1;
/// The name of the manifest in a model's folder.
inline constexpr std::string_view manifest_file = "athanor.json";

namespace manifest {

/// A file of the model's folder and what it must contain.
struct FileDigest {
  std::string file;    ///< relative to the folder, never outside it
  std::string digest;  ///< `xxh128:` and 32 hexadecimal digits
};

/// Where an output of an answer comes from.
enum class OutputSource : std::uint8_t {
  model,               ///< the model output `of`
  mean,                ///< the mean of the members' output `of`
  median,              ///< the median of the members' output `of`
  standard_deviation,  ///< the standard deviation of the members' output `of`
  unknown,             ///< how many of the item's codes the members' lookups do not know
  members,             ///< how many members answered
  processor,           ///< the processor's output `of`
  rows,                ///< how many rows the item has along the ragged axis `of` of the outputs
};

/// One output of an answer: what it is, and where it comes from.
struct OutputSection {
  TensorSpec spec;
  OutputSource source = OutputSource::model;
  std::string of;  ///< the model's or the processor's output; empty for a count
};

/// A ragged axis of model outputs: an item has any number of rows along it.
struct RaggedAxis {
  std::string name;
  /// The model output `i64 [items]` with the number of rows. Empty: as many as the item has along that axis
  /// of the inputs.
  std::string counts;
};

/// The processor of the model, and what it is given.
struct ProcessorSection {
  std::string name;                 ///< name under which the processor is registered
  std::vector<std::string> inputs;  ///< inputs of the request, in this order
  std::vector<OutputSection> rows;  ///< given to postprocess, in this order; empty: all model outputs
  std::string options_json = "{}";  ///< passed to the processor unchanged
  std::vector<FileDigest> digests;  ///< files that the processor reads
};

/// The member's own table for one integer model input: see docs/manifest.md.
struct Lookup {
  std::string input;                ///< the model input
  std::vector<std::int64_t> codes;  ///< code i is token i + 2; any other code is token 1
};

/// Converts a member's output to the answer's unit: value * scale + center.
struct Scale {
  std::string output;  ///< the model output
  double center = 0;   ///< in the answer's unit
  double scale = 1;    ///< never 0
};

/// One file that executes, with its own backend, inputs, tokens and units.
struct Member {
  FileDigest file;
  std::string backend{};  ///< name of the backend that executes it
  std::string format{};   ///< of the file, as that backend names it
  /// The model inputs that it reads, in its order, and its arguments that are None; empty: all.
  std::vector<std::string> inputs{};
  std::vector<Lookup> lookups;  ///< for all members that read the input, or for none
  std::vector<Scale> scales;    ///< outputs without one are left as they are

  /// Whether it reads the model input of that name.
  bool reads(std::string_view input) const noexcept {
    return inputs.empty() || std::ranges::find(inputs, input) != inputs.end();
  }
};

/// What the manifest says about batching; absent fields have the defaults of docs/manifest.md.
struct BatchingSection {
  std::optional<std::int64_t> max_items;  ///< of one batch
  /// The batch sizes that the model takes, in ascending order, of which max_items is one; empty: every size.
  std::vector<std::int64_t> sizes;
  std::optional<std::int64_t> max_cost;   ///< of one batch, in the unit of its processor or in bytes
  std::optional<std::int64_t> instances;  ///< batches that run at once
  std::optional<std::string> policy;      ///< of batching, by its name
  /// Every other key of the section, with its number: parameters of the policy, which checks them when the
  /// model is added to an engine.
  std::vector<std::pair<std::string, std::int64_t>> parameters;
};

/// A model whose sequences the engine steps: each call is a sequence of its own.
struct StepsSection {
  std::string until;      ///< the model output, a bool per item, that is true in the last step; empty: none
  std::int64_t max = 1;   ///< steps of one call
  std::string parameter;  ///< which says how many of them a request wants; empty: all
};

/// State that is kept between the calls of a sequence.
struct SequencesSection {
  std::int64_t max = 64;           ///< sequences that may be open at once
  std::int64_t idle_ms = 300'000;  ///< after so long without a call a sequence loses its state
  bool held = false;               ///< the backend keeps state by slot, beside or instead of model inputs
  std::optional<StepsSection> steps{};  ///< set when the engine steps the sequences, and no caller opens one
  std::string reset;  ///< of held state: which of a file's programs clears it; empty: none is needed
};

/// An argument of the members' program that is None.
struct NoneArgument {
  std::string name;
  std::size_t place = 0;  ///< in the manifest's list of model inputs
};

/// A request with a known answer: the model must reproduce it before it is used.
struct SelfTest {
  Request inputs;                    ///< passes check() of the manifest's signature
  std::vector<NamedTensor> outputs;  ///< all or some of the manifest's outputs
  double tolerance = 1e-5;           ///< largest relative difference (absolute below 1)
};

}  // namespace manifest

/// True for an input that is not part of the items of a request or of a processor: it is generated with the
/// batch, or is one tensor for the whole batch.
inline bool is_made(ModelInput const& input) noexcept {
  return input.assemble != Assemble::stack && input.assemble != Assemble::ragged;
}

/// Everything that a manifest says, with its defaults filled in.
struct Manifest {
  std::string name;         ///< 1 to 128 letters, digits, `.`, `_`, `-`
  std::string version;      ///< a semantic version
  std::string description;  ///< for people; may be empty
  std::string backend;      ///< name of the backend that executes members which name none
  std::string format;       ///< of the files of members which name none, as their backend names it
  std::string method;       ///< which of a file's programs runs; empty: the backend's usual one
  bool autograd = false;    ///< whether running the model computes gradients
  /// Libraries of operators that the members' files need, by their names.
  std::vector<std::string> operators;
  std::vector<manifest::NoneArgument> nones;  ///< in the order of their places
  std::optional<manifest::ProcessorSection> processor;
  std::vector<TensorSpec> inputs;                 ///< what a request holds
  std::vector<std::optional<Tensor>> defaults;    ///< by input; set for those that a request may leave out
  std::vector<ParameterSpec> parameters;          ///< what a request may set beside its inputs
  std::vector<ModelInput> model_inputs;           ///< what the model reads
  std::vector<PaddedAxis> padded_axes;            ///< of model inputs: at most max_padded_axes
  std::vector<TensorSpec> model_outputs;          ///< what the model returns
  std::vector<manifest::RaggedAxis> ragged_axes;  ///< of model outputs
  std::vector<manifest::OutputSection> outputs;   ///< what an answer holds
  std::vector<manifest::Member> members;          ///< one: a plain model; several: an ensemble
  std::int64_t min_members = 1;                   ///< how many members must answer
  manifest::BatchingSection batching;
  std::optional<manifest::SequencesSection> sequences;  ///< of a model with state
  bool cache = true;                                    ///< whether answers may be cached
  std::optional<Device> device;                         ///< no value: the CPU
  std::optional<std::int64_t> threads;                  ///< intra-op threads of one instance
  std::vector<manifest::SelfTest> self_tests;
  std::vector<std::int64_t> warm_up_batches;  ///< items of each batch to run before the model is used
  Hash128 content;                            ///< hash of the text that all of this was read from

  /// What callers see: `inputs` and their defaults, `parameters` and the specs of `outputs`.
  Signature signature() const;
  /// The member's format as it is passed to its backend: followed by `?` and the options that apply, joined
  /// by `&`. Members with the manifest's backend and format get `method=NAME`, `autograd=true` and
  /// `reset=NAME`; members that read the argument or input get `none=NAME` (see has_none) and
  /// `optional=NAME`; members with the manifest's backend get an `operators=NAME` for each library. A backend
  /// that does not know an option rejects the format.
  std::string full_format(manifest::Member const& member) const;
  /// Whether the member's program has that argument, which is None: members that choose their inputs name it
  /// among them, others have it if their backend and format are the manifest's.
  bool has_none(manifest::Member const& member, std::string_view argument) const;
  /// Whether batches may hold padding: along padded axes, or up to a size that the model takes.
  bool pads() const noexcept { return !padded_axes.empty() || !batching.sizes.empty(); }
  /// `name@version`.
  std::string id() const { return name + "@" + version; }
};

/// Checks that every model input that is not generated is an input of the request. To be called for a model
/// whose inputs no processor makes.
Result<void> check_request_inputs(Manifest const& manifest);

/// Reads a manifest's text. Every error is invalid_argument / manifest and names the place, what was expected
/// and what was found: `athanor.json: members[2]: unknown key 'digst'; known: file, digest, backend, format,
/// inputs, lookups, scale`.
Result<Manifest> parse_manifest(std::string_view text);
/// Reads `athanor.json` in `folder`; not_found / file when it cannot be read, invalid_argument / option for
/// an empty path.
Result<Manifest> read_manifest(std::string const& folder);

}  // namespace athanor::inline v1
