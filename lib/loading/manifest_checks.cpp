#include "manifest_checks.hpp"

#include <algorithm>

namespace athanor::inline v1::loading {

namespace {

template <class List, class Name>
void check_unique(Reader& reader, std::string const& path, List const& list, Name const& name_of) {
  if (list.size() > max_tensors) reader.refuse(path, "expected at most {}, got {}", max_tensors, list.size());
  for (std::size_t i = 0; i < list.size(); ++i)
    for (std::size_t earlier = 0; earlier < i; ++earlier)
      if (name_of(list[i]) == name_of(list[earlier]))
        reader.refuse(fmt::format("{}[{}].name", path, i), "expected a name of its own, got '{}' again",
                      name_of(list[i]));
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

bool is_integer(DType dtype) noexcept {
  return dtype == DType::u8 || dtype == DType::i8 || dtype == DType::i16 || dtype == DType::i32 ||
         dtype == DType::i64;
}

bool is_float(DType dtype) noexcept {
  return dtype == DType::f16 || dtype == DType::bf16 || dtype == DType::f32 || dtype == DType::f64;
}

void check_model_input(Manifest const& manifest, ModelInput const& input, std::string const& path,
                       Reader& reader) {
  if (!input.index_of.empty()) {
    if (input.assemble != Assemble::ragged ||
        (input.spec.dtype != DType::i32 && input.spec.dtype != DType::i64))
      reader.refuse(path + ".index_of", "expected a ragged input of i32 or i64, got {}",
                    to_string(input.spec));
    if (!is_ragged_axis(manifest, input.index_of))
      reader.refuse(path + ".index_of", "expected the axis of a ragged model input, got '{}'",
                    input.index_of);
  }
  if (input.assemble == Assemble::segment && !is_ragged_axis(manifest, input.axis))
    reader.refuse(path + ".shape", "expected the axis of a ragged model input first, got '{}'", input.axis);
  bool const made = input.assemble == Assemble::segment || input.assemble == Assemble::count;
  if (made && (input.spec.dtype != DType::i64 || input.spec.dims.size() != 1))
    reader.refuse(path, "expected i64 of one dimension for an input that is made, got {}",
                  to_string(input.spec));
  if (made || manifest.features) return;
  TensorSpec const* source = find(manifest.inputs, input.spec.name);
  if (source == nullptr)
    return reader.refuse(path + ".name", "expected one of the inputs ({}), got '{}'", names(manifest.inputs),
                         input.spec.name);
  bool const mapped = std::ranges::any_of(manifest.members, [&](Member const& member) {
    return std::ranges::find(member.lookups, input.spec.name, &Lookup::input) != member.lookups.end();
  });
  if (!mapped && source->dtype != input.spec.dtype)
    reader.refuse(path + ".dtype", "expected {} as in inputs, got {}", to_string(source->dtype),
                  to_string(input.spec.dtype));
}

void check_output(Manifest const& manifest, OutputSection const& output, std::string const& path,
                  Reader& reader) {
  TensorSpec const& spec = output.spec;
  if (!spec.stacks())
    reader.refuse(path + ".shape", "expected '{}' as the first dimension, got {}", items_axis,
                  to_string(spec));
  switch (output.source) {
    case OutputSource::members:
    case OutputSource::unknown:
      if (spec.dtype != DType::i64 || spec.dims.size() != 1)
        reader.refuse(path, "expected i64 [items] for a count, got {}", to_string(spec));
      return;
    case OutputSource::features:
      if (!manifest.features)
        reader.refuse(path + ".from", "expected a feature stage to take '{}' from, got none", output.of);
      return;
    case OutputSource::model:
    case OutputSource::mean:
    case OutputSource::spread: break;
  }
  TensorSpec const* source = find(manifest.model_outputs, output.of);
  if (source == nullptr)
    return reader.refuse(path + ".from", "expected one of the model outputs ({}), got '{}'",
                         names(manifest.model_outputs), output.of);
  if (source->dtype != spec.dtype)
    reader.refuse(path + ".dtype", "expected {} as in model_outputs, got {}", to_string(source->dtype),
                  to_string(spec.dtype));
  if (output.source == OutputSource::model) {
    if (manifest.members.size() > 1)
      reader.refuse(path + ".from",
                    "expected mean:{0} or std:{0} of {1} members, got the output of one model", output.of,
                    manifest.members.size());
    return;
  }
  if (!is_float(spec.dtype))
    reader.refuse(path + ".dtype", "expected a floating-point type, got {}", to_string(spec.dtype));
  if (output.source == OutputSource::spread && manifest.members.size() < 2)
    reader.refuse(path + ".from", "expected several members for a spread, got 1");
}

void check_member(Manifest const& manifest, Member const& member, std::string const& path, Reader& reader) {
  for (auto const& lookup : member.lookups) {
    std::string const place = fmt::format("{}.lookups.{}", path, lookup.input);
    ModelInput const* input = find_input(manifest, lookup.input);
    if (input == nullptr || input->assemble == Assemble::segment || input->assemble == Assemble::count ||
        !is_integer(input->spec.dtype))
      reader.refuse(place, "expected the name of an integer model input that is not made, got {}",
                    input == nullptr ? fmt::format("'{}'", lookup.input) : to_string(input->spec));
    auto codes = lookup.codes;
    std::ranges::sort(codes);
    if (auto const repeated = std::ranges::adjacent_find(codes); repeated != codes.end())
      reader.refuse(place, "expected every code once, got {} twice", *repeated);
  }
  for (auto const& scale : member.scales) {
    TensorSpec const* output = find(manifest.model_outputs, scale.output);
    if (output == nullptr || !is_float(output->dtype))
      reader.refuse(fmt::format("{}.scale.{}", path, scale.output),
                    "expected the name of a floating-point model output ({})", names(manifest.model_outputs));
  }
}

}  // namespace

void check_references(Manifest const& manifest, Reader& reader) {
  check_unique(reader, "inputs", manifest.inputs, [](TensorSpec const& spec) { return spec.name; });
  check_unique(reader, "model_inputs", manifest.model_inputs,
               [](ModelInput const& input) { return input.spec.name; });
  check_unique(reader, "model_outputs", manifest.model_outputs,
               [](TensorSpec const& spec) { return spec.name; });
  check_unique(reader, "outputs", manifest.outputs,
               [](OutputSection const& output) { return output.spec.name; });
  if (manifest.features && find(manifest.inputs, manifest.features->input) == nullptr)
    reader.refuse("features.input", "expected one of the inputs ({}), got '{}'", names(manifest.inputs),
                  manifest.features->input);
  for (std::size_t i = 0; i < manifest.model_inputs.size(); ++i)
    check_model_input(manifest, manifest.model_inputs[i], fmt::format("model_inputs[{}]", i), reader);
  for (std::size_t i = 0; i < manifest.outputs.size(); ++i)
    check_output(manifest, manifest.outputs[i], fmt::format("outputs[{}]", i), reader);
  for (std::size_t i = 0; i < manifest.members.size(); ++i)
    check_member(manifest, manifest.members[i], fmt::format("members[{}]", i), reader);
  auto const members = static_cast<std::int64_t>(manifest.members.size());
  if (manifest.min_members > members)
    reader.refuse("min_members", "expected at most the {} members, got {}", members, manifest.min_members);
}

}  // namespace athanor::inline v1::loading
