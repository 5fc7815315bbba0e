#include <athanor/torch/backend.hpp>

// LibTorch is found, loads, and is of the release that Athanor was compiled with.
int main() { return athanor::torch::check_release() && athanor::torch::backend().load != nullptr ? 0 : 1; }
