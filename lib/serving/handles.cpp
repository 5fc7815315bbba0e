#include <athanor/serving/detail/handles.hpp>

namespace athanor::inline v1::serving {

Result<void> Instance::run(ath_batch& batch) noexcept {
  ath_failure failure{};
  std::int32_t const code = table_->run(table_->self, instance_, &batch, &failure);
  if (code == 0) return {};
  return tl::unexpected(take_failure(code, failure));
}

Result<LoadedFile> LoadedFile::load(ath_backend_table const& table, ModelSource const& source) {
  ath_failure failure{};
  void* model = nullptr;
  std::int32_t const code = table.load(table.self, &source, &model, &failure);
  if (code != 0) return tl::unexpected(take_failure(code, failure));
  return LoadedFile(table, model);
}

Result<Instance> LoadedFile::make_instance() const {
  ath_failure failure{};
  void* instance = nullptr;
  std::int32_t const code = table_->make_instance(table_->self, model_, &instance, &failure);
  if (code != 0) return tl::unexpected(take_failure(code, failure));
  return Instance(*table_, instance);
}

Result<OpenProcessor> OpenProcessor::open(ath_processor_table const& table, std::string const& folder,
                                          std::string const& options) {
  ath_failure failure{};
  void* processor = nullptr;
  std::int32_t const code = table.open(table.self, folder.c_str(), options.c_str(), &processor, &failure);
  if (code != 0) return tl::unexpected(take_failure(code, failure));
  return OpenProcessor(table, processor);
}

Result<MadeItem> OpenProcessor::prepare(Tensor const& item) const {
  ath_failure failure{};
  ath_made raw{};
  raw.struct_size = sizeof(ath_made);
  TensorView const view = to_view(item);
  std::int32_t const code = table_->prepare(table_->self, processor_, &view, &raw, &failure);
  if (code != 0) return tl::unexpected(take_failure(code, failure));
  return MadeItem(raw);
}

}  // namespace athanor::inline v1::serving
