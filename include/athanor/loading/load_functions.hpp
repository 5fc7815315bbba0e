/// What a ModelLoader calls.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <athanor/core/error.hpp>

namespace athanor::inline v1 {

/// What a load gives: the payload and the bytes that it holds, measured. The loader is its only owner: who
/// keeps a copy of the pointer keeps memory that the loader counts as free.
template <class P>
struct Loaded {
  std::shared_ptr<P> payload;
  std::uint64_t bytes = 0;
};

/// What a loader calls: copyable functions. All run without a lock held, on the executor unless said
/// otherwise, for several models at once. What they throw becomes an `internal` error, but `released` must
/// not throw.
template <class P>
struct LoadFunctions {
  /// Loads the model of that name. Nothing stays behind on failure. Required.
  std::function<Result<Loaded<P>>(std::string_view name)> load;
  /// Makes a loaded payload fit for use; a failure fails the load. Optional.
  std::function<Result<void>(std::string_view name, P& payload)> warm_up{};
  /// Bytes to reserve before the first load, asked on the thread that first names the model; later loads
  /// reserve what was last measured. Asked again by `load`, on its thread, in case the model was replaced by
  /// one that fits the budget. Optional: nothing is reserved without it.
  std::function<std::uint64_t(std::string_view name)> expected_bytes{};
  /// Told after the last pin is gone and before the payload is destroyed, on the thread that does it: the
  /// executor's, or that of `unload`, `stop` or the destructor. Optional.
  std::function<void(std::string_view name, P& payload)> released{};
};

/// The size of the file, and a fifth more for what loading adds to it; 0 when it cannot be read. For
/// `expected_bytes`.
std::uint64_t expected_bytes_of_file(std::string const& path) noexcept;

}  // namespace athanor::inline v1
