/// A host that is not linked to LibTorch: plugin_host PLUGIN MODEL FORMAT opens the plugin as libathanor.so
/// does, runs the model on [[0 … 9], [10 … 19]] and prints the outputs, or the error.
#include <array>
#include <cstdio>
#include <numeric>

#include <dlfcn.h>

#include "table.hpp"

using namespace athanor;
using namespace athanor::tests;

namespace {

int fail_with(char const* what) {
  std::printf("%s\n", what);
  return 1;
}

int run(ath_backend_table const& table, Description const& description) {
  auto const model = Model::load(table, description);
  if (!model) return fail_with(model.error().message.c_str());
  std::array<float, 20> values{};
  std::iota(values.begin(), values.end(), 0.0F);
  Instance instance(*model);
  auto const outputs = instance.run({Tensor::view(std::span<float const>(values), {2, 10})});
  if (!outputs) return fail_with(outputs.error().message.c_str());
  for (float const value : (*outputs)[0].as<float>()) std::printf("%.4f ", static_cast<double>(value));
  std::printf("\n");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return fail_with("usage: plugin_host PLUGIN MODEL FORMAT");
  void* const library = ::dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return fail_with(::dlerror());  // NOLINT(concurrency-mt-unsafe): one thread
  auto const entry = reinterpret_cast<ath_plugin_entry>(::dlsym(library, "athanor_plugin"));
  if (entry == nullptr) return fail_with("the plugin has no entry");
  ath_plugin plugin{};
  ath_failure failure{};
  if (entry(&plugin, &failure) == 0) return fail_with("the plugin accepted a struct of size 0");
  plugin.struct_size = sizeof(plugin);
  if (entry(&plugin, &failure) != 0) return fail_with(failure.message);
  if (plugin.backend_count != 1 || plugin.processor_count != 0 || plugin.table_version != ATH_TABLE_VERSION)
    return fail_with("the plugin offers something else than a backend");
  Description description;
  description.path = argv[2];
  description.format = argv[3];
  return run(*plugin.backends[0], description);
}
