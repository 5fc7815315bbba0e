#include "report.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <ctime>
#include <vector>

#include <fmt/format.h>

#include <athanor/chem/drawing.hpp>
#include <athanor/core/version.hpp>

#include "html.hpp"
#include "info.hpp"
#include "page_parts.hpp"
#include "plots.hpp"
#include "print.hpp"
#include "text.hpp"

namespace polymers {

namespace {

constexpr std::size_t most_cards = 200;
constexpr std::int32_t card_width = 300;  // pixels inside a card of one column

std::string today() {
  std::time_t const now = std::time(nullptr);
  std::tm date{};
  ::gmtime_r(&now, &date);
  std::array<char, 16> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%d", &date);
  return text.data();
}

// The cards and the table of a page, with one axis for all of them.
class Writer {
 public:
  explicit Writer(Page const& page) : page_(page) {
    for (auto const& p : page.predictions)
      entries_.push_back(p.repeat_unit ? find_entry(page.handbook, p.row.smiles) : nullptr);
    axis_ = fitting_axis();
  }

  std::string cards() const {
    std::string html;
    for (std::size_t i = 0; i < drawn(); ++i) html += card(page_.predictions[i], entries_[i]);
    return html;
  }

  // Every row, with what it takes to sort and to filter them.
  std::string table() const {
    std::string html = fmt::format(
        "<table id='rows'><thead><tr><th>row</th><th>name</th><th>SMILES</th><th>Tg [{0}]</th><th>low</th>"
        "<th>high</th><th>known</th><th>domain</th></tr></thead><tbody>",
        unit());
    for (std::size_t i = 0; i < page_.predictions.size(); ++i)
      html += table_row(page_.predictions[i], entries_[i]);
    return html + "</tbody></table>";
  }

  std::string unit() const { return page_.view.celsius ? "&deg;C" : "K"; }

 private:
  std::size_t drawn() const { return std::min(page_.predictions.size(), most_cards); }
  double in_unit(double kelvin) const { return shown(kelvin, page_.view.celsius); }
  std::string degrees(double kelvin) const { return fmt::format("{:.0f}", in_unit(kelvin)); }

  // From the lowest to the highest value of the cards, in whole hundreds of the unit.
  Scale fitting_axis() const {
    double low = in_unit(300);
    double high = in_unit(400);
    auto const take = [&](double kelvin) {
      low = std::min(low, in_unit(kelvin));
      high = std::max(high, in_unit(kelvin));
    };
    for (std::size_t i = 0; i < drawn(); ++i) {
      auto const& p = page_.predictions[i];
      if (p.error) continue;
      take(p.low_k);
      take(p.high_k);
      if (entries_[i] != nullptr) take(entries_[i]->tg_k);
    }
    return {std::floor(low / 100) * 100, std::ceil(high / 100) * 100, 12, 308};
  }

  // The mean, its interval, and the handbook value on one axis.
  std::string interval_bar(Prediction const& p, Handbook const* handbook) const {
    auto const x = [&](double kelvin) { return axis_(in_unit(kelvin)); };
    std::string bar = "<svg width='320' height='44' viewBox='0 0 320 44' role='img' aria-label='interval'>";
    bar += "<line x1='12' x2='308' y1='16' y2='16' stroke='#dbe2ea' stroke-width='2'/>";
    bar += fmt::format(
        "<rect x='{:.1f}' y='11' width='{:.1f}' height='10' rx='5' fill='#1f6feb' opacity='.35'/>",
        x(p.low_k), std::max(x(p.high_k) - x(p.low_k), 1.0));
    bar += fmt::format("<circle cx='{:.1f}' cy='16' r='5' fill='#1f6feb'/>", x(p.tg_k));
    if (handbook != nullptr)
      bar += fmt::format("<path d='M{:.1f} 4 v24' stroke='#d9822b' stroke-width='3'/>", x(handbook->tg_k));
    double const step = axis_.high - axis_.low > 1500 ? 500 : axis_.high - axis_.low > 700 ? 200 : 100;
    for (double tick = std::ceil(axis_.low / step) * step; tick <= axis_.high; tick += step)
      bar += fmt::format("<text x='{:.1f}' y='40' text-anchor='middle'>{:g}</text>", axis_(tick), tick);
    return bar + "</svg>";
  }

  std::string card(Prediction const& p, Handbook const* entry) const {
    auto const drawing = athanor::chem::draw_svg(p.row.smiles);
    std::int32_t const width = drawing ? drawing->width : 0;
    std::string html = fmt::format("<div class='card{}'>", width > 2 * card_width ? " whole"
                                                           : width > card_width   ? " wide"
                                                                                  : "");
    if (drawing) html += drawing->svg;
    std::string const name = p.row.name.empty() && entry != nullptr ? entry->name : p.row.name;
    if (!name.empty()) html += fmt::format("<b>{}</b>", escaped(name));
    html += fmt::format("<code>{}</code>", escaped(clipped(p.row.smiles, 1000)));
    if (p.error) return html + refusal(p) + "</div>";
    html += fmt::format("<div class='value'>{} {} <small>{} to {} {}</small></div>", degrees(p.tg_k), unit(),
                        degrees(p.low_k), degrees(p.high_k), unit());
    html += interval_bar(p, entry);
    if (entry != nullptr)
      html += fmt::format("<div>known: {} {} <small>({}{})</small></div>", degrees(entry->tg_k), unit(),
                          escaped(entry->source),
                          entry->trained_on ? "; the demonstration model was trained on it"
                                            : "; the demonstration model may have been trained on it");
    return html + fmt::format("<div class='domain {}'>{}</div></div>",
                              p.domain() <= Domain::in ? "in" : "out", escaped(domain_words(p)));
  }

  std::string refusal(Prediction const& p) const {
    std::string html = fmt::format("<div class='error'>{}</div>", escaped(p.error->message));
    auto const lines = place_of_fault(p, page_.view, 40);
    if (!lines.empty())
      html += fmt::format("<pre>{}</pre>", escaped(fmt::format("{}", fmt::join(lines, "\n"))));
    return html;
  }

  std::string table_row(Prediction const& p, Handbook const* entry) const {
    std::string html = fmt::format("<tr><td>{}</td><td>{}</td><td><code>{}</code></td>", p.row.number,
                                   escaped(p.row.name), escaped(clipped(p.row.smiles, 1000)));
    if (p.error)
      return html + fmt::format("<td></td><td></td><td></td><td></td><td class='error'>{}</td></tr>",
                                escaped(p.error->message));
    return html + fmt::format("<td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>", degrees(p.tg_k),
                              degrees(p.low_k), degrees(p.high_k),
                              entry != nullptr ? degrees(entry->tg_k) : "", escaped(domain_words(p)));
  }

  Page const& page_;
  std::vector<Handbook const*> entries_;  // of the predictions; null where there is none
  Scale axis_{};
};

// What a reader needs to do it again, and to cite it.
std::string provenance(Page const& page) {
  std::string data;
  for (auto const& source : data_sources(page.model_folder)) data += escaped(source) + "<br>";
  auto const error = error_words(page.model_folder);
  return fmt::format(
      "<dl><dt>model</dt><dd>{}</dd><dt>data</dt><dd>{}more in the model card</dd><dt>error</dt><dd>{}</dd>"
      "<dt>program</dt><dd>polymers, of Athanor {}</dd>"
      "<dt>date</dt><dd>{}</dd><dt>command</dt><dd><code>{}</code></dd></dl>",
      escaped(model_title(page.model_folder)), data, error.empty() ? "not known" : escaped(error),
      athanor::version_text, today(), escaped(printable(page.command)));
}

std::string rows_told(Page const& page) {
  auto const& summary = page.summary;
  std::string text = fmt::format("{} rows, {} refused.", summary.rows, summary.errors);
  std::size_t const kept = page.predictions.size();
  if (kept > most_cards) text += fmt::format(" Drawn are the first {} of {} rows.", most_cards, summary.rows);
  if (kept < summary.rows)
    text += fmt::format(" The table has the first {} of {} rows; a file of predictions (--out) has all.",
                        kept, summary.rows);
  return text;
}

std::string engine(Summary const& summary) {
  return fmt::format(
      "<details><summary>What the engine did</summary><p>{:.0f} answers/s, {} batches, mean batch {:.1f}, "
      "hit rate {:.0f} %.</p><div class='plots'>{}</div></details>",
      summary.seconds > 0 ? static_cast<double>(summary.answers) / summary.seconds : 0, summary.batches,
      summary.mean_batch, 100 * summary.hit_rate, latency_histogram(summary.latencies));
}

}  // namespace

std::string report_page(Page const& page) {
  Writer const writer(page);
  return fmt::format(
      "<!doctype html><html lang='en'><head><meta charset='utf-8'><meta name='viewport' "
      "content='width=device-width'><title>Glass transition "
      "temperatures</title><style>{}</style></head><body><main>"
      "<h1>Glass transition temperatures</h1><p>{} The dot is the predicted temperature [{}], the bar its "
      "{}, the "
      "upright mark a known value. The interval is made for polymers like those of the training; the plot "
      "below "
      "shows errors.</p>{}<div class='cards'>{}</div>"
      "<h2>All rows</h2><p class='tools'><input id='filter' placeholder='show rows with …' "
      "aria-label='filter'> "
      "<button id='download'>Download as CSV</button> <span id='count'></span></p><div "
      "class='scroll'>{}</div>"
      "<h2>How far to trust it</h2><div class='plots'>{}</div>{}</main><script>{}</script></body></html>\n",
      page_style, rows_told(page), writer.unit(), interval_name(page.view.coverage), provenance(page),
      writer.cards(), writer.table(), parity_plot(page.model_folder + "/cross_validation.json"),
      engine(page.summary), page_script);
}

}  // namespace polymers
