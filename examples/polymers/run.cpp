#include "run.hpp"

#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "console.hpp"
#include "handbook.hpp"
#include "input.hpp"
#include "output.hpp"
#include "report.hpp"
#include "text.hpp"

namespace polymers {

using namespace athanor;

namespace {

constexpr std::size_t window = 256;
constexpr std::size_t most_refusals_told = 10;

constexpr std::array interruptions{SIGHUP, SIGINT, SIGTERM};

// While one lives, no interruption breaks what this thread
// writes: another thread takes it, or this one afterwards.
class Undisturbed {
 public:
  Undisturbed() {
    sigset_t signals;
    ::sigemptyset(&signals);
    for (int const signal : interruptions) ::sigaddset(&signals, signal);
    ::pthread_sigmask(SIG_BLOCK, &signals, &before_);
  }
  ~Undisturbed() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  Undisturbed(Undisturbed const&) = delete;
  Undisturbed& operator=(Undisturbed const&) = delete;

 private:
  sigset_t before_{};
};

// An interruption ends the run behind the rows that are under way; a second one ends the
// program at once. What was ignored before the program began, as by nohup, stays ignored.
void take_interruptions() {
  struct sigaction action {};
  action.sa_handler = [](int signal) { interruption.store(signal); };
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  for (int const signal : interruptions) {
    struct sigaction before {};
    if (::sigaction(signal, nullptr, &before) == 0 && before.sa_handler != SIG_IGN)
      ::sigaction(signal, &action, nullptr);
  }
}

Error in_place(std::string const& path, std::string_view words) {
  return {Code::invalid_argument,
          Reason::option,
          fmt::format("{}: {}", path == "-" ? "standard output" : path, words),
          {}};
}

// A file that is read would be gone, or grow for ever, if it were written too.
Result<void> check_places(RunSettings const& settings) {
  for (auto const& place : {settings.out, settings.html, std::string("-")})
    if (!place.empty() && !settings.input.path.empty() &&
        same_file(place, STDOUT_FILENO, settings.input.path, STDIN_FILENO))
      return tl::unexpected(in_place(place, "this is the input, and would be overwritten"));
  if (!settings.out.empty() && !settings.html.empty() &&
      (settings.out == settings.html || same_file(settings.out, STDOUT_FILENO, settings.html, STDOUT_FILENO)))
    return tl::unexpected(in_place(settings.out, "this cannot be both the predictions and the page"));
  return settings.html.empty() ? Result<void>() : check_writable(settings.html);
}

// A run over rows: what is shown, written and kept of them.
class Run {
 public:
  Run(RunSettings const& settings, Rows& rows, Predictor& predictor, std::optional<Output> output)
      : settings_(settings),
        rows_(rows),
        predictor_(predictor),
        output_(std::move(output)),
        view_(settings.view),
        table_(view_) {}

  // An error ends the run; the rows before it are done.
  Result<void> go() {
    bool const table_is_progress = !output_ && ::isatty(::fileno(voice)) == 1;
    auto progress = table_is_progress ? std::optional<Progress>() : Progress();
    if (progress) progress->show(0, rows_.fraction());
    Result<bool> more = true;
    while (more && *more) {
      more = step();
      if (progress && more && *more) progress->show(done_, rows_.fraction());
    }
    if (progress) progress->clear();
    Undisturbed const writing;
    Result<void> finished = output_ ? output_->finish() : Result<void>();
    return more ? finished : Result<void>(tl::unexpected(std::move(more.error())));
  }

  std::vector<Prediction> const& kept() const { return kept_; }

  void print_refusals(std::size_t errors) const {
    for (auto const& prediction : refused_) print_refusal(prediction, view_);
    if (output_ && errors > refused_.size())
      say("    and {} more; each row says why in its column error\n", errors - refused_.size());
  }

  // What the objects of a JSON input have beside the columns of the table that was written.
  void print_left_out() const {
    if (!output_ || !output_->is_table() || rows_.left_out().empty()) return;
    auto const names = fmt::format("{}", fmt::join(rows_.left_out(), ", "));
    say("left out, since the first object with SMILES has no such members:\n");
    for (auto const& line : wrapped(clipped(names, 500), columns_beside(5, voice))) say("    {}\n", line);
  }

 private:
  // The next rows; false at the end.
  Result<bool> step() {
    auto rows = rows_.next(window);
    if (interruption.load() != 0) return false;
    if (!rows) return tl::unexpected(std::move(rows.error()));
    if (rows->empty()) return false;
    auto predictions = predictor_.predict(std::move(*rows));
    done_ += predictions.size();
    Undisturbed const writing;
    if (output_) {
      if (auto const written = output_->write(predictions); !written) return tl::unexpected(written.error());
      for (auto const& p : predictions)
        if (p.error && refused_.size() < most_refusals_told) refused_.push_back(p);
    } else {
      table_.print(predictions);
    }
    if (!settings_.html.empty())
      for (auto& p : predictions)
        if (kept_.size() < most_rows_of_a_page) kept_.push_back(std::move(p));
    return interruption.load() == 0;
  }

  RunSettings const& settings_;
  Rows& rows_;
  Predictor& predictor_;
  std::optional<Output> output_;
  View view_;
  Table table_;
  std::size_t done_ = 0;
  std::vector<Prediction> kept_;     // for the page
  std::vector<Prediction> refused_;  // the first of them
};

void print_summary(Summary const& summary, View const& view) {
  double const rate = summary.seconds > 0 ? static_cast<double>(summary.rows) / summary.seconds : 0;
  say("{} row{}, {} refused, {:.{}f} rows/s\n", summary.rows, summary.rows == 1 ? "" : "s", summary.errors,
      rate, rate < 10 ? 2 : 0);
  if (view.explain) print_engine(summary);
}

// The page, and whether standard output took what was said.
int finish(RunSettings const& settings, std::vector<Prediction> const& predictions, Summary const& summary,
           std::vector<Handbook> const& handbook) {
  if (!settings.html.empty()) {
    auto const page = report_page(
        {predictions, summary, handbook, settings.view, settings.predictor.model_folder, settings.command});
    if (auto const written = write_file(settings.html, page); !written) return complain(written.error());
  }
  if (int const said = check_said(); said != 0) return said;
  return summary.errors == summary.rows ? exit_nothing : 0;
}

int predict_rows(RunSettings const& settings, std::vector<Handbook> const& handbook) {
  // Before the input is read: a shell has emptied what is also standard output.
  if (auto const places = check_places(settings); !places) return complain(places.error());
  auto rows = settings.input.path.empty() ? Result<std::unique_ptr<Rows>>(rows_of(settings.smiles))
                                          : open_rows(settings.input);
  if (!rows) return complain(rows.error());
  if (!(*rows)->smiles_column().empty())
    say("SMILES from the column {}\n", printable((*rows)->smiles_column()));
  auto predictor = Predictor::open(settings.predictor);
  if (!predictor) return complain(predictor.error());
  std::optional<Output> output;
  if (!settings.out.empty()) {
    auto opened = Output::open(settings.out, (*rows)->columns(), settings.view.celsius);
    if (!opened) return complain(opened.error());
    output = std::move(*opened);
  }
  RunSettings told = settings;
  told.view.coverage = predictor->coverage();
  told.view.units = settings.predictor.units;
  told.view.column = (*rows)->smiles_column();
  Run run(told, **rows, *predictor, std::move(output));
  take_interruptions();
  auto const went = run.go();
  Undisturbed const telling;
  Summary const summary = predictor->finish();
  if (summary.rows == 0 && went && interruption.load() == 0)
    return complain({Code::invalid_argument,
                     Reason::missing_input,
                     fmt::format("{}: expected at least one row of SMILES, got none",
                                 settings.input.path == "-" ? "standard input" : settings.input.path),
                     {}});
  run.print_refusals(summary.errors);
  run.print_left_out();
  print_summary(summary, told.view);
  int const status = finish(told, run.kept(), summary, handbook);
  if (!went) return complain(went.error());
  if (int const signal = interruption.load(); signal != 0) {
    std::fputs(fmt::format("polymers: interrupted; the first {} rows are done\n", summary.rows).c_str(),
               stderr);
    return 128 + signal;
  }
  return status;
}

// The polymers of the handbook, by several callers in three
// rounds, so that batches and the cache can be seen at work.
int demonstrate(RunSettings const& settings, std::vector<Handbook> const& handbook) {
  if (auto const places = check_places(settings); !places) return complain(places.error());
  auto predictor = Predictor::open(settings.predictor);
  if (!predictor) return complain(predictor.error());
  RunSettings told = settings;
  told.view.coverage = predictor->coverage();
  auto const& view = told.view;
  std::vector<Row> rows;
  for (auto const& entry : handbook) {
    Row row;
    row.number = rows.size() + 1;
    row.smiles = entry.smiles;
    row.name = entry.name;
    row.cells = {entry.smiles, entry.name};
    rows.push_back(std::move(row));
  }
  auto const rounds = predictor->rounds(rows, 3, settings.predictor.threads);
  if (!rounds) return complain(rounds.error());
  say("Glass transition temperatures of {} polymers, known and predicted\n\n", handbook.size());
  print_comparison(rounds->front(), handbook, view);
  for (std::size_t i = 0; view.explain && i < rounds->size(); ++i) {
    say("\nround {} of {}, as one of {} callers saw it\n", i + 1, rounds->size(), settings.predictor.threads);
    Table(view).print((*rounds)[i]);
  }
  if (!settings.out.empty()) {
    auto output = Output::open(settings.out, {"smiles", "name"}, view.celsius);
    if (!output) return complain(output.error());
    auto written = output->write(rounds->front());
    if (written) written = output->finish();
    if (!written) return complain(written.error());
  }
  Summary const summary = predictor->finish();
  say("\n{} callers asked for them three times. What one has computed, the others get\nfrom the cache.\n",
      settings.predictor.threads);
  print_engine(summary);
  say("\nYour own:  polymers predict '*CC(*)C#N'\n           polymers predict table.csv --out "
      "predictions.csv\n");
  return finish(told, rounds->front(), summary, handbook);
}

}  // namespace

std::string shipped_model() { return POLYMERS_FOLDER "/model"; }

bool is_shipped(std::string const& model_folder) {
  std::error_code unknown;
  return std::filesystem::equivalent(model_folder, shipped_model(), unknown);
}

int complain(Error const& error) {
  std::fputs(fmt::format("polymers: {}\n", error.message).c_str(), stderr);
  return exit_nothing;
}

int check_said() {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return 0;
  return complain({Code::unavailable, Reason::file, "standard output: cannot be written", {}});
}

int run(RunSettings const& settings) {
  if (settings.out == "-" || settings.html == "-") voice = stderr;
  auto handbook = read_handbook(POLYMERS_FOLDER "/handbook.json");
  if (!handbook) return complain(handbook.error());
  // What another model was trained on is not known.
  if (!is_shipped(settings.predictor.model_folder))
    for (auto& entry : *handbook) entry.trained_on = false;
  bool const demonstration = settings.smiles.empty() && settings.input.path.empty();
  return demonstration ? demonstrate(settings, *handbook) : predict_rows(settings, *handbook);
}

}  // namespace polymers
