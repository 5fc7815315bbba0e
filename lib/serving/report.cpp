#include <athanor/serving/options.hpp>

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

}  // namespace athanor::inline v1

fmt::format_context::iterator fmt::formatter<athanor::Report>::format(athanor::Report const& report,
                                                                      fmt::format_context& context) const {
  auto const milliseconds = [](athanor::Duration time) { return static_cast<double>(time.count()) / 1e6; };
  return fmt::format_to(context.out(),
                        "cache={} batch={} queue={:.3g}ms compute={:.3g}ms total={:.3g}ms model={}",
                        to_string(report.cache), report.batch_items, milliseconds(report.queue),
                        milliseconds(report.compute), milliseconds(report.total), report.model);
}
