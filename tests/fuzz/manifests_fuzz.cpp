// Manifests: read or rejected with a sentence; one that was read keeps its own promises.
#include <athanor/manifest/manifest.hpp>

#include "bytes.hpp"

int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  auto const manifest = athanor::parse_manifest({reinterpret_cast<char const*>(data), size});
  if (!manifest) {
    athanor_tests::expect(!manifest.error().message.empty(), "a rejection has a sentence");
    return 0;
  }
  auto const signature = manifest->signature();
  athanor_tests::expect(!manifest->id().empty(), "a model has a name");
  athanor_tests::expect(signature.inputs.size() <= athanor::max_tensors, "no more inputs than the limit");
  athanor_tests::expect(signature.outputs.size() <= athanor::max_tensors, "no more outputs than the limit");
  return 0;
}
