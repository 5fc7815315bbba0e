/// Drives a backend's C table as an engine does, without one.
#pragma once

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <athanor/core/backend.hpp>
#include <support/folder.hpp>

namespace athanor::tests {

using athanor_tests::Folder;

/// The device that tests and benchmarks run models on: the one that ATHANOR_TEST_DEVICE names, else the CPU.
inline Device test_device() {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nobody sets it while the tests run
  char const* const name = std::getenv("ATHANOR_TEST_DEVICE");
  return name == nullptr ? Device{} : parse_device(name).value();
}

/// What a manifest would say of a model.
struct Description {
  std::string path;
  std::string format = "torchscript";
  std::vector<DType> inputs{DType::f32};
  std::vector<std::string> input_names{};  // in0, in1 ... without any
  std::vector<DType> outputs{DType::f32};
  std::vector<std::string> output_names{};  // out0, out1 ... without any
  Device device = test_device();
  std::int32_t threads = 1;
  std::uint64_t slots = 0;
};

/// A model loaded through `table`; instances must be gone before it is.
class Model {
 public:
  static Result<Model> load(ath_backend_table const& table, Description const& description) {
    std::vector<std::string> names;
    for (std::size_t i = 0; i < description.inputs.size(); ++i)
      names.push_back(i < description.input_names.size() ? description.input_names[i]
                                                         : "in" + std::to_string(i));
    for (std::size_t i = 0; i < description.outputs.size(); ++i)
      names.push_back(i < description.output_names.size() ? description.output_names[i]
                                                          : "out" + std::to_string(i));
    std::vector<char const*> pointers;
    for (auto const& name : names) pointers.push_back(name.c_str());
    ath_model_source source{};
    source.struct_size = sizeof(source);
    source.path = description.path.c_str();
    source.format = description.format.c_str();
    source.input_names = pointers.data();
    source.input_dtypes = reinterpret_cast<std::int32_t const*>(description.inputs.data());
    source.input_count = description.inputs.size();
    source.output_names = pointers.data() + description.inputs.size();
    source.output_dtypes = reinterpret_cast<std::int32_t const*>(description.outputs.data());
    source.output_count = description.outputs.size();
    source.device_type = static_cast<std::int32_t>(description.device.type);
    source.device_index = description.device.index;
    source.threads_per_instance = description.threads;
    source.slot_count = description.slots;
    ath_failure failure{};
    void* model = nullptr;
    if (auto const code = table.load(table.context, &source, &model, &failure); code != 0)
      return tl::unexpected(take_failure(code, failure));
    return Model(table, model, description.outputs.size());
  }

  std::uint64_t footprint() const { return table_->footprint(table_->context, model_.get()); }

  ath_backend_table const& table() const { return *table_; }
  void* get() const { return model_.get(); }
  std::size_t output_count() const { return output_count_; }

 private:
  Model(ath_backend_table const& table, void* model, std::size_t output_count)
      : table_(&table),
        model_(model, [&table](void* loaded) { table.unload(table.context, loaded); }),
        output_count_(output_count) {}

  ath_backend_table const* table_;
  std::shared_ptr<void> model_;
  std::size_t output_count_;
};

class Instance {
 public:
  explicit Instance(Model const& model) : table_(&model.table()), outputs_(model.output_count()) {
    ath_failure failure{};
    void* instance = nullptr;
    table_->make_instance(table_->context, model.get(), &instance, &failure);
    instance_ = {instance, [table = table_](void* made) { table->destroy_instance(table->context, made); }};
  }

  /// Views of the outputs, valid until the next run. `slot`: that of the only item, of a model with state.
  Result<std::vector<Tensor>> run(std::vector<Tensor> const& inputs, std::uint64_t const* slot = nullptr) {
    std::vector<ath_tensor> views;
    for (auto const& input : inputs) views.push_back(to_view(input));
    ath_batch batch{};
    batch.struct_size = sizeof(batch);
    batch.items = inputs.empty() || inputs[0].shape().rank() == 0 ? 1 : inputs[0].shape()[0];
    batch.inputs = views.data();
    batch.input_count = views.size();
    batch.outputs = outputs_.data();
    batch.output_count = outputs_.size();
    batch.slots = slot;
    ath_failure failure{};
    if (auto const code = table_->run(table_->context, instance_.get(), &batch, &failure); code != 0)
      return tl::unexpected(take_failure(code, failure));
    std::vector<Tensor> tensors;
    for (auto const& output : outputs_) tensors.push_back(from_view(output));
    return tensors;
  }

  void clear_slot(std::uint64_t slot) { table_->clear_slot(table_->context, instance_.get(), slot); }

 private:
  ath_backend_table const* table_;
  std::shared_ptr<void> instance_;
  std::vector<ath_tensor> outputs_;
};

}  // namespace athanor::tests
