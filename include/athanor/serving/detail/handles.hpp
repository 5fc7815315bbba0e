/// Owning handles over the C tables: a backend's model and instance, an opened processor, and its result for
/// one item. Each shares the ownership of its table.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>

#include <athanor/core/backend.hpp>
#include <athanor/serving/detail/tables.hpp>

namespace athanor::inline v1::serving {

/// One executable instance of a loaded model. Movable; destroyed before its model.
class Instance {
 public:
  Instance(BackendTable table, void* instance) noexcept : table_(std::move(table)), instance_(instance) {}
  Instance(Instance&& other) noexcept
      : table_(std::move(other.table_)), instance_(std::exchange(other.instance_, nullptr)) {}
  Instance& operator=(Instance&&) = delete;
  ~Instance() {
    if (instance_ != nullptr) table_->destroy_instance(table_->context, instance_);
  }

  Result<void> run(ath_batch& batch) noexcept {
    std::int32_t const code = table_->run(table_->context, instance_, &batch, &failure_);
    bool const touched = failure_.code != 0 || failure_.reason != 0 || failure_.message[0] != '\0';
    if (code == 0 && !touched) return {};
    return take_failure_of(code);
  }
  /// For a backend that holds state.
  void clear_slot(std::uint64_t slot) noexcept { table_->clear_slot(table_->context, instance_, slot); }

 private:
  Result<void> take_failure_of(std::int32_t code) noexcept;

  BackendTable table_;
  void* instance_;
  ath_failure failure_{};  // all zero when a run begins; zeroing it for each takes 12 ns
};

/// A model that a backend loaded.
class LoadedFile {
 public:
  /// Fails as the backend does, and with internal / backend_contract when it made nothing.
  static Result<LoadedFile> load(BackendTable table, ModelSource const& source);
  LoadedFile(LoadedFile&& other) noexcept
      : table_(std::move(other.table_)), model_(std::exchange(other.model_, nullptr)) {}
  LoadedFile& operator=(LoadedFile&&) = delete;
  ~LoadedFile() {
    if (model_ != nullptr) table_->unload(table_->context, model_);
  }

  std::uint64_t footprint() const noexcept { return table_->footprint(table_->context, model_); }
  /// As load().
  Result<Instance> make_instance() const;

 private:
  LoadedFile(BackendTable table, void* model) noexcept : table_(std::move(table)), model_(model) {}
  BackendTable table_;
  void* model_;
};

/// The result of a processor for one item. Movable; released once.
class MadeItem {
 public:
  MadeItem() = default;
  explicit MadeItem(ath_made const& raw) noexcept : raw_(raw) {}
  MadeItem(MadeItem&& other) noexcept : raw_(std::exchange(other.raw_, ath_made{})) {}
  MadeItem& operator=(MadeItem&& other) noexcept {
    std::swap(raw_, other.raw_);
    return *this;
  }
  ~MadeItem() {
    if (raw_.release != nullptr) raw_.release(raw_.owner);
  }

  TensorView const& tensor(std::size_t index) const noexcept { return raw_.tensors[index]; }
  std::size_t count() const noexcept { return raw_.tensor_count; }
  TensorView const* tensors() const noexcept { return raw_.tensors; }
  std::int64_t cost() const noexcept { return raw_.cost; }
  /// Of its tensors; saturates.
  std::int64_t bytes() const noexcept;
  /// The state that preprocess passes on to postprocess.
  void* owner() const noexcept { return raw_.owner; }

 private:
  ath_made raw_{};
};

/// What a processor is told beside the tensors of an item.
struct ItemFacts {
  std::span<ath_value const> parameters{};  ///< of the request, in the manifest's order
  /// As in ath_item; null where no caller waits for the item.
  std::int32_t (*is_cancelled)(void const* call) = nullptr;
  void const* call = nullptr;
};

/// A processor opened for one model. Its functions may be called from many threads.
class OpenProcessor {
 public:
  /// Fails as the processor does, and with internal / backend_contract when it says of a tensor that it makes
  /// neither a name nor a known type.
  static Result<OpenProcessor> open(ProcessorTable table, std::string const& folder,
                                    std::string const& options);
  OpenProcessor(OpenProcessor&& other) noexcept
      : table_(std::move(other.table_)),
        processor_(other.processor_),
        open_(std::exchange(other.open_, false)),
        ports_(other.ports_) {}
  OpenProcessor& operator=(OpenProcessor&&) = delete;
  ~OpenProcessor() {
    if (open_) table_->close(table_->context, processor_);
  }

  char const* name() const noexcept { return table_->name; }
  /// The tensors that preprocess makes, in its order.
  std::size_t made_count() const noexcept { return ports_.made_count; }
  char const* made_name(std::size_t index) const noexcept { return ports_.made_names[index]; }
  DType made_dtype(std::size_t index) const noexcept { return static_cast<DType>(ports_.made_dtypes[index]); }
  /// The tensors that postprocess makes, in its order.
  std::size_t output_count() const noexcept { return ports_.output_count; }
  char const* output_name(std::size_t index) const noexcept { return ports_.output_names[index]; }
  DType output_dtype(std::size_t index) const noexcept {
    return static_cast<DType>(ports_.output_dtypes[index]);
  }
  /// Which halves it has.
  bool preprocesses() const noexcept { return table_->preprocess != nullptr; }
  bool postprocesses() const noexcept { return table_->postprocess != nullptr; }

  /// `inputs`: the item's row of each input that the processor reads, in its order. Fails as the processor
  /// does, and with internal / backend_contract if a tensor is not whole, if number or types differ from what
  /// the processor declared, or if the cost is out of range.
  Result<MadeItem> preprocess(std::span<TensorView const> inputs, ItemFacts const& facts) const;

  /// As preprocess, with `rows`, the model's results for the item, and `made`, the result of preprocess; null
  /// without it.
  Result<MadeItem> postprocess(std::span<TensorView const> inputs, ItemFacts const& facts,
                               MadeItem const* made, std::span<TensorView const> rows) const;

 private:
  OpenProcessor(ProcessorTable table, void* processor, ath_ports const& ports) noexcept
      : table_(std::move(table)), processor_(processor), ports_(ports) {}
  Result<MadeItem> check_made(MadeItem made, char const* const* names, std::int32_t const* dtypes,
                              std::size_t count) const;
  ProcessorTable table_;
  void* processor_;  // may be null
  bool open_ = true;
  ath_ports ports_;
};

}  // namespace athanor::inline v1::serving
