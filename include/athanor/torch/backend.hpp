/// The LibTorch backend: runs TorchScript modules (format `torchscript`) and AOTInductor packages (format
/// `pt2`).
///
/// C++ hosts that link `athanor::torch` pass `athanor::libtorch::backend()` to an engine; other hosts load
/// the plugin `libathanor_torch.so`, whose one exported function offers the same table. No LibTorch type
/// appears here.
///
/// Requirements on a model:
/// - its `forward` takes the inputs of the model (`model_inputs` of the manifest) as tensors, by name or in
///   their order, and returns a tensor, or a tuple, list or dict of tensors, for `model_outputs`
///   (docs/manifest.md says when names decide); an argument of TorchScript may also be a bool, int, float or
///   str: it takes the value of an input of one element;
/// - it keeps no state of its own between calls, since all instances share one copy of it, and any number of
///   them run at the same time: TorchScript that changes an attribute is rejected, unless its manifest
///   declares held state (docs/sequences.md), whereupon each slot has a copy of what it changes;
/// - the libraries of its operators, beyond those of LibTorch, are named in its manifest and in TorchOptions;
/// - inputs that a TorchScript `forward` writes to are copied first; a `pt2` package must not write to its
///   inputs, and it does not check their shapes (the signature does that, before the backend is reached).
///
/// Effects on the process: it loads about 110 MB of LibTorch, turns TorchScript's profiling executor off
/// (process-wide, so that the second call is as fast as the thousandth), and runs on the caller's thread,
/// whose intra-op thread count it restores afterwards. It starts no thread; LibTorch starts as many as the
/// manifest's `threads` allows a TorchScript model, and as many as a `pt2` package was compiled for, which is
/// all cores of the exporting machine unless `cpp.threads` said otherwise. A failing `pt2` package writes the
/// cause to the process's standard error, the only place where LibTorch reports it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include <athanor/core/backend.hpp>

namespace athanor::inline v1::libtorch {

namespace detail {
class LoadedModel;
class InstanceState;
}  // namespace detail

/// One execution context of a model: its buffers and, on a GPU, its stream.
class TorchInstance {
 public:
  explicit TorchInstance(std::unique_ptr<detail::InstanceState> state) noexcept;
  ~TorchInstance();

  /// Runs `forward` over the batch. Outputs live in host memory until the next run. Errors:
  /// `invalid_argument` for inputs that are not what the manifest declares; `internal` / `backend_failure`
  /// when the model failed; `internal` / `backend_contract` when its outputs are not the manifest's;
  /// `resource_exhausted` / `out_of_memory`; `unavailable` / `device_lost`. The rows of the outputs are not
  /// checked here.
  Result<void> run(ath_batch& batch);
  /// Forgets the state of a slot.
  void clear_slot(std::uint64_t slot) noexcept;

 private:
  std::unique_ptr<detail::InstanceState> state_;
};

/// A loaded model file; every instance shares its weights. Destroy it after its instances.
class TorchModel {
 public:
  using Instance = TorchInstance;

  /// Made by TorchBackend::load.
  explicit TorchModel(std::shared_ptr<detail::LoadedModel const> model) noexcept;
  /// Frees the weights and returns freed memory to the system and the device.
  ~TorchModel();

  /// Bytes of the distinct weight storages that are held for as long as the model lives.
  std::uint64_t footprint() const noexcept;
  Result<std::unique_ptr<TorchInstance>> make_instance();

 private:
  std::shared_ptr<detail::LoadedModel const> model_;
};

/// What the host tells the backend.
struct TorchOptions {
  /// The file of each library of operators, by the name that manifests use: `{{"torchvision",
  /// "/opt/libtorchvision.so"}}`. It is loaded when the first model needs it, and stays loaded until the
  /// process ends. It must be built against the same release of LibTorch.
  std::map<std::string, std::string, std::less<>> operators{};
};

/// The backend. Thread-safe.
///
///     libtorch::TorchBackend torch({.operators = {{"torchvision", "/opt/libtorchvision.so"}}});
///     auto const table = make_table(torch);
///     auto engine = Engine<>::create({.backends = {&table}});
class TorchBackend {
 public:
  /// Reads nothing yet: a library of operators is loaded with the first model that names it.
  explicit TorchBackend(TorchOptions options = {});

  /// What the concept Backend asks for.
  using Model = TorchModel;
  static constexpr char const* name = "torch";           ///< in manifests
  static constexpr RunsOn runs_on = RunsOn::any_thread;  ///< also on a caller's thread

  /// Reads `source.path`. Errors: `not_found` / `file` (or `permission_denied` / `file`) naming the path;
  /// `failed_precondition` / `model_load` when the file is not a model that this LibTorch and this processor
  /// can run, or when its inputs are not the manifest's; `invalid_argument` / `manifest` for a format or an
  /// element type that this backend does not have; `failed_precondition` / `option` when the device does not
  /// exist, or when a library of operators is not known or cannot be loaded.
  Result<std::unique_ptr<TorchModel>> load(ModelSource const& source);

 private:
  TorchOptions options_;
};

/// The options that the environment variable ATHANOR_TORCH_OPERATORS sets:
/// `torchvision=/opt/libtorchvision.so`, with `:` between several.
TorchOptions options_of_environment();

/// Fails, naming both releases, when the LibTorch of this process is of another minor release than the one
/// this code was compiled with: its inlined code is silently wrong on another one. `load` and the plugin
/// check it first.
Result<void> check_release();

/// The table of the one TorchBackend of the process, which has options_of_environment(), like the plugin;
/// valid until the process ends.
ath_backend_table const& backend() noexcept;

}  // namespace athanor::inline v1::libtorch
