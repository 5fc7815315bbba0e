// polymers: glass transition temperatures of polymers, by an ensemble of members inside an Athanor engine.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <new>
#include <string>
#include <string_view>
#include <system_error>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <athanor/chem/smiles.hpp>
#include <athanor/core/version.hpp>

#include "build.hpp"
#include "console.hpp"
#include "info.hpp"
#include "output.hpp"
#include "run.hpp"

namespace {

using namespace polymers;

constexpr int wrong_usage = 2;

constexpr char const* predict_footer =
    "Usage: polymers predict [OPTIONS] SMILES...\n"
    "       polymers predict [OPTIONS] FILE\n"
    "\n"
    "SMILES are repeat units with two *, each an argument of its own; - reads one per line from standard "
    "input.\n"
    "FILE is .csv, .tsv, .smi, .txt, .json or .jsonl, each also as .gz. A PATH of - is standard input or "
    "output.\n"
    "\n"
    "  polymers predict '*CC(*)c1ccccc1' '*CC(*)C#N'\n"
    "  polymers predict table.csv --out predictions.csv --html page.html\n"
    "  polymers predict table.tsv --smiles-column 'repeat unit' --celsius\n"
    "\n"
    "The output has the columns of the input and behind them tg_k, tg_low_k, tg_high_k (ends of the "
    "interval),\n"
    "spread_k (between the members), domain, repeat_unit, in_table, unseen_identifiers, unknown_tokens, "
    "error.\n"
    "Exit status: 0; 1 when nothing could be predicted, read or written; 2 for wrong usage; 130 after "
    "Ctrl-C, with\n"
    "what was done until then.";

constexpr char const* build_footer =
    "Usage: polymers build [OPTIONS] MONOMERS...\n"
    "\n"
    "MONOMERS are SMILES, as separate arguments or joined by dots.\n"
    "\n"
    "  polymers build 'C=Cc1ccccc1' --predict\n"
    "  polymers build 'O=C(O)c1ccc(C(=O)O)cc1' OCCO --degree 8\n"
    "  polymers build 'C=CC#N' 'C=Cc1ccccc1' --proportions 1,3 --count 5 --predict\n"
    "  polymers build 'C=CC' --meso 1 --degree 10\n"
    "\n"
    "Mechanisms: vinyl, acrylate, diene, acetylene, ring-opening, ester, amide, imide, carbonate,\n"
    "urethane, urea, nipu, epoxy. Exit status: 0; 1 when nothing could be built; 2 for wrong usage.";

struct Arguments {
  RunSettings run;
  BuildSettings build;
  bool predict_built = false;
  std::string csv;
  std::string jsonl;
  std::string smi;
};

void refuse_dash(std::string const& word) {
  if (word.size() < 2 || word.front() != '-') return;
  if (word[1] == '-') throw CLI::ExtrasError(std::vector<std::string>{word});
  throw CLI::ValidationError(word, "expected an option or SMILES, which never begin with -");
}

// A word that is no SMILES may be the name of what is there.
void refuse_place(std::string const& word) {
  std::error_code unknown;
  auto const status = std::filesystem::status(word, unknown);
  if (!std::filesystem::exists(status) || athanor::chem::check_smiles(word)) return;
  throw CLI::ValidationError(
      word,
      std::filesystem::is_directory(status)
          ? "expected one file, or SMILES, got a folder"
          : "expected a name that tells how the file is read, or one of --csv, --jsonl and --smi before it");
}

// An option of CLI11 would take [*]CC[*] for a list and drop its outer brackets, so SMILES are what no option
// took.
void take_words(CLI::App const& command, Arguments& arguments) {
  auto& run = arguments.run;
  auto& input = run.input;
  for (auto const& [path, format] :
       {std::pair(arguments.csv, Input::Format::csv), std::pair(arguments.jsonl, Input::Format::json),
        std::pair(arguments.smi, Input::Format::lines)})
    if (!path.empty()) {
      input.path = path;
      input.format = format;
    }
  auto const words = command.remaining();
  for (auto const& word : words) {
    refuse_dash(word);
    auto const format = word == "-" ? Input::Format::lines : format_of(word);
    if (!format) {
      refuse_place(word);
      run.smiles.push_back(word);
    } else if (words.size() > 1 || !input.path.empty()) {
      throw CLI::ValidationError(word, "expected one file, or SMILES, not both");
    } else {
      input.path = word;
      input.format = *format;
    }
  }
  if (!run.smiles.empty() && !input.path.empty())
    throw CLI::ValidationError(run.smiles.front(), "expected SMILES, or one file, not both");
  if ((!input.header || !input.smiles_column.empty()) &&
      (input.path.empty() || input.format == Input::Format::lines))
    throw CLI::ValidationError("--smiles-column, --no-header", "these need a file with columns");
}

// An empty path usually comes from an unset shell variable. The
// option asks for a file, not for the demonstration or for no file.
CLI::Validator path() {
  return {[](std::string& text) { return std::string(text.empty() ? "expected a path, got nothing" : ""); },
          ""};
}

// CLI11 takes -1 for 2^64 - 1, and what is larger than that for it.
CLI::Validator seed() {
  return {[](std::string& text) {
            std::uint64_t number = 0;
            auto const [end, fault] = std::from_chars(text.data(), text.data() + text.size(), number);
            return fault == std::errc() && end == text.data() + text.size()
                       ? std::string()
                       : fmt::format("expected a whole number from 0 to {}, got {}", UINT64_MAX, text);
          },
          ""};
}

CLI::Validator output_path() {
  return {[](std::string& text) {
            return text.empty() ? std::string("expected a path, got nothing") : unfit_output(text);
          },
          ""};
}

void add_input(CLI::App& command, Arguments& arguments) {
  auto* csv = command.add_option("--csv", arguments.csv, "read PATH as CSV, whatever its name")
                  ->type_name("PATH")
                  ->check(path());
  auto* jsonl =
      command.add_option("--jsonl", arguments.jsonl, "read PATH as JSON, one value per line or one array")
          ->type_name("PATH")
          ->check(path())
          ->excludes(csv);
  command.add_option("--smi", arguments.smi, "read PATH as lines of a SMILES and a name")
      ->type_name("PATH")
      ->check(path())
      ->excludes(csv)
      ->excludes(jsonl);
  command.add_option(
      "--smiles-column", arguments.run.input.smiles_column,
      "the column with the SMILES, by name or number; otherwise smiles_polymer, psmiles, smiles or "
      "canonical_smiles");
  command.add_flag_callback(
      "--no-header", [&] { arguments.run.input.header = false; },
      "the first line of the CSV file is a row; the SMILES are its first field");
}

void add_output(CLI::App& command, Arguments& arguments) {
  command.add_option("--out", arguments.run.out, "write the predictions there: .csv, .tsv, .json or .jsonl")
      ->type_name("PATH")
      ->check(output_path());
  command.add_option("--html", arguments.run.html, "write a self-contained page with pictures there")
      ->type_name("PATH")
      ->check(path());
  command.add_flag("--celsius", arguments.run.view.celsius, "temperatures in degrees Celsius");
  command.add_flag("--explain", arguments.run.view.explain, "say for every row where its time went");
}

void add_model(CLI::App& command, std::string& folder) {
  command
      .add_option("--model", folder,
                  "folder with athanor.json, in place of the model that comes with the program")
      ->type_name("PATH")
      ->check(path());
}

void add_prediction(CLI::App& command, Arguments& arguments) {
  auto& settings = arguments.run.predictor;
  command.add_flag("--plain", settings.plain, "predict small molecules, salts and mixtures, too");
  command
      .add_option("--units", settings.units, "take a capped oligomer of so many units, not the endless chain")
      ->check(CLI::Range(1, 1000));
  command.add_option("--threads", settings.threads, "callers of the demonstration, workers of the engine")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  add_model(command, settings.model_folder);
}

void add_build(CLI::App& command, Arguments& arguments) {
  auto& [monomers, mechanism, options, count] = arguments.build;
  command.add_option("--mechanism", mechanism,
                     "how the monomers react; by default, the only mechanism that fits");
  command.add_option("--degree", options.degree, "monomers in the oligomer")->capture_default_str();
  command.add_option("--seed", options.seed, "seed of the random choices; equal seeds give equal polymers")
      ->check(seed())
      ->capture_default_str();
  command.add_option("--count", count, "number of oligomers, with consecutive seeds")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  command
      .add_option("--proportions", options.proportions, "relative frequencies of the monomers, such as 1,3")
      ->delimiter(',');
  command.add_option("--meso", options.meso,
                     "fraction of neighbouring units with equal configuration: 1 isotactic, 0 syndiotactic");
  command.add_flag_callback(
      "--any-orientation", [&] { arguments.build.options.head_to_tail = false; },
      "units join the chain by either side, as in m2p");
  auto* predict = command.add_flag("--predict", arguments.predict_built,
                                   "predict the repeat unit, or the oligomers where there is none");
  add_output(command, arguments);
  add_model(command, arguments.run.predictor.model_folder);
  for (auto const* name : {"--out", "--html", "--celsius", "--explain", "--model"})
    command.get_option(name)->needs(predict);
}

void check_monomers(std::vector<std::string> const& words) {
  if (words.empty()) throw CLI::RequiredError("MONOMERS");
  for (auto const& word : words) refuse_dash(word);
}

int build_words(CLI::App const& command, Arguments& arguments) {
  arguments.build.monomers = command.remaining();
  if (arguments.run.out == "-" || arguments.run.html == "-") voice = stderr;
  auto built = build(arguments.build);
  if (!built) return complain(built.error());
  if (!arguments.predict_built) return 0;
  say("\n");
  if (arguments.build.options.meso && is_shipped(arguments.run.predictor.model_folder))
    say("The model reads no stereo: --meso changes the SMILES, not the temperature.\n\n");
  arguments.run.smiles = std::move(*built);
  arguments.run.predictor.plain = true;  // a chain by how it was made, however short
  return run(arguments.run);
}

// As a shell would take it back.
std::string command_line(int argc, char** argv) {
  constexpr std::string_view harmless =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./=,:+@%";
  std::string line = "polymers";
  for (int i = 1; i < argc; ++i) {
    std::string_view const word = argv[i];
    bool const bare = !word.empty() && word.find_first_not_of(harmless) == std::string_view::npos;
    line += bare ? fmt::format(" {}", word) : fmt::format(" '{}'", word);
  }
  return line;
}

// A file that is opened while a standard stream is closed would take its number, and get
// what is said. A stream that was closed stays one that can neither be read nor written.
void occupy_closed_streams() {
  for (int const stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::fcntl(stream, F_GETFD) < 0) ::open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

int run_words(int argc, char** argv) {
  CLI::App app{"Properties of polymers from their SMILES", "polymers"};
  app.set_version_flag("--version", fmt::format("polymers, of Athanor {}", athanor::version_text));
  app.require_subcommand(0, 1);
  app.footer(
      "`polymers predict --help`, `build --help` and `info --help` say more, with the exit status. Begin "
      "with: polymers predict");
  Arguments arguments;
  arguments.run.predictor.model_folder = shipped_model();
  auto* predict = app.add_subcommand(
      "predict", "Predicts glass transition temperatures [K]. Without input, those of nine known polymers.");
  predict->allow_extras();
  predict->footer(predict_footer);
  add_input(*predict, arguments);
  add_output(*predict, arguments);
  add_prediction(*predict, arguments);
  auto* build = app.add_subcommand("build", "Builds polymers from monomers.");
  build->allow_extras();
  build->footer(build_footer);
  add_build(*build, arguments);
  auto* info = app.add_subcommand(
      "info", "Says what the model is, how large its errors are, and where its limits are.");
  info->footer("Exit status: 0; 1 when no model is there; 2 for wrong usage.");
  add_model(*info, arguments.run.predictor.model_folder);
  arguments.run.command = command_line(argc, argv);
  // No SMILES starts with -, so the word that ends the options ends nothing.
  auto** const end =
      std::remove_if(argv + 1, argv + argc, [](char const* word) { return word == std::string_view("--"); });
  try {
    app.parse(static_cast<int>(end - argv), argv);
    if (predict->parsed()) take_words(*predict, arguments);
    if (build->parsed()) check_monomers(build->remaining());
  } catch (CLI::ParseError const& error) {
    return app.exit(error) == 0 ? 0 : wrong_usage;
  }
  if (build->parsed()) return build_words(*build, arguments);
  if (info->parsed()) return print_info(arguments.run.predictor.model_folder);
  if (predict->parsed()) return run(arguments.run);
  std::fputs(app.help().c_str(), stderr);
  return wrong_usage;
}

}  // namespace

int main(int argc, char** argv) {
  occupy_closed_streams();
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error of its own write
  try {
    int const status = run_words(argc, argv);
    return status == 0 ? check_said() : status;
  } catch (std::bad_alloc const&) {
    std::fputs("polymers: there is not enough memory\n", stderr);
  } catch (std::exception const& error) {
    std::fputs("polymers: ", stderr);
    std::fputs(error.what(), stderr);
    std::fputs("\n", stderr);
  }
  return exit_nothing;
}
