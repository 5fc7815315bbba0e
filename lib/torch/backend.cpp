#include <athanor/torch/backend.hpp>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/ostream.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ATen/ops/from_blob.h>
#include <ATen/Parallel.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/StreamGuard.h>

#include <athanor/core/detail/view.hpp>

#include "failure.hpp"
#include "file_kind.hpp"
#include "program.hpp"
#include "runtime.hpp"

namespace athanor::inline v1::libtorch {

namespace {

/// The bytes of a single text.
std::string_view text_in(ath_tensor const& input) noexcept {
  std::string_view const all(static_cast<char const*>(input.data), input.size_bytes);
  if (input.offsets == nullptr) return all;
  return all.substr(static_cast<std::size_t>(input.offsets[0]),
                    static_cast<std::size_t>(input.offsets[1] - input.offsets[0]));
}

/// A tensor of the manifest.
struct Slot {
  std::string name;
  DType dtype;
};

std::optional<c10::ScalarType> to_scalar_type(DType dtype) noexcept {
  switch (dtype) {
    case DType::boolean: return c10::ScalarType::Bool;
    case DType::u8: return c10::ScalarType::Byte;
    case DType::u16: return c10::ScalarType::UInt16;
    case DType::u32: return c10::ScalarType::UInt32;
    case DType::u64: return c10::ScalarType::UInt64;
    case DType::i8: return c10::ScalarType::Char;
    case DType::i16: return c10::ScalarType::Short;
    case DType::i32: return c10::ScalarType::Int;
    case DType::i64: return c10::ScalarType::Long;
    case DType::f16: return c10::ScalarType::Half;
    case DType::bf16: return c10::ScalarType::BFloat16;
    case DType::f32: return c10::ScalarType::Float;
    case DType::f64: return c10::ScalarType::Double;
    case DType::bytes: return std::nullopt;
  }
  return std::nullopt;
}

/// Runs a thread with another intra-op thread count, and puts its own back.
class IntraOpThreads {
 public:
  explicit IntraOpThreads(int count) : before_(at::get_num_threads()), changed_(before_ != count) {
    if (changed_) at::set_num_threads(count);
  }
  ~IntraOpThreads() {
    if (changed_) at::set_num_threads(before_);
  }
  IntraOpThreads(IntraOpThreads const&) = delete;
  IntraOpThreads& operator=(IntraOpThreads const&) = delete;

 private:
  int before_;
  bool changed_;
};

}  // namespace

namespace detail {

class LoadedModel {
 public:
  ProgramSource source;
  std::vector<Slot> inputs;
  std::vector<Slot> outputs;
  int threads = 1;
  std::unique_ptr<Program> program;
};

class InstanceState {
 public:
  explicit InstanceState(std::shared_ptr<LoadedModel const> model) : model_(std::move(model)) {
    auto const device = model_->source.device;
    if (!device.is_cpu())
      stream_ = c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
    inputs_.reserve(model_->inputs.size());
    outputs_.reserve(model_->outputs.size());
    states_.resize(static_cast<std::size_t>(model_->source.slots));
  }

  void clear_slot(std::uint64_t slot) noexcept {
    if (slot < states_.size()) states_[slot] = {};
  }

  Result<void> run(ath_batch& batch) {
    outputs_.clear();
    if (auto checked = check(batch); !checked) return checked;
    try {
      auto done = execute(batch);
      inputs_.clear();
      return done;
    } catch (...) {
      inputs_.clear();
      outputs_.clear();
      return tl::unexpected(describe_current_exception(Stage::run, model_->source.subject));
    }
  }

 private:
  /// A module with state of its own steps one sequence at a time.
  Result<void> check_slots(ath_batch const& batch) const {
    if (states_.empty()) return {};
    if (batch.items != 1)
      return fail(Code::invalid_argument, Reason::option,
                  "{}: expected one item in each run of a module that holds state (\"batching\": "
                  "{{\"max_items\": 1}} in its manifest), got {}",
                  model_->source.subject, batch.items);
    if (batch.slots != nullptr && batch.slots[0] < states_.size()) return {};
    return fail(Code::invalid_argument, Reason::backend_contract, "{}: expected a slot below {}, got {}",
                model_->source.subject, states_.size(),
                batch.slots == nullptr ? "none" : std::to_string(batch.slots[0]));
  }

  Result<void> check(ath_batch const& batch) const {
    if (auto checked = check_slots(batch); !checked) return checked;
    if (batch.input_count != model_->inputs.size() || batch.output_count != model_->outputs.size())
      return fail(Code::invalid_argument, Reason::backend_contract,
                  "{}: expected a batch of {} inputs and {} outputs, got {} and {}", model_->source.subject,
                  model_->inputs.size(), model_->outputs.size(), batch.input_count, batch.output_count);
    for (std::size_t i = 0; i < batch.input_count; ++i) {
      auto const& input = batch.inputs[i];
      auto const& slot = model_->inputs[i];
      if (dtype_of(input) != slot.dtype)
        return fail(Code::invalid_argument, Reason::dtype, "{}: input '{}': expected {}, got {}",
                    model_->source.subject, slot.name, to_string(slot.dtype), to_string(dtype_of(input)));
      if (input.ndim < 0 || input.ndim > ATH_MAX_RANK)
        return fail(Code::invalid_argument, Reason::shape,
                    "{}: input '{}': expected a rank of 0 to {}, got {}", model_->source.subject, slot.name,
                    ATH_MAX_RANK, input.ndim);
      if (slot.dtype == DType::bytes && shape_of(input).elements() != 1)
        return fail(Code::invalid_argument, Reason::shape, "{}: input '{}': expected one text, got {}",
                    model_->source.subject, slot.name, to_string(shape_of(input)));
      if (input.device_type != static_cast<std::int32_t>(DeviceType::cpu))
        return fail(Code::invalid_argument, Reason::option,
                    "{}: input '{}': expected host memory, got device type {}", model_->source.subject,
                    slot.name, input.device_type);
    }
    return {};
  }

  Result<void> execute(ath_batch& batch) {
    IntraOpThreads const threads(model_->threads);
    c10::InferenceMode const inference(!model_->source.autograd);
    std::optional<c10::StreamGuard> stream;
    if (stream_) stream.emplace(*stream_);
    for (std::size_t i = 0; i < batch.input_count; ++i) inputs_.push_back(borrow(batch.inputs[i]));
    if (auto done = model_->program->forward(inputs_, state_of(batch), outputs_); !done) return done;
    if (outputs_.size() != model_->outputs.size())
      return fail(Code::internal, Reason::backend_contract, "{}: expected {} outputs from forward, got {}",
                  model_->source.subject, model_->outputs.size(), outputs_.size());
    for (std::size_t i = 0; i < outputs_.size(); ++i) {
      if (auto stored = store(i, batch.outputs[i]); !stored) return stored;
    }
    return {};
  }

  /// The state of the item's sequence, made if it begins.
  c10::IValue state_of(ath_batch const& batch) {
    if (states_.empty()) return {};
    c10::IValue& state = states_[batch.slots[0]];
    if (state.isNone()) state = model_->program->make_state();
    return state;
  }

  /// A view of the caller's bytes; a copy where forward would write to them, or must have them on a device.
  /// Of a text, its bytes.
  at::Tensor borrow(ath_tensor const& input) const {
    if (dtype_of(input) == DType::bytes) {
      auto const text = text_in(input);
      return at::from_blob(const_cast<char*>(text.data()), static_cast<std::int64_t>(text.size()),
                           at::TensorOptions().dtype(c10::ScalarType::Byte));
    }
    if (is_none(input)) return {};
    auto const type = *to_scalar_type(dtype_of(input));
    at::IntArrayRef const shape(input.shape, static_cast<std::size_t>(input.ndim));
    auto view = at::from_blob(input.data, shape, at::TensorOptions().dtype(type));
    if (!model_->source.device.is_cpu()) return view.to(model_->source.device);
    return model_->program->writes_inputs() ? view.clone() : view;
  }

  /// Makes output `index` a dense array in memory of the instance, and describes it in `out`.
  Result<void> store(std::size_t index, ath_tensor& out) {
    auto& tensor = outputs_[index];
    auto const& slot = model_->outputs[index];
    if (!tensor.defined() || tensor.scalar_type() != *to_scalar_type(slot.dtype))
      return fail(Code::internal, Reason::backend_contract, "{}: output '{}': expected {}, got {}",
                  model_->source.subject, slot.name, to_string(slot.dtype),
                  tensor.defined() ? c10::toString(tensor.scalar_type()) : "nothing");
    if (tensor.layout() != c10::kStrided)
      return fail(Code::internal, Reason::backend_contract,
                  "{}: output '{}': expected a dense {} tensor, got one laid out as {}",
                  model_->source.subject, slot.name, to_string(slot.dtype),
                  fmt::to_string(fmt::streamed(tensor.layout())));
    if (tensor.dim() > ATH_MAX_RANK)
      return fail(Code::internal, Reason::backend_contract,
                  "{}: output '{}': expected a rank of 0 to {}, got {}", model_->source.subject, slot.name,
                  ATH_MAX_RANK, tensor.dim());
    if (!tensor.device().is_cpu()) tensor = tensor.cpu();
    if (tensor.requires_grad()) tensor = tensor.detach();  // without what its gradients would need
    if (tensor.is_neg()) tensor = tensor.resolve_neg();    // a view that negates when it is read
    tensor = tensor.contiguous();
    if (is_borrowed(tensor)) tensor = tensor.clone();
    out = {};
    out.data = const_cast<void*>(tensor.const_data_ptr());
    out.size_bytes = tensor.nbytes();
    out.ndim = static_cast<std::int32_t>(tensor.dim());
    for (std::int64_t axis = 0; axis < tensor.dim(); ++axis) out.shape[axis] = tensor.size(axis);
    out.dtype = static_cast<std::int32_t>(slot.dtype);
    out.device_type = static_cast<std::int32_t>(DeviceType::cpu);
    return {};
  }

  /// Whether `tensor` is an input, or a view of one, that forward handed back: its bytes are the caller's.
  bool is_borrowed(at::Tensor const& tensor) const {
    for (auto const& input : inputs_)
      if (input.defined() && tensor.is_alias_of(input)) return true;
    return false;
  }

  std::shared_ptr<LoadedModel const> model_;
  std::optional<c10::Stream> stream_;
  std::vector<at::Tensor> inputs_;   // empty between runs: they are the caller's bytes
  std::vector<at::Tensor> outputs_;  // kept until the next run
  std::vector<c10::IValue> states_;  // by slot; none for a sequence that has not begun
};

}  // namespace detail

namespace {

Result<void> check_file(std::string const& path) {
  struct stat status {};
  int const file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  int problem = file < 0 ? errno : 0;
  if (file >= 0) {
    if (::fstat(file, &status) != 0) problem = errno;
    ::close(file);
  }
  if (problem == 0 && S_ISDIR(status.st_mode)) problem = EISDIR;
  if (problem == 0) return {};
  auto const code = problem == ENOENT || problem == ENOTDIR ? Code::not_found
                    : problem == EACCES || problem == EPERM ? Code::permission_denied
                                                            : Code::failed_precondition;
  return fail(code, Reason::file, "torch backend: model file '{}': {}", path,
              std::generic_category().message(problem));
}

/// Texts, where they are `allowed`, go to arguments that take one (find_taken in script.cpp).
Result<std::vector<Slot>> read_slots(char const* kind, char const* const* names, std::int32_t const* dtypes,
                                     std::size_t count, bool allowed) {
  std::vector<Slot> slots;
  slots.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    auto const dtype = static_cast<DType>(dtypes[i]);
    if (!to_scalar_type(dtype) && !(allowed && dtype == DType::bytes))
      return fail(
          Code::invalid_argument, Reason::manifest,
          "torch backend: {} '{}': expected a numeric element type, got {}, which a processor must turn "
          "into numbers first",
          kind, names[i], to_string(dtype));
    slots.push_back({names[i], dtype});
  }
  return slots;
}

/// What the engine's text of a format says (ath_model_source::format), as far as this backend knows it.
struct Format {
  std::string_view name;
  std::string method = "forward";
  bool autograd = false;
  std::string reset{};
  std::vector<std::string> operators{};
  std::vector<std::string> nones{};
  std::vector<std::string> optionals{};
};

/// What follows `key` in a part `key=value`; nothing for another key, or without a value.
std::optional<std::string> value_of(std::string_view part, std::string_view key) {
  if (!part.starts_with(key) || part.size() == key.size()) return std::nullopt;
  return std::string(part.substr(key.size()));
}

Result<Format> read_format(std::string_view text) {
  auto const query = text.find('?');
  Format format{text.substr(0, query)};
  bool const is_script = format.name == "torchscript";
  bool good = is_script || format.name == "pt2";
  auto rest = query == std::string_view::npos ? std::string_view() : text.substr(query + 1);
  while (good && !rest.empty()) {
    auto const part = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), part.size() + 1));
    if (auto library = value_of(part, "operators=")) {
      format.operators.push_back(std::move(*library));
    } else if (auto method = value_of(part, "method="); method && is_script) {
      format.method = std::move(*method);
    } else if (auto reset = value_of(part, "reset="); reset && is_script) {
      format.reset = std::move(*reset);
    } else if (auto none = value_of(part, "none="); none && is_script) {
      format.nones.push_back(std::move(*none));
    } else if (auto optional = value_of(part, "optional="); optional && is_script) {
      format.optionals.push_back(std::move(*optional));
    } else if (part == "autograd=true" && is_script) {
      format.autograd = true;
    } else {
      good = false;
    }
  }
  if (good) return format;
  return fail(Code::invalid_argument, Reason::manifest,
              "torch backend: format: expected torchscript (options method, autograd, reset, none, optional, "
              "operators) or pt2 (option operators), got '{}'",
              text);
}

Result<std::unique_ptr<Program>> load_program(std::string_view format, ProgramSource const& source) {
  // Freezing computes with the weights: without this, large ones would start threads that were not requested.
  IntraOpThreads const threads(1);
  try {
    return format == "pt2" ? load_package(source) : load_script(source);
  } catch (...) {
    auto error = describe_current_exception(Stage::load, source.subject);
    if (auto const other = describe_other_file(source.path, format);
        !other.empty() && error.reason == Reason::model_load)
      error.message = fmt::format("{}: {}", source.subject, other);
    return tl::unexpected(std::move(error));
  }
}

}  // namespace

TorchInstance::TorchInstance(std::unique_ptr<detail::InstanceState> state) noexcept
    : state_(std::move(state)) {}
TorchInstance::~TorchInstance() = default;
Result<void> TorchInstance::run(ath_batch& batch) { return state_->run(batch); }
void TorchInstance::clear_slot(std::uint64_t slot) noexcept { state_->clear_slot(slot); }

TorchModel::TorchModel(std::shared_ptr<detail::LoadedModel const> model) noexcept
    : model_(std::move(model)) {}

TorchModel::~TorchModel() {
  auto const device = model_->source.device;
  model_.reset();
  release_free_memory(device);
}

std::uint64_t TorchModel::footprint() const noexcept { return model_->program->weight_bytes(); }

Result<std::unique_ptr<TorchInstance>> TorchModel::make_instance() {
  try {
    return std::make_unique<TorchInstance>(std::make_unique<detail::InstanceState>(model_));
  } catch (...) {
    return tl::unexpected(describe_current_exception(Stage::run, model_->source.subject));
  }
}

Result<std::unique_ptr<TorchModel>> TorchBackend::load(ModelSource const& source) {
  if (auto checked = check_release(); !checked) return tl::unexpected(std::move(checked.error()));
  auto const format = read_format(source.format);
  if (!format) return tl::unexpected(format.error());
  if (source.threads_per_instance < 1)
    return fail(Code::invalid_argument, Reason::option,
                "torch backend: threads per instance: expected 1 or more, got {}",
                source.threads_per_instance);
  bool const takes_texts = format->name == "torchscript";
  auto inputs = read_slots("input", source.input_names, source.input_dtypes, source.input_count, takes_texts);
  if (!inputs) return tl::unexpected(std::move(inputs.error()));
  auto outputs = read_slots("output", source.output_names, source.output_dtypes, source.output_count, false);
  if (!outputs) return tl::unexpected(std::move(outputs.error()));
  if (auto checked = check_file(source.path); !checked) return tl::unexpected(std::move(checked.error()));
  auto const device = open_device(source.device_type, source.device_index);
  if (!device) return tl::unexpected(device.error());

  auto model = std::make_shared<detail::LoadedModel>();
  model->source = {source.path,
                   {source.input_names, source.input_names + source.input_count},
                   {},
                   {source.output_names, source.output_names + source.output_count},
                   format->method,
                   format->autograd,
                   format->reset,
                   format->nones,
                   format->optionals,
                   source.slot_count,
                   *device,
                   fmt::format("{} model '{}'", format->name, source.path)};
  for (Slot const& input : *inputs) model->source.input_dtypes.push_back(input.dtype);
  model->inputs = std::move(*inputs);
  model->outputs = std::move(*outputs);
  model->threads = source.threads_per_instance;
  if (auto loaded = load_operators(model->source.subject, format->operators, options_); !loaded)
    return tl::unexpected(std::move(loaded.error()));
  auto program = load_program(format->name, model->source);
  if (!program) return tl::unexpected(std::move(program.error()));
  model->program = std::move(*program);
  return std::make_unique<TorchModel>(std::move(model));
}

TorchBackend::TorchBackend(TorchOptions options) : options_(std::move(options)) {}

ath_backend_table const& backend() noexcept {
  static TorchBackend the_backend(options_of_environment());
  static ath_backend_table const table = make_table(the_backend);
  return table;
}

}  // namespace athanor::inline v1::libtorch
