#include "manifest_sequences.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "manifest_constants.hpp"

namespace athanor::inline v1::manifest {

namespace {

using json::Node;
using json::Reader;

constexpr std::int64_t most_sequences = 1 << 16;
constexpr std::int64_t most_steps = std::int64_t{1} << 20;
constexpr std::int64_t longest_idle_ms = std::int64_t{30} * 24 * 60 * 60 * 1000;
/// The most bytes of carried state that one model may ask for.
constexpr std::uint64_t most_state_bytes = std::uint64_t{1} << 40;

void check_state(Manifest const& manifest, ModelInput const& input, std::string const& path, Reader& reader) {
  auto const next = std::ranges::find(manifest.model_outputs, input.state, &TensorSpec::name);
  if (next == manifest.model_outputs.end())
    return reader.refuse(path + ".from", "expected the name of a model output, got '{}'", input.state);
  if (next->dtype != input.spec.dtype || next->dims != input.spec.dims)
    reader.refuse(path, "expected the type and shape of the model output '{}', {}; got {}", input.state,
                  to_string(*next), to_string(input.spec));
}

/// What all slots of all states hold, with the present value and the next.
void check_state_bytes(Manifest const& manifest, Reader& reader) {
  std::uint64_t bytes = 0;
  for (ModelInput const& input : manifest.model_inputs) {
    if (input.assemble != Assemble::state) continue;
    std::uint64_t state = 2 * static_cast<std::uint64_t>(manifest.sequences->max) *
                          std::max<std::size_t>(element_size(input.spec.dtype), 1);
    bool fits = true;
    for (std::size_t axis = 1; axis < input.spec.dims.size(); ++axis)
      fits = fits &&
             !__builtin_mul_overflow(state, static_cast<std::uint64_t>(input.spec.dims[axis].length), &state);
    if (!fits || __builtin_add_overflow(bytes, state, &bytes) || bytes > most_state_bytes)
      return reader.refuse("sequences.max", "expected states of at most {} bytes together, got {} sequences",
                           most_state_bytes, manifest.sequences->max);
  }
}

StepsSection read_steps(Node const& node) {
  StepsSection section;
  if (!node.object({"until", "max"})) return section;
  if (node["until"].present()) section.until = node["until"].name();
  Node const max = node["max"];
  if (max.present() && max.json()->is_string()) {
    section.parameter = max.name();
  } else {
    section.max = max.integer(1, most_steps);
  }
  return section;
}

/// What says how long a call goes on: an output of the model, a parameter of the request.
void check_steps(Manifest& manifest, Reader& reader) {
  StepsSection& steps = *manifest.sequences->steps;
  if (!steps.until.empty()) {
    auto const until = std::ranges::find(manifest.model_outputs, steps.until, &TensorSpec::name);
    bool const found = until != manifest.model_outputs.end();
    if (!found || until->dtype != DType::boolean || !until->stacks() || until->dims.size() != 1)
      reader.refuse("sequences.steps.until", "expected a model output, bool [items]; got {}",
                    found ? to_string(*until) : "no output of the name '" + steps.until + "'");
  }
  if (steps.parameter.empty()) return;
  auto const parameter = std::ranges::find(manifest.parameters, steps.parameter, &ParameterSpec::name);
  bool const found = parameter != manifest.parameters.end();
  bool const bounded = found && parameter->type == ParameterType::i64 && parameter->least &&
                       parameter->most && std::get<std::int64_t>(*parameter->least) >= 1 &&
                       std::get<std::int64_t>(*parameter->most) <= most_steps;
  if (!bounded)
    return reader.refuse(
        "sequences.steps.max", "expected a parameter, i64 with min and max of 1 to {}; got {}", most_steps,
        found ? to_string(*parameter) : "no parameter of the name '" + steps.parameter + "'");
  steps.max = std::get<std::int64_t>(*parameter->most);
}

}  // namespace

void take_from_state(ModelInput& input, Node const& node) {
  constexpr std::string_view prefix = "state:";
  input.state = node["from"].text().substr(prefix.size());
  input.assemble = Assemble::state;
  if (input.state.empty())
    node.reader().refuse(node["from"].path(), "expected the name of a model output after 'state:', got none");
  for (auto const* key : {"make", "index_of", "pad", "axis"})
    if (node[key].present())
      node.reader().refuse(node[key].path(), "expected nothing beside 'from', got a value");
  auto const& dims = input.spec.dims;
  bool const fixed = input.spec.stacks() && std::all_of(dims.begin() + 1, dims.end(), [](Dim const& dim) {
                       return dim.kind == Dim::Kind::fixed;
                     });
  if (!fixed || input.spec.dtype == DType::bytes)
    node.reader().refuse(node["shape"].path(),
                         "expected numbers of 'items' and fixed lengths for a state, got {}",
                         to_string(input.spec));
}

void name_next_states(Manifest& manifest) {
  for (ModelInput const& input : manifest.model_inputs) {
    if (input.assemble != Assemble::state ||
        std::ranges::find(manifest.model_outputs, input.state, &TensorSpec::name) !=
            manifest.model_outputs.end())
      continue;
    TensorSpec spec = input.spec;
    spec.name = input.state;
    manifest.model_outputs.push_back(std::move(spec));
  }
}

void read_sequences(Node const& root, Manifest& manifest) {
  auto const node = root["sequences"];
  bool const carries = std::ranges::count(manifest.model_inputs, Assemble::state, &ModelInput::assemble) != 0;
  if (!node.present() && !carries) return;
  SequencesSection& section = manifest.sequences.emplace();
  if (node.present() && node.object({"max", "idle_ms", "held", "reset", "steps"})) {
    if (node["max"].present()) section.max = node["max"].integer(1, most_sequences);
    if (node["idle_ms"].present()) section.idle_ms = node["idle_ms"].integer(1, longest_idle_ms);
    if (node["held"].present()) section.held = node["held"].flag();
    if (node["steps"].present()) section.steps = read_steps(node["steps"]);
    if (node["reset"].present()) section.reset = node["reset"].name();
  }
  Reader& reader = root.reader();
  if (!section.reset.empty() && !section.held)
    reader.refuse(node["reset"].path(), "expected \"held\": true beside it, got '{}' alone", section.reset);
  if (!carries && !section.held)
    reader.refuse(node.path(), "expected a model input from state:NAME, or \"held\": true; got neither");
  if (root["cache"].present() && manifest.cache)
    reader.refuse("cache", "expected false for a model whose answers depend on earlier calls, got true");
  manifest.cache = false;
  if (auto const instances = manifest.batching.instances.value_or(1); instances != 1)
    reader.refuse("batching.instances", "expected 1 for a model with state, got {}", instances);
  if (!manifest.batching.sizes.empty())
    reader.refuse("batching.sizes",
                  "expected none for a model with state, since copies of an item would step it; got {}",
                  manifest.batching.sizes.size());
  if (manifest.members.size() > 1)
    reader.refuse("members", "expected one member for a model with state, got {}", manifest.members.size());
}

void check_sequences(Manifest& manifest, Reader& reader) {
  if (!manifest.sequences) return;
  if (manifest.sequences->steps) check_steps(manifest, reader);
  for (std::size_t i = 0; i < manifest.model_inputs.size(); ++i) {
    ModelInput const& input = manifest.model_inputs[i];
    if (input.assemble != Assemble::state) continue;
    std::string const path = place_of_input(manifest, i);
    check_state(manifest, input, path, reader);
    for (std::size_t earlier = 0; earlier < i; ++earlier)
      if (manifest.model_inputs[earlier].state == input.state)
        reader.refuse(path + ".from", "expected every model output once, got '{}' again", input.state);
  }
  if (!reader.failed()) check_state_bytes(manifest, reader);
  std::int64_t const most = manifest.sequences->max;
  bool const ragged = !manifest.processor &&
                      std::ranges::count(manifest.model_inputs, Assemble::ragged, &ModelInput::assemble) != 0;
  for (std::size_t i = 0; i < manifest.self_tests.size(); ++i) {
    auto const items = check(manifest.signature(), manifest.self_tests[i].inputs)->items;
    std::string const path = fmt::format("self_test[{}].inputs", i);
    if (items > most)
      reader.refuse(path, "expected at most {} items, each of a sequence of its own; got {}", most, items);
    if (items > 1 && ragged)
      reader.refuse(path, "expected 1 item beside an input along a ragged axis, got {}", items);
  }
  for (std::size_t i = 0; i < manifest.warm_up_batches.size(); ++i)
    if (manifest.warm_up_batches[i] > most)
      reader.refuse(fmt::format("warm_up.batches[{}]", i),
                    "expected at most {} items, each of a sequence of its own; got {}", most,
                    manifest.warm_up_batches[i]);
}

}  // namespace athanor::inline v1::manifest
