#include <athanor/manifest/manifest.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fmt/ranges.h>

#include <athanor/manifest/model_name.hpp>

#include "manifest_batching.hpp"
#include "manifest_checks.hpp"
#include "manifest_constants.hpp"
#include "manifest_padding.hpp"
#include "manifest_parameters.hpp"
#include "manifest_ragged.hpp"
#include "manifest_sequences.hpp"
#include "manifest_shared.hpp"
#include "tensor_convert.hpp"

namespace athanor::inline v1 {

namespace manifest {

namespace {

constexpr std::int64_t no_limit = INT64_MAX;
/// More than the cores of one machine; kernels that are asked for thousands end the process.
constexpr std::int64_t most_threads = 256;
constexpr std::uintmax_t largest_manifest = 64U << 20;
constexpr std::size_t most_members = 256;
constexpr std::size_t most_self_tests = 1024;
constexpr std::size_t most_operators = 16;
/// What a scale is made of, so that neither it nor its product with a value of f32's range leaves that of
/// f64.
constexpr double least_scale = 1e-37;
constexpr double most_scale = 1e37;

/// A file of the model's folder: relative, and never out of it.
std::string read_path(Node const& node) {
  std::string path = node.text();
  bool good = !path.empty() && path.front() != '/' && path.find('\\') == std::string::npos &&
              path.find('\0') == std::string::npos;
  for (auto const& part : std::filesystem::path(path))
    good = good && part != ".." && part != "." && !part.empty();
  if (!good && node.present())
    node.reader().refuse(node.path(),
                         "expected a path inside the model's folder, without '.' and '..'; got '{}'", path);
  if (path == manifest_file)
    node.reader().refuse(node.path(), "expected a file beside the manifest, got the manifest");
  return path;
}

std::string read_digest(Node const& node) {
  constexpr std::string_view prefix = "xxh128:";
  std::string digest = node.text();
  bool const good = digest.starts_with(prefix) && digest.size() == prefix.size() + 32 &&
                    std::ranges::all_of(std::string_view(digest).substr(prefix.size()), [](char c) {
                      return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
                    });
  if (!good)
    node.reader().refuse(node.path(), "expected 'xxh128:' and 32 lower-case hexadecimal digits, got '{}'",
                         digest);
  return digest;
}

std::vector<Dim> read_shape(Node const& node) {
  std::vector<Dim> dims;
  if (!node.present()) node.reader().refuse(node.path(), "expected a list of dimensions, got nothing");
  for (Node const& entry : node.list()) {
    if (dims.size() == Shape::max_rank) break;
    if (entry.json()->is_null()) {
      dims.push_back(Dim::any());
    } else if (entry.json()->is_string()) {
      dims.push_back(Dim::named(entry.name()));
    } else if (entry.json()->is_number_integer()) {
      dims.push_back(Dim::fixed(entry.integer(0, INT32_MAX)));
    } else {
      node.reader().refuse(entry.path(), "expected a length, the name of an axis or null, got {}",
                           json::describe(*entry.json()));
    }
  }
  if (node.present() && node.json()->is_array() && node.json()->size() > Shape::max_rank)
    node.reader().refuse(node.path(), "expected at most {} dimensions, got {}", Shape::max_rank,
                         node.json()->size());
  auto const times = std::ranges::count(dims, Dim::named(std::string(items_axis)));
  if (times > 1) node.reader().refuse(node.path(), "expected '{}' once, got it {} times", items_axis, times);
  return dims;
}

/// The items of requests and answers lie along the first axis.
void check_items_first(Node const& node, TensorSpec const& spec) {
  std::size_t const axis = batch_axis_of(spec);
  if (axis != 0 && axis != no_batch_axis)
    node.reader().refuse(fmt::format("{}.shape[{}]", node.path(), axis),
                         "expected '{}' as the first dimension only, got {}", items_axis, to_string(spec));
}

/// Name, dtype and shape, which every tensor has.
TensorSpec read_tensor(Node const& node) {
  TensorSpec spec;
  spec.name = node["name"].name();
  if (auto dtype = parse_dtype(node["dtype"].text())) {
    spec.dtype = *dtype;
  } else {
    node.reader().refuse(node["dtype"].path(), "{}", dtype.error().message);
  }
  spec.dims = read_shape(node["shape"]);
  return spec;
}

void read_non_finite(Node const& node, TensorSpec& spec) {
  if (!node.present()) return;
  std::string const text = node.text();
  if (text != "refuse" && text != "allow")
    node.reader().refuse(node.path(), "expected 'refuse' or 'allow', got '{}'", text);
  spec.non_finite = text == "allow" ? NonFinite::allow : NonFinite::refuse;
}

/// What only `bytes` tensors have.
void read_encoding(Node const& node, TensorSpec& spec) {
  if (!node.present()) return;
  std::string const text = node.text();
  if (text != "utf8" && text != "any")
    node.reader().refuse(node.path(), "expected 'utf8' or 'any', got '{}'", text);
  if (spec.dtype != DType::bytes)
    node.reader().refuse(node.path(), "expected no value except for dtype bytes, got one for {}",
                         to_string(spec.dtype));
  spec.encoding = text == "any" ? Encoding::any : Encoding::utf8;
}

TensorSpec read_input(Node const& node) {
  if (!node.object(
          {"name", "dtype", "shape", "non_finite", "max_bytes", "encoding", "unit", "default", "shared"}))
    return {};
  TensorSpec spec = read_tensor(node);
  check_items_first(node, spec);
  read_non_finite(node["non_finite"], spec);
  if (auto const limit = node["max_bytes"]; limit.present()) {
    spec.max_bytes = limit.integer(1, no_limit);
    if (spec.dtype != DType::bytes)
      node.reader().refuse(limit.path(), "expected no value except for dtype bytes, got one for {}",
                           to_string(spec.dtype));
  }
  read_encoding(node["encoding"], spec);
  read_shared(node["shared"], spec);
  if (node["unit"].present()) spec.unit = node["unit"].text();
  return spec;
}

/// How an input that is not made joins a batch, by its first dimension.
void place_in_batch(ModelInput& input, Node const& node) {
  auto const& dims = input.spec.dims;
  if (dims.empty() || dims[0].kind != Dim::Kind::named) {
    node.reader().refuse(node["shape"].path(),
                         "expected 'items' or the name of a ragged axis as the first dimension, got {}",
                         to_string(input.spec));
    return;
  }
  bool const stacks = input.spec.stacks();
  input.assemble = stacks ? Assemble::stack : Assemble::ragged;
  if (!stacks) input.axis = dims[0].name;
}

/// How an input that is not generated joins a batch: stacked along the axis that is `items`; one item per run
/// if there is no such axis; ragged if its first axis has a name. A name is an axis of the item if the model
/// reads the request's input of that name and this has `items` before it.
void find_batch_axis(ModelInput& input, Node const& node, TensorSpec const* source) {
  auto const& dims = input.spec.dims;
  std::size_t const axis = batch_axis_of(input.spec);
  bool const named = !dims.empty() && dims[0].kind == Dim::Kind::named;
  bool const of_item = source != nullptr && source->stacks() && source->dims.size() == dims.size() + 1;
  if (axis == 0 || (axis == no_batch_axis && named && !of_item)) return place_in_batch(input, node);
  if (axis == no_batch_axis && dims.size() == Shape::max_rank)
    node.reader().refuse(node["shape"].path(), "expected at most {} dimensions beside 'items', got {}",
                         Shape::max_rank - 1, dims.size());
  input.batch_axis = axis;
  input.spec = with_items_first(std::move(input.spec));
}

ModelInput read_model_input(Node const& node, Manifest& manifest) {
  ModelInput input;
  if (!node.object({"name", "dtype", "shape", "index_of", "make", "axis", "pad", "from", "constant"}))
    return input;
  input.spec = read_tensor(node);
  input.spec.non_finite = NonFinite::allow;  // the request's own inputs are what is checked
  if (node["constant"].present()) {
    take_constant(input, node);
    return input;
  }
  if (auto const from = node["from"]; from.present()) {
    if (from.text().starts_with("state:")) {
      take_from_state(input, node);
    } else {
      take_from_parameter(input, node);
    }
    return input;
  }
  auto const found = std::ranges::find(manifest.inputs, input.spec.name, &TensorSpec::name);
  TensorSpec const* const source = found == manifest.inputs.end() ? nullptr : &*found;
  if (source != nullptr && source->shared) {
    take_shared(input, node);
    return input;
  }
  auto const make = node["make"];
  std::string const how = make.present() ? make.text() : "";
  if (!make.present()) {
    find_batch_axis(input, node, manifest.processor ? nullptr : source);
  } else if (how == "segment") {
    place_in_batch(input, node);
    input.assemble = Assemble::segment;
  } else if (how == "count") {
    input.assemble = Assemble::count;
  } else if (how == "mask") {
    input.assemble = Assemble::mask;
  } else if (how == "length") {
    input.assemble = Assemble::length;
    input.axis = node["axis"].name();
  } else {
    node.reader().refuse(make.path(), "expected 'segment', 'count', 'mask' or 'length', got '{}'", how);
  }
  if (node["axis"].present() && input.assemble != Assemble::length)
    node.reader().refuse(node["axis"].path(), "expected no value except with \"make\": \"length\", got one");
  if (node["index_of"].present()) input.index_of = node["index_of"].name();
  if (node["pad"].present()) read_padding(node["pad"], input, manifest.padded_axes);
  return input;
}

TensorSpec read_model_output(Node const& node, std::vector<RaggedAxis>& ragged_axes) {
  if (!node.object({"name", "dtype", "shape", "rows"})) return {};
  TensorSpec spec = read_tensor(node);
  read_ragged_axis(node["rows"], spec, ragged_axes);
  return spec;
}

void read_source(Node const& node, OutputSection& output, bool of_processor = true) {
  output.of = output.spec.name;
  if (!node.present()) return;
  std::string const from = node.text();
  auto const colon = from.find(':');
  std::string const head = from.substr(0, colon);
  output.of = colon == std::string::npos ? std::string() : from.substr(colon + 1);
  bool const names = !output.of.empty();
  if (head == "model" && names) {
    output.source = OutputSource::model;
  } else if (head == "mean" && names) {
    output.source = OutputSource::mean;
  } else if (head == "median" && names) {
    output.source = OutputSource::median;
  } else if (head == "std" && names) {
    output.source = OutputSource::standard_deviation;
  } else if (head == "processor" && names && of_processor) {
    output.source = OutputSource::processor;
  } else if (head == "rows" && names && of_processor) {
    output.source = OutputSource::rows;
  } else if (from == "unknown") {
    output.source = OutputSource::unknown;
  } else if (from == "members") {
    output.source = OutputSource::members;
  } else {
    node.reader().refuse(
        node.path(), "expected model:NAME, mean:NAME, median:NAME, std:NAME,{} unknown or members; got '{}'",
        of_processor ? " processor:NAME, rows:AXIS," : "", from);
  }
}

OutputSection read_output(Node const& node) {
  OutputSection output;
  if (!node.object({"name", "dtype", "shape", "non_finite", "unit", "from"})) return output;
  output.spec = read_tensor(node);
  check_items_first(node, output.spec);
  read_non_finite(node["non_finite"], output.spec);
  if (node["unit"].present()) output.spec.unit = node["unit"].text();
  read_source(node["from"], output);
  return output;
}

ProcessorSection read_processor(Node const& node) {
  ProcessorSection section;
  if (!node.object({"name", "inputs", "rows", "options", "digests"})) return section;
  section.name = node["name"].name();
  if (auto const inputs = node["inputs"]; inputs.present())
    for (Node const& input : inputs.list(1, max_tensors)) section.inputs.push_back(input.name());
  if (auto const rows = node["rows"]; rows.present())
    for (Node const& row : rows.list(1, max_tensors)) read_source(row, section.rows.emplace_back(), false);
  if (auto const options = node["options"]; options.present() && options.object())
    section.options_json = options.json()->dump();
  for (auto const& [file, digest] : node["digests"].named()) {
    Json const name = file;
    section.digests.push_back({read_path({node.reader(), &name, digest.path()}), read_digest(digest)});
  }
  return section;
}

Member read_member(Node const& node, Manifest const& manifest) {
  Member member;
  if (!node.object({"file", "digest", "backend", "format", "inputs", "lookups", "scale"})) return member;
  member.file = {read_path(node["file"]), read_digest(node["digest"])};
  member.backend = node["backend"].present() ? node["backend"].name() : manifest.backend;
  member.format = node["format"].present() ? node["format"].name() : manifest.format;
  if (auto const inputs = node["inputs"]; inputs.present())
    for (Node const& input : inputs.list(1, max_tensors)) member.inputs.push_back(input.name());
  for (auto const& [input, codes] : node["lookups"].named()) {
    Lookup& lookup = member.lookups.emplace_back(Lookup{input, {}});
    for (Node const& code : codes.list(1)) lookup.codes.push_back(code.integer(INT64_MIN, no_limit));
  }
  for (auto const& [output, entry] : node["scale"].named()) {
    if (!entry.object({"center", "scale"})) continue;
    Scale const scale{output, entry["center"].number(), entry["scale"].number()};
    if (scale.scale == 0)
      node.reader().refuse(entry["scale"].path(), "expected a number other than 0, got 0");
    if (std::abs(scale.scale) < least_scale || std::abs(scale.scale) > most_scale)
      node.reader().refuse(entry["scale"].path(), "expected a magnitude of {} to {}, got {}", least_scale,
                           most_scale, scale.scale);
    if (std::abs(scale.center) > most_scale)
      node.reader().refuse(entry["center"].path(), "expected a magnitude of at most {}, got {}", most_scale,
                           scale.center);
    member.scales.push_back(scale);
  }
  return member;
}

/// A tensor of a self-test, under the spec of that name.
std::optional<Tensor> read_value(std::string const& name, Node const& node,
                                 std::vector<TensorSpec> const& specs) {
  auto const spec = std::ranges::find(specs, name, &TensorSpec::name);
  if (spec == specs.end()) {
    std::vector<std::string> known;
    for (auto const& each : specs) known.push_back(each.name);
    node.reader().refuse(node.path(), "expected one of {}, got '{}'", fmt::join(known, ", "), name);
    return {};
  }
  auto tensor = convert_tensor(*node.json(), *spec);
  if (tensor) return std::move(*tensor);
  node.reader().refuse(node.path(), "{}", tensor.error().message);
  return {};
}

/// The spec of that name, which is there.
TensorSpec const& find_spec(std::vector<TensorSpec> const& specs, std::string const& name) {
  return *std::ranges::find(specs, name, &TensorSpec::name);
}

/// An input of a self-test, or a parameter.
std::optional<Tensor> read_request_value(std::string const& name, Node const& node,
                                         Signature const& signature) {
  auto const parameter = std::ranges::find(signature.parameters, name, &ParameterSpec::name);
  if (parameter != signature.parameters.end()) return read_parameter_value(*parameter, node);
  return read_value(name, node, signature.inputs);
}

SelfTest read_self_test(Node const& node, Signature const& signature, BatchingSection const& batching) {
  SelfTest test;
  if (!node.object({"inputs", "outputs", "tolerance"})) return test;
  for (auto const& [name, value] : node["inputs"].named())
    if (auto tensor = read_request_value(name, value, signature)) test.inputs.set(name, std::move(*tensor));
  for (auto const& [name, value] : node["outputs"].named())
    if (auto tensor = read_value(name, value, signature.outputs))
      test.outputs.emplace_back(name, std::move(*tensor));
  if (auto const tolerance = node["tolerance"]; tolerance.present()) {
    test.tolerance = tolerance.number();
    if (!(test.tolerance >= 0 && test.tolerance < 1))
      node.reader().refuse(tolerance.path(), "expected at least 0 and less than 1, got {}", test.tolerance);
  }
  if (node.reader().failed()) return test;
  auto const checked = check(signature, test.inputs);
  if (!checked) {
    node.reader().refuse(node["inputs"].path(), "{}", checked.error().message);
    return test;
  }
  check_batch(batching, checked->items, node["inputs"]);
  if (test.outputs.empty())
    node.reader().refuse(node["outputs"].path(), "expected at least one output, got none");
  for (auto const& output : test.outputs)
    if (find_spec(signature.outputs, output.name).stacks() && output.value.shape()[0] != checked->items)
      node.reader().refuse(fmt::format("{}.{}", node["outputs"].path(), output.name),
                           "expected {} items as in the inputs, got {}", checked->items,
                           output.value.shape()[0]);
  return test;
}

/// Before anything else, since a later format has keys that this one does not know.
bool is_known_format(Node const& root) {
  if (!root.object()) return false;
  std::int64_t const format = root["athanor"].integer(1, no_limit);
  if (format != manifest_format)
    root.reader().refuse("athanor", "expected format {}, got {}: this library is older than the manifest",
                         manifest_format, format);
  return !root.reader().failed();
}

void read_identity(Node const& root, Manifest& manifest) {
  manifest.name = root["name"].name();
  manifest.version = root["version"].text();
  if (!is_semantic_version(manifest.version))
    root.reader().refuse("version", "expected a semantic version such as 1.0.0, got '{}'", manifest.version);
  if (root["description"].present()) manifest.description = root["description"].text();
  manifest.backend = root["backend"].name();
  manifest.format = root["format"].name();
  if (root["method"].present()) manifest.method = root["method"].name();
  if (root["autograd"].present()) manifest.autograd = root["autograd"].flag();
  if (!root["operators"].present()) return;
  for (Node const& library : root["operators"].list(1, most_operators)) {
    std::string name = library.name();
    if (std::ranges::find(manifest.operators, name) != manifest.operators.end())
      root.reader().refuse(library.path(), "expected every library once, got '{}' again", name);
    manifest.operators.push_back(std::move(name));
  }
}

/// The rows that postprocess reads have the types and shapes of the model's outputs.
void describe_rows(Manifest& manifest) {
  if (!manifest.processor) return;
  for (OutputSection& row : manifest.processor->rows) {
    bool const counts = row.source == OutputSource::unknown || row.source == OutputSource::members;
    auto const output = std::ranges::find(manifest.model_outputs, row.of, &TensorSpec::name);
    if (counts) {
      row.spec.dtype = DType::i64;
      row.spec.dims = {Dim::named(std::string(items_axis))};
    } else if (output != manifest.model_outputs.end()) {
      row.spec = with_items_first(*output);
    }
    row.spec.non_finite = NonFinite::allow;
  }
}

/// Without a list of its own, the model gives what the outputs take from it, then the next values of its
/// states.
void name_model_outputs(Manifest& manifest) {
  for (auto const& output : manifest.outputs) {
    bool const taken = output.source == OutputSource::model || output.source == OutputSource::mean ||
                       output.source == OutputSource::median ||
                       output.source == OutputSource::standard_deviation;
    if (!taken || std::ranges::find(manifest.model_outputs, output.of, &TensorSpec::name) !=
                      manifest.model_outputs.end())
      continue;
    TensorSpec spec = output.spec;
    spec.name = output.of;
    spec.unit.clear();
    manifest.model_outputs.push_back(std::move(spec));
  }
  name_next_states(manifest);
}

void read_tensors(Node const& root, Manifest& manifest) {
  if (root["processor"].present()) manifest.processor = read_processor(root["processor"]);
  for (Node const& node : root["inputs"].list(1, max_tensors)) {
    manifest.inputs.push_back(read_input(node));
    manifest.defaults.push_back(read_default(manifest.inputs.back(), node));
  }
  if (std::ranges::none_of(manifest.defaults, [](auto const& value) { return !value; }))
    root.reader().refuse("inputs", "expected at least one input without a default, got none");
  if (std::ranges::none_of(manifest.inputs, [&](TensorSpec const& spec) {
        return !spec.shared && !manifest.defaults[static_cast<std::size_t>(&spec - manifest.inputs.data())];
      }))
    root.reader().refuse("inputs", "expected at least one input that every item must provide, got none");
  for (Node const& node : root["outputs"].list(1, max_tensors)) manifest.outputs.push_back(read_output(node));
  for (Node const& node : root["parameters"].list(0, max_parameters))
    manifest.parameters.push_back(read_parameter(node));
  if (manifest.processor && manifest.processor->inputs.empty())
    for (TensorSpec const& input : manifest.inputs)
      if (!input.shared) manifest.processor->inputs.push_back(input.name);
  if (auto const inputs = root["model_inputs"]; inputs.present()) {
    for (Node const& node : inputs.list(1, max_tensors))
      if (!take_none(node, manifest)) manifest.model_inputs.push_back(read_model_input(node, manifest));
    if (manifest.model_inputs.empty())
      root.reader().refuse("model_inputs", "expected at least one input that is not None, got none");
  } else {
    auto const nodes = root["inputs"].list(1, max_tensors);
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      ModelInput& input = manifest.model_inputs.emplace_back();
      input.spec = manifest.inputs[i];
      if (input.spec.shared) {
        input.assemble = Assemble::common;
      } else if (!root.reader().failed()) {
        place_in_batch(input, nodes[i]);
      }
    }
  }
  if (auto const outputs = root["model_outputs"]; outputs.present()) {
    for (Node const& node : outputs.list(1, max_tensors))
      manifest.model_outputs.push_back(read_model_output(node, manifest.ragged_axes));
  } else {
    name_model_outputs(manifest);
  }
  describe_rows(manifest);
}

void read_execution(Node const& root, Manifest& manifest) {
  for (Node const& node : root["members"].list(1, most_members))
    manifest.members.push_back(read_member(node, manifest));
  manifest.min_members = static_cast<std::int64_t>(manifest.members.size());
  if (auto const least = root["min_members"]; least.present())
    manifest.min_members = least.integer(1, no_limit);
  manifest.batching = read_batching(root["batching"]);
  if (root["cache"].present()) manifest.cache = root["cache"].flag();
  if (auto const device = root["device"]; device.present()) {
    auto parsed = parse_device(device.text());
    if (parsed) {
      manifest.device = *parsed;
    } else {
      root.reader().refuse(device.path(), "{}", parsed.error().message);
    }
  }
  if (root["threads"].present()) manifest.threads = root["threads"].integer(1, most_threads);
  manifest.warm_up_batches = read_warm_up(root, manifest.batching);
  read_sequences(root, manifest);
}

}  // namespace

}  // namespace manifest

Signature Manifest::signature() const {
  Signature signature{inputs, {}, parameters, defaults};
  for (auto const& output : outputs) signature.outputs.push_back(output.spec);
  return signature;
}

Result<void> check_request_inputs(Manifest const& manifest) {
  json::Reader reader(manifest_file, Reason::manifest);
  manifest::check_given_inputs(manifest, reader);
  if (reader.failed()) return tl::unexpected(reader.take_error());
  return {};
}

Result<Manifest> parse_manifest(std::string_view text) {
  auto document = json::parse(text, manifest_file, Reason::manifest);
  if (!document) return tl::unexpected(std::move(document.error()));
  json::Reader reader(manifest_file, Reason::manifest);
  json::Node const root(reader, &*document, "");
  Manifest manifest;
  manifest.content = hash128(text);
  if (manifest::is_known_format(root) &&
      root.object({"athanor", "name",      "version",     "description", "backend",      "format",
                   "method",  "autograd",  "processor",   "inputs",      "model_inputs", "model_outputs",
                   "outputs", "members",   "min_members", "batching",    "cache",        "device",
                   "threads", "self_test", "warm_up",     "parameters",  "sequences",    "operators"})) {
    manifest::read_identity(root, manifest);
    if (!reader.failed()) manifest::read_tensors(root, manifest);
    if (!reader.failed()) manifest::read_execution(root, manifest);
    if (!reader.failed()) manifest::fit_parameters(manifest, reader);
    if (!reader.failed()) manifest::fit_padding(manifest, reader);
    if (!reader.failed()) manifest::fit_ragged_axes(manifest, reader);
    if (!reader.failed()) manifest::check_references(manifest, reader);
    if (!reader.failed()) manifest::check_nones(manifest, reader);
    for (auto const& node : root["self_test"].list(0, manifest::most_self_tests))
      if (!reader.failed())
        manifest.self_tests.push_back(
            manifest::read_self_test(node, manifest.signature(), manifest.batching));
    if (!reader.failed()) manifest::check_sequences(manifest, reader);
  }
  if (reader.failed()) return tl::unexpected(reader.take_error());
  return manifest;
}

Result<Manifest> read_manifest(std::string const& folder) {
  if (folder.empty())
    return fail(Code::invalid_argument, Reason::option,
                "folder: expected the path of a model, got an empty one");
  std::string const path = folder + "/" + std::string(manifest_file);
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  std::error_code unknown;
  bool const regular = std::filesystem::is_regular_file(path, unknown);
  auto const size = regular ? std::filesystem::file_size(path, unknown) : 0;
  if (size > manifest::largest_manifest)
    return fail(Code::invalid_argument, Reason::manifest, "{}: expected at most {} bytes, got {}", path,
                manifest::largest_manifest, size);
  if (file && size > 0) text << file.rdbuf();
  if (file && regular && size == 0)
    return fail(Code::invalid_argument, Reason::manifest, "{}: expected a manifest, got an empty file", path);
  if (!file || text.tellp() <= 0)
    return fail(Code::not_found, Reason::file, "{}: expected a readable manifest, found none", path);
  return parse_manifest(text.view()).map_error([&](Error error) {
    error.message = detail::format("{}/{}", folder, error.message);
    return error;
  });
}

}  // namespace athanor::inline v1
