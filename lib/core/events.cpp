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

std::string_view to_string(EventKind kind) noexcept {
  switch (kind) {
    case EventKind::model_loaded: return "model_loaded";
    case EventKind::model_load_failed: return "model_load_failed";
    case EventKind::model_unloaded: return "model_unloaded";
    case EventKind::breaker_opened: return "breaker_opened";
    case EventKind::breaker_closed: return "breaker_closed";
    case EventKind::engine_stopping: return "engine_stopping";
    case EventKind::work_abandoned: return "work_abandoned";
  }
  return "unknown";
}

void emit(Sink const& sink, Event const& event) noexcept {
  if (sink.log == nullptr) return;
  bool const bad = event.kind == EventKind::model_load_failed || event.kind == EventKind::breaker_opened ||
                   event.kind == EventKind::work_abandoned;
  // A fixed buffer, so that an event about missing memory needs none. Longer messages are truncated.
  char buffer[1024];
  auto const size = sizeof(buffer);
  auto const written = fmt::format_to_n(buffer, size, "{}{}{}{}{}{}{}", to_string(event.kind),
                                        event.model.empty() ? "" : " model=", event.model,
                                        event.version.empty() ? "" : " version=", event.version,
                                        event.detail.empty() ? "" : ": ", event.detail);
  sink.write(bad ? Level::warning : Level::info, {buffer, written.size < size ? written.size : size});
}

}  // namespace athanor::inline v1
