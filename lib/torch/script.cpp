#include <algorithm>
#include <optional>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>

#include <c10/core/InferenceMode.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/alias_analysis.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/passes/freeze_module.h>
#include <torch/csrc/jit/passes/frozen_graph_optimizations.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/serialization/import.h>

#include "names.hpp"
#include "program.hpp"

namespace athanor::inline v1::libtorch {

namespace {

namespace jit = ::torch::jit;

/// Adds up distinct storages: tied weights and views count once.
class StorageBytes {
 public:
  void add(at::Tensor const& tensor) {
    if (!tensor.defined() || !tensor.has_storage()) return;
    auto const* storage = tensor.storage().unsafeGetStorageImpl();
    if (seen_.insert(storage).second) total_ += storage->nbytes();
  }
  std::uint64_t total() const noexcept { return total_; }

 private:
  std::unordered_set<c10::StorageImpl const*> seen_;
  std::uint64_t total_ = 0;
};

/// What a node runs inside itself; a fork has a graph of its own.
std::vector<jit::Block const*> inner_blocks(jit::Node const& node) {
  std::vector<jit::Block const*> inner(node.blocks().begin(), node.blocks().end());
  if (node.hasAttribute(c10::attr::Subgraph)) inner.push_back(node.g(c10::attr::Subgraph)->block());
  return inner;
}

void add_constants(jit::Block const& block, StorageBytes& bytes) {
  for (auto const* node : block.nodes()) {
    if (node->kind() == c10::prim::Constant && node->outputs().size() == 1) {
      auto const value = jit::toIValue(node->output());
      if (value && value->isTensor()) bytes.add(value->toTensor());
      if (value && value->isTensorList())
        for (at::Tensor const& tensor : value->toTensorVector()) bytes.add(tensor);
    }
    for (auto const* inner : inner_blocks(*node)) add_constants(*inner, bytes);
  }
}

/// Freezing turns weights into constants of the graph, also those of a module that was frozen before it was
/// saved; what forward changes stays an attribute. Both are what the model holds for its life.
std::uint64_t held_bytes(jit::Module const& module, jit::Graph const& graph) {
  StorageBytes bytes;
  for (at::Tensor const& tensor : module.parameters()) bytes.add(tensor);
  for (at::Tensor const& tensor : module.buffers()) bytes.add(tensor);
  add_constants(*graph.block(), bytes);
  return bytes.total();
}

/// The node that a value comes from, if the value is what that node made, a view of it, or an element of it.
jit::Node const* origin_of(jit::Value const* value) {
  jit::Node const* const node = value->node();
  switch (node->kind()) {
    case c10::prim::GetAttr:
    case c10::prim::ListUnpack:
    case c10::prim::TupleUnpack:
    case c10::prim::TupleIndex:
    case c10::prim::unchecked_cast:
    case c10::prim::unchecked_unwrap_optional: return origin_of(node->input(0));
    default: break;
  }
  auto const* const schema = node->maybeSchema();
  bool const shares = schema != nullptr && !schema->returns().empty() && !schema->arguments().empty() &&
                      schema->returns()[0].alias_info() != nullptr;
  return shares ? origin_of(node->input(0)) : node;
}

/// The constant whose content `node` writes to; null if it writes to none.
jit::Value const* find_written_constant(jit::Node const& node) {
  auto const* const schema = node.maybeSchema();
  if (schema == nullptr) return nullptr;
  for (std::size_t i = 0; i < std::min(schema->arguments().size(), node.inputs().size()); ++i) {
    auto const* const alias = schema->arguments()[i].alias_info();
    if (alias == nullptr || !alias->isWrite()) continue;
    auto const* const origin = origin_of(node.input(i));
    if (origin->kind() == c10::prim::Constant) return origin->output();
  }
  return nullptr;
}

/// What all copies of a module share and a program changes nevertheless: freezing takes a list, a dict, and
/// what a fork changes, for constant. Empty when it changes none.
std::string find_changed_constant(jit::Block const& block, bool forked = false) {
  for (auto const* node : block.nodes()) {
    if (auto const* const written = find_written_constant(*node)) {
      std::string const name = written->debugName();
      constexpr std::string_view of_module = "self.";
      if (!name.starts_with(of_module)) return "a constant of it";
      return fmt::format("its attribute '{}'", name.substr(of_module.size()));
    }
    if (forked && node->kind() == c10::prim::SetAttr)
      return fmt::format("its attribute '{}'", node->s(c10::attr::name));
    bool const forks = forked || node->hasAttribute(c10::attr::Subgraph);
    for (auto const* inner : inner_blocks(*node))
      if (auto found = find_changed_constant(*inner, forks); !found.empty()) return found;
  }
  return {};
}

/// The attribute that a program changes: one that it sets, or whose content it writes to. Empty when it
/// changes none; what it never changes is no attribute any more, since freezing made it a constant.
std::string find_changed_attribute(jit::Block const& block, jit::AliasDb const& aliases) {
  for (auto const* node : block.nodes()) {
    if (node->kind() == c10::prim::SetAttr) return node->s(c10::attr::name);
    if (node->kind() == c10::prim::GetAttr && !node->output()->type()->is_module() &&
        aliases.hasWriters(node->output()))
      return node->s(c10::attr::name);
    for (auto const* inner : node->blocks())
      if (auto found = find_changed_attribute(*inner, aliases); !found.empty()) return found;
  }
  return {};
}

/// The bytes of the tensors that a module has for itself.
std::uint64_t attribute_bytes(jit::Module const& module) {
  StorageBytes bytes;
  for (c10::IValue const& value : module.attributes())
    if (value.isTensor()) bytes.add(value.toTensor());
  return bytes.total();
}

/// Whether the program asks for gradients itself.
bool computes_gradients(jit::Block const& block) {
  return std::ranges::any_of(block.nodes(), [](jit::Node const* node) {
    std::string_view const kind = node->kind().toQualString();
    return kind == "aten::grad" || kind == "aten::backward" ||
           std::ranges::any_of(inner_blocks(*node),
                               [](jit::Block const* inner) { return computes_gradients(*inner); });
  });
}

/// The constant that an input of that name is; none for another value, or without such an input.
std::optional<c10::IValue> constant_input(jit::Node const& node, char const* name) {
  return node.hasNamedInput(name) ? jit::toIValue(node.namedInput(name)) : std::nullopt;
}

/// Whether a node draws numbers from the generator that the whole process shares. A layer that would draw them
/// while it trains, or with another probability than 0, draws none otherwise.
bool draws_random_numbers(jit::Node const& node) {
  if (!node.isNondeterministic()) return false;
  for (char const* name : {"train", "training"})
    if (auto const trains = constant_input(node, name); trains && trains->isBool() && !trains->toBool())
      return false;
  for (char const* name : {"p", "dropout", "dropout_p"})
    if (auto const share = constant_input(node, name); share && share->isDouble() && share->toDouble() == 0.0)
      return false;
  return !node.hasNamedInput("generator") || node.namedInput("generator")->mustBeNone();
}

/// The operator of a program that draws random numbers; empty when none does.
std::string find_random(jit::Block const& block) {
  for (auto const* node : block.nodes()) {
    if (draws_random_numbers(*node)) return node->kind().toQualString();
    for (auto const* inner : inner_blocks(*node))
      if (auto found = find_random(*inner); !found.empty()) return found;
  }
  return {};
}

/// What an argument of forward takes: a tensor, or the value of an input of one element.
enum class Takes : std::uint8_t { tensor, boolean, integer, real, text };

/// How an argument of that type takes an input of that type, if it can.
std::optional<Takes> find_taken(c10::Type const& type, DType dtype) {
  auto const takes = [&](c10::TypePtr const& given) { return given->isSubtypeOf(type); };
  if (dtype == DType::bytes) return takes(c10::StringType::get()) ? std::optional(Takes::text) : std::nullopt;
  if (takes(c10::TensorType::get())) return Takes::tensor;
  if (dtype == DType::boolean)
    return takes(c10::BoolType::get()) ? std::optional(Takes::boolean) : std::nullopt;
  bool const real = dtype == DType::f16 || dtype == DType::bf16 || dtype == DType::f32 || dtype == DType::f64;
  if (real) return takes(c10::FloatType::get()) ? std::optional(Takes::real) : std::nullopt;
  return takes(c10::IntType::get()) ? std::optional(Takes::integer) : std::nullopt;
}

/// An argument of forward: an input of the manifest, or its own default.
struct Argument {
  std::string name;
  std::optional<std::size_t> input{};
  Takes takes = Takes::tensor;
  c10::IValue value{};
};

/// How the names of a manifest belong to a method.
struct Binding {
  std::vector<Argument> arguments;  // without the module itself
  std::vector<std::string> keys;    // of a dict: the outputs
  std::vector<std::size_t> places;  // of a tuple: the outputs; empty when they are all, in their order
};

class Script final : public Program {
 public:
  Script(jit::Module module, ProgramSource const& source, Binding binding, bool writes_inputs)
      : module_(std::move(module)),
        function_(&module_.get_method(source.method).function()),
        subject_(source.subject),
        method_(source.method),
        binding_(std::move(binding)),
        weight_bytes_(held_bytes(module_, *module_.get_method(source.method).graph()) +
                      source.slots * attribute_bytes(module_)),
        // State may keep an input beyond the run, or a view of one.
        writes_inputs_(writes_inputs || source.slots != 0) {}

  std::uint64_t weight_bytes() const override { return weight_bytes_; }
  bool writes_inputs() const override { return writes_inputs_; }

  /// A copy of the module: what never changes lies in its code, which all copies share.
  c10::IValue make_state() const override { return module_.deepcopy()._ivalue(); }

  Result<void> forward(std::vector<at::Tensor> const& inputs, c10::IValue const& state,
                       std::vector<at::Tensor>& outputs) const override {
    std::vector<c10::IValue> stack;
    stack.reserve(binding_.arguments.size() + 1);
    stack.push_back(state.isNone() ? c10::IValue(module_._ivalue()) : state);
    for (Argument const& argument : binding_.arguments) {
      if (argument.input && !inputs[*argument.input].defined()) {
        stack.emplace_back();  // None
        continue;
      }
      if (argument.takes == Takes::tensor) {
        stack.push_back(argument.input ? c10::IValue(inputs[*argument.input]) : argument.value);
        continue;
      }
      auto value = take_value(argument, inputs[*argument.input]);
      if (!value) return tl::unexpected(std::move(value.error()));
      stack.push_back(std::move(*value));
    }
    c10::IValue const answer = (*function_)(std::move(stack));
    return take(answer, outputs);
  }

 private:
  Result<c10::IValue> take_value(Argument const& argument, at::Tensor const& input) const {
    if (argument.takes == Takes::text)
      return c10::IValue(std::string(static_cast<char const*>(input.const_data_ptr()), input.nbytes()));
    if (input.numel() != 1)
      return fail(Code::invalid_argument, Reason::shape,
                  "{}: argument '{}' of {}: expected an input of one element, got {}", subject_,
                  argument.name, method_, input.numel());
    at::Scalar const value = input.item();
    if (argument.takes == Takes::boolean) return c10::IValue(value.toBool());
    if (argument.takes == Takes::integer) return c10::IValue(value.toLong());
    return c10::IValue(value.toDouble());
  }

  Result<void> take(c10::IValue const& answer, std::vector<at::Tensor>& outputs) const {
    outputs.clear();
    if (answer.isTensor()) {
      outputs.push_back(answer.toTensor());
    } else if (answer.isTensorList()) {
      for (at::Tensor const& tensor : answer.toTensorList()) outputs.push_back(tensor);
    } else if (answer.isTuple()) {
      return take_tuple(answer.toTupleRef().elements(), outputs);
    } else if (answer.isGenericDict()) {
      return take_dict(answer.toGenericDict(), outputs);
    } else {
      return not_tensors(answer.tagKind());
    }
    return {};
  }

  Result<void> take_tuple(c10::ArrayRef<c10::IValue> elements, std::vector<at::Tensor>& outputs) const {
    std::size_t const count = binding_.places.empty() ? elements.size() : binding_.places.size();
    for (std::size_t i = 0; i < count; ++i) {
      auto const& element = elements[binding_.places.empty() ? i : binding_.places[i]];
      if (!element.isTensor()) return not_tensors("a tuple with " + element.tagKind() + " in it");
      outputs.push_back(element.toTensor());
    }
    return {};
  }

  Result<void> take_dict(c10::Dict<c10::IValue, c10::IValue> const& dict,
                         std::vector<at::Tensor>& outputs) const {
    for (std::string const& key : binding_.keys) {
      auto const found = dict.find(key);
      if (found == dict.end()) return no_key(dict, key);
      if (!found->value().isTensor())
        return not_tensors("a dict with " + found->value().tagKind() + " in it");
      outputs.push_back(found->value().toTensor());
    }
    return {};
  }

  tl::unexpected<Error> no_key(c10::Dict<c10::IValue, c10::IValue> const& dict,
                               std::string const& key) const {
    std::vector<std::string> keys;
    for (auto const& entry : dict)
      keys.push_back(entry.key().isString() ? entry.key().toStringRef() : entry.key().tagKind());
    return fail(Code::internal, Reason::backend_contract,
                "{}: {}: expected outputs that are keys of its dict ({}), got '{}'", subject_, method_,
                join(keys), key);
  }

  tl::unexpected<Error> not_tensors(std::string const& got) const {
    return fail(Code::internal, Reason::backend_contract,
                "{}: {}: expected a tensor, a tuple or list of tensors, or a dict of tensors by name, got {}",
                subject_, method_, got);
  }

  jit::Module module_;
  jit::Function* function_;  // lives in module_
  std::string subject_;
  std::string method_;
  Binding binding_;
  std::uint64_t weight_bytes_;
  bool writes_inputs_;
};

template <class... Args>
tl::unexpected<Error> refuse(ProgramSource const& source, fmt::format_string<Args...> sentence,
                             Args&&... args) {
  return fail(Code::failed_precondition, Reason::model_load, "{}: {}", source.subject,
              fmt::format(sentence, std::forward<Args>(args)...));
}

bool is_among(std::vector<std::string> const& names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

/// The arguments that the manifest says to be None are some, and of a type that has it.
Result<void> check_nones(c10::ArrayRef<c10::Argument> arguments, ProgramSource const& source) {
  for (std::string const& none : source.nones) {
    auto const argument = std::ranges::find(arguments, none, &c10::Argument::name);
    if (argument == arguments.end())
      return refuse(source, "expected an argument '{}' of {} to be None, got none of that name", none,
                    source.method);
    if (!c10::NoneType::get()->isSubtypeOf(*argument->type()))
      return refuse(source, "argument '{}' of {}: expected {}, got None", none, source.method,
                    argument->type()->repr_str());
  }
  return {};
}

/// An argument of the schema that takes an input of the manifest.
Result<void> bind_input(c10::Argument const& declared, ProgramSource const& source, Argument& argument) {
  std::string const& input = source.inputs[*argument.input];
  DType const dtype = source.input_dtypes[*argument.input];
  auto const takes = find_taken(*declared.type(), dtype);
  if (!takes)
    return refuse(source, "argument '{}' of {}: expected {}, got {} of input '{}'", argument.name,
                  source.method, declared.type()->repr_str(), to_string(dtype), input);
  if (is_among(source.optionals, input) && !c10::NoneType::get()->isSubtypeOf(*declared.type()))
    return refuse(source, "argument '{}' of {}: expected {}, got input '{}', which may be None",
                  argument.name, source.method, declared.type()->repr_str(), input);
  argument.takes = *takes;
  return {};
}

Result<void> bind_inputs(c10::FunctionSchema const& schema, ProgramSource const& source, Binding& binding) {
  auto const arguments =
      c10::ArrayRef<c10::Argument>(schema.arguments()).slice(1);  // without the module itself
  if (auto checked = check_nones(arguments, source); !checked) return checked;
  std::vector<std::string> names;  // of those that may take an input
  std::vector<std::size_t> open;   // their places
  std::size_t required = 0;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    Argument& bound = binding.arguments.emplace_back(Argument{arguments[i].name()});
    if (is_among(source.nones, bound.name)) continue;
    names.push_back(bound.name);
    open.push_back(i);
    required += arguments[i].default_value() ? 0 : 1;
    bound.value = arguments[i].default_value().value_or(c10::IValue());
  }
  std::size_t const given = source.inputs.size();
  if (given < required || given > open.size())
    return refuse(source, "expected as many inputs as {} takes, {}; the manifest has {}", source.method,
                  open.size(), given);
  auto const places = find_places(source.subject, "arguments of " + source.method, names, source.inputs);
  if (!places) return tl::unexpected(places.error());
  for (std::size_t i = 0; i < given; ++i) binding.arguments[open[(*places)[i]]].input = i;
  for (std::size_t const i : open) {
    Argument& argument = binding.arguments[i];
    if (!argument.input && !arguments[i].default_value())
      return refuse(source, "expected an input for argument '{}' of {}, got ({})", argument.name,
                    source.method, join(source.inputs));
    if (!argument.input) continue;
    if (auto bound = bind_input(arguments[i], source, argument); !bound) return bound;
  }
  return {};
}

/// What the declared type of the answer tells; a list, for one, shows how long it is when it is there.
Result<void> bind_outputs(c10::FunctionSchema const& schema, ProgramSource const& source, Binding& binding) {
  binding.keys = source.outputs;
  if (schema.returns().size() != 1) return {};
  auto const type = schema.returns()[0].type();
  auto const tuple = type->cast<c10::TupleType>();
  std::size_t const given = source.outputs.size();
  if (tuple && tuple->schema()) {
    std::vector<std::string> fields;
    for (c10::Argument const& field : tuple->schema()->arguments()) fields.push_back(field.name());
    auto places =
        find_places(source.subject, "fields of what " + source.method + " returns", fields, source.outputs);
    if (!places) return tl::unexpected(places.error());
    bool const by_name = std::ranges::all_of(source.outputs, [&](std::string const& output) {
      return std::ranges::find(fields, output) != fields.end();
    });
    if (by_name) binding.places = std::move(*places);
  }
  bool const counted = tuple != nullptr || type->kind() == c10::TypeKind::TensorType;
  std::size_t const returned = tuple ? tuple->elements().size() : 1;
  if (counted && binding.places.empty() && returned != given)
    return refuse(source, "expected as many outputs as {} returns, {}; the manifest has {}", source.method,
                  returned, given);
  return {};
}

Result<Binding> bind(jit::Module const& module, ProgramSource const& source) {
  auto const method = module.find_method(source.method);
  if (!method) {
    std::vector<std::string> names;
    for (auto const& each : module.get_methods()) names.push_back(each.name());
    return refuse(source, "expected a method {}, got ({})", source.method, join(names));
  }
  auto const& schema = method->function().getSchema();
  Binding binding;
  if (auto bound = bind_inputs(schema, source, binding); !bound) return tl::unexpected(bound.error());
  if (auto bound = bind_outputs(schema, source, binding); !bound) return tl::unexpected(bound.error());
  return binding;
}

/// Runs the method that clears the state, so that every sequence begins with a copy of what it leaves.
void clear_state(jit::Module const& module, ProgramSource const& source) {
  if (source.reset.empty()) return;
  c10::InferenceMode const inference(!source.autograd);
  module.get_method(source.reset)({});
}

Result<void> check_reset(jit::Module const& module, ProgramSource const& source) {
  if (source.reset.empty()) return {};
  auto const method = module.find_method(source.reset);
  if (method && method->function().getSchema().arguments().size() == 1) return {};
  return refuse(source, "expected a method {} without arguments that clears the state, got {}", source.reset,
                method ? "one with arguments" : "none");
}

}  // namespace

Result<std::unique_ptr<Program>> load_script(ProgramSource const& source) {
  // With the profiling executor on, the first two calls of every model compile and take ten times as long.
  jit::getProfilingMode() = false;
  auto module = jit::load(source.path, source.device);
  auto binding = bind(module, source);
  if (!binding) return tl::unexpected(std::move(binding.error()));
  if (auto checked = check_reset(module, source); !checked) return tl::unexpected(std::move(checked.error()));
  module.eval();
  std::vector<std::string> kept{source.method};
  if (!source.reset.empty()) kept.push_back(source.reset);
  auto frozen = jit::freeze_module(module, kept);
  auto graph = frozen.get_method(source.method).graph();
  jit::OptimizeFrozenGraph(graph);
  if (!source.autograd && computes_gradients(*graph->block()))
    return refuse(source, "{} computes gradients: expected \"autograd\": true in the manifest",
                  source.method);
  if (auto const random = find_random(*graph->block()); !random.empty())
    return refuse(source,
                  "expected a model whose answers its inputs decide, got one whose {} draws random numbers "
                  "({}): take them as an input, use a generator that {} seeds, or leave such layers out",
                  source.method, random, source.method);
  if (auto const changed = find_changed_constant(*graph->block()); !changed.empty())
    return refuse(
        source,
        "expected a model without state, or with state in attributes that are tensors, got one whose "
        "{} changes {} inside a list, a dict, an object, a fork or a trace, which all callers would "
        "share: take the state as an input and return the new one",
        source.method, changed);
  jit::AliasDb const aliases(graph);
  if (auto const changed = find_changed_attribute(*graph->block(), aliases);
      !changed.empty() && source.slots == 0)
    return refuse(
        source,
        "expected a model without state, got one whose {} changes its attribute '{}', which all callers "
        "would share: take the state as an input and return the new one, or let the manifest say "
        "\"sequences\": {{\"held\": true}}",
        source.method, changed);
  clear_state(frozen, source);
  bool const writes_inputs = std::ranges::any_of(
      graph->inputs().slice(1), [&](jit::Value const* input) { return aliases.hasWriters(input); });
  return std::make_unique<Script>(std::move(frozen), source, std::move(*binding), writes_inputs);
}

}  // namespace athanor::inline v1::libtorch
