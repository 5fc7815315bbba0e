#include "print.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <system_error>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "text.hpp"

namespace polymers {

using namespace athanor;

namespace {

constexpr std::size_t widest_polymer = 48;

// Columns of the terminal behind standard error; 80 where it does not say.
std::size_t columns() {
  winsize size{};
  bool const known = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  return known ? size.ws_col : 80;
}

std::string domain_of(Prediction const& prediction) {
  if (prediction.unseen_identifiers < 0) return "not known";
  // The model has seen repeat units only, so nothing else is in, however well its atoms are known.
  if (!prediction.repeat_unit) return "no repeat unit";
  if (prediction.unseen_identifiers == 0 && prediction.unknown_tokens == 0)
    return prediction.in_table ? "in, trained on it" : "in";
  return fmt::format("{} unseen, {} unknown", prediction.unseen_identifiers, prediction.unknown_tokens);
}

std::string duration(Duration time) {
  if (time < std::chrono::microseconds(100))
    return fmt::format("{:.1f} us", static_cast<double>(time.count()) / 1e3);
  return fmt::format("{:.2f} ms", static_cast<double>(time.count()) / 1e6);
}

// Where the time of an answer went.
std::string explanation(Report const& report) {
  if (report.cache == CacheState::hit) return "nothing computed: the cache held the answer";
  if (report.cache == CacheState::joined)
    return "nothing computed: it is the answer of an equal call under way";
  return fmt::format("batch of {}, {} members, prepared in {}, queued {}, computed in {}, {}",
                     report.batch_items, report.members, duration(report.prepare), duration(report.queue),
                     duration(report.compute), report.on_caller ? "on the caller's thread" : "on a worker");
}

std::string quoted(std::string const& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string result = "\"";
  for (char const c : text) result += c == '"' ? std::string("\"\"") : std::string(1, c);
  return result + "\"";
}

std::string csv_of(std::vector<Prediction> const& predictions) {
  std::string text =
      "smiles,name,tg_k,tg_low_k,tg_high_k,spread_k,unseen_identifiers,unknown_tokens,repeat_unit,in_table,"
      "cache,milliseconds,error\n";
  for (auto const& p : predictions) {
    if (p.error) {
      text += fmt::format("{},{},,,,,,,,,,,{}\n", quoted(p.row.smiles), quoted(p.row.name),
                          quoted(p.error->message));
    } else {
      text += fmt::format("{},{},{:.2f},{:.2f},{:.2f},{:.2f},{},{},{},{},{},{:.3f},\n", quoted(p.row.smiles),
                          quoted(p.row.name), p.tg_k, p.low_k, p.high_k, p.spread_k, p.unseen_identifiers,
                          p.unknown_tokens, p.repeat_unit ? 1 : 0, p.in_table ? 1 : 0,
                          to_string(p.report.cache), static_cast<double>(p.report.total.count()) / 1e6);
    }
  }
  return text;
}

std::string jsonl_of(std::vector<Prediction> const& predictions) {
  std::string text;
  for (auto const& p : predictions) {
    nlohmann::ordered_json row;
    row["smiles"] = p.row.smiles;
    if (!p.row.name.empty()) row["name"] = p.row.name;
    if (p.error) {
      row["error"] = p.error->message;
    } else {
      row["tg_k"] = p.tg_k;
      row["tg_low_k"] = p.low_k;
      row["tg_high_k"] = p.high_k;
      row["spread_k"] = p.spread_k;
      row["unseen_identifiers"] = p.unseen_identifiers;
      row["unknown_tokens"] = p.unknown_tokens;
      row["repeat_unit"] = p.repeat_unit;
      row["in_table"] = p.in_table;
      row["cache"] = std::string(to_string(p.report.cache));
      row["milliseconds"] = static_cast<double>(p.report.total.count()) / 1e6;
    }
    text += row.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  }
  return text;
}

}  // namespace

Progress::Progress(std::size_t rows)
    : rows_(rows), terminal_(::isatty(STDERR_FILENO) == 1), start_(std::chrono::steady_clock::now()) {}

void Progress::show(std::size_t done) {
  if (!terminal_ || rows_ == 0) return;
  double const seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  auto line = fmt::format("{}/{} rows", done, rows_);
  if (done > 0 && seconds > 0) {
    double const rate = static_cast<double>(done) / seconds;
    line += fmt::format("  {:.0f} rows/s  {:.0f} s left", rate, static_cast<double>(rows_ - done) / rate);
  }
  // A line that the terminal has to break cannot be drawn over: the bar takes the columns that are left.
  std::size_t const room = columns() - 1;
  if (line.size() + 4 <= room) {
    std::size_t const width = std::min<std::size_t>(30, room - line.size() - 3);
    std::size_t const full = width * done / rows_;
    line = fmt::format("[{:#<{}}{:.<{}}] {}", "", full, "", width - full, line);
  }
  std::fputs(("\r" + line.substr(0, room) + "\x1b[K").c_str(), stderr);
}

void Progress::clear() {
  if (terminal_) std::fputs("\r\x1b[K", stderr);
}

std::string interval_name(std::optional<double> coverage) {
  return coverage ? fmt::format("{:.0f} % interval", 100 * *coverage) : "interval";
}

void print_table(std::vector<Prediction> const& predictions, std::optional<double> coverage, bool explain) {
  std::size_t width = 7;
  for (auto const& p : predictions) width = std::max(width, clipped(p.row.smiles, widest_polymer).size());
  say("{:<{}}  {:>6}  {:>13}  {:>6}  {:<20}  {:<9}  {:>10}\n", "polymer", width, "Tg [K]",
      interval_name(coverage), "spread", "domain", "cache", "time");
  for (auto const& p : predictions) {
    if (p.error) {
      say("{:<{}}  error: {}\n", clipped(p.row.smiles, widest_polymer), width, p.error->message);
      continue;
    }
    say("{:<{}}  {:>6.0f}  {:>13}  {:>6.0f}  {:<20}  {:<9}  {:>10}\n", clipped(p.row.smiles, widest_polymer),
        width, p.tg_k, fmt::format("{:.0f} to {:.0f}", p.low_k, p.high_k), p.spread_k, domain_of(p),
        to_string(p.report.cache), duration(p.report.total));
    if (explain) say("{:<{}}    {}\n", "", width, explanation(p.report));
  }
}

void print_comparison(std::vector<Prediction> const& predictions, std::vector<Handbook> const& handbook) {
  std::size_t width = 7;
  for (auto const& entry : handbook) width = std::max(width, entry.name.size());
  say("\n{:<{}}  {:>9}  {:>9}  {}\n", "polymer", width, "handbook", "predicted", "source");
  for (std::size_t i = 0; i < handbook.size(); ++i) {
    auto const& p = predictions[i];
    say("{:<{}}  {:>7.0f} K  {:>9}  {}\n", handbook[i].name, width, handbook[i].tg_k,
        p.error ? "error" : fmt::format("{:.0f} K", p.tg_k), handbook[i].source);
  }
}

void print_summary(Summary const& summary) {
  say("{} rows, {} errors, {:.0f} rows/s, {} batches, mean batch {:.1f}, hit rate {:.0f} %\n", summary.rows,
      summary.errors, summary.seconds > 0 ? static_cast<double>(summary.rows) / summary.seconds : 0,
      summary.batches, summary.mean_batch, 100 * summary.hit_rate);
}

Result<void> write_file(std::string const& path, std::string const& text) {
  bool const to_output = path == "-";
  std::FILE* file = to_output ? stdout : std::fopen(path.c_str(), "wb");
  bool good = file != nullptr && std::fwrite(text.data(), 1, text.size(), file) == text.size();
  int reason = errno;
  if (file != nullptr && (to_output ? std::fflush(file) : std::fclose(file)) != 0) {
    if (good) reason = errno;
    good = false;
  }
  if (good) return {};
  return fail(Code::unavailable, Reason::file, "{}: cannot be written: {}",
              to_output ? "standard output" : path, std::generic_category().message(reason));
}

Result<void> write_predictions(std::string const& path, std::vector<Prediction> const& predictions) {
  return write_file(path, path.ends_with(".jsonl") ? jsonl_of(predictions) : csv_of(predictions));
}

}  // namespace polymers
