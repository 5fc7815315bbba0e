#include <athanor/serving/detail/loaded_model.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>

#include <fmt/format.h>

#include <athanor/loading/model_loader.hpp>

namespace athanor::inline v1::serving {

namespace {

tl::unexpected<Error> bad_manifest(std::string const& id, std::string message) {
  return tl::unexpected<Error>(
      Error{Code::invalid_argument, Reason::manifest, fmt::format("{}: {}", id, message), {}});
}

/// A processor names its option; what it refuses stands in the manifest.
Error refused_processor(std::string const& id, Error error) {
  if (error.code == Code::invalid_argument) error.reason = Reason::manifest;
  error.message = fmt::format("{}: processor: {}", id, error.message);
  return error;
}

template <class Table>
std::string names_of(std::span<Table const* const> tables) {
  std::string names;
  for (auto const* table : tables) names += (names.empty() ? "" : ", ") + std::string(table->name);
  return names.empty() ? "none" : names;
}

template <class Table>
Table const* find_table(std::span<Table const* const> tables, std::string_view name) noexcept {
  auto const at = std::ranges::find_if(tables, [&](Table const* table) { return table->name == name; });
  return at == tables.end() ? nullptr : *at;
}

std::optional<std::size_t> output_of(ath_processor_table const& processor, std::string_view name) noexcept {
  for (std::size_t i = 0; i < processor.output_count; ++i)
    if (processor.output_names[i] == name) return i;
  return std::nullopt;
}

template <class Specs>
std::size_t place_of(Specs const& specs, std::string_view name) noexcept {
  std::size_t place = 0;
  while (place < specs.size() && specs[place].name != name) ++place;
  return place;
}

OutputPlan::From from_of(manifest::OutputSource source) noexcept {
  switch (source) {
    case manifest::OutputSource::model: return OutputPlan::From::model;
    case manifest::OutputSource::mean: return OutputPlan::From::mean;
    case manifest::OutputSource::spread: return OutputPlan::From::deviation;
    case manifest::OutputSource::unknown: return OutputPlan::From::unknown;
    case manifest::OutputSource::members: return OutputPlan::From::members;
    case manifest::OutputSource::processor: return OutputPlan::From::processor;
  }
  return OutputPlan::From::model;
}

MemberPlan plan_member(Manifest const& manifest, manifest::Member const& member) {
  MemberPlan plan;
  plan.file = member.file.file;
  for (ModelInput const& input : manifest.model_inputs) {
    auto const lookup = std::ranges::find(member.lookups, input.spec.name, &manifest::Lookup::input);
    plan.lookups.push_back(lookup == member.lookups.end() ? TokenLookup() : TokenLookup(lookup->codes));
  }
  for (TensorSpec const& output : manifest.model_outputs) {
    auto const scale = std::ranges::find(member.scales, output.name, &manifest::Scale::output);
    plan.scalers.push_back(scale == member.scales.end() ? Scaler{} : Scaler{scale->center, scale->scale});
  }
  return plan;
}

/// True when some member maps the codes of that model input to its own tokens.
bool is_mapped(ExecutionPlan const& plan, std::size_t input) {
  return std::ranges::any_of(plan.members,
                             [&](MemberPlan const& member) { return !member.lookups[input].empty(); });
}

/// With lookups the batch is gathered in the processor's own element type; the member's table makes tokens of
/// it.
Result<void> join_processor(ModelDescription& description) {
  auto const& section = *description.manifest.processor;
  ath_processor_table const& processor = description.processor->table();
  description.text_input = place_of(description.manifest.inputs, section.input);
  for (ModelInput& input : description.plan.inputs) {
    std::size_t place_made = 0;
    if (!is_made(input)) {
      auto const place = output_of(processor, input.spec.name);
      if (!place)
        return bad_manifest(description.id,
                            fmt::format("model input {}: the processor '{}' has no output of that name",
                                        input.spec.name, processor.name));
      place_made = *place;
      auto const made = static_cast<DType>(processor.output_dtypes[place_made]);
      std::size_t const at = description.made_of_input.size();
      bool const mapped = is_mapped(description.plan, at);
      bool const fits = mapped ? made == DType::i32 || made == DType::i64 : made == input.spec.dtype;
      if (!fits)
        return bad_manifest(
            description.id,
            fmt::format("model input {}: expected {}, the processor '{}' makes {}", input.spec.name,
                        mapped ? "codes of i32 or i64 for its lookups" : to_string(input.spec.dtype),
                        processor.name, to_string(made)));
      input.spec.dtype = made;
    }
    description.made_of_input.push_back(place_made);
  }
  return {};
}

/// Without a processor too, the batch is gathered as the request gives it.
void join_request(ModelDescription& description) {
  auto const& inputs = description.manifest.inputs;
  for (std::size_t i = 0; i < description.plan.inputs.size(); ++i)
    if (is_mapped(description.plan, i))
      description.plan.inputs[i].spec.dtype = inputs[description.request_place[i]].dtype;
}

Result<void> plan_outputs(ModelDescription& description) {
  Manifest const& manifest = description.manifest;
  for (auto const& output : manifest.outputs) {
    OutputPlan plan{output.spec, from_of(output.source), 0};
    if (plan.from == OutputPlan::From::processor) {
      auto const place =
          description.processor ? output_of(description.processor->table(), output.of) : std::nullopt;
      if (!place)
        return bad_manifest(description.id,
                            fmt::format("output {}: the processor makes nothing of the name '{}'",
                                        output.spec.name, output.of));
      plan.index = *place;
      auto const made = static_cast<DType>(description.processor->table().output_dtypes[plan.index]);
      if (made != plan.spec.dtype)
        return bad_manifest(description.id,
                            fmt::format("output {}: expected {}, the processor makes {}", output.spec.name,
                                        to_string(plan.spec.dtype), to_string(made)));
    } else if (plan.from == OutputPlan::From::model || plan.from == OutputPlan::From::mean ||
               plan.from == OutputPlan::From::deviation) {
      plan.index = place_of(manifest.model_outputs, output.of);
    }
    description.plan.outputs.push_back(std::move(plan));
  }
  return {};
}

ModelSource source_of(ModelDescription const& description, std::string const& path,
                      std::vector<char const*>& names, std::vector<std::int32_t>& dtypes) {
  Manifest const& manifest = description.manifest;
  for (auto const& input : manifest.model_inputs) {
    names.push_back(input.spec.name.c_str());
    dtypes.push_back(static_cast<std::int32_t>(input.spec.dtype));
  }
  for (auto const& output : manifest.model_outputs) {
    names.push_back(output.name.c_str());
    dtypes.push_back(static_cast<std::int32_t>(output.dtype));
  }
  std::size_t const inputs = manifest.model_inputs.size();
  ModelSource source{};
  source.struct_size = sizeof(ModelSource);
  source.path = path.c_str();
  source.format = manifest.format.c_str();
  source.input_names = names.data();
  source.input_dtypes = dtypes.data();
  source.input_count = inputs;
  source.output_names = names.data() + inputs;
  source.output_dtypes = dtypes.data() + inputs;
  source.output_count = manifest.model_outputs.size();
  Device const device = manifest.device.value_or(Device{});
  source.device_type = static_cast<std::int32_t>(device.type);
  source.device_index = device.index;
  source.threads_per_instance = static_cast<std::int32_t>(manifest.threads.value_or(1));
  return source;
}

/// Difference relative to the expected value (absolute below 1); infinite where one of the two is not finite,
/// and where elements of other types are not the same.
double distance(TensorView const& got, std::size_t place, Tensor const& expected,
                std::size_t index) noexcept {
  if (!is_computable(expected.dtype())) {
    std::size_t const width = element_size(expected.dtype());
    bool const same = std::memcmp(static_cast<std::byte const*>(got.data) + place * width,
                                  expected.data() + index * width, width) == 0;
    return same ? 0 : HUGE_VAL;
  }
  double const wanted = number_at(to_view(expected), index);
  double const difference = std::abs(number_at(got, place) - wanted) / std::max(1.0, std::abs(wanted));
  return std::isfinite(difference) ? difference : HUGE_VAL;
}

/// What a self-test says of an element that is not as expected.
std::string off_target(TensorView const& got, std::size_t place, Tensor const& expected, std::size_t index,
                       double tolerance) {
  if (!is_computable(expected.dtype())) return fmt::format("element {} is not the value expected", index);
  return fmt::format("element {}: expected {:.6g} within {:.3g}, got {:.6g}", index,
                     number_at(to_view(expected), index), tolerance, number_at(got, place));
}

/// A request of the manifest, made ready to run.
struct Sample {
  Request const* request;
  CheckedRequest checked;
  std::vector<MadeItem> made;
  Result<void> run;
};

Result<Sample> make_sample(ModelDescription const& description, Request const& request) {
  auto checked = check(description.signature, request);
  if (!checked) return tl::unexpected(std::move(checked.error()));
  Sample sample{&request, *checked, {}, {}};
  if (!description.processor) return sample;
  for (std::int64_t item = 0; item < checked->items; ++item) {
    auto const& texts = request.inputs()[checked->place[description.text_input]].value;
    auto made = prepare_item(*description.processor, texts, item);
    if (!made) return tl::unexpected(std::move(made.error()));
    sample.made.push_back(std::move(*made));
  }
  return sample;
}

/// A processor declares types, not shapes: the first self-test shows what it gives for an item.
Result<void> check_made_shapes(ModelDescription const& description) {
  auto const& outputs = description.plan.outputs;
  bool const taken = std::ranges::count(outputs, OutputPlan::From::processor, &OutputPlan::from) != 0;
  if (!taken || description.manifest.self_tests.empty()) return {};
  auto const sample = make_sample(description, description.manifest.self_tests[0].inputs);
  if (!sample) return bad_manifest(description.id, fmt::format("self_test[0]: {}", sample.error().message));
  for (OutputPlan const& output : outputs) {
    if (output.from != OutputPlan::From::processor) continue;
    TensorView const& row = sample->made[0].tensor(output.index);
    if (is_row_of(output.spec, row)) continue;
    auto const rank = static_cast<std::size_t>(std::clamp<std::int32_t>(row.rank, 0, Shape::max_rank));
    Shape const shape(std::span<std::int64_t const>(row.shape, rank));
    return bad_manifest(description.id,
                        fmt::format("output {}: expected one row of {}, the processor gives {}",
                                    output.spec.name, to_string(output.spec), to_string(shape)));
  }
  return {};
}

/// Runs the sample as often as `batch` items need, in one batch.
Result<void> run_sample(ModelDescription const& description, Worker& worker, Sample const& sample,
                        std::int64_t batch) {
  worker.pieces.clear();
  std::int64_t items = 0;
  do {
    append_pieces(description, *sample.request, sample.checked, sample.made, 0,
                  static_cast<std::uint32_t>(sample.checked.items), worker.pieces);
    items += sample.checked.items;
  } while (items < batch);
  if (auto gathered = worker.assembler.gather(worker.pieces, false); !gathered) return gathered;
  auto ran = worker.ensemble.run(worker.assembler.inputs(), items);
  if (!ran) return tl::unexpected(std::move(ran.error()));
  return {};
}

Result<void> compare(ModelDescription const& description, Worker const& worker,
                     manifest::SelfTest const& test, Sample const& sample, std::size_t number) {
  for (auto const& [name, expected] : test.outputs) {
    std::size_t const place = place_of(description.signature.outputs, name);
    OutputPlan const& plan = description.plan.outputs[place];
    auto const per_item = static_cast<std::size_t>(expected.shape().elements() /
                                                   std::max<std::int64_t>(sample.checked.items, 1));
    for (std::size_t i = 0; i < static_cast<std::size_t>(expected.shape().elements()); ++i) {
      bool const from_processor = plan.from == OutputPlan::From::processor;
      TensorView const& got =
          from_processor ? sample.made[i / per_item].tensor(plan.index) : worker.ensemble.outputs()[place];
      std::size_t const whole =
          from_processor ? per_item : static_cast<std::size_t>(expected.shape().elements());
      if (got.dtype != static_cast<std::int32_t>(expected.dtype()) ||
          got.size_bytes != whole * element_size(expected.dtype()))
        return fail(Code::failed_precondition, Reason::model_load,
                    "self_test[{}]: output {}: expected {} {}, got {} bytes of {}", number, name,
                    to_string(expected.dtype()), to_string(expected.shape()), got.size_bytes,
                    to_string(static_cast<DType>(got.dtype)));
      std::size_t const at = from_processor ? i % per_item : i;
      if (distance(got, at, expected, i) <= test.tolerance) continue;
      return fail(Code::failed_precondition, Reason::model_load, "self_test[{}]: output {}: {}", number, name,
                  off_target(got, at, expected, i, test.tolerance));
    }
  }
  return {};
}

}  // namespace

Result<ModelDescription> describe_model(std::string const& folder,
                                        std::span<ath_backend_table const* const> backends,
                                        std::span<ath_processor_table const* const> processors) {
  ModelDescription description;
  auto manifest = read_manifest(folder);
  if (!manifest) return tl::unexpected(std::move(manifest.error()));
  description.manifest = std::move(*manifest);
  description.folder = folder;
  description.id = description.manifest.id();
  description.signature = description.manifest.signature();
  auto content = hash_file(folder + "/" + std::string(manifest_file));
  if (!content) return tl::unexpected(std::move(content.error()));
  description.content = *content;

  description.backend = find_table(backends, description.manifest.backend);
  if (description.backend == nullptr)
    return bad_manifest(description.id, fmt::format("backend '{}' is not there; known: {}",
                                                    description.manifest.backend, names_of(backends)));
  ExecutionPlan& plan = description.plan;
  plan.inputs = description.manifest.model_inputs;
  plan.model_outputs = description.manifest.model_outputs;
  plan.min_members = static_cast<std::size_t>(description.manifest.min_members);
  for (auto const& member : description.manifest.members)
    plan.members.push_back(plan_member(description.manifest, member));

  if (auto const& section = description.manifest.processor) {
    auto const* processor = find_table(processors, section->name);
    if (processor == nullptr)
      return bad_manifest(description.id, fmt::format("processor '{}' is not there; known: {}", section->name,
                                                      names_of(processors)));
    for (auto const& file : section->digests)
      if (auto same = verify_digest(folder + "/" + file.file, file.digest); !same)
        return tl::unexpected(std::move(same.error()));
    auto opened = OpenProcessor::open(*processor, folder, section->options_json);
    if (!opened) return tl::unexpected(refused_processor(description.id, std::move(opened.error())));
    description.processor.emplace(std::move(*opened));
    if (auto joined = join_processor(description); !joined) return tl::unexpected(std::move(joined.error()));
  }
  for (ModelInput const& input : plan.inputs) {
    description.request_place.push_back(place_of(description.manifest.inputs, input.spec.name));
    for (std::size_t axis = 1; axis < input.spec.dims.size(); ++axis)
      description.shapes_vary = description.shapes_vary || input.spec.dims[axis].kind != Dim::Kind::fixed;
  }
  if (!description.processor) join_request(description);
  if (auto planned = plan_outputs(description); !planned) return tl::unexpected(std::move(planned.error()));
  if (auto fits = check_made_shapes(description); !fits) return tl::unexpected(std::move(fits.error()));
  return description;
}

std::uint64_t expected_bytes_of(ModelDescription const& description) {
  std::uint64_t bytes = 0;
  for (auto const& member : description.manifest.members)
    bytes += expected_bytes_of_file(description.folder + "/" + member.file.file);
  return bytes;
}

bool is_row_of(TensorSpec const& spec, TensorView const& row) noexcept {
  if (row.rank < 1 || static_cast<std::size_t>(row.rank) != spec.dims.size() || row.shape[0] != 1)
    return false;
  for (std::size_t axis = 1; axis < spec.dims.size(); ++axis)
    if (spec.dims[axis].kind == Dim::Kind::fixed && spec.dims[axis].length != row.shape[axis]) return false;
  return true;
}

Result<MadeItem> prepare_item(OpenProcessor const& processor, Tensor const& texts, std::int64_t index) {
  auto made = processor.prepare(Tensor::text(texts.text_at(index)));
  if (!made && texts.shape().elements() > 1)
    made.error().message = fmt::format("item {}: {}", index, made.error().message);
  return made;
}

Result<void> make_output(Tensor& tensor, DType dtype, Shape const& shape) {
  bool const reusable = tensor.buffer().unique();
  if (reusable && tensor.dtype() == dtype && tensor.shape() == shape) return {};
  auto const bytes = static_cast<std::size_t>(shape.elements()) * element_size(dtype);
  if (reusable && tensor.buffer().capacity() >= bytes) {
    Buffer buffer = tensor.buffer();
    tensor = Tensor::over(dtype, shape, std::move(buffer));
    return {};
  }
  auto made = Tensor::allocate(dtype, shape);
  if (!made) return tl::unexpected(std::move(made.error()));
  tensor = std::move(*made);
  return {};
}

void fill_piece(ModelDescription const& description, Request const& request, CheckedRequest const& checked,
                std::span<MadeItem const> made, std::uint32_t first, std::uint32_t count,
                std::span<TensorView> tensors) noexcept {
  auto const& inputs = description.plan.inputs;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (is_made(inputs[i])) continue;
    if (description.processor) {
      tensors[i] = made[first].tensor(description.made_of_input[i]);
      continue;
    }
    Tensor const& tensor = request.inputs()[checked.place[description.request_place[i]]].value;
    bool const whole = inputs[i].assemble != Assemble::stack || count == checked.items;
    tensors[i] = whole ? to_view(tensor) : to_view(tensor.rows(first, count));
  }
}

void append_pieces(ModelDescription const& description, Request const& request, CheckedRequest const& checked,
                   std::span<MadeItem const> made, std::uint32_t first, std::uint32_t count,
                   batching::Pieces& pieces) {
  std::uint32_t const step = description.processor ? 1 : count;
  for (std::uint32_t item = first; item < first + count; item += step)
    fill_piece(description, request, checked, made, item, step, pieces.add(step));
}

Result<std::unique_ptr<LoadedModel>> LoadedModel::load(ModelDescription const& description,
                                                       std::size_t instances) {
  auto model = std::unique_ptr<LoadedModel>(new LoadedModel);
  for (auto const& member : description.manifest.members) {
    std::string const path = description.folder + "/" + member.file.file;
    if (auto same = verify_digest(path, member.file.digest); !same)
      return tl::unexpected(std::move(same.error()));
    std::vector<char const*> names;
    std::vector<std::int32_t> dtypes;
    auto file = LoadedFile::load(*description.backend, source_of(description, path, names, dtypes));
    if (!file) return tl::unexpected(std::move(file.error()));
    model->bytes_ += file->footprint();
    model->files_.push_back(std::move(*file));
  }
  for (std::size_t i = 0; i < instances; ++i) {
    std::vector<Instance> members;
    for (auto const& file : model->files_) {
      auto instance = file.make_instance();
      if (!instance) return tl::unexpected(std::move(instance.error()));
      members.push_back(std::move(*instance));
    }
    model->workers_.push_back(std::make_unique<Worker>(description.plan, std::move(members)));
  }
  for (auto const& worker : model->workers_)
    if (auto passed = prove(description, *worker); !passed) return tl::unexpected(std::move(passed.error()));
  return model;
}

/// The self-test vectors, each alone; then the first of them repeated to every warm-up batch size.
Result<void> LoadedModel::prove(ModelDescription const& description, Worker& worker) {
  auto const& tests = description.manifest.self_tests;
  for (std::size_t i = 0; i < tests.size(); ++i) {
    auto sample = make_sample(description, tests[i].inputs);
    if (sample) sample->run = run_sample(description, worker, *sample, 1);
    if (!sample || !sample->run) {
      Error error = sample ? sample->run.error() : sample.error();
      error.message = fmt::format("self_test[{}]: {}", i, error.message);
      return tl::unexpected(std::move(error));
    }
    if (auto same = compare(description, worker, tests[i], *sample, i); !same) return same;
  }
  if (tests.empty()) return {};
  for (std::int64_t const batch : description.manifest.warm_up_batches) {
    auto sample = make_sample(description, tests[0].inputs);
    if (!sample) return tl::unexpected(std::move(sample.error()));
    if (auto ran = run_sample(description, worker, *sample, batch); !ran) return ran;
  }
  return {};
}

}  // namespace athanor::inline v1::serving
