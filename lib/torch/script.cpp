#include <algorithm>
#include <optional>
#include <unordered_set>
#include <utility>

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/alias_analysis.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/serialization/import.h>

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

void add_constants(jit::Block const& block, StorageBytes& bytes) {
  for (auto const* node : block.nodes()) {
    if (node->kind() == c10::prim::Constant && node->outputs().size() == 1) {
      auto const value = jit::toIValue(node->output());
      if (value && value->isTensor()) bytes.add(value->toTensor());
      if (value && value->isTensorList())
        for (at::Tensor const& tensor : value->toTensorVector()) bytes.add(tensor);
    }
    for (auto const* inner : node->blocks()) add_constants(*inner, bytes);
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

class Script final : public Program {
 public:
  Script(jit::Module module, std::string subject, std::vector<std::size_t> order)
      : module_(std::move(module)),
        function_(&module_.get_method("forward").function()),
        subject_(std::move(subject)),
        order_(std::move(order)) {
    auto const graph = module_.get_method("forward").graph();
    weight_bytes_ = held_bytes(module_, *graph);
    jit::AliasDb const aliases(graph);
    for (std::size_t i = 1; i < graph->inputs().size(); ++i)
      writes_inputs_ |= aliases.hasWriters(graph->inputs()[i]);
  }

  std::uint64_t weight_bytes() const override { return weight_bytes_; }
  bool writes_inputs() const override { return writes_inputs_; }

  Result<void> forward(std::vector<at::Tensor> const& inputs,
                       std::vector<at::Tensor>& outputs) const override {
    std::vector<c10::IValue> stack;
    stack.reserve(inputs.size() + 1);
    stack.emplace_back(module_._ivalue());
    for (std::size_t const input : order_) stack.emplace_back(inputs[input]);
    c10::IValue const answer = (*function_)(std::move(stack));
    return take(answer, outputs);
  }

 private:
  Result<void> take(c10::IValue const& answer, std::vector<at::Tensor>& outputs) const {
    outputs.clear();
    if (answer.isTensor()) {
      outputs.push_back(answer.toTensor());
    } else if (answer.isTensorList()) {
      for (at::Tensor const& tensor : answer.toTensorList()) outputs.push_back(tensor);
    } else if (answer.isTuple()) {
      for (auto const& element : answer.toTupleRef().elements()) {
        if (!element.isTensor()) return not_tensors("a tuple with " + element.tagKind() + " in it");
        outputs.push_back(element.toTensor());
      }
    } else {
      return not_tensors(answer.tagKind());
    }
    return {};
  }

  tl::unexpected<Error> not_tensors(std::string const& got) const {
    return fail(Code::internal, Reason::backend_contract,
                "{}: forward: expected a tensor, or a tuple or list of tensors, got {}", subject_, got);
  }

  jit::Module module_;
  jit::Function* function_;  // lives in module_
  std::string subject_;
  std::vector<std::size_t> order_;  // argument i of forward is input order_[i]
  std::uint64_t weight_bytes_ = 0;
  bool writes_inputs_ = false;
};

Result<void> check_inputs(jit::Module const& module, ProgramSource const& source) {
  auto const method = module.find_method("forward");
  if (!method)
    return fail(Code::failed_precondition, Reason::model_load, "{}: it has no method forward",
                source.subject);
  auto const& arguments = method->function().getSchema().arguments();  // the first is the module itself
  std::size_t required = 0;
  for (std::size_t i = 1; i < arguments.size(); ++i) required += arguments[i].default_value() ? 0 : 1;
  std::size_t const given = source.inputs.size();
  if (given < required || given > arguments.size() - 1)
    return fail(Code::failed_precondition, Reason::model_load,
                "{}: expected as many inputs as forward takes, {}; the manifest has {}", source.subject,
                arguments.size() - 1, given);
  for (std::size_t i = 1; i <= given; ++i) {
    if (!c10::TensorType::get()->isSubtypeOf(*arguments[i].type()))
      return fail(Code::failed_precondition, Reason::model_load,
                  "{}: argument '{}' of forward: expected type Tensor, got {}", source.subject,
                  arguments[i].name(), arguments[i].type()->repr_str());
  }
  return {};
}

/// Which input each argument of forward is. Inputs that all have names of arguments are told by them; inputs of which
/// none has are taken in their order. In between, an argument's name at another place is a mistake that no shape
/// would show.
Result<std::vector<std::size_t>> order_inputs(jit::Module const& module, ProgramSource const& source) {
  auto const& arguments = module.get_method("forward").function().getSchema().arguments();
  std::size_t const given = source.inputs.size();
  std::vector<std::size_t> in_order;
  std::vector<std::size_t> by_name;
  std::optional<std::size_t> misplaced;
  for (std::size_t i = 0; i + 1 < arguments.size(); ++i) {
    if (i < given) in_order.push_back(i);
    auto const at = std::ranges::find(source.inputs, arguments[i + 1].name());
    if (at == source.inputs.end()) continue;
    auto const input = static_cast<std::size_t>(at - source.inputs.begin());
    if (i < given) by_name.push_back(input);
    if (input != i) misplaced = i;
  }
  if (by_name.size() == given) return by_name;
  if (!misplaced) return in_order;
  return fail(
      Code::failed_precondition, Reason::model_load,
      "{}: expected the names of all arguments of forward or inputs in their order, got '{}', which is "
      "argument {}, at another place",
      source.subject, arguments[*misplaced + 1].name(), *misplaced);
}

}  // namespace

Result<std::unique_ptr<Program>> load_script(ProgramSource const& source) {
  // With the profiling executor on, the first two calls of every model compile and take ten times as long.
  jit::getProfilingMode() = false;
  auto module = jit::load(source.path, source.device);
  if (auto checked = check_inputs(module, source); !checked)
    return tl::unexpected(std::move(checked.error()));
  auto order = order_inputs(module, source);
  if (!order) return tl::unexpected(std::move(order.error()));
  module.eval();
  return std::make_unique<Script>(jit::freeze(module), source.subject, std::move(*order));
}

}  // namespace athanor::inline v1::libtorch
