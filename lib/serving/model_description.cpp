#include <athanor/serving/detail/model_description.hpp>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include <athanor/loading/model_loader.hpp>
#include <athanor/manifest/digest.hpp>
#include <athanor/serving/detail/carried_state.hpp>
#include <athanor/serving/detail/ragged.hpp>
#include <athanor/serving/detail/self_test.hpp>

namespace athanor::inline v1::serving {

namespace {

tl::unexpected<Error> bad_manifest(std::string const& id, std::string const& message) {
  return fail(Code::invalid_argument, Reason::manifest, "{}: {}", id, message);
}

/// The error of a processor that rejects its options, which the manifest holds.
Error refused_processor(std::string const& id, Error error) {
  if (error.code == Code::invalid_argument) error.reason = Reason::manifest;
  error.message = fmt::format("{}: processor: {}", id, error.message);
  return error;
}

std::string listed(std::vector<std::string> const& names) {
  std::string text;
  for (auto const& name : names) text += (text.empty() ? "" : ", ") + name;
  return text.empty() ? "none" : text;
}

/// The index of what the processor makes under that name.
std::optional<std::size_t> made_index(OpenProcessor const& processor, std::string_view name) noexcept {
  for (std::size_t i = 0; i < processor.made_count(); ++i)
    if (processor.made_name(i) == name) return i;
  return std::nullopt;
}

/// The index of the spec of that name; specs.size() when there is none.
std::size_t position_of(std::vector<TensorSpec> const& specs, std::string_view name) noexcept {
  return static_cast<std::size_t>(std::ranges::find(specs, name, &TensorSpec::name) - specs.begin());
}

OutputPlan::From from_of(manifest::OutputSource source) noexcept {
  switch (source) {
    case manifest::OutputSource::model: return OutputPlan::From::model;
    case manifest::OutputSource::mean: return OutputPlan::From::mean;
    case manifest::OutputSource::median: return OutputPlan::From::median;
    case manifest::OutputSource::standard_deviation: return OutputPlan::From::standard_deviation;
    case manifest::OutputSource::unknown: return OutputPlan::From::unknown;
    case manifest::OutputSource::members: return OutputPlan::From::members;
    case manifest::OutputSource::processor: return OutputPlan::From::preprocess;
    case manifest::OutputSource::rows: return OutputPlan::From::rows;
  }
  return OutputPlan::From::model;
}

MemberPlan plan_member(Manifest const& manifest, manifest::Member const& member) {
  MemberPlan plan;
  plan.file = member.file.file;
  for (std::string const& name : member.inputs) {
    auto const input =
        std::ranges::find(manifest.model_inputs, name, [](ModelInput const& each) { return each.spec.name; });
    if (input == manifest.model_inputs.end()) continue;  // an argument that is None
    plan.inputs.push_back(static_cast<std::size_t>(input - manifest.model_inputs.begin()));
  }
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

/// Finds the processor's output for every model input. An input with lookups is gathered in the processor's
/// element type; each member's table turns its codes into tokens.
Result<void> join_processor(ModelDescription& description) {
  OpenProcessor const& processor = *description.processor;
  for (ModelInput& input : description.plan.inputs) {
    std::size_t output = 0;
    if (!is_made(input)) {
      auto const found = made_index(processor, input.spec.name);
      if (!found)
        return bad_manifest(description.id,
                            fmt::format("model input {}: the processor '{}' has no output of that name",
                                        input.spec.name, processor.name()));
      output = *found;
      auto const made = processor.made_dtype(output);
      bool const mapped = is_mapped(description.plan, description.made_of_input.size());
      bool const fits = mapped ? made == DType::i32 || made == DType::i64 : made == input.spec.dtype;
      if (!fits)
        return bad_manifest(
            description.id,
            fmt::format("model input {}: expected {}, the processor '{}' makes {}", input.spec.name,
                        mapped ? "codes of i32 or i64 for its lookups" : to_string(input.spec.dtype),
                        processor.name(), to_string(made)));
      input.spec.dtype = made;
    }
    description.made_of_input.push_back(output);
  }
  return {};
}

/// Without preprocessing, an input with lookups is gathered in the request's element type.
void join_request(ModelDescription& description) {
  auto const& inputs = description.manifest.inputs;
  for (std::size_t i = 0; i < description.plan.inputs.size(); ++i)
    if (is_mapped(description.plan, i))
      description.plan.inputs[i].spec.dtype = inputs[description.request_index[i]].dtype;
}

bool shows_requests(ModelDescription const& description) {
  if (description.plan.slots != 0 || !description.manifest.batching.sizes.empty()) return false;
  for (std::size_t i = 0; i < description.plan.inputs.size(); ++i) {
    ModelInput const& input = description.plan.inputs[i];
    if (input.assemble == Assemble::fixed && !input.spec.stacks()) continue;
    if (input.assemble == Assemble::common) continue;
    if (input.assemble != Assemble::stack || input.batch_axis != 0 || input.fill) return false;
    auto const& given = description.manifest.inputs[description.request_index[i]];
    // Texts may lie in memory that holds others, too.
    if (!given.stacks() || given.dtype != input.spec.dtype || given.dtype == DType::bytes) return false;
  }
  return true;
}

/// Finds the tensor of that name that preprocess or postprocess makes.
bool take_from_processor(OutputPlan& plan, OpenProcessor const& processor, std::string_view name,
                         DType& made) {
  if (auto const found = made_index(processor, name)) {
    plan.index = *found;
    made = processor.made_dtype(*found);
    return true;
  }
  for (std::size_t i = 0; i < processor.output_count(); ++i) {
    if (processor.output_name(i) != name) continue;
    plan.from = OutputPlan::From::postprocess;
    plan.index = i;
    made = processor.output_dtype(i);
    return true;
  }
  return false;
}

/// The ragged axis of the plan that has that name, or not_ragged.
std::size_t ragged_index(Manifest const& manifest, std::string_view name) noexcept {
  auto const axis = std::ranges::find(manifest.ragged_axes, name, &manifest::RaggedAxis::name);
  return axis == manifest.ragged_axes.end() ? OutputPlan::not_ragged
                                            : static_cast<std::size_t>(axis - manifest.ragged_axes.begin());
}

/// The same of the axis along which an output has its rows.
std::size_t ragged_index(Manifest const& manifest, TensorSpec const& spec) noexcept {
  bool const named = !spec.dims.empty() && spec.dims[0].kind == Dim::Kind::named;
  return named && batch_axis_of(spec) == no_batch_axis ? ragged_index(manifest, spec.dims[0].name)
                                                       : OutputPlan::not_ragged;
}

/// The output that counts the rows of an axis.
std::size_t counting_output(Manifest const& manifest, std::string_view axis) noexcept {
  auto const counts = std::ranges::find_if(manifest.outputs, [&](manifest::OutputSection const& output) {
    return output.source == manifest::OutputSource::rows && output.of == axis;
  });
  return static_cast<std::size_t>(counts - manifest.outputs.begin());
}

Result<OutputPlan> plan_output(ModelDescription const& description, manifest::OutputSection const& output) {
  Manifest const& manifest = description.manifest;
  OutputPlan plan{output.spec, from_of(output.source)};
  if (plan.is_processed()) {
    DType made{};
    if (!description.processor || !take_from_processor(plan, *description.processor, output.of, made))
      return bad_manifest(description.id, fmt::format("output {}: the processor has no output '{}'",
                                                      output.spec.name, output.of));
    if (made != plan.spec.dtype)
      return bad_manifest(description.id,
                          fmt::format("output {}: expected {}, the processor returns {}", output.spec.name,
                                      to_string(plan.spec.dtype), to_string(made)));
    if (!plan.spec.stacks()) plan.ragged = counting_output(manifest, plan.spec.dims[0].name);
    if (!plan.spec.stacks() && plan.from == OutputPlan::From::preprocess)
      return bad_manifest(description.id,
                          fmt::format("output {}: expected an output of postprocess for rows along '{}'",
                                      output.spec.name, plan.spec.dims[0].name));
  } else if (plan.from == OutputPlan::From::rows) {
    plan.ragged = ragged_index(manifest, output.of);
    if (plan.ragged == OutputPlan::not_ragged) plan.from = OutputPlan::From::made_rows;
  } else if (plan.from == OutputPlan::From::model || plan.from == OutputPlan::From::mean ||
             plan.from == OutputPlan::From::median || plan.from == OutputPlan::From::standard_deviation) {
    plan.index = position_of(manifest.model_outputs, output.of);
    plan.padded = padded_dims_of(manifest.padded_axes, with_items_first(manifest.model_outputs[plan.index]));
    plan.ragged = ragged_index(manifest, plan.spec);
  }
  return plan;
}

/// The tensors that postprocess reads: those that the manifest names, or all outputs of a plain model.
Result<void> plan_rows(ModelDescription& description) {
  Manifest const& manifest = description.manifest;
  if (!manifest.processor) return {};
  auto rows = manifest.processor->rows;
  if (!description.postprocesses)
    return rows.empty()
               ? Result<void>()
               : bad_manifest(description.id, fmt::format("processor.rows: expected a processor with "
                                                          "postprocess, '{}' has none",
                                                          description.processor->name()));
  if (rows.empty() && manifest.members.size() == 1)
    for (TensorSpec const& output : manifest.model_outputs)
      rows.push_back({with_items_first(output), manifest::OutputSource::model, output.name});
  if (rows.empty())
    return bad_manifest(
        description.id,
        fmt::format("processor.rows: expected the model outputs that '{}' reads{}, got none",
                    description.processor->name(),
                    manifest.members.size() == 1 ? ", or model_outputs" : ", as the model is an ensemble"));
  for (auto const& row : rows) {
    auto const output = std::ranges::find(manifest.model_outputs, row.of, &TensorSpec::name);
    if (output != manifest.model_outputs.end() && ragged_index(manifest, *output) != OutputPlan::not_ragged)
      return bad_manifest(
          description.id,
          fmt::format("processor.rows: expected outputs with one row per item, got {} of '{}'",
                      to_string(*output), row.of));
    auto plan = plan_output(description, row);
    if (!plan) return tl::unexpected(std::move(plan.error()));
    description.plan.outputs.push_back(std::move(*plan));
  }
  return {};
}

Result<void> plan_outputs(ModelDescription& description) {
  for (auto const& output : description.manifest.outputs) {
    auto plan = plan_output(description, output);
    if (!plan) return tl::unexpected(std::move(plan.error()));
    description.plan.outputs.push_back(std::move(*plan));
  }
  return plan_rows(description);
}

/// Opens the processor that the manifest names, if any, and joins it to the model.
Result<void> open_processor(ModelDescription& description, Tables const& tables) {
  auto const& section = description.manifest.processor;
  if (!section) return {};
  auto processor = tables.processor(section->name);
  if (processor == nullptr)
    return bad_manifest(description.id, fmt::format("unknown processor '{}'; registered: {}", section->name,
                                                    listed(tables.processor_names())));
  for (auto const& file : section->digests)
    if (auto same = verify_digest(description.folder + "/" + file.file, file.digest); !same) return same;
  auto opened = OpenProcessor::open(std::move(processor), description.folder, section->options_json);
  if (!opened) return tl::unexpected(refused_processor(description.id, std::move(opened.error())));
  description.processor.emplace(std::move(*opened));
  description.preprocesses = description.processor->preprocesses();
  description.postprocesses = description.processor->postprocesses();
  for (auto const& input : section->inputs)
    description.processor_inputs.push_back(position_of(description.manifest.inputs, input));
  if (description.preprocesses) return join_processor(description);
  return check_request_inputs(description.manifest).map_error([&](Error error) {
    error.message = fmt::format("{}: {}", description.id, error.message);
    return error;
  });
}

/// Where a ragged axis is counted.
RaggedPlan plan_ragged(Manifest const& manifest, manifest::RaggedAxis const& axis) {
  if (!axis.counts.empty()) return {false, position_of(manifest.model_outputs, axis.counts)};
  auto const input = std::ranges::find_if(manifest.model_inputs, [&](ModelInput const& each) {
    return each.assemble == Assemble::ragged && each.axis == axis.name;
  });
  return {true, static_cast<std::size_t>(input - manifest.model_inputs.begin())};
}

/// The backend of every member.
Result<void> find_backends(ModelDescription& description, Tables const& tables) {
  for (auto const& member : description.manifest.members) {
    auto backend = tables.backend(member.backend);
    if (backend == nullptr)
      return bad_manifest(description.id, fmt::format("unknown backend '{}'; registered: {}", member.backend,
                                                      listed(tables.backend_names())));
    if (backend->runs_on != ATH_RUNS_ON_ANY_THREAD) description.runs_on_any_thread = false;
    description.backends.push_back(std::move(backend));
  }
  return {};
}

/// Everything in the plan that the manifest alone decides.
void plan_model(ModelDescription& description) {
  Manifest const& manifest = description.manifest;
  ExecutionPlan& plan = description.plan;
  plan.inputs = manifest.model_inputs;
  plan.padding = Padding(manifest.padded_axes, manifest.model_inputs);
  plan.model_outputs = manifest.model_outputs;
  plan.min_members = static_cast<std::size_t>(manifest.min_members);
  for (auto const& axis : manifest.ragged_axes) plan.ragged.push_back(plan_ragged(manifest, axis));
  for (TensorSpec const& output : manifest.model_outputs)
    plan.ragged_model_outputs.push_back(ragged_index(manifest, output));
  for (auto const& member : manifest.members) plan.members.push_back(plan_member(manifest, member));
  for (ModelInput const& input : plan.inputs) {
    description.request_index.push_back(position_of(manifest.inputs, input.spec.name));
    auto const parameter = std::ranges::find(manifest.parameters, input.parameter, &ParameterSpec::name);
    description.parameter_of_input.push_back(
        static_cast<std::size_t>(parameter - manifest.parameters.begin()));
    bool const common = input.assemble == Assemble::common;
    std::size_t const requested = description.request_index.back();
    bool const none = description.signature.is_optional(requested) &&
                      is_none(manifest.inputs[requested], *description.signature.defaults[requested]);
    bool differs = none || common || input.assemble == Assemble::share;
    for (std::size_t axis = 1; axis < input.spec.dims.size(); ++axis)
      differs = differs || input.spec.dims[axis].kind != Dim::Kind::fixed;
    description.batches_differ = description.batches_differ || differs;
    description.has_common = description.has_common || common;
    description.has_none = description.has_none || none;
  }
}

Result<void> plan_state(ModelDescription& description) {
  Manifest const& manifest = description.manifest;
  if (!manifest.sequences) return {};
  ExecutionPlan& plan = description.plan;
  plan.slots = static_cast<std::size_t>(manifest.sequences->max);
  for (std::size_t i = 0; i < plan.inputs.size(); ++i)
    if (plan.inputs[i].assemble == Assemble::state)
      plan.states.push_back({i, position_of(manifest.model_outputs, plan.inputs[i].state)});
  if (manifest.sequences->held && description.backends[0]->clear_slot == nullptr)
    return bad_manifest(description.id,
                        fmt::format("sequences.held: expected a backend that holds state, '{}' does not",
                                    manifest.members[0].backend));
  if (auto const& steps = manifest.sequences->steps) {
    StepsPlan& planned = description.steps.emplace(StepsPlan{.most = steps->max});
    if (!steps->until.empty()) planned.until = position_of(manifest.model_outputs, steps->until);
    if (!steps->parameter.empty())
      planned.parameter = static_cast<std::size_t>(
          std::ranges::find(manifest.parameters, steps->parameter, &ParameterSpec::name) -
          manifest.parameters.begin());
  }
  return {};
}

}  // namespace

Result<ModelDescription> describe_model(std::string const& folder, Tables const& tables) {
  ModelDescription description;
  // Files are read long after: the working directory may be another one then.
  std::error_code unknown;
  std::filesystem::path const absolute = std::filesystem::absolute(folder, unknown);
  description.folder = unknown ? folder : absolute.string();
  auto manifest = read_manifest(description.folder);
  if (!manifest) return tl::unexpected(std::move(manifest.error()));
  description.manifest = std::move(*manifest);
  description.id = description.manifest.id();
  description.signature = description.manifest.signature();
  description.content = description.manifest.content;

  if (auto found = find_backends(description, tables); !found)
    return tl::unexpected(std::move(found.error()));
  plan_model(description);
  if (auto kept = plan_state(description); !kept) return tl::unexpected(std::move(kept.error()));
  if (auto opened = open_processor(description, tables); !opened)
    return tl::unexpected(std::move(opened.error()));
  if (!description.preprocesses) {
    join_request(description);
    description.shows_requests = shows_requests(description);
    description.pads_requests = !description.plan.padding.empty();
    description.adds_bytes = description.pads_requests ||
                             std::ranges::any_of(description.plan.inputs, [](ModelInput const& input) {
                               return input.assemble == Assemble::segment;
                             });
  }
  if (auto planned = plan_outputs(description); !planned) return tl::unexpected(std::move(planned.error()));
  description.has_ragged_outputs = has_ragged_outputs(description);
  for (OutputPlan const& plan : description.plan.outputs) description.output_rows.push_back(plan.rows());
  if (auto fits = check_processor_rows(description); !fits) return tl::unexpected(std::move(fits.error()));
  return description;
}

std::uint64_t expected_bytes_of(ModelDescription const& description) {
  std::uint64_t bytes = 0;
  for (auto const& member : description.manifest.members)
    bytes += expected_bytes_of_file(description.folder + "/" + member.file.file);
  return bytes + CarriedState::bytes_of(description.plan);
}

batching::PolicySettings policy_settings(manifest::BatchingSection const& section) {
  batching::PolicySettings settings;
  settings.policy = section.policy.value_or("");
  for (auto const& [name, value] : section.parameters) settings.parameters.push_back({name, value});
  if (section.max_items) settings.max_items = static_cast<std::uint32_t>(*section.max_items);
  return settings;
}

}  // namespace athanor::inline v1::serving
