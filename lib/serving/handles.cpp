#include <athanor/serving/detail/handles.hpp>

#include <algorithm>
#include <limits>

#include <athanor/core/time.hpp>
#include <athanor/serving/detail/contract.hpp>

namespace athanor::inline v1::serving {

namespace {

/// The names and types of what one half makes, and the function that makes it.
struct PortList {
  char const* list;
  char const* const* names;
  std::int32_t const* dtypes;
  std::size_t count;
  bool has_half;
};

Result<void> check_port_list(char const* name, PortList const& ports) {
  if (ports.count > max_tensors)
    return fail(Code::internal, Reason::backend_contract,
                "processor '{}': {}_count: expected at most {}, got {}", name, ports.list, max_tensors,
                ports.count);
  if (ports.count != 0 && !ports.has_half)
    return fail(Code::internal, Reason::backend_contract,
                "processor '{}': {}_count: expected 0 as the table has no function that makes them, got {}",
                name, ports.list, ports.count);
  for (std::size_t i = 0; i < ports.count; ++i) {
    if (ports.names == nullptr || ports.names[i] == nullptr)
      return fail(Code::internal, Reason::backend_contract,
                  "processor '{}': {}_names: expected {} names, got NULL", name, ports.list, ports.count);
    if (ports.dtypes == nullptr || !is_dtype(ports.dtypes[i]))
      return fail(Code::internal, Reason::backend_contract,
                  "processor '{}': the type of '{}': expected a dtype, got {}", name, ports.names[i],
                  ports.dtypes == nullptr ? 0 : ports.dtypes[i]);
  }
  return {};
}

Result<void> check_ports(ath_processor_table const& table, ath_ports const& ports) {
  PortList const made{"made", ports.made_names, ports.made_dtypes, ports.made_count,
                      table.preprocess != nullptr};
  PortList const outputs{"output", ports.output_names, ports.output_dtypes, ports.output_count,
                         table.postprocess != nullptr};
  for (PortList const& list : {made, outputs})
    if (auto valid = check_port_list(table.name, list); !valid) return valid;
  for (std::size_t i = 0; i < outputs.count; ++i)
    for (std::size_t k = 0; k < made.count; ++k)
      if (std::string_view(outputs.names[i]) == made.names[k])
        return fail(Code::internal, Reason::backend_contract,
                    "processor '{}': output_names: expected names that made_names does not have, got '{}'",
                    table.name, made.names[k]);
  return {};
}

ath_item item_of(std::span<TensorView const> inputs, ItemFacts const& facts) noexcept {
  ath_item item{};
  item.struct_size = sizeof(item);
  item.inputs = inputs.data();
  item.input_count = inputs.size();
  item.parameters = facts.parameters.data();
  item.parameter_count = facts.parameters.size();
  item.is_cancelled = facts.is_cancelled;
  item.call = facts.call;
  return item;
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
  if (auto valid = check_ports(*opened.table_, ports); !valid)
    return tl::unexpected(std::move(valid.error()));
  return opened;
}

Result<MadeItem> OpenProcessor::preprocess(std::span<TensorView const> inputs, ItemFacts const& facts) const {
  ath_failure failure{};
  ath_item const item = item_of(inputs, facts);
  ath_made raw{};
  raw.struct_size = sizeof(raw);
  std::int32_t const code = table_->preprocess(table_->context, processor_, &item, &raw, &failure);
  if (code != 0) return tl::unexpected(take_failure(code, failure));
  MadeItem made(raw);  // released also when it is refused
  if (raw.cost < 1 || raw.cost > most_cost)
    return fail(Code::internal, Reason::backend_contract, "processor '{}': cost: expected 1 to {}, got {}",
                name(), most_cost, raw.cost);
  return check_made(std::move(made), ports_.made_names, ports_.made_dtypes, ports_.made_count);
}

Result<MadeItem> OpenProcessor::postprocess(std::span<TensorView const> inputs, ItemFacts const& facts,
                                            MadeItem const* made, std::span<TensorView const> rows) const {
  ath_failure failure{};
  ath_item const item = item_of(inputs, facts);
  ath_made raw{};
  raw.struct_size = sizeof(raw);
  void* const state = made == nullptr ? nullptr : made->owner();
  std::int32_t const code = table_->postprocess(table_->context, processor_, &item, state, rows.data(),
                                                rows.size(), &raw, &failure);
  if (code != 0) return tl::unexpected(take_failure(code, failure));
  return check_made(MadeItem(raw), ports_.output_names, ports_.output_dtypes, ports_.output_count);
}

std::int64_t MadeItem::bytes() const noexcept {
  constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < raw_.tensor_count; ++i)
    bytes = saturating_sum(bytes, raw_.tensors[i].size_bytes);
  return static_cast<std::int64_t>(std::min(bytes, most));
}

Result<MadeItem> OpenProcessor::check_made(MadeItem made, char const* const* names,
                                           std::int32_t const* dtypes, std::size_t count) const {
  if (made.count() != count || (made.tensors() == nullptr && count != 0))
    return fail(Code::internal, Reason::backend_contract,
                "processor '{}': expected {} tensors for an item, got {}", name(), count,
                made.tensors() == nullptr ? 0 : made.count());
  for (std::size_t i = 0; i < count; ++i)
    if (auto const fault = find_fault(made.tensor(i), static_cast<DType>(dtypes[i])); !fault.empty())
      return fail(Code::internal, Reason::backend_contract, "processor '{}': output '{}': {}", name(),
                  names[i], fault);
  return made;
}

}  // namespace athanor::inline v1::serving
