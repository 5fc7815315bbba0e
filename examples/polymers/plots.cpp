#include "plots.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <numeric>
#include <ranges>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "html.hpp"

namespace polymers {

namespace {

constexpr int most_ticks = 12;  // that an axis in steps of about a seventh can have

struct Pairs {
  std::vector<std::array<double, 2>> values;  // measured and predicted
  std::string source;                         // of the polymers; empty when it is not told
};

Pairs read_pairs(std::string const& path) {
  std::ifstream file(path);
  auto const json = nlohmann::json::parse(file, nullptr, false);
  auto const& list = json.is_object() && json.contains("pairs") ? json["pairs"] : json;
  Pairs pairs;
  if (list.is_array())
    for (auto const& pair : list)
      if (pair.is_array() && pair.size() == 2 && pair[0].is_number() && pair[1].is_number())
        pairs.values.push_back({pair[0].get<double>(), pair[1].get<double>()});
  if (json.is_object() && json.contains("pairs_of") && json["pairs_of"].is_string())
    pairs.source = json["pairs_of"].get<std::string>();
  return pairs;
}

std::string axes(Scale const& x, Scale const& y, std::vector<double> const& ticks_x,
                 std::vector<double> const& ticks_y, std::string_view label_x, std::string_view label_y) {
  std::string svg;
  for (double const tick : ticks_x)
    svg += fmt::format(
        "<path d='M{:.1f} {:.1f} V{:.1f}' stroke='#eef2f6'/><text x='{:.1f}' y='{:.1f}' "
        "text-anchor='middle'>{:g}</text>",
        x(tick), y.from, y.to, x(tick), y.from + 16, tick);
  for (double const tick : ticks_y)
    svg += fmt::format(
        "<path d='M{:.1f} {:.1f} H{:.1f}' stroke='#eef2f6'/><text x='{:.1f}' y='{:.1f}' "
        "text-anchor='end'>{:g}</text>",
        x.from, y(tick), x.to, x.from - 6, y(tick) + 4, tick);
  svg += fmt::format("<text x='{:.1f}' y='{:.1f}' text-anchor='middle'>{}</text>", (x.from + x.to) / 2,
                     y.from + 36, label_x);
  svg += fmt::format("<text transform='translate(14 {:.1f}) rotate(-90)' text-anchor='middle'>{}</text>",
                     (y.from + y.to) / 2, label_y);
  return svg;
}

}  // namespace

std::string parity_plot(std::string const& path) {
  auto const [pairs, source] = read_pairs(path);
  if (pairs.empty()) return "<div class='plot'>No cross-validation lies beside the model.</div>";
  auto const [low, high] = std::ranges::minmax(pairs | std::views::join);
  // Seven ticks or so, in hundreds.
  double const step = std::max(1.0, std::round((high - low) / 700)) * 100;
  double const first = std::floor(low / step) * step;
  double const last = std::max(std::ceil(high / step) * step, first + step);
  Scale const x{first, last, 56, 420};
  Scale const y{first, last, 380, 16};
  double sum = 0;
  std::string points;
  for (auto const& [measured, predicted] : pairs) {
    sum += std::abs(predicted - measured);
    points += fmt::format("<circle cx='{:.1f}' cy='{:.1f}' r='2.4'/>", x(measured), y(predicted));
  }
  std::vector<double> ticks;
  for (int i = 0; i <= most_ticks && first + i * step <= last; ++i) ticks.push_back(first + i * step);
  return fmt::format(
      "<div class='plot'><b>Cross-validation: predicted against measured</b><p>{} polymers{}, each predicted "
      "by the fold that did not see it; mean absolute error {:.1f} K</p><svg viewBox='0 0 440 424' "
      "width='100%'>{}"
      "<path d='M{:.1f} {:.1f} L{:.1f} {:.1f}' stroke='#94a3b8' stroke-dasharray='4 4'/>"
      "<g fill='#1f6feb' opacity='.5'>{}</g></svg></div>",
      pairs.size(), source.empty() ? "" : " of " + escaped(source), sum / static_cast<double>(pairs.size()),
      axes(x, y, ticks, ticks, "measured Tg [K]", "predicted Tg [K]"), x(first), y(first), x(last), y(last),
      points);
}

std::string latency_histogram(LatencyHistogram const& latencies) {
  std::uint64_t const most = std::ranges::max(latencies);
  if (most == 0) return "<div class='plot'>No row was predicted, so there are no latencies.</div>";
  auto const highest = static_cast<double>(most);
  constexpr int buckets = static_cast<int>(LatencyHistogram().size());
  Scale const x{0, buckets, 56, 420};
  Scale const y{0, highest, 380, 16};
  auto const count = [&](int bucket) {
    return static_cast<double>(latencies[static_cast<std::size_t>(bucket)]);
  };
  std::string bars;
  for (int i = 0; i < buckets; ++i)
    bars += fmt::format("<rect x='{:.1f}' y='{:.1f}' width='{:.1f}' height='{:.1f}'/>", x(i) + 1, y(count(i)),
                        x(1) - x(0) - 2, y.from - y(count(i)));
  std::string ticks;
  constexpr std::array<char const*, 8> names{"100 ns", "1 &#181;s", "10 &#181;s", "100 &#181;s",
                                             "1 ms",   "10 ms",     "100 ms",     "1 s"};
  for (std::size_t i = 0; i < names.size(); ++i)
    ticks += fmt::format("<text x='{:.1f}' y='396' text-anchor='middle'>{}</text>",
                         x(3 * static_cast<double>(i)), names[i]);
  return fmt::format(
      "<div class='plot'><b>Latency of this run</b><p>from a call to its answer, {} answers</p>"
      "<svg viewBox='0 0 440 424' width='100%'>{}{}<g fill='#d9822b' opacity='.8'>{}</g></svg></div>",
      std::accumulate(latencies.begin(), latencies.end(), std::uint64_t{0}),
      axes(x, y, {}, {0, std::ceil(highest / 2), highest}, "time of one answer", "answers"), ticks, bars);
}

}  // namespace polymers
