#include "print.hpp"

#include <unistd.h>

#include <algorithm>

#include <fmt/format.h>

#include <athanor/chem/polymer.hpp>

#include "console.hpp"
#include "text.hpp"

namespace polymers {

using namespace athanor;

namespace {

// What the columns behind the polymer take.
constexpr std::size_t other_columns = 43;
constexpr std::size_t widest_in_a_pipe = 48;

std::string duration(Duration time) {
  if (time < std::chrono::microseconds(100))
    return fmt::format("{:.1f} us", static_cast<double>(time.count()) / 1e3);
  return fmt::format("{:.2f} ms", static_cast<double>(time.count()) / 1e6);
}

// Where the time of an answer went.
std::string explanation(Report const& report) {
  if (report.cache == CacheState::hit)
    return fmt::format("nothing computed: the cache held the answer, {}", duration(report.total));
  if (report.cache == CacheState::joined)
    return fmt::format("nothing computed: it is the answer of an equal call under way, {}",
                       duration(report.total));
  return fmt::format("batch of {}, {} members, prepared in {}, queued {}, computed in {}, {}",
                     report.batch_items, report.members, duration(report.prepare), duration(report.queue),
                     duration(report.compute), report.on_caller ? "on the caller's thread" : "on a worker");
}

std::string label(Prediction const& p) { return p.row.name.empty() ? p.row.smiles : p.row.name; }

std::string temperature(double kelvin, View const& view) {
  return fmt::format("{:.0f}", shown(kelvin, view.celsius));
}

std::string interval(Prediction const& p, View const& view) {
  return temperature(p.low_k, view) + " to " + temperature(p.high_k, view);
}

char const* unit(View const& view) { return view.celsius ? "Tg [°C]" : "Tg [K]"; }

void print_indented(std::string_view text) {
  for (auto const& line : wrapped(text, columns_beside(5, voice))) say("    {}\n", line);
}

}  // namespace

std::string interval_name(std::optional<double> coverage) {
  return coverage ? fmt::format("{:.0f} % interval", 100 * *coverage) : "interval";
}

std::string domain_words(Prediction const& prediction) {
  switch (prediction.domain()) {
    case Domain::trained_on: return "in, trained on it";
    case Domain::out:
      return prediction.unseen_identifiers > 0 ? fmt::format("out: {} unseen", prediction.unseen_identifiers)
                                               : fmt::format("out: {} unknown", prediction.unknown_tokens);
    default: return std::string(to_string(prediction.domain()));
  }
}

void Table::print_header(std::span<Prediction const> predictions) {
  std::size_t const widest =
      ::isatty(::fileno(voice)) == 1 ? columns_beside(other_columns, voice) : widest_in_a_pipe;
  width_ = 7;
  for (auto const& p : predictions) width_ = std::max(width_, clipped(label(p), widest).size());
  say("{}\n", painted(fmt::format("{:<{}}  {:>7}  {:>13}  {}", "polymer", width_, unit(view_),
                                  interval_name(view_.coverage), "domain"),
                      Colour::bold));
}

void Table::print(std::span<Prediction const> predictions) {
  if (width_ == 0) print_header(predictions);
  for (auto const& p : predictions) {
    auto const first = fmt::format("{:<{}}", clipped(label(p), width_), width_);
    if (p.error) {
      say("{}  {}\n", first, painted("refused", Colour::refusal));
      print_refusal(p, view_);
      continue;
    }
    bool const doubtful = p.domain() == Domain::out || p.domain() == Domain::no_repeat_unit;
    say("{}  {:>7}  {:>13}  {}\n", first, temperature(p.tg_k, view_), interval(p, view_),
        doubtful ? painted(domain_words(p), Colour::warning) : domain_words(p));
    if (view_.explain)
      print_indented(fmt::format("{:.0f} K between members; {}", p.spread_k, explanation(p.report)));
  }
}

std::vector<std::string> place_of_fault(Prediction const& prediction, View const& view, std::size_t widest) {
  auto const& smiles = prediction.row.smiles;
  auto const fault = smiles.empty() ? std::nullopt : chem::find_fault(smiles, {.units = view.units});
  if (!fault || !fault->byte) return {};
  return pointed(smiles, static_cast<std::size_t>(*fault->byte), widest);
}

void print_refusal(Prediction const& prediction, View const& view) {
  auto const& row = prediction.row;
  std::string place;
  if (row.error)  // which names line and byte
    place = fmt::format("row {}: ", row.number);
  else if (row.line != 0)
    place = fmt::format("row {} (line {}{}): ", row.number, row.line,
                        view.column.empty() ? "" : ", column " + clipped(view.column, 40));
  print_indented(place + prediction.error->message);
  for (auto const& line : place_of_fault(prediction, view, columns_beside(5, voice))) say("    {}\n", line);
}

void print_comparison(std::span<Prediction const> predictions, std::vector<Handbook> const& handbook,
                      View const& view) {
  say("{}\n", painted(fmt::format("{:<36}  {:>7}  {:>9}  {:>13}", unit(view), "known", "predicted",
                                  interval_name(view.coverage)),
                      Colour::bold));
  for (std::size_t i = 0; i < std::min(handbook.size(), predictions.size()); ++i) {
    auto const& p = predictions[i];
    auto const known = temperature(handbook[i].tg_k, view) + (handbook[i].trained_on ? "*" : " ");
    if (p.error)
      say("{:<36}  {:>7}  {:>9}\n", handbook[i].name, known, "error");
    else
      say("{:<36}  {:>7}  {:>9}  {:>13}\n", handbook[i].name, known, temperature(p.tg_k, view),
          interval(p, view));
  }
  if (std::ranges::none_of(handbook, &Handbook::trained_on)) return;
  say("* The model was trained on this value. Most polymers of textbooks are in its\n"
      "  larger table, too, whose rows are not listed: none of them tests the model.\n");
}

void print_engine(Summary const& summary) {
  say("engine: {} answers, {} batches, mean batch {:.1f}, hit rate {:.0f} %\n", summary.answers,
      summary.batches, summary.mean_batch, 100 * summary.hit_rate);
}

}  // namespace polymers
