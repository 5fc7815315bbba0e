#include <algorithm>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include "core/json_text.hpp"

#include "names.hpp"
#include "program.hpp"
#include "runtime.hpp"

namespace athanor::inline v1::libtorch {

namespace {

using Loader = ::torch::inductor::AOTIModelPackageLoader;
using Metadata = std::unordered_map<std::string, std::string>;

// The name under which exporters store a package's only model.
constexpr char const* model_name = "model";

std::string_view field(Metadata const& metadata, std::string const& key) {
  auto const found = metadata.find(key);
  return found == metadata.end() ? std::string_view() : std::string_view(found->second);
}

/// The loader checks none of this itself: a package for another processor would die of an illegal
/// instruction.
Result<void> check_metadata(ProgramSource const& source) {
  auto const metadata = Loader::load_metadata_from_package(source.path, model_name);
  auto const made_for = field(metadata, "AOTI_DEVICE_KEY");
  auto const wanted = c10::DeviceTypeName(source.device.type(), /*lower_case=*/true);
  if (!made_for.empty() && made_for != wanted)
    return fail(Code::failed_precondition, Reason::model_load,
                "{}: expected a package compiled for device {}; it is for {}", source.subject, wanted,
                made_for);
  return check_processor(source.subject, field(metadata, "AOTI_MACHINE"), field(metadata, "AOTI_CPU_ISA"));
}

/// How many threads can be inside one package at a time; a further one waits. A runner holds no weights.
std::size_t runner_count() { return std::max<std::size_t>(1, std::thread::hardware_concurrency()); }

/// The leaves of a tree of Python containers, in their order: a leaf right under a dict by its key, any other
/// by an empty name.
void collect_leaves(json::Json const& tree, std::string const& name, std::vector<std::string>& leaves) {
  auto const& children = tree.at("children_spec");
  if (tree.at("type").is_null()) return leaves.push_back(name);
  bool const is_dict = tree.at("type") == "builtins.dict";
  auto const keys = is_dict ? json::Json::parse(tree.at("context").get<std::string>()) : json::Json::array();
  for (std::size_t i = 0; i < children.size(); ++i)
    collect_leaves(children[i], is_dict && keys.at(i).is_string() ? keys[i].get<std::string>() : "", leaves);
}

/// The names that a package records, by the text of its call; none where it is not what exporters write.
std::vector<std::string> recorded_names(std::string const& specification) {
  std::vector<std::string> leaves;
  try {
    collect_leaves(json::Json::parse(specification).at(1), "", leaves);
  } catch (json::Json::exception const&) {
    leaves.clear();
  }
  return leaves;
}

class Package final : public Program {
 public:
  explicit Package(ProgramSource const& source)
      : loader_(source.path, model_name, /*run_single_threaded=*/false, runner_count(),
                source.device.is_cpu() ? c10::DeviceIndex{-1} : source.device.index()) {
    std::unordered_set<void const*> seen;
    for (auto const& [name, constant] : loader_.get_runner()->extract_constants_map(/*use_inactive=*/false)) {
      if (constant.defined() && seen.insert(constant.const_data_ptr()).second)
        weight_bytes_ += constant.nbytes();
    }
  }

  /// Finds the places of the manifest's names among those of keyword arguments and of a dict's keys.
  Result<void> bind(ProgramSource const& source) {
    auto const call = loader_.get_call_spec();
    auto const arguments = recorded_names(call.at(0));
    auto const returned = recorded_names(call.at(1));
    auto inputs = find_places(source.subject, "arguments of the package", arguments, source.inputs);
    if (!inputs) return tl::unexpected(std::move(inputs.error()));
    auto outputs = find_places(source.subject, "outputs of the package", returned, source.outputs);
    if (!outputs) return tl::unexpected(std::move(outputs.error()));
    std::vector<std::size_t> input_of(inputs->size());
    for (std::size_t i = 0; i < inputs->size(); ++i) {
      if ((*inputs)[i] >= inputs->size())
        return fail(Code::failed_precondition, Reason::model_load,
                    "{}: expected inputs for all arguments of the package ({}), got ({})", source.subject,
                    join(arguments), join(source.inputs));
      input_of[(*inputs)[i]] = i;
    }
    if (!std::ranges::is_sorted(input_of)) input_of_ = std::move(input_of);
    // In their order all outputs are taken, so that another number of them is seen.
    bool const by_name = std::ranges::all_of(source.outputs, [&](std::string const& output) {
      return std::ranges::find(returned, output) != returned.end();
    });
    if (by_name) places_ = std::move(*outputs);
    return {};
  }

  std::uint64_t weight_bytes() const override { return weight_bytes_; }
  bool writes_inputs() const override { return false; }

  Result<void> forward(std::vector<at::Tensor> const& inputs, c10::IValue const&,
                       std::vector<at::Tensor>& outputs) const override {
    std::vector<at::Tensor> arguments;
    for (std::size_t const input : input_of_) arguments.push_back(inputs[input]);
    auto returned = loader_.run(input_of_.empty() ? inputs : arguments);
    if (places_.empty()) {
      outputs = std::move(returned);
      return {};
    }
    outputs.clear();
    for (std::size_t const place : places_) outputs.push_back(returned[place]);
    return {};
  }

 private:
  mutable Loader loader_;  // its run() hands each thread a runner of its own
  std::uint64_t weight_bytes_ = 0;
  std::vector<std::size_t> input_of_;  // argument i is input input_of_[i]; empty: all, in their order
  std::vector<std::size_t> places_;  // output i is what it returns at places_[i]; empty: all, in their order
};

}  // namespace

Result<std::unique_ptr<Program>> load_package(ProgramSource const& source) {
  if (source.slots != 0)
    return fail(
        Code::failed_precondition, Reason::model_load,
        "{}: expected a torchscript model to hold state; a package takes it as an input and returns the "
        "new one",
        source.subject);
  if (auto provided = provide_libtorch(); !provided) return tl::unexpected(std::move(provided.error()));
  if (auto checked = check_metadata(source); !checked) return tl::unexpected(std::move(checked.error()));
  auto package = std::make_unique<Package>(source);
  if (auto bound = package->bind(source); !bound) return tl::unexpected(std::move(bound.error()));
  return package;
}

}  // namespace athanor::inline v1::libtorch
