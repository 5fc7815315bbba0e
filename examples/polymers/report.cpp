#include "report.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <span>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <athanor/chem/drawing.hpp>
#include <athanor/core/signature.hpp>

#include "print.hpp"
#include "text.hpp"

namespace polymers {

namespace {

constexpr char const* style = R"(
  :root { --ink: #1d2733; --dim: #64748b; --line: #dbe2ea; --accent: #1f6feb; --warm: #d9822b; --paper: #ffffff; --back: #f4f6f9; }
  body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back); margin: 0; padding: 2rem; }
  main { max-width: 72rem; margin: auto; }
  h1 { font-size: 1.6rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .8rem; }
  p { color: var(--dim); margin: .2rem 0 1rem; }
  .cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(21rem, 100%), 1fr)); gap: 1rem; }
  .card, .plot { background: var(--paper); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem; }
  .card svg { display: block; margin: 0 auto .4rem; max-width: 100%; }
  .card code { display: block; color: var(--dim); font-size: .8rem; overflow-wrap: anywhere; }
  .value { font-size: 1.5rem; font-weight: 600; } .value small { font-size: .9rem; font-weight: 400; color: var(--dim); }
  .error { color: #b42318; } .plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 1rem; }
  text { font: 12px system-ui, sans-serif; fill: var(--dim); }
)";

// A browser is at ease with a thousand drawings; a table of more rows than that is a file of predictions.
constexpr std::size_t most_cards = 1000;

// The page says that it is UTF-8, and a name may come from a file that is not: U+FFFD for each byte that is
// no part of a character.
std::string as_utf8(std::string_view text) {
  std::string result;
  for (std::size_t bad = 0; !athanor::is_utf8(text, &bad); text.remove_prefix(bad + 1)) {
    result += text.substr(0, bad);
    result += "\xEF\xBF\xBD";
  }
  result += text;
  return result;
}

std::string escaped(std::string_view text) {
  std::string result;
  for (char const c : as_utf8(text)) {
    switch (c) {
      case '&': result += "&amp;"; break;
      case '<': result += "&lt;"; break;
      case '>': result += "&gt;"; break;
      case '"': result += "&quot;"; break;
      default: result += c;
    }
  }
  return result;
}

// A linear scale from values to pixels.
struct Scale {
  double low;
  double high;
  double from;
  double to;
  double operator()(double value) const { return from + (value - low) / (high - low) * (to - from); }
};

Handbook const* known(std::vector<Handbook> const& handbook, std::string const& smiles) {
  auto const at = std::ranges::find(handbook, smiles, &Handbook::smiles);
  return at == handbook.end() ? nullptr : &*at;
}

// The mean, its interval, and the handbook value on one axis.
std::string interval_bar(Prediction const& p, Handbook const* handbook) {
  Scale const x{100, 750, 10, 310};
  auto const clamp = [&](double value) { return x(std::clamp(value, 100.0, 750.0)); };
  double const low = clamp(p.low_k);
  double const high = clamp(p.high_k);
  std::string bar = "<svg width='320' height='44' viewBox='0 0 320 44' role='img' aria-label='interval'>";
  bar += "<line x1='10' x2='310' y1='16' y2='16' stroke='#dbe2ea' stroke-width='2'/>";
  bar +=
      fmt::format("<rect x='{:.1f}' y='11' width='{:.1f}' height='10' rx='5' fill='#1f6feb' opacity='.35'/>",
                  low, std::max(high - low, 1.0));
  bar += fmt::format("<circle cx='{:.1f}' cy='16' r='5' fill='#1f6feb'/>", clamp(p.tg_k));
  if (handbook != nullptr)
    bar += fmt::format("<path d='M{:.1f} 4 v24' stroke='#d9822b' stroke-width='3'/>", clamp(handbook->tg_k));
  for (int const tick : {200, 300, 400, 500, 600, 700})
    bar += fmt::format("<text x='{:.1f}' y='40' text-anchor='middle'>{}</text>", x(tick), tick);
  return bar + "</svg>";
}

std::string card(Prediction const& p, std::vector<Handbook> const& handbook) {
  Handbook const* entry = known(handbook, p.row.smiles);
  std::string name = p.row.name.empty() && entry != nullptr ? entry->name : p.row.name;
  std::string html = "<div class='card'>";
  auto const drawing = athanor::chem::draw_svg(p.row.smiles, 280, 170);
  if (drawing) html += *drawing;
  if (!name.empty()) html += fmt::format("<b>{}</b>", escaped(name));
  html += fmt::format("<code>{}</code>", escaped(clipped(p.row.smiles, 1000)));
  if (p.error) return html + fmt::format("<div class='error'>{}</div></div>", escaped(p.error->message));
  html += fmt::format("<div class='value'>{:.0f} K <small>({:.0f} to {:.0f} K)</small></div>", p.tg_k,
                      p.low_k, p.high_k);
  html += interval_bar(p, entry);
  if (entry != nullptr)
    html +=
        fmt::format("<div>handbook {:.0f} K <small>({})</small></div>", entry->tg_k, escaped(entry->source));
  html += fmt::format(
      "<small>&plusmn; {:.0f} K between members, {} unseen identifiers, {} unknown tokens{}</small></div>",
      p.spread_k,
      p.unseen_identifiers < 0 ? std::string("not known how many") : std::to_string(p.unseen_identifiers),
      p.unknown_tokens, p.repeat_unit ? "" : ", taken as a plain SMILES");
  return html;
}

std::vector<std::array<double, 2>> read_pairs(std::string const& path) {
  std::ifstream file(path);
  auto const json = nlohmann::json::parse(file, nullptr, false);
  auto const& list = json.is_object() && json.contains("pairs") ? json["pairs"] : json;
  std::vector<std::array<double, 2>> pairs;
  if (list.is_array())
    for (auto const& pair : list)
      if (pair.is_array() && pair.size() == 2 && pair[0].is_number() && pair[1].is_number())
        pairs.push_back({pair[0].get<double>(), pair[1].get<double>()});
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

std::string parity_plot(std::string const& path) {
  auto const pairs = read_pairs(path);
  if (pairs.empty()) return "<div class='plot'>No cross-validation lies beside the model.</div>";
  Scale const x{100, 750, 56, 420};
  Scale const y{100, 750, 380, 16};
  double sum = 0;
  std::string points;
  for (auto const& [measured, predicted] : pairs) {
    sum += std::abs(predicted - measured);
    points += fmt::format("<circle cx='{:.1f}' cy='{:.1f}' r='2.4'/>", x(std::clamp(measured, 100.0, 750.0)),
                          y(std::clamp(predicted, 100.0, 750.0)));
  }
  std::vector<double> const ticks{100, 200, 300, 400, 500, 600, 700};
  return fmt::format(
      "<div class='plot'><b>Cross-validation: predicted against measured</b><p>{} polymers, each predicted "
      "by the "
      "fold that did not see it; mean absolute error {:.1f} K</p><svg viewBox='0 0 440 424' width='100%'>{}"
      "<path d='M{:.1f} {:.1f} L{:.1f} {:.1f}' stroke='#94a3b8' stroke-dasharray='4 4'/>"
      "<g fill='#1f6feb' opacity='.5'>{}</g></svg></div>",
      pairs.size(), sum / static_cast<double>(pairs.size()),
      axes(x, y, ticks, ticks, "measured Tg [K]", "predicted Tg [K]"), x(100), y(100), x(750), y(750),
      points);
}

// Latencies fall into buckets of a third of a decade.
std::string latency_histogram(std::vector<athanor::Duration> const& latencies) {
  constexpr int buckets = 21;  // from 100 ns to 1 s
  std::array<double, buckets> counts{};
  double highest = 0;
  for (auto const latency : latencies) {
    double const hundreds = std::max(static_cast<double>(latency.count()) / 100, 1.0);
    int const bucket = std::clamp(static_cast<int>(std::log10(hundreds) * 3), 0, buckets - 1);
    highest = std::max(highest, ++counts[static_cast<std::size_t>(bucket)]);
  }
  if (highest == 0) return "<div class='plot'>No row was predicted, so there are no latencies.</div>";
  Scale const x{0, buckets, 56, 420};
  Scale const y{0, highest, 380, 16};
  std::string bars;
  for (int i = 0; i < buckets; ++i)
    bars += fmt::format("<rect x='{:.1f}' y='{:.1f}' width='{:.1f}' height='{:.1f}'/>", x(i) + 1,
                        y(counts[static_cast<std::size_t>(i)]), x(1) - x(0) - 2,
                        y.from - y(counts[static_cast<std::size_t>(i)]));
  std::string ticks;
  constexpr std::array<char const*, 8> names{"100 ns", "1 &#181;s", "10 &#181;s", "100 &#181;s",
                                             "1 ms",   "10 ms",     "100 ms",     "1 s"};
  for (std::size_t i = 0; i < names.size(); ++i)
    ticks += fmt::format("<text x='{:.1f}' y='396' text-anchor='middle'>{}</text>",
                         x(3 * static_cast<double>(i)), names[i]);
  return fmt::format(
      "<div class='plot'><b>Latency of this run</b><p>from a call to its answer, {} answers</p>"
      "<svg viewBox='0 0 440 424' width='100%'>{}{}<g fill='#d9822b' opacity='.8'>{}</g></svg></div>",
      latencies.size(), axes(x, y, {}, {0, std::ceil(highest / 2), highest}, "time of one answer", "answers"),
      ticks, bars);
}

}  // namespace

std::string report_page(std::vector<Prediction> const& predictions, Summary const& summary,
                        std::vector<Handbook> const& handbook, std::optional<double> coverage,
                        std::string const& cross_validation) {
  std::string cards;
  std::size_t const shown = std::min(predictions.size(), most_cards);
  for (auto const& prediction : std::span(predictions).first(shown)) cards += card(prediction, handbook);
  std::string left_out;
  if (shown < predictions.size())
    left_out = fmt::format(" Drawn here: the first {} of {} rows.", shown, predictions.size());
  return fmt::format(
      "<!doctype html><html lang='en'><head><meta charset='utf-8'><meta name='viewport' "
      "content='width=device-width'>"
      "<title>Glass transition temperatures</title><style>{}</style></head><body><main><h1>Glass transition "
      "temperatures</h1>"
      "<p>{} rows, {} errors, {:.0f} rows/s, {} batches, mean batch {:.1f}, hit rate {:.0f} %. The dot is "
      "the ensemble's mean, the "
      "bar and the two values in brackets its {}, the upright mark the handbook value [K]. The interval is "
      "made "
      "for polymers like those of the training; the plot below shows errors.{}</p>"
      "<div class='cards'>{}</div><h2>How far to trust it, and how long it took</h2><div "
      "class='plots'>{}{}</div></main></body></html>\n",
      style, summary.rows, summary.errors,
      summary.seconds > 0 ? static_cast<double>(summary.rows) / summary.seconds : 0, summary.batches,
      summary.mean_batch, 100 * summary.hit_rate, interval_name(coverage), left_out, cards,
      parity_plot(cross_validation), latency_histogram(summary.latencies));
}

}  // namespace polymers
