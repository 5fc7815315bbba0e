/// Owning handles over the C tables: a backend's model and instance, an opened feature stage, one item's
/// features.
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

/// One item's features. Movable; releases what the stage made.
class Features {
 public:
  Features() = default;
  explicit Features(ath_features const& raw) noexcept : raw_(raw) {}
  Features(Features&& other) noexcept : raw_(std::exchange(other.raw_, ath_features{})) {}
  Features& operator=(Features&& other) noexcept {
    std::swap(raw_, other.raw_);
    return *this;
  }
  ~Features() {
    if (raw_.release != nullptr) raw_.release(raw_.owner);
  }

  TensorView const& tensor(std::size_t index) const noexcept { return raw_.tensors[index]; }
  std::size_t count() const noexcept { return raw_.tensor_count; }
  std::int64_t cost() const noexcept { return raw_.cost; }

 private:
  ath_features raw_{};
};

/// A feature stage opened for one model. `prepare` may be called from many threads.
class OpenStage {
 public:
  static Result<OpenStage> open(ath_feature_table const& table, std::string const& folder,
                                std::string const& options);
  OpenStage(OpenStage&& other) noexcept
      : table_(other.table_), stage_(std::exchange(other.stage_, nullptr)) {}
  OpenStage& operator=(OpenStage&&) = delete;
  ~OpenStage() {
    if (stage_ != nullptr) table_->close(table_->self, stage_);
  }

  ath_feature_table const& table() const noexcept { return *table_; }
  Result<Features> prepare(Tensor const& item) const;

 private:
  OpenStage(ath_feature_table const& table, void* stage) noexcept : table_(&table), stage_(stage) {}
  ath_feature_table const* table_;
  void* stage_;
};

}  // namespace athanor::inline v1::serving
