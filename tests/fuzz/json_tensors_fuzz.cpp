// JSON lists to tensors and back: what was read is written as text that is read as the same tensor.
#include <cstring>

#include <athanor/manifest/tensor_json.hpp>

#include "bytes.hpp"

using namespace athanor;

namespace {

TensorSpec spec_of(std::uint8_t kind) {
  TensorSpec spec;
  spec.name = "x";
  spec.dtype = static_cast<DType>(1 + kind % 14);
  Dim items;
  items.kind = Dim::Kind::named;
  items.name = std::string(items_axis);
  spec.dims.push_back(items);
  for (int axis = 0; axis < kind / 14 % 3; ++axis) {
    Dim dim;
    dim.kind = axis == 0 ? Dim::Kind::any : Dim::Kind::fixed;
    dim.length = 2;
    spec.dims.push_back(dim);
  }
  return spec;
}

}  // namespace

int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  athanor_tests::Bytes bytes(data, size);
  TensorSpec const spec = spec_of(bytes.take<std::uint8_t>());
  auto const tensor = tensor_from_json(bytes.rest(), spec);
  if (!tensor) return 0;
  auto const text = tensor_to_json(*tensor, "x");
  athanor_tests::expect(text.has_value(), "what was read can be written");
  auto const again = tensor_from_json(*text, spec);
  athanor_tests::expect(again.has_value(), "what was written can be read");
  athanor_tests::expect(again->shape() == tensor->shape() && again->dtype() == tensor->dtype(),
                        "the same shape");
  athanor_tests::expect(again->size_bytes() == tensor->size_bytes(), "the same size");
  if (tensor->size_bytes() != 0)
    athanor_tests::expect(std::memcmp(again->data(), tensor->data(), tensor->size_bytes()) == 0,
                          "the same content");
  return 0;
}
