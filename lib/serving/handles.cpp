#include <athanor/serving/detail/handles.hpp>

#include <athanor/serving/detail/contract.hpp>

namespace athanor::inline v1::serving {

namespace {

Result<void> check_ports(char const* name, ath_ports const& ports) {
  if (ports.output_count != 0)
    return fail(Code::unimplemented, Reason::backend_contract,
                "processor '{}': answers made by postprocess are not supported by this version", name);
  if (ports.made_count > max_tensors)
    return fail(Code::internal, Reason::backend_contract,
                "processor '{}': made_count: expected at most {}, got {}", name, max_tensors,
                ports.made_count);
  for (std::size_t i = 0; i < ports.made_count; ++i) {
    if (ports.made_names == nullptr || ports.made_names[i] == nullptr)
      return fail(Code::internal, Reason::backend_contract,
                  "processor '{}': made_names: expected {} names, got NULL", name, ports.made_count);
    if (ports.made_dtypes == nullptr || !is_dtype(ports.made_dtypes[i]))
      return fail(Code::internal, Reason::backend_contract,
                  "processor '{}': the type of '{}': expected a dtype, got {}", name, ports.made_names[i],
                  ports.made_dtypes == nullptr ? 0 : ports.made_dtypes[i]);
  }
  return {};
}

}  // namespace

Result<void> Instance::take_failure_of(std::int32_t code) noexcept {
  ath_failure const failure = std::exchange(failure_, ath_failure{});
  if (code == 0) return {};
  return tl::unexpected(take_failure(code, failure));
}

Result<LoadedFile> LoadedFile::load(BackendTable table, ModelSource const& source) {
  ath_failure failure{};
  void* model = nullptr;
  std::int32_t const code = table->load(table->context, &source, &model, &failure);
  if (code != 0) return tl::unexpected(take_failure(code, failure));
  if (model == nullptr)
    return fail(Code::internal, Reason::backend_contract, "backend '{}': load: expected a model, got NULL",
                table->name);
  return LoadedFile(std::move(table), model);
}

Result<Instance> LoadedFile::make_instance() const {
  ath_failure failure{};
  void* instance = nullptr;
  std::int32_t const code = table_->make_instance(table_->context, model_, &instance, &failure);
  if (code != 0) return tl::unexpected(take_failure(code, failure));
  if (instance == nullptr)
    return fail(Code::internal, Reason::backend_contract,
                "backend '{}': make_instance: expected an instance, got NULL", table_->name);
  return Instance(table_, instance);
}

Result<OpenProcessor> OpenProcessor::open(ProcessorTable table, std::string const& folder,
                                          std::string const& options) {
  ath_failure failure{};
  ath_ports ports{};
  ports.struct_size = sizeof(ports);
  void* processor = nullptr;
  std::int32_t const code =
      table->open(table->context, folder.c_str(), options.c_str(), &processor, &ports, &failure);
  if (code != 0) return tl::unexpected(take_failure(code, failure));
  OpenProcessor opened(std::move(table), processor, ports);
  if (auto valid = check_ports(opened.name(), ports); !valid) return tl::unexpected(std::move(valid.error()));
  return opened;
}

Result<MadeItem> OpenProcessor::preprocess(std::span<TensorView const> inputs,
                                           std::span<ath_value const> parameters) const {
  ath_failure failure{};
  ath_item item{};
  item.struct_size = sizeof(item);
  item.inputs = inputs.data();
  item.input_count = inputs.size();
  item.parameters = parameters.data();
  item.parameter_count = parameters.size();
  ath_made raw{};
  raw.struct_size = sizeof(raw);
  std::int32_t const code = table_->preprocess(table_->context, processor_, &item, &raw, &failure);
  if (code != 0) return tl::unexpected(take_failure(code, failure));
  MadeItem made(raw);  // released also when it is refused
  if (raw.tensor_count != ports_.made_count || (raw.tensors == nullptr && raw.tensor_count != 0))
    return fail(Code::internal, Reason::backend_contract,
                "processor '{}': expected {} tensors of an item, got {}", name(), ports_.made_count,
                raw.tensors == nullptr ? 0 : raw.tensor_count);
  if (raw.cost < 1 || raw.cost > most_cost)
    return fail(Code::internal, Reason::backend_contract, "processor '{}': cost: expected 1 to {}, got {}",
                name(), most_cost, raw.cost);
  for (std::size_t i = 0; i < raw.tensor_count; ++i)
    if (auto const fault = find_fault(raw.tensors[i], made_dtype(i)); !fault.empty())
      return fail(Code::internal, Reason::backend_contract, "processor '{}': output '{}': {}", name(),
                  made_name(i), fault);
  return made;
}

}  // namespace athanor::inline v1::serving
