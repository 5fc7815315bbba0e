/// What the library tells its host: log lines and events, through one sink. Nothing is printed anywhere else.
/// Inputs and outputs of requests never appear in either.
#pragma once

#include <cstdint>
#include <string_view>

namespace athanor::inline v1 {

/// How much a message matters.
enum class Level : std::int32_t { debug = 0, info = 1, warning = 2, error = 3 };
std::string_view to_string(Level level) noexcept;

/// Where messages go; silent until the host sets `log`. `log` may be called from any thread, at the same
/// time, and never with a lock of the library held; it must not call back into the library. `message` lives
/// for the call.
struct Sink {
  void (*log)(void* context, Level level, std::string_view message) noexcept = nullptr;
  void* context = nullptr;

  void write(Level level, std::string_view message) const noexcept {
    if (log != nullptr) log(context, level, message);
  }
};

/// Something that happened to a model or to the engine.
enum class Happening : std::uint8_t {
  model_loaded,
  model_load_failed,
  model_unloaded,
  breaker_opened,
  breaker_closed,
  engine_stopping,
  work_abandoned,  ///< a thread did not come back from a backend within the grace of a stop
};
std::string_view to_string(Happening happening) noexcept;

/// One happening; its texts live for the call of `emit`.
struct Event {
  Happening what;
  std::string_view model;
  std::string_view version;
  std::string_view detail;  ///< a sentence more, or empty
};

/// Writes `model_loaded model=tg version=1.0.0: took 1.2 s` to the sink: failures as warnings, the rest as
/// info.
void emit(Sink const& sink, Event const& event) noexcept;

}  // namespace athanor::inline v1
