#include "manifest_checks.hpp"
#include "manifest_constants.hpp"
#include "manifest_padding.hpp"
#include "manifest_ragged.hpp"
#include "manifest_shared.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>

#include <fmt/format.h>

namespace athanor::inline v1::manifest {

namespace {

/// The place of an entry of the manifest's list of that name.
auto entry_of(char const* list) {
  return [list](std::size_t i) { return fmt::format("{}[{}]", list, i); };
}

template <class List, class Name, class Place>
void check_unique(Reader& reader, List const& list, Name const& name_of, Place const& place_of) {
  for (std::size_t i = 0; i < list.size(); ++i)
    for (std::size_t earlier = 0; earlier < i; ++earlier)
      if (name_of(list[i]) == name_of(list[earlier]))
        reader.refuse(place_of(i) + ".name", "expected every name once, got '{}' again", name_of(list[i]));
}

TensorSpec const* find(std::vector<TensorSpec> const& specs, std::string_view name) {
  auto const found = std::ranges::find(specs, name, &TensorSpec::name);
  return found == specs.end() ? nullptr : &*found;
}

std::string names(std::vector<TensorSpec> const& specs) {
  std::string all;
  for (auto const& spec : specs) all += (all.empty() ? "" : ", ") + spec.name;
  return all;
}

ModelInput const* find_input(Manifest const& manifest, std::string_view name) {
  for (auto const& input : manifest.model_inputs)
    if (input.spec.name == name) return &input;
  return nullptr;
}

bool is_ragged_axis(Manifest const& manifest, std::string_view axis) {
  return std::ranges::any_of(manifest.model_inputs, [&](ModelInput const& input) {
    return input.assemble == Assemble::ragged && input.axis == axis;
  });
}

/// What codes and positions are given in.
bool is_code(DType dtype) noexcept { return dtype == DType::i32 || dtype == DType::i64; }

bool has_lookup(Member const& member, std::string_view input) {
  return std::ranges::find(member.lookups, input, &Lookup::input) != member.lookups.end();
}

bool is_mapped(Manifest const& manifest, std::string_view input) {
  return std::ranges::any_of(manifest.members,
                             [&](Member const& member) { return has_lookup(member, input); });
}

/// The most bytes that the fixed lengths of one tensor may ask for.
constexpr std::uint64_t most_bytes = std::uint64_t{1} << 40;

/// Lengths whose product no memory holds are a mistake, wherever they stand.
void check_size(TensorSpec const& spec, std::string const& path, Reader& reader) {
  std::uint64_t bytes = std::max<std::size_t>(element_size(spec.dtype), 1);
  for (Dim const& dim : spec.dims) {
    if (dim.kind != Dim::Kind::fixed) continue;
    if (__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(std::max<std::int64_t>(dim.length, 1)),
                               &bytes) ||
        bytes > most_bytes)
      return reader.refuse(path + ".shape", "expected lengths of at most {} bytes together, got {}",
                           most_bytes, to_string(spec));
  }
}

/// True when `source` has every length that `declared` promises, on as many axes.
bool keeps_shape(TensorSpec const& source, TensorSpec const& declared) {
  if (source.dims.size() != declared.dims.size() || source.stacks() != declared.stacks()) return false;
  if (is_ragged(source) && source.dims[0] != declared.dims[0]) return false;
  for (std::size_t axis = 1; axis < source.dims.size(); ++axis)
    if (declared.dims[axis].kind == Dim::Kind::fixed && declared.dims[axis] != source.dims[axis])
      return false;
  return true;
}

void check_index_of(Manifest const& manifest, ModelInput const& input, std::string const& path,
                    Reader& reader) {
  if (input.assemble != Assemble::ragged || !is_code(input.spec.dtype))
    reader.refuse(path, "expected a ragged input of i32 or i64, got {}", to_string(input.spec));
  if (!is_ragged_axis(manifest, input.index_of))
    reader.refuse(path, "expected the axis of a ragged model input, got '{}'", input.index_of);
}

void check_made_input(Manifest const& manifest, ModelInput const& input, std::string const& path,
                      Reader& reader) {
  TensorSpec const& spec = input.spec;
  if (!input.parameter.empty() || input.assemble == Assemble::fixed) return;           // see fit_parameters
  if (input.assemble == Assemble::mask || input.assemble == Assemble::length) return;  // see fit_padding
  if (!input.state.empty()) return;                                                    // see check_sequences
  if (input.assemble == Assemble::common) return check_shared_input(manifest, input, path, reader);
  if (input.assemble == Assemble::segment) {
    if (!is_ragged_axis(manifest, input.axis))
      reader.refuse(path + ".shape", "expected the axis of a ragged model input first, got '{}'", input.axis);
    if (spec.dtype != DType::i64 || spec.dims.size() != 1)
      reader.refuse(path, "expected i64 of one dimension for '{}', which is generated; got {}", spec.name,
                    to_string(spec));
    return;
  }
  bool const single = spec.dims.empty() || (spec.dims.size() == 1 && spec.dims[0] == Dim::fixed(1));
  if (spec.dtype != DType::i64 || !single)
    reader.refuse(path, "expected i64 [] or i64 [1] for '{}', which is generated; got {}", spec.name,
                  to_string(spec));
}

/// Without a processor, a model input is the request's input of that name.
void check_given_input(Manifest const& manifest, ModelInput const& input, std::string const& path,
                       Reader& reader) {
  TensorSpec const* source = find(manifest.inputs, input.spec.name);
  if (source == nullptr)
    return reader.refuse(path + ".name", "expected one of the inputs ({}), got '{}'", names(manifest.inputs),
                         input.spec.name);
  if (is_mapped(manifest, input.spec.name)) {
    if (!is_code(source->dtype))
      reader.refuse(path + ".dtype", "expected lookups of an input of i32 or i64, got {}",
                    to_string(*source));
  } else if (source->dtype != input.spec.dtype) {
    reader.refuse(path + ".dtype", "expected {} as in inputs, got {}", to_string(source->dtype),
                  to_string(input.spec.dtype));
  }
  if (!keeps_shape(*source, input.spec))
    reader.refuse(path + ".shape", "expected the axes of '{}' as in inputs, {}; got {}", input.spec.name,
                  to_string(*source), to_string(input.spec));
}

/// Whether each run of the model has one item.
bool runs_single_items(Manifest const& manifest) { return manifest.batching.max_items == 1; }

void check_model_input(Manifest const& manifest, ModelInput const& input, std::string const& path,
                       Reader& reader) {
  if (!input.index_of.empty()) check_index_of(manifest, input, path + ".index_of", reader);
  if (is_made(input)) return check_made_input(manifest, input, path, reader);
  if (input.batch_axis == no_batch_axis && !runs_single_items(manifest)) {
    TensorSpec item = input.spec;
    item.dims.erase(item.dims.begin());
    reader.refuse(path + ".shape",
                  "expected 'items' or the name of a ragged axis as the first dimension, or \"batching\": "
                  "{{\"max_items\": 1}} for a model of one item in each run; got {}",
                  to_string(item));
  }
  bool const moves = input.batch_axis != 0 && input.batch_axis != no_batch_axis;
  if (moves && input.spec.dtype == DType::bytes)
    reader.refuse(path + ".shape", "expected 'items' as the first dimension of texts, got it as dimension {}",
                  input.batch_axis + 1);
}

/// Models return numbers: texts have no rows to copy.
void check_numbers(TensorSpec const& spec, std::string const& path, Reader& reader) {
  check_size(spec, path, reader);
  if (spec.dtype == DType::bytes) reader.refuse(path + ".dtype", "expected numbers, got {}", to_string(spec));
}

/// Answers have one row per item, or any number along a ragged axis.
void check_rows(TensorSpec const& spec, std::string const& path, Reader& reader) {
  if (!spec.stacks() && !is_ragged(spec))
    reader.refuse(path + ".shape",
                  "expected '{}' or the name of a ragged axis as the first dimension, got {}", items_axis,
                  to_string(spec));
  check_size(spec, path, reader);
}

/// Texts come from a processor only.
void check_answer(OutputSection const& output, std::string const& path, Reader& reader) {
  check_rows(output.spec, path, reader);
  if (output.spec.dtype == DType::bytes && output.source != OutputSource::processor)
    reader.refuse(path + ".dtype", "expected numbers, or texts from processor:NAME; got {}",
                  to_string(output.spec));
}

/// Models return one row per item, or one value that all items of a run have in common.
void check_model_output(Manifest const& manifest, TensorSpec const& spec, std::string const& path,
                        Reader& reader) {
  bool const lone = batch_axis_of(spec) == no_batch_axis;
  bool const named = !spec.dims.empty() && spec.dims[0].kind == Dim::Kind::named;
  check_numbers(spec, path, reader);
  if (lone && named && !runs_single_items(manifest)) return check_rows(spec, path, reader);
  if (lone && spec.dims.size() == Shape::max_rank)
    reader.refuse(path + ".shape", "expected at most {} dimensions beside 'items', got {}",
                  Shape::max_rank - 1, spec.dims.size());
}

/// Unknown codes are counted by item, so something must tell the items of a ragged axis apart.
void check_unknown(Manifest const& manifest, std::string const& path, Reader& reader) {
  for (auto const& input : manifest.model_inputs) {
    bool const told_apart = std::ranges::any_of(manifest.model_inputs, [&](ModelInput const& other) {
      return other.assemble == Assemble::segment && other.axis == input.axis;
    });
    if (is_mapped(manifest, input.spec.name) && !told_apart)
      reader.refuse(path,
                    "expected a segment input along the axis of '{}', to tell the items apart; got none",
                    input.spec.name);
  }
}

/// An output that the model gives, of one member or over all of them.
void check_computed(Manifest const& manifest, OutputSection const& output, std::string const& path,
                    Reader& reader) {
  TensorSpec const& spec = output.spec;
  TensorSpec const* source = find(manifest.model_outputs, output.of);
  if (source == nullptr)
    return reader.refuse(path + ".from", "expected one of the model outputs ({}), got '{}'",
                         names(manifest.model_outputs), output.of);
  if (source->dtype != spec.dtype)
    reader.refuse(path + ".dtype", "expected {} as in model_outputs, got {}", to_string(source->dtype),
                  to_string(spec.dtype));
  TensorSpec const given = has_ragged_rows(manifest, *source) ? *source : with_items_first(*source);
  if (!keeps_shape(given, spec) || !keeps_padding(manifest, given, spec))
    reader.refuse(path + ".shape", "expected '{}' to have the shape of the model output '{}', {}; got {}",
                  spec.name, output.of, to_string(*source), to_string(spec));
  if (output.source == OutputSource::model) {
    if (manifest.members.size() > 1)
      reader.refuse(path + ".from",
                    "expected mean:{0}, median:{0} or std:{0} of {1} members, got the output of one model",
                    output.of, manifest.members.size());
    return;
  }
  if (!is_computable(spec.dtype))
    reader.refuse(path + ".dtype", "expected f32 or f64 for a mean, a median or a standard deviation, got {}",
                  to_string(spec.dtype));
  if (is_ragged(spec) && manifest.members.size() >= 2 && is_counted(manifest, spec))
    reader.refuse(
        path + ".from",
        "expected an axis of the model's inputs for a mean, a median or a standard deviation, got {}",
        to_string(spec));
  if (output.source == OutputSource::standard_deviation && manifest.members.size() < 2)
    reader.refuse(path + ".from", "expected several members for a standard deviation, got 1");
}

void check_output(Manifest const& manifest, OutputSection const& output, std::string const& path,
                  Reader& reader) {
  TensorSpec const& spec = output.spec;
  switch (output.source) {
    case OutputSource::members:
    case OutputSource::unknown:
      if (spec.dtype != DType::i64 || spec.dims.size() != 1)
        reader.refuse(path, "expected i64 [items] for a count, got {}", to_string(spec));
      if (output.source == OutputSource::unknown) check_unknown(manifest, path + ".from", reader);
      return;
    case OutputSource::rows: return check_row_counts(manifest, output, path, reader);
    case OutputSource::processor:
      if (!manifest.processor)
        reader.refuse(path + ".from", "expected a processor to take '{}' from, got none", output.of);
      return;
    case OutputSource::model:
    case OutputSource::mean:
    case OutputSource::median:
    case OutputSource::standard_deviation: return check_computed(manifest, output, path, reader);
  }
}

void check_lookup(Manifest const& manifest, Lookup const& lookup, std::string const& place, Reader& reader) {
  ModelInput const* input = find_input(manifest, lookup.input);
  if (input == nullptr || is_made(*input) || input->spec.dtype != DType::i64)
    reader.refuse(place,
                  "expected the name of an i64 model input that a request or a processor gives, got {}",
                  input == nullptr ? fmt::format("'{}'", lookup.input) : to_string(input->spec));
  if (input != nullptr && !input->index_of.empty())
    reader.refuse(place, "expected codes or positions, got lookups of '{}', which has index_of",
                  lookup.input);
  if (input != nullptr && input->fill)
    reader.refuse(place,
                  "expected an input that is not padded, got lookups of '{}', whose padding is not a code",
                  lookup.input);
  // Tokens for one member and bare codes for the next cannot both be what the model was trained with.
  for (std::size_t i = 0; i < manifest.members.size(); ++i)
    if (manifest.members[i].reads(lookup.input) && !has_lookup(manifest.members[i], lookup.input))
      reader.refuse(place, "expected lookups of '{}' for all members or for none, got none for members[{}]",
                    lookup.input, i);
  auto codes = lookup.codes;
  std::ranges::sort(codes);
  if (auto const repeated = std::ranges::adjacent_find(codes); repeated != codes.end())
    reader.refuse(place, "expected every code once, got {} twice", *repeated);
}

/// The model inputs that a member of its own choice reads, and its arguments that are None.
void check_member_inputs(Manifest const& manifest, Member const& member, std::string const& path,
                         Reader& reader) {
  bool const reads_some = std::ranges::any_of(
      member.inputs, [&](std::string const& name) { return find_input(manifest, name) != nullptr; });
  for (std::size_t i = 0; i < member.inputs.size(); ++i) {
    std::string const& name = member.inputs[i];
    bool const none = std::ranges::count(manifest.nones, name, &NoneArgument::name) != 0;
    if (none && !reads_some)
      return reader.refuse(path, "expected at least one input that is not None, got none");
    if (!none && find_input(manifest, name) == nullptr)
      return reader.refuse(fmt::format("{}[{}]", path, i), "expected the name of a model input, got '{}'",
                           name);
    if (std::ranges::count(member.inputs, name) > 1)
      return reader.refuse(fmt::format("{}[{}]", path, i), "expected every model input once, got '{}' again",
                           name);
  }
}

/// An input that no member reads is a mistake in a list of inputs.
void check_readers(Manifest const& manifest, Reader& reader) {
  for (std::size_t i = 0; i < manifest.model_inputs.size(); ++i) {
    std::string const& name = manifest.model_inputs[i].spec.name;
    if (std::ranges::none_of(manifest.members, [&](Member const& member) { return member.reads(name); }))
      reader.refuse(place_of_input(manifest, i), "expected a member that reads '{}', got none", name);
  }
}

void check_member(Manifest const& manifest, Member const& member, std::string const& path, Reader& reader) {
  check_member_inputs(manifest, member, path + ".inputs", reader);
  for (auto const& lookup : member.lookups) {
    if (reader.failed()) return;
    if (!member.reads(lookup.input))
      return reader.refuse(fmt::format("{}.lookups.{}", path, lookup.input),
                           "expected one of the member's inputs, got '{}'", lookup.input);
    check_lookup(manifest, lookup, fmt::format("{}.lookups.{}", path, lookup.input), reader);
  }
  for (auto const& scale : member.scales) {
    if (reader.failed()) return;
    std::string const place = fmt::format("{}.scale.{}", path, scale.output);
    TensorSpec const* output = find(manifest.model_outputs, scale.output);
    if (output == nullptr)
      reader.refuse(place, "expected the name of a model output ({}), got '{}'",
                    names(manifest.model_outputs), scale.output);
    else if (!is_computable(output->dtype))
      reader.refuse(place, "expected a model output of f32 or f64, got {}", to_string(*output));
  }
}

void check_processor_section(Manifest const& manifest, Reader& reader) {
  auto const& inputs = manifest.processor->inputs;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    std::string const path = fmt::format("processor.inputs[{}]", i);
    TensorSpec const* input = find(manifest.inputs, inputs[i]);
    if (input == nullptr)
      return reader.refuse(path, "expected one of the inputs ({}), got '{}'", names(manifest.inputs),
                           inputs[i]);
    if (!input->stacks())
      reader.refuse(path, "expected '{}' as the first dimension of '{}', got {}", items_axis, input->name,
                    to_string(*input));
    if (std::find(inputs.begin(), inputs.begin() + static_cast<std::ptrdiff_t>(i), inputs[i]) !=
        inputs.begin() + static_cast<std::ptrdiff_t>(i))
      reader.refuse(path, "expected every input once, got '{}' again", inputs[i]);
  }
}

/// The least and the greatest value of a parameter of that type that `dtype` can hold; nothing if it holds
/// none.
struct Bounds {
  ParameterValue least;
  ParameterValue most;
};
std::optional<Bounds> bounds_of(ParameterType type, DType dtype) {
  constexpr double largest_float = std::numeric_limits<float>::max();
  if (type == ParameterType::i64 && dtype == DType::i64) return Bounds{INT64_MIN, INT64_MAX};
  if (type == ParameterType::i64 && dtype == DType::i32)
    return Bounds{std::int64_t{INT32_MIN}, std::int64_t{INT32_MAX}};
  if (type == ParameterType::f64 && dtype == DType::f64)
    return Bounds{std::numeric_limits<double>::lowest(), std::numeric_limits<double>::max()};
  if (type == ParameterType::f64 && dtype == DType::f32) return Bounds{-largest_float, largest_float};
  if (type == ParameterType::boolean && dtype == DType::boolean) return Bounds{false, true};
  return std::nullopt;
}

/// Fits the declaration of a parameter to a model input that reads it.
void fit_parameter(ParameterSpec& parameter, TensorSpec const& input, std::string const& path,
                   Reader& reader) {
  auto const bounds = bounds_of(parameter.type, input.dtype);
  if (!bounds)
    return reader.refuse(path + ".dtype", "expected a type that holds the {} '{}', got {}",
                         to_string(parameter.type), parameter.name, to_string(input.dtype));
  bool const all =
      parameter.type == ParameterType::boolean || input.dtype == DType::i64 || input.dtype == DType::f64;
  if (all) return;
  if (!parameter.least) parameter.least = bounds->least;
  if (!parameter.most) parameter.most = bounds->most;
  auto const outside = [&](ParameterValue const& value) {
    return value < bounds->least || bounds->most < value;
  };
  bool fits = !outside(*parameter.least) && !outside(*parameter.most) &&
              !(parameter.initial && outside(*parameter.initial));
  for (auto const& choice : parameter.choices) fits = fits && !outside(choice);
  if (!fits)
    reader.refuse(path + ".dtype", "expected a type that holds every value of '{}', got {}", parameter.name,
                  to_string(input.dtype));
}

}  // namespace

void fit_parameters(Manifest& manifest, Reader& reader) {
  for (std::size_t i = 0; i < manifest.model_inputs.size(); ++i) {
    ModelInput const& input = manifest.model_inputs[i];
    if (input.parameter.empty()) continue;
    std::string const path = place_of_input(manifest, i);
    auto const found = std::ranges::find(manifest.parameters, input.parameter, &ParameterSpec::name);
    if (found == manifest.parameters.end())
      return reader.refuse(path + ".from", "expected the name of a parameter, got '{}'", input.parameter);
    fit_parameter(*found, input.spec, path, reader);
  }
  auto const says_how_often = [&](ParameterSpec const& parameter) {
    return manifest.sequences && manifest.sequences->steps &&
           manifest.sequences->steps->parameter == parameter.name;
  };
  for (std::size_t i = 0; i < manifest.parameters.size(); ++i)
    if (!manifest.processor &&
        std::ranges::find(manifest.model_inputs, manifest.parameters[i].name, &ModelInput::parameter) ==
            manifest.model_inputs.end() &&
        !says_how_often(manifest.parameters[i]))
      reader.refuse(fmt::format("parameters[{}]", i),
                    "expected a processor or a model input that reads '{}', got none",
                    manifest.parameters[i].name);
}

void check_given_inputs(Manifest const& manifest, Reader& reader) {
  for (std::size_t i = 0; i < manifest.model_inputs.size(); ++i)
    if (!is_made(manifest.model_inputs[i]))
      check_given_input(manifest, manifest.model_inputs[i], place_of_input(manifest, i), reader);
}

void check_references(Manifest const& manifest, Reader& reader) {
  auto const name_of = [](auto const& entry) { return entry.name; };
  auto const name_of_spec = [](auto const& entry) { return entry.spec.name; };
  check_unique(reader, manifest.inputs, name_of, entry_of("inputs"));
  check_unique(reader, manifest.model_inputs, name_of_spec,
               [&](std::size_t i) { return place_of_input(manifest, i); });
  check_unique(reader, manifest.model_outputs, name_of, entry_of("model_outputs"));
  check_unique(reader, manifest.outputs, name_of_spec, entry_of("outputs"));
  check_unique(reader, manifest.parameters, name_of, entry_of("parameters"));
  for (std::size_t i = 0; i < manifest.parameters.size(); ++i)
    if (find(manifest.inputs, manifest.parameters[i].name) != nullptr)
      reader.refuse(fmt::format("parameters[{}].name", i), "expected a name that no input has, got '{}'",
                    manifest.parameters[i].name);
  if (manifest.processor) check_processor_section(manifest, reader);
  for (std::size_t i = 0; i < manifest.inputs.size(); ++i) {
    std::string const path = fmt::format("inputs[{}]", i);
    check_size(manifest.inputs[i], path, reader);
    if (manifest.inputs[i].shared) check_shared_is_read(manifest, manifest.inputs[i], path, reader);
  }
  for (std::size_t i = 0; i < manifest.model_inputs.size(); ++i)
    check_size(at_its_widest(manifest, manifest.model_inputs[i].spec), place_of_input(manifest, i), reader);
  for (std::size_t i = 0; i < manifest.model_inputs.size(); ++i)
    check_model_input(manifest, manifest.model_inputs[i], place_of_input(manifest, i), reader);
  if (!manifest.processor) check_given_inputs(manifest, reader);
  for (std::size_t i = 0; i < manifest.outputs.size(); ++i)
    check_answer(manifest.outputs[i], fmt::format("outputs[{}]", i), reader);
  for (std::size_t i = 0; i < manifest.model_outputs.size(); ++i)
    check_model_output(manifest, manifest.model_outputs[i], fmt::format("model_outputs[{}]", i), reader);
  for (std::size_t i = 0; i < manifest.outputs.size(); ++i)
    check_output(manifest, manifest.outputs[i], fmt::format("outputs[{}]", i), reader);
  for (std::size_t i = 0; manifest.processor && i < manifest.processor->rows.size(); ++i)
    check_output(manifest, manifest.processor->rows[i], fmt::format("processor.rows[{}]", i), reader);
  for (std::size_t i = 0; i < manifest.members.size() && !reader.failed(); ++i)
    check_member(manifest, manifest.members[i], fmt::format("members[{}]", i), reader);
  check_readers(manifest, reader);
  auto const members = static_cast<std::int64_t>(manifest.members.size());
  if (manifest.min_members > members)
    reader.refuse("min_members", "expected at most the {} members, got {}", members, manifest.min_members);
}

}  // namespace athanor::inline v1::manifest
