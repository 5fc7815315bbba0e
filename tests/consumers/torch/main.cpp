#include <athanor/torch/backend.hpp>

// LibTorch is found, loads, and is of the release that Athanor was compiled with.
int main() {
  return athanor::libtorch::check_release() && athanor::libtorch::backend().load != nullptr ? 0 : 1;
}
