/// What a ModelLoader can be told, and what it tells about itself.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <athanor/core/error.hpp>
#include <athanor/core/time.hpp>

namespace athanor::inline v1 {

/// Where a model is in its life.
enum class ModelState : std::uint8_t {
  unloaded,
  reserved,  ///< a load waits until what it displaces is freed
  loading,
  warming,
  ready,
  draining,  ///< unloaded as soon as its last pin is gone
  failed,    ///< the last load failed; remembered until the back-off ends
};
std::string_view to_string(ModelState state) noexcept;

/// Settings of a ModelLoader.
struct ModelLoaderOptions {
  /// Bytes that all models together may hold, including those being loaded and those being freed. No limit
  /// by default; 0 admits only models that hold no bytes.
  std::optional<std::uint64_t> budget_bytes{};
  /// Of one load, from the first call for it; includes waiting for memory and for a thread, and warm-up.
  /// Callers are answered then. A load that ends later is freed, and holds its memory and its thread until
  /// it does.
  Duration load_deadline = std::chrono::minutes(2);
  /// After the first failed load; doubles with each further one.
  Duration first_backoff = std::chrono::seconds(1);
  /// At least first_backoff; before jitter of up to a quarter.
  Duration longest_backoff = std::chrono::seconds(60);
  /// The retry_after of a refusal for lack of memory.
  Duration busy_retry = std::chrono::milliseconds(100);
  /// Threads for loads, warm-ups and freeing; each model takes one while it loads.
  std::uint32_t load_threads = 2;
  /// Models that the loader can know at a time.
  std::uint32_t max_models = 4096;
};

/// What ModelLoader::create checks: invalid_argument / option, in a sentence that names the option.
Result<void> validate(ModelLoaderOptions const& options, bool has_load_function);

/// Counts since construction, and what is held now.
struct ModelLoaderStatistics {
  std::uint64_t loads = 0;     ///< begun
  std::uint64_t loaded = 0;    ///< succeeded
  std::uint64_t failures = 0;  ///< failed, including by the load deadline
  std::uint64_t late = 0;      ///< ended after they were given up; freed
  std::uint64_t evictions = 0;
  std::uint64_t unloads = 0;
  std::uint64_t joined = 0;          ///< calls that waited for a load already in progress
  std::uint64_t refused = 0;         ///< calls refused: no memory, back-off, draining
  std::uint64_t occupied_bytes = 0;  ///< held now
  std::uint64_t ready_models = 0;
};

/// One model as it is now.
struct ModelStatus {
  std::string name;
  ModelState state = ModelState::unloaded;
  std::uint64_t bytes = 0;  ///< held or reserved
  std::uint32_t pins = 0;
  std::optional<Error> failure;  ///< of the last load while it is remembered, or why none can be begun
};

}  // namespace athanor::inline v1
