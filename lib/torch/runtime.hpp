/// What of LibTorch is loaded beyond its CPU libraries, and whether it is the right release.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <c10/core/Device.h>

#include <athanor/core/error.hpp>
#include <athanor/torch/backend.hpp>

namespace athanor::inline v1::libtorch {

/// Fails unless `loaded`, as aoti_torch_abi_version() spells a release, has the major and minor number of
/// `compiled`.
Result<void> compare_releases(std::uint64_t loaded, std::uint64_t compiled);

/// The LibTorch device of a manifest's, once it is known to be usable. The first CUDA device asked for loads
/// libtorch_cuda, which has to happen before anything else in the process asks LibTorch whether it has CUDA.
Result<c10::Device> open_device(std::int32_t type, std::int32_t index);

/// Makes a library named libtorch.so present in the process: packages are linked against it, although what
/// they use of it is in libtorch_cpu.so, and the real one would pull in the CUDA libraries.
Result<void> provide_libtorch();

/// Loads these libraries of operators, from the files that `options` names, and leaves them loaded.
/// `subject`, the model that needs them, begins the sentence of an error.
Result<void> load_operators(std::string_view subject, std::vector<std::string> const& names,
                            TorchOptions const& options);

/// Gives freed memory back: to the system, and to `device` if it is not the host.
void release_free_memory(c10::Device device) noexcept;

}  // namespace athanor::inline v1::libtorch
