#include <athanor/serving/options.hpp>

#include <fmt/format.h>

namespace athanor::inline v1 {

std::string_view to_string(CacheState state) noexcept {
  switch (state) {
    case CacheState::off: return "off";
    case CacheState::miss: return "miss";
    case CacheState::hit: return "hit";
    case CacheState::joined: return "joined";
    case CacheState::refreshed: return "refreshed";
  }
  return "off";
}

std::string to_string(Report const& report) {
  auto const milliseconds = [](Duration time) { return static_cast<double>(time.count()) / 1e6; };
  return fmt::format("cache={} batch={} queue={:.3g}ms compute={:.3g}ms total={:.3g}ms model={}",
                     to_string(report.cache), report.batch_items, milliseconds(report.queue),
                     milliseconds(report.compute), milliseconds(report.total), report.model);
}

}  // namespace athanor::inline v1
