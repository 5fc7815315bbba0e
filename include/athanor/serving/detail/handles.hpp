/// Owning handles over the C tables: a backend's model and instance, an opened processor, one item's
/// made.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include <athanor/core/backend.hpp>

namespace athanor::inline v1::serving {

/// One executable instance of a loaded model. Movable; destroyed before its model.
class Instance {
 public:
  Instance(ath_backend_table const& table, void* instance) noexcept : table_(&table), instance_(instance) {}
  Instance(Instance&& other) noexcept
      : table_(other.table_), instance_(std::exchange(other.instance_, nullptr)) {}
  Instance& operator=(Instance&&) = delete;
  ~Instance() {
    if (instance_ != nullptr) table_->destroy_instance(table_->self, instance_);
  }

  Result<void> run(ath_batch& batch) noexcept;

 private:
  ath_backend_table const* table_;
  void* instance_;
};

/// A model that a backend loaded.
class LoadedFile {
 public:
  static Result<LoadedFile> load(ath_backend_table const& table, ModelSource const& source);
  LoadedFile(LoadedFile&& other) noexcept
      : table_(other.table_), model_(std::exchange(other.model_, nullptr)) {}
  LoadedFile& operator=(LoadedFile&&) = delete;
  ~LoadedFile() {
    if (model_ != nullptr) table_->unload(table_->self, model_);
  }

  std::uint64_t footprint() const noexcept { return table_->footprint(table_->self, model_); }
  Result<Instance> make_instance() const;

 private:
  LoadedFile(ath_backend_table const& table, void* model) noexcept : table_(&table), model_(model) {}
  ath_backend_table const* table_;
  void* model_;
};

/// One item's made. Movable; releases what the processor made.
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
  std::int64_t cost() const noexcept { return raw_.cost; }

 private:
  ath_made raw_{};
};

/// A processor opened for one model. `prepare` may be called from many threads.
class OpenProcessor {
 public:
  static Result<OpenProcessor> open(ath_processor_table const& table, std::string const& folder,
                                    std::string const& options);
  OpenProcessor(OpenProcessor&& other) noexcept
      : table_(other.table_), processor_(std::exchange(other.processor_, nullptr)) {}
  OpenProcessor& operator=(OpenProcessor&&) = delete;
  ~OpenProcessor() {
    if (processor_ != nullptr) table_->close(table_->self, processor_);
  }

  ath_processor_table const& table() const noexcept { return *table_; }
  Result<MadeItem> prepare(Tensor const& item) const;

 private:
  OpenProcessor(ath_processor_table const& table, void* processor) noexcept
      : table_(&table), processor_(processor) {}
  ath_processor_table const* table_;
  void* processor_;
};

}  // namespace athanor::inline v1::serving
