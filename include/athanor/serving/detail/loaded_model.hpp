/// What the loader keeps of a model: its members in memory, its processor, and its instances ready to
/// run.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <athanor/core/hash.hpp>
#include <athanor/manifest/manifest.hpp>
#include <athanor/serving/detail/assembler.hpp>
#include <athanor/serving/detail/ensemble.hpp>
#include <athanor/serving/detail/handles.hpp>

namespace athanor::inline v1::serving {

/// One instance: buffers to gather a batch into, and one instance of every member. One batch at a time.
struct Worker {
  Worker(ExecutionPlan const& plan, std::vector<Instance> members)
      : assembler(plan.inputs), pieces(plan.inputs.size()), ensemble(plan, std::move(members)) {}

  batching::Assembler assembler;
  batching::Pieces pieces;  ///< of the batch at hand
  Ensemble ensemble;
};

/// The manifest of a model translated once into what every call needs. Immutable.
struct ModelDescription {
  std::string id;  ///< `name@version`
  std::string folder;
  Manifest manifest;
  Hash128 content{};    ///< over the manifest, whose digests cover the files
  Signature signature;  ///< what callers see
  ExecutionPlan plan;
  ath_backend_table const* backend = nullptr;
  std::optional<OpenProcessor>
      processor;  ///< opened with the description, so that bad input is refused before it costs a load
  /// With a processor: model input i is the processor's output made_of_input[i].
  std::vector<std::size_t> made_of_input;
  std::size_t text_input = 0;  ///< signature input that the processor reads
  /// Without one: model input i is signature input request_place[i].
  std::vector<std::size_t> request_place;
  bool shapes_vary = false;  ///< some model input has dimensions beyond axis 0 that are not fixed
};

/// `tensor` as owned memory of that type and shape, reusing its buffer where nobody else holds it and it is
/// large enough.
Result<void> make_output(Tensor& tensor, DType dtype, Shape const& shape);

/// The tensors, by model input, of one piece: items `first .. first + count` of a request, which with a
/// processor is one item.
void fill_piece(ModelDescription const& description, Request const& request, CheckedRequest const& checked,
                std::span<MadeItem const> made, std::uint32_t first, std::uint32_t count,
                std::span<TensorView> tensors) noexcept;

/// Adds what items `first .. first + count` of a request give to a batch: one piece, or with a processor
/// one per item.
void append_pieces(ModelDescription const& description, Request const& request, CheckedRequest const& checked,
                   std::span<MadeItem const> made, std::uint32_t first, std::uint32_t count,
                   batching::Pieces& pieces);

/// True when `row` is what one item gives to a tensor of that spec.
bool is_row_of(TensorSpec const& spec, TensorView const& row) noexcept;

/// The made of item `index` of `texts`; the error names the item when there are several.
Result<MadeItem> prepare_item(OpenProcessor const& processor, Tensor const& texts, std::int64_t index);

/// Reads the folder's manifest and checks it against the backends and processors at hand.
Result<ModelDescription> describe_model(std::string const& folder,
                                        std::span<ath_backend_table const* const> backends,
                                        std::span<ath_processor_table const* const> processors);

/// What the loaded model is expected to hold, by the files of its members.
std::uint64_t expected_bytes_of(ModelDescription const& description);

class LoadedModel {
 public:
  /// Verifies digests, loads every member, makes `instances` workers, and proves each of them: the manifest's
  /// self-test vectors, then its warm-up batches. Nothing stays behind on failure.
  static Result<std::unique_ptr<LoadedModel>> load(ModelDescription const& description,
                                                   std::size_t instances);

  std::uint64_t bytes() const noexcept { return bytes_; }
  Worker& worker(std::size_t instance) noexcept { return *workers_[instance]; }

 private:
  static Result<void> prove(ModelDescription const& description, Worker& worker);

  std::vector<LoadedFile> files_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::uint64_t bytes_ = 0;
};

}  // namespace athanor::inline v1::serving
