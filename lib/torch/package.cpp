#include <algorithm>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

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

  std::uint64_t weight_bytes() const override { return weight_bytes_; }
  bool writes_inputs() const override { return false; }

  Result<void> forward(std::vector<at::Tensor> const& inputs,
                       std::vector<at::Tensor>& outputs) const override {
    outputs = loader_.run(inputs);
    return {};
  }

 private:
  mutable Loader loader_;  // its run() hands each thread a runner of its own
  std::uint64_t weight_bytes_ = 0;
};

}  // namespace

Result<std::unique_ptr<Program>> load_package(ProgramSource const& source) {
  if (auto provided = provide_libtorch(); !provided) return tl::unexpected(std::move(provided.error()));
  if (auto checked = check_metadata(source); !checked) return tl::unexpected(std::move(checked.error()));
  return std::make_unique<Package>(source);
}

}  // namespace athanor::inline v1::libtorch
