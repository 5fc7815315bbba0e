/// Manifests: what `athanor.json` in a model's folder says, read and checked as a whole before anything is
/// loaded. docs/manifest.md describes the format. Reading executes nothing and follows no path out of the
/// folder.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <athanor/core/error.hpp>
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
  std::string file;    ///< relative to the folder, never out of it
  std::string digest;  ///< `xxh128:` and 32 hexadecimal digits
};

/// Which processor makes the model's inputs, from which inputs of the request.
struct ProcessorSection {
  std::string name;
  std::vector<std::string> inputs;  ///< those that the processor is given, in this order
  std::string options_json = "{}";  ///< handed to the processor as it stands
  std::vector<FileDigest> digests;  ///< files that the processor reads
};

/// Where an output of an answer comes from.
enum class OutputSource : std::uint8_t {
  model,      ///< the model output `of`
  mean,       ///< the mean of the members' output `of`
  spread,     ///< the standard deviation of the members' output `of`
  unknown,    ///< how many of the item's codes the members' lookups do not know
  members,    ///< how many members answered
  processor,  ///< the processor's output `of`
};

/// One output of an answer: what it is, and where it comes from.
struct OutputSection {
  TensorSpec spec;
  OutputSource source = OutputSource::model;
  std::string of;
};

/// The member's own table for one integer model input: see docs/manifest.md.
struct Lookup {
  std::string input;
  std::vector<std::int64_t> codes;
};

/// Turns what a member's output says into the answer's unit: value * scale + center.
struct Scale {
  std::string output;
  double center = 0;
  double scale = 1;
};

/// One file that executes, with its own tokens and units.
struct Member {
  FileDigest file;
  std::vector<Lookup> lookups;
  std::vector<Scale> scales;
};

/// What the manifest says about batching; absent fields leave the engine's options as they are.
struct BatchingSection {
  enum class Policy : std::uint8_t { immediate, size_or_delay };
  std::optional<std::int64_t> max_items;
  std::optional<std::int64_t> max_cost;
  std::optional<Policy> policy;
  std::optional<std::int64_t> max_delay_us;
  std::optional<std::int64_t> instances;
};

/// A request whose answer is known: the model must give it before it is used.
struct SelfTest {
  Request inputs;
  std::vector<NamedTensor> outputs;  ///< all or some of the manifest's outputs
  double tolerance = 1e-5;           ///< largest relative difference (absolute below 1)
};

}  // namespace manifest

/// True for an input that is made with the batch, which no request or processor gives.
inline bool is_made(ModelInput const& input) noexcept {
  return input.assemble == Assemble::segment || input.assemble == Assemble::count;
}

/// Everything that a manifest says, with its defaults filled in.
struct Manifest {
  std::string name;
  std::string version;
  std::string description;
  std::string backend;
  std::string format;
  std::optional<manifest::ProcessorSection> processor;
  std::vector<TensorSpec> inputs;
  std::vector<ModelInput> model_inputs;
  std::vector<TensorSpec> model_outputs;
  std::vector<manifest::OutputSection> outputs;
  std::vector<manifest::Member> members;
  std::int64_t min_members = 1;
  manifest::BatchingSection batching;
  bool cache = true;
  std::optional<Device> device;
  std::optional<std::int64_t> threads;  ///< intra-op threads of one instance
  std::vector<manifest::SelfTest> self_tests;
  std::vector<std::int64_t> warm_up_batches;

  /// What callers see: `inputs` and the outputs' specs.
  Signature signature() const;
  /// `name@version`.
  std::string id() const { return name + "@" + version; }
};

/// Reads a manifest's text. Every error is invalid_argument / manifest and names the place, what was expected
/// and what came: `athanor.json: members[2]: unknown key 'digst'; known: file, digest, lookups, scale`.
Result<Manifest> parse_manifest(std::string_view text);
/// Reads `athanor.json` in `folder`; not_found / file when it cannot be read.
Result<Manifest> read_manifest(std::string const& folder);

/// A tensor from nested JSON lists, converted without loss of meaning: ragged lists, wrong depth, fractions
/// for integers, values out of the type's range, null and texts for numbers are refused with the tensor's
/// name, the position, what was expected and what came. `bytes` tensors are made of texts; f16 and bf16 are
/// rounded to nearest.
Result<Tensor> tensor_from_json(std::string_view text, TensorSpec const& spec);

/// Compares a file's content with `digest` (`xxh128:` and 32 hexadecimal digits). data_loss / digest names
/// file, expected and got; not_found / file when the file is missing.
Result<void> verify_digest(std::string const& path, std::string_view digest);
/// verify_digest of every file that the manifest names, the processor's first.
Result<void> verify_files(std::string const& folder, Manifest const& manifest);

}  // namespace athanor::inline v1
