/// The functions that a ModelLoader calls.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <athanor/core/error.hpp>

namespace athanor::inline v1 {

/// The result of a load: the payload and the bytes that it holds, measured. The loader must be its only
/// owner: any copy of the pointer keeps memory that the loader counts as free.
template <class P>
struct Loaded {
  std::shared_ptr<P> payload;
  std::uint64_t bytes = 0;
};

/// The model that a function of a loader is called for.
struct LoadTarget {
  std::string_view name;    ///< as declared or added; added models may share a name
  void* context = nullptr;  ///< the context passed to `ModelLoader::add`; nullptr for a declared name
};

/// The functions that a loader calls; they are copyable. All run without a lock held, on a load thread unless
/// said otherwise, for several models at once. An exception becomes an `internal` error, except that
/// `released` must not throw.
template <class P>
struct LoadFunctions {
  /// Loads the model. Must release everything on failure. Required.
  std::function<Result<Loaded<P>>(LoadTarget const& target)> load;
  /// Makes a loaded payload fit for use; a failure fails the load. Optional.
  std::function<Result<void>(LoadTarget const& target, P& payload)> warm_up{};
  /// Returns the bytes to reserve for the first load; called on the thread that first declares the name;
  /// later loads reserve what was last measured. Called again by `load`, on its thread, in case the model was
  /// replaced by one that fits the budget. Optional: nothing is reserved without it.
  std::function<std::uint64_t(LoadTarget const& target)> expected_bytes{};
  /// Called after the last pin is gone and before the payload is destroyed, on the thread that destroys it:
  /// one of the loader's own, or that of `unload`, `stop` or the destructor. Optional.
  std::function<void(LoadTarget const& target, P& payload)> released{};
};

/// The size of the file, plus a fifth for the overhead of loading; 0 when it cannot be read. For
/// `expected_bytes`. Throws std::bad_alloc only.
std::uint64_t expected_bytes_of_file(std::string const& path);

}  // namespace athanor::inline v1
