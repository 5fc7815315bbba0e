#include "scripts.hpp"

#include <ATen/ops/empty.h>
#include <ATen/Parallel.h>
#include <caffe2/serialize/inline_container.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/frontend/resolver.h>
#include <torch/csrc/jit/frontend/sugared_value.h>

#include <athanor/core/hash.hpp>

namespace athanor::tests {

namespace {

namespace jit = ::torch::jit;

/// What TorchScript text of C++ may name, and `fork(method, argument)`.
struct WithFork final : jit::NativeResolver {
  std::shared_ptr<jit::SugaredValue> resolveValue(std::string const& name, jit::GraphFunction& function,
                                                  jit::SourceRange const& place) override {
    if (name == "fork") return jit::SpecialFormValue::create(c10::prim::fork);
    return NativeResolver::resolveValue(name, function, place);
  }
};

}  // namespace

void write_script(std::filesystem::path const& path, std::string const& source,
                  std::vector<Parameter> const& parameters, bool frozen) {
  jit::Module module("Fixture");
  for (auto const& parameter : parameters) {
    auto const tensor = at::empty(parameter.shape, at::TensorOptions().dtype(c10::ScalarType::Float));
    auto* const values = tensor.mutable_data_ptr<float>();
    for (std::int64_t i = 0; i < tensor.numel(); ++i) values[i] = parameter_value(i);
    if (parameter.listed) {
      module.register_attribute(parameter.name, c10::ListType::ofTensors(), c10::List<at::Tensor>({tensor}));
    } else {
      module.register_parameter(parameter.name, tensor, /*is_buffer=*/false);
    }
  }
  module.register_attribute("training", c10::BoolType::get(), true);
  module.define(source, std::make_shared<WithFork>());
  module.eval();
  (frozen ? jit::freeze(module) : module).save(path.string());
}

void write_model(athanor_tests::Folder const& folder, std::string const& source, std::string const& rest,
                 std::vector<Parameter> const& parameters) {
  auto const file = folder / "model.pt";
  write_script(file, source, parameters);
  folder.write(
      "athanor.json",
      R"({"athanor": 1, "name": "module", "version": "1.0.0", "backend": "torch", "format": "torchscript", )" +
          rest + R"(, "members": [{"file": "model.pt", "digest": "xxh128:)" +
          to_hex(*hash_file(file.string())) + R"("}]})");
}

void write_archive(std::filesystem::path const& path, std::vector<std::string> const& records) {
  ::caffe2::serialize::PyTorchStreamWriter writer(path.string());
  for (auto const& record : records) writer.writeRecord(record, "{}", 2);
  writer.writeEndOfFile();
}

int intra_op_threads() { return at::get_num_threads(); }
void set_intra_op_threads(int count) { at::set_num_threads(count); }

}  // namespace athanor::tests
