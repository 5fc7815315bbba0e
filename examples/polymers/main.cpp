// polymers predict: glass transition temperatures of polymers, by an ensemble of members inside an
// Athanor engine.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <athanor/core/format.hpp>

#include "predict.hpp"
#include "print.hpp"
#include "report.hpp"
#include "rows.hpp"
#include "text.hpp"

namespace {

using namespace athanor;
using namespace polymers;

constexpr int exit_nothing = 1;  // nothing could be predicted, or a file could not be read or written

struct Arguments {
  std::vector<std::string> smiles;
  std::string csv;
  CsvOptions csv_options;
  std::string jsonl;
  std::string out;
  std::string html;
  bool explain = false;
  Settings settings{POLYMERS_FOLDER "/model", 4, {}};
};

Error unwritable_output() {
  return {Code::unavailable, Reason::file, "standard output: cannot be written", {}};
}

int complain(Error const& error) {
  std::fputs(fmt::format("polymers: {}\n", error).c_str(), stderr);
  return exit_nothing;
}

Result<std::vector<Row>> rows_of(Arguments const& arguments) {
  if (!arguments.csv.empty()) {
    auto table = read_csv(arguments.csv, arguments.csv_options);
    if (!table) return tl::unexpected(std::move(table.error()));
    if (!table->column.empty()) say("SMILES from the column {}\n", printable(table->column));
    return std::move(table->rows);
  }
  if (!arguments.jsonl.empty()) return read_jsonl(arguments.jsonl);
  if (arguments.smiles.size() == 1 && arguments.smiles[0] == "-") return read_lines();
  std::vector<Row> rows;
  for (auto const& smiles : arguments.smiles) rows.push_back({smiles, {}});
  return rows;
}

// The nine polymers of the handbook, by four callers in three rounds, so that batches and the cache can be
// seen at work.
Result<std::vector<Prediction>> demonstrate(Predictor& predictor, std::vector<Handbook> const& handbook,
                                            Arguments const& arguments) {
  std::vector<Row> rows;
  for (auto const& entry : handbook) rows.push_back({entry.smiles, entry.name});
  auto rounds = predictor.rounds(rows, 3, arguments.settings.threads);
  if (!rounds) return tl::unexpected(std::move(rounds.error()));
  for (std::size_t i = 0; i < rounds->size(); ++i) {
    say("{}round {} of {}, as one of {} callers saw it\n", i == 0 ? "" : "\n", i + 1, rounds->size(),
        arguments.settings.threads);
    print_table((*rounds)[i], predictor.coverage(), arguments.explain);
  }
  print_comparison(rounds->front(), handbook);
  say("\n");
  return std::move(rounds->front());
}

Result<std::vector<Prediction>> predict_rows(Predictor& predictor, std::vector<Row> const& rows,
                                             Arguments const& arguments) {
  Progress progress(rows.size());
  progress.show(0);
  auto predictions = predictor.predict(rows, [&](std::size_t done) { progress.show(done); });
  progress.clear();
  if (arguments.out.empty()) print_table(predictions, predictor.coverage(), arguments.explain);
  return predictions;
}

int predict(Arguments const& arguments) {
  if (arguments.out == "-" || arguments.html == "-") voice = stderr;
  auto const handbook = read_handbook(POLYMERS_FOLDER "/handbook.json");
  if (!handbook) return complain(handbook.error());
  bool const demonstration = arguments.smiles.empty() && arguments.csv.empty() && arguments.jsonl.empty();
  auto const rows = rows_of(arguments);
  if (!rows) return complain(rows.error());
  if (rows->empty() && !demonstration)
    return complain({Code::invalid_argument, Reason::missing_input, "the input holds no rows", {}});
  auto predictor = Predictor::open(arguments.settings);
  if (!predictor) return complain(predictor.error());
  auto const predictions = demonstration ? demonstrate(*predictor, *handbook, arguments)
                                         : predict_rows(*predictor, *rows, arguments);
  if (!predictions) return complain(predictions.error());
  if (!arguments.out.empty())
    if (auto const written = write_predictions(arguments.out, *predictions); !written)
      return complain(written.error());
  Summary const summary = predictor->finish();
  if (!arguments.html.empty()) {
    auto const page = report_page(*predictions, summary, *handbook, predictor->coverage(),
                                  arguments.settings.model_folder + "/cross_validation.json");
    if (auto const written = write_file(arguments.html, page); !written) return complain(written.error());
  }
  print_summary(summary);
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) return complain(unwritable_output());
  return summary.errors == summary.rows ? exit_nothing : 0;
}

// An option of CLI11 would take [*]CC[*] for a list and drop its outer brackets, so SMILES are what no option
// took.
void take_smiles(CLI::App const& command, Arguments& arguments) {
  for (auto const& text : command.remaining()) {
    if (text.size() > 1 && text.front() == '-') throw CLI::ExtrasError(std::vector<std::string>{text});
    arguments.smiles.push_back(text);
  }
  if (arguments.smiles.size() > 1 && std::ranges::find(arguments.smiles, "-") != arguments.smiles.end())
    throw CLI::ExcludesError("-", "SMILES");
  if (!arguments.out.empty() && arguments.out == arguments.html)
    throw CLI::ExcludesError("--out", "--html of the same path");
  if (!arguments.smiles.empty() && !(arguments.csv.empty() && arguments.jsonl.empty()))
    throw CLI::ExcludesError("SMILES", arguments.csv.empty() ? "--jsonl" : "--csv");
}

// An empty path is mostly that of a shell variable nobody set; whoever gave the option did not ask for the
// demonstration, nor for no file.
CLI::Validator path() {
  return {[](std::string& text) { return std::string(text.empty() ? "expected a path, got nothing" : ""); },
          "PATH"};
}

void add_options(CLI::App& command, Arguments& arguments) {
  auto* csv =
      command.add_option("--csv", arguments.csv, "read a CSV file with a column of SMILES")->check(path());
  command
      .add_option("--smiles-column", arguments.csv_options.smiles_column,
                  "its name; otherwise smiles_polymer, psmiles, smiles or canonical_smiles")
      ->needs(csv);
  command
      .add_flag("!--no-header", arguments.csv_options.header,
                "the first line is a row; the SMILES are the first field")
      ->needs(csv);
  command.add_option("--jsonl", arguments.jsonl, "read one JSON object (with smiles) or text per line")
      ->check(path())
      ->excludes(csv);
  command.add_option("--out", arguments.out, "write the predictions there: CSV, or JSON lines for *.jsonl")
      ->check(path());
  command.add_option("--html", arguments.html, "write a self-contained page with pictures there")
      ->check(path());
  command
      .add_option("--threads", arguments.settings.threads,
                  "callers of the demonstration, workers of the engine")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  command
      .add_option("--units", arguments.settings.units,
                  "take a capped oligomer of so many units, not the endless chain")
      ->check(CLI::Range(1, 1000));
  command.add_option("--model", arguments.settings.model_folder, "folder with athanor.json")
      ->check(path())
      ->capture_default_str();
  command.add_flag("--explain", arguments.explain, "say for every row where its time went");
}

int run(int argc, char** argv) {
  CLI::App app{"Properties of polymers from their SMILES", "polymers"};
  app.require_subcommand(1);
  Arguments arguments;
  auto* command = app.add_subcommand(
      "predict",
      "Predicts glass transition temperatures [K]. Without input, nine known polymers in three rounds.");
  command->allow_extras();
  command->footer(
      "Arguments: repeat units with two * (or plain SMILES); - reads one per line from standard input.\n"
      "A PATH of - is standard input or output.");
  add_options(*command, arguments);
  // No SMILES starts with -, so the word that ends the options ends nothing.
  auto** const end =
      std::remove_if(argv + 1, argv + argc, [](char const* word) { return word == std::string_view("--"); });
  try {
    app.parse(static_cast<int>(end - argv), argv);
    take_smiles(*command, arguments);
  } catch (CLI::ParseError const& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return predict(arguments);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (std::bad_alloc const&) {
    std::fputs("polymers: there is not enough memory\n", stderr);
  } catch (std::exception const& error) {
    std::fputs("polymers: ", stderr);
    std::fputs(error.what(), stderr);
    std::fputs("\n", stderr);
  }
  return exit_nothing;
}
