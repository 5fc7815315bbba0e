#include "runtime.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <span>
#include <string>
#include <system_error>

#include <dlfcn.h>
#include <malloc.h>

#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <fmt/format.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/headeronly/version.h>

#include <athanor/core/tensor.hpp>
#include <athanor/torch/backend.hpp>

// The bytes of the empty library whose SONAME is libtorch.so. They travel inside the backend so that there is
// no file beside it to lose.
asm(R"(
  .pushsection .rodata, "a", @progbits
  .balign 16
  .local athanor_libtorch_stub
  .local athanor_libtorch_stub_end
athanor_libtorch_stub:
  .incbin ")" ATHANOR_LIBTORCH_STUB R"("
athanor_libtorch_stub_end:
  .popsection
)");
extern "C" {
extern unsigned char const athanor_libtorch_stub[] __attribute__((visibility("hidden")));
extern unsigned char const athanor_libtorch_stub_end[] __attribute__((visibility("hidden")));
}

namespace athanor::inline v1::libtorch {

namespace {

constexpr char const* operators_variable = "ATHANOR_TORCH_OPERATORS";

std::string last_loader_message() {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): what it returns belongs to this thread
  char const* const message = ::dlerror();
  return message == nullptr ? "no reason given" : message;
}

/// The folder of the LibTorch that this code is bound to; empty when the loader does not know.
std::filesystem::path libtorch_folder() {
  Dl_info found{};
  if (::dladdr(reinterpret_cast<void const*>(&aoti_torch_abi_version), &found) == 0 ||
      found.dli_fname == nullptr)
    return {};
  return std::filesystem::path(found.dli_fname).parent_path();
}

/// Why CUDA cannot be used at all; empty when it can. Loads libtorch_cuda.
std::string load_cuda() {
  auto const library = libtorch_folder() / "libtorch_cuda.so";
  if (std::error_code ignored; !std::filesystem::exists(library, ignored))
    return fmt::format("this LibTorch is built without CUDA (no {})", library.string());
  if (::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL) == nullptr)
    return fmt::format("LibTorch's CUDA part could not be loaded: {}", last_loader_message());
  if (!c10::impl::hasDeviceGuardImpl(c10::DeviceType::CUDA))
    return "LibTorch's CUDA part did not register itself";
  if (c10::impl::getDeviceGuardImpl(c10::DeviceType::CUDA)->deviceCount() == 0)
    return "this machine has no CUDA device that LibTorch can use";
  if (!at::detail::getCUDAHooks().hasCUDA())
    return "LibTorch was used in this process before its CUDA part was loaded; load a CUDA model first";
  return {};
}

std::string write_file(std::string const& path, std::span<unsigned char const> bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<char const*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  file.close();
  return file ? std::string()
              : fmt::format("could not write {}: {}", path, std::generic_category().message(errno));
}

/// Why libtorch.so could not be provided; empty when it is there.
std::string load_stub() {
  if (::dlopen("libtorch.so", RTLD_NOW | RTLD_NOLOAD) != nullptr) return {};
  // LibTorch unpacks packages under /tmp whatever TMPDIR says, so that a /tmp that is full, closed or may not
  // hold code is found out here, with a sentence.
  std::string folder = "/tmp/athanor-libtorch-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr)
    return fmt::format("could not make a folder in /tmp: {}", std::generic_category().message(errno));
  std::string const path = folder + "/libtorch.so";
  std::string problem = write_file(path, {athanor_libtorch_stub, athanor_libtorch_stub_end});
  if (problem.empty() && ::dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr)
    problem = fmt::format("/tmp: expected a file system that may hold code (without noexec): {}",
                          last_loader_message());
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  return problem;
}

}  // namespace

Result<void> compare_releases(std::uint64_t loaded, std::uint64_t compiled) {
  auto const number = [](std::uint64_t version, int byte) { return (version >> (8 * byte)) & 0xFFu; };
  if (number(loaded, 7) == number(compiled, 7) && number(loaded, 6) == number(compiled, 6)) return {};
  return fail(Code::failed_precondition, Reason::model_load,
              "torch backend: expected LibTorch {}.{}, which it was compiled with, got {}.{}",
              number(compiled, 7), number(compiled, 6), number(loaded, 7), number(loaded, 6));
}

Result<void> check_release() { return compare_releases(aoti_torch_abi_version(), TORCH_ABI_VERSION); }

Result<c10::Device> open_device(std::int32_t type, std::int32_t index) {
  if (type == static_cast<std::int32_t>(DeviceType::cpu)) return c10::Device(c10::DeviceType::CPU);
  if (type != static_cast<std::int32_t>(DeviceType::cuda))
    return fail(Code::invalid_argument, Reason::option,
                "torch backend: expected device cpu or cuda, got type {}", type);
  static std::once_flag once;
  // Never destroyed: a model may still be unloaded while the process ends.
  static std::string const* problem = nullptr;
  std::call_once(once, [] { problem = new std::string(load_cuda()); });
  auto const device = to_string(Device{DeviceType::cuda, index});
  if (!problem->empty())
    return fail(Code::failed_precondition, Reason::option, "torch backend: device {}: {}", device, *problem);
  // NOLINTNEXTLINE(bugprone-signed-char-misuse): a small number, not a character
  std::int32_t const count = c10::impl::getDeviceGuardImpl(c10::DeviceType::CUDA)->deviceCount();
  if (index < 0 || index >= count)
    return fail(Code::failed_precondition, Reason::option,
                "torch backend: device {}: expected an index below {}", device, count);
  return c10::Device(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(index));
}

Result<void> provide_libtorch() {
  static std::mutex mutex;
  static bool provided = false;
  std::lock_guard const lock(mutex);
  if (provided) return {};
  std::string const problem = load_stub();
  if (!problem.empty())
    return fail(Code::failed_precondition, Reason::model_load,
                "torch backend: pt2 packages cannot be loaded: {}", problem);
  provided = true;
  return {};
}

TorchOptions options_of_environment() {
  TorchOptions options;
  // NOLINTNEXTLINE(concurrency-mt-unsafe): read once, before the first model
  char const* const text = std::getenv(operators_variable);
  std::string_view rest = text == nullptr ? "" : text;
  while (!rest.empty()) {
    auto const part = rest.substr(0, rest.find(':'));
    rest.remove_prefix(std::min(rest.size(), part.size() + 1));
    auto const equals = part.find('=');
    if (equals == std::string_view::npos) continue;
    options.operators.emplace(part.substr(0, equals), part.substr(equals + 1));
  }
  return options;
}

Result<void> load_operators(std::string_view subject, std::vector<std::string> const& names,
                            TorchOptions const& options) {
  for (std::string const& name : names) {
    auto const file = options.operators.find(name);
    if (file == options.operators.end())
      return fail(
          Code::failed_precondition, Reason::option,
          "{}: operators '{}': expected the library that has them in TorchOptions::operators, or in {} as "
          "{}=FILE; got none",
          subject, name, operators_variable, name);
    // The same file is loaded once, however often it is opened. What it registers stays in use, so it is
    // never closed.
    if (::dlopen(file->second.c_str(), RTLD_NOW | RTLD_LOCAL) == nullptr)
      return fail(Code::failed_precondition, Reason::option,
                  "{}: the library of the operators '{}' could not be loaded: {}", subject, name,
                  last_loader_message());
  }
  return {};
}

void release_free_memory(c10::Device device) noexcept {
  if (device.type() != c10::DeviceType::CPU) {
    try {
      c10::getDeviceAllocator(device.type())->emptyCache();
    } catch (...) {
      // A device that is gone keeps nothing of ours.
    }
  }
#ifdef __GLIBC__
  // Weights come from the heap, which otherwise keeps them: a swap of models would look like a leak.
  ::malloc_trim(0);
#endif
}

}  // namespace athanor::inline v1::libtorch
