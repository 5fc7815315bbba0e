// A library of one operator, which the tests load as a host would.
#include <ATen/ops/mul.h>
#include <torch/library.h>

namespace {

at::Tensor twice(at::Tensor const& x) { return at::mul(x, 2); }

}  // namespace

TORCH_LIBRARY(athanor_tests, library) { library.def("twice(Tensor x) -> Tensor", &twice); }
