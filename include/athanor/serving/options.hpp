/// Options of an engine and of a single call, and the report of a call.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <athanor/core/backend.hpp>
#include <athanor/core/cache_mode.hpp>
#include <athanor/core/events.hpp>
#include <athanor/core/time.hpp>

namespace athanor::inline v1 {

class AnyCancellation;

/// Whether a lone blocking call may run the model on its own thread.
enum class CallerRuns : std::uint8_t { when_idle, never };

/// How long an engine's destructor lets accepted calls, queued or running, finish.
inline constexpr Duration default_stop_grace = std::chrono::seconds(30);

/// Engine-wide settings. The defaults suit a library embedded in another program; `Engine::create` validates
/// them once.
struct EngineOptions {
  /// Backends that manifests may name. The engine copies the tables; what their `context`
  /// points to must stay valid until their `release` has been called.
  std::vector<ath_backend_table const*> backends{};
  /// Processors that manifests may name, under the same rule.
  std::vector<ath_processor_table const*> processors{};
  /// Maximum number of worker threads, for work that no caller's thread runs: asynchronous calls and
  /// handed-over batches. Started on demand; the first timer starts one more thread, and loads have threads
  /// of their own. 0 means one per core, at least two.
  std::size_t threads = 0;
  /// Whether a lone blocking call may run the model on its own thread.
  CallerRuns caller_runs = CallerRuns::when_idle;
  /// Calls without a deadline get this one.
  Duration default_deadline = std::chrono::seconds(30);
  /// Items held at once over all models, queued or running; more are rejected.
  std::int64_t max_items = 4096;
  /// Bytes held at once: inputs, and what processors made of them.
  std::int64_t max_bytes = std::int64_t{256} << 20;
  /// Response cache over all models; 0 turns it off.
  std::size_t cache_bytes = std::size_t{64} << 20;
  /// How long an answer may be served from the cache; zero means until it is evicted.
  Duration cache_ttl{0};
  /// Measured bytes that loaded models may hold together, at least 1. No limit by default.
  std::optional<std::uint64_t> model_bytes{};
  /// A load that takes longer fails for the calls that wait for it.
  Duration load_deadline = std::chrono::minutes(5);
  /// Threads that load models, at most, 1 to 1024; as many others free them. Started on demand.
  std::uint32_t load_threads = 2;
  /// The circuit breaker of each model; false lets every call through.
  bool breaker = true;
  /// Where the library's log lines go; silent by default.
  Sink sink{};
};

/// Settings of one call.
struct CallOptions {
  /// Relative to the start of the call; a deadline of zero or less has already passed: nothing is run.
  /// Without one, the engine's `default_deadline`.
  std::optional<Duration> deadline{};
  /// How the call uses the response cache.
  CacheMode cache = CacheMode::use;
  /// Which outputs the answer holds, in this order; empty means all. Read before the call returns.
  std::span<std::string_view const> outputs{};
  /// Lets another thread cancel the call; must outlive the call, and a stream until its end has been read.
  AnyCancellation* cancellation = nullptr;
};

/// How the response cache took part in a call.
enum class CacheState : std::uint8_t {
  off,        ///< not looked up
  miss,       ///< looked up and computed
  hit,        ///< answered from the cache
  joined,     ///< answered by an equal call in flight
  refreshed,  ///< computed and stored without looking it up
};
/// The enumerator's name.
std::string_view to_string(CacheState state) noexcept;

/// What happened to one call, in nanoseconds of the monotonic clock.
struct Report {
  CacheState cache = CacheState::off;  ///< how the response cache took part
  bool on_caller = false;              ///< the caller's own thread ran the model
  std::uint32_t attempts = 0;          ///< executions that this call's items took part in
  std::uint32_t batch_items = 0;       ///< items of the (last) batch it shared
  std::uint32_t members = 0;  ///< members of the ensemble that answered; 0 when it is not an ensemble
  Duration prepare{0};        ///< preprocessing of this call
  Duration queue{0};          ///< from entering the queue to the start of its batch
  Duration compute{0};        ///< gathering, running and scattering its batch, with every attempt
  Duration postprocess{0};    ///< postprocessing of this call
  Duration total{0};          ///< from the call to its answer
  Duration delivered{0};      ///< from the call to its return, to its completion, or in `infer_many` to its
                              ///< answer: never after its deadline
  std::string_view model;     ///< `name@version`; lives as long as the answer, and as any handle of the model
};

/// `cache=miss batch=4 queue=0.012ms compute=2.1ms total=2.2ms model=glass-transition@1.0.0`.
/// serving/format.hpp makes fmt print a Report like that.
std::string to_string(Report const& report);

}  // namespace athanor::inline v1
