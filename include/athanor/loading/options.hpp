/// Options, states and statistics of a ModelLoader.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <athanor/core/error.hpp>
#include <athanor/core/time.hpp>

namespace athanor::inline v1 {

/// The state of a model.
enum class ModelState : std::uint8_t {
  unloaded,
  reserved,  ///< a load waits until the models that it displaces are freed
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
  /// Time limit of one load, from the first call for it; includes waiting for memory and for a thread, and
  /// warm-up. Waiting calls fail when it has passed. A load that ends later is freed; until then it occupies
  /// its memory and its thread.
  Duration load_deadline = std::chrono::minutes(2);
  /// Back-off after the first failed load; doubles with each further failure.
  Duration first_backoff = std::chrono::seconds(1);
  /// At least first_backoff; before jitter of up to a quarter.
  Duration longest_backoff = std::chrono::seconds(60);
  /// The retry_after of a rejection for lack of memory.
  Duration busy_retry = std::chrono::milliseconds(100);
  /// Threads for loads and warm-ups, at most; each model takes one while it loads. As many others free
  /// models.
  std::uint32_t load_threads = 2;
  /// The most models that the loader can have records of at a time.
  std::uint32_t max_models = 4096;
};

/// What ModelLoader::create checks: invalid_argument / option, in a sentence that names the option.
Result<void> validate(ModelLoaderOptions const& options, bool has_load_function);

/// Counts since construction, and what is held now.
struct ModelLoaderStatistics {
  std::uint64_t loads = 0;     ///< begun
  std::uint64_t loaded = 0;    ///< succeeded
  std::uint64_t failures = 0;  ///< failed, including by the load deadline
  std::uint64_t late = 0;      ///< ended after they were abandoned; freed
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
  std::optional<Error> failure;  ///< of the last load while it is remembered, or why no load can begin
};

}  // namespace athanor::inline v1
