/// Log messages and events, written to one sink that the host provides. The library prints nothing itself,
/// and neither messages nor events contain inputs or outputs of requests.
#pragma once

#include <cstdint>
#include <string_view>

namespace athanor::inline v1 {

/// Severity of a log message.
enum class Level : std::int32_t { debug = 0, info = 1, warning = 2, error = 3 };
std::string_view to_string(Level level) noexcept;

/// Receives log messages; a sink without `log` discards them. `log` must be thread-safe. It is never called
/// with a lock of the library held, and must not call the library. `message` is valid during the call only.
struct Sink {
  void (*log)(void* context, Level level, std::string_view message) noexcept = nullptr;
  void* context = nullptr;

  /// Hands the message to `log`; a no-op without one.
  void write(Level level, std::string_view message) const noexcept {
    if (log != nullptr) log(context, level, message);
  }
};

/// What an event reports about a model or the engine.
enum class EventKind : std::uint8_t {
  model_loaded,
  model_load_failed,
  model_unloaded,
  breaker_opened,
  breaker_closed,
  engine_stopping,
  work_abandoned,  ///< a thread was still inside a backend when the grace period of a stop ended
};
std::string_view to_string(EventKind kind) noexcept;

/// One event. Borrows its texts, which must outlive the call of emit().
struct Event {
  EventKind kind;
  std::string_view model;
  std::string_view version;
  std::string_view detail;  ///< further information, may be empty
};

/// Writes `model_loaded model=tg version=1.0.0: took 1200 ms`
/// to the sink. Failures are warnings, other events info.
void emit(Sink const& sink, Event const& event) noexcept;

}  // namespace athanor::inline v1
