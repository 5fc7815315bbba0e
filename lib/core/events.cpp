#include <athanor/core/events.hpp>

#include <fmt/format.h>

namespace athanor::inline v1 {

std::string_view to_string(Level level) noexcept {
  switch (level) {
    case Level::debug: return "debug";
    case Level::info: return "info";
    case Level::warning: return "warning";
    case Level::error: return "error";
  }
  return "unknown";
}

std::string_view to_string(Happening happening) noexcept {
  switch (happening) {
    case Happening::model_loaded: return "model_loaded";
    case Happening::model_load_failed: return "model_load_failed";
    case Happening::model_unloaded: return "model_unloaded";
    case Happening::breaker_opened: return "breaker_opened";
    case Happening::breaker_closed: return "breaker_closed";
    case Happening::engine_stopping: return "engine_stopping";
    case Happening::work_abandoned: return "work_abandoned";
  }
  return "unknown";
}

void emit(Sink const& sink, Event const& event) noexcept {
  if (sink.log == nullptr) return;
  bool const bad = event.what == Happening::model_load_failed || event.what == Happening::breaker_opened ||
                   event.what == Happening::work_abandoned;
  // A fixed buffer: telling of trouble must not itself need memory. A longer message is cut.
  char buffer[1024];
  auto const room = sizeof(buffer);
  auto const written = fmt::format_to_n(buffer, room, "{}{}{}{}{}{}{}", to_string(event.what),
                                        event.model.empty() ? "" : " model=", event.model,
                                        event.version.empty() ? "" : " version=", event.version,
                                        event.detail.empty() ? "" : ": ", event.detail);
  sink.write(bad ? Level::warning : Level::info, {buffer, written.size < room ? written.size : room});
}

}  // namespace athanor::inline v1
