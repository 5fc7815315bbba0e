#include "info.hpp"

#include <fstream>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <athanor/core/version.hpp>

#include "console.hpp"
#include "text.hpp"

namespace polymers {

namespace {

using Json = nlohmann::ordered_json;

Json read_json(std::string const& path) {
  std::ifstream file(path);
  auto json = Json::parse(file, nullptr, false);
  return json.is_object() ? json : Json::object();
}

std::string text_of(Json const& object, char const* key) {
  auto const at = object.find(key);
  return at != object.end() && at->is_string() ? printable(at->get_ref<std::string const&>()) : std::string();
}

std::size_t count_of(Json const& object, char const* key) {
  auto const at = object.find(key);
  return at != object.end() && at->is_array() ? at->size() : 0;
}

std::optional<double> number_of(Json const& object, char const* key) {
  auto const at = object.find(key);
  return at != object.end() && at->is_number() ? std::optional(at->get<double>()) : std::nullopt;
}

std::vector<double> numbers_of(Json const& object, char const* key) {
  std::vector<double> numbers;
  if (count_of(object, key) == 0) return numbers;
  for (auto const& number : object[key])
    if (number.is_number()) numbers.push_back(number.get<double>());
  return numbers;
}

// Mean absolute errors by model.
Json errors_of(Json const& cross_validation) {
  auto const at = cross_validation.find("mean_absolute_error");
  return at != cross_validation.end() && at->is_object() ? *at : Json::object();
}

void tell(std::string_view what, std::string const& text) {
  constexpr std::size_t indent = 12;
  bool first = true;
  for (auto const& line : wrapped(text, columns_beside(indent + 1, voice))) {
    say("{:<{}}{}\n", first ? what : "", indent, line);
    first = false;
  }
}

// The mean error of the model and of others over the same folds, and the rows that these are errors of.
void tell_errors(Json const& cross_validation) {
  auto const errors = errors_of(cross_validation);
  std::string_view what = "error";
  for (auto const& [name, error] : errors.items()) {
    if (!error.is_number()) continue;
    tell(what, fmt::format("{:.1f} K  {}", error.get<double>(), name));
    what = "";
  }
  if (auto const rows = text_of(cross_validation, "errors_of"); !rows.empty())
    tell("", "mean absolute errors on " + rows);
}

// What the intervals are made for, and how they came out.
void tell_intervals(Json const& calibration) {
  auto const coverage = number_of(calibration, "coverage");
  auto const held_out = number_of(calibration, "held_out");
  if (!coverage || !held_out) return;
  auto text = fmt::format("made for {:.0f} % of polymers; {:.1f} % of those held out lie in theirs",
                          100 * *coverage, 100 * *held_out);
  if (auto const thirds = numbers_of(calibration, "held_out_by_tercile_of_width"); thirds.size() == 3)
    text += fmt::format(" ({:.1f}, {:.1f} and {:.1f} % of the narrow, middle and wide third)",
                        100 * thirds[0], 100 * thirds[1], 100 * thirds[2]);
  if (auto const width = number_of(calibration, "median_half_width"))
    text += fmt::format("; half of the intervals reach at most {:.1f} K to either side", *width);
  tell("interval", text);
}

}  // namespace

std::string model_title(std::string const& folder) {
  auto const manifest = read_json(folder + "/athanor.json");
  return fmt::format("{} {}", text_of(manifest, "name"), text_of(manifest, "version"));
}

std::vector<std::string> data_sources(std::string const& folder) {
  auto const json = read_json(folder + "/cross_validation.json");
  std::vector<std::string> sources;
  if (json.contains("sources") && json["sources"].is_array())
    for (auto const& source : json["sources"])
      if (source.is_string()) sources.push_back(printable(source.get_ref<std::string const&>()));
  return sources;
}

std::string error_words(std::string const& folder) {
  auto const json = read_json(folder + "/cross_validation.json");
  auto const errors = errors_of(json);
  auto const rows = text_of(json, "errors_of");
  if (!errors.contains("ensemble") || !errors["ensemble"].is_number() || rows.empty()) return {};
  return fmt::format("{:.1f} K in the mean on {}", errors["ensemble"].get<double>(), rows);
}

int print_info(std::string const& folder) {
  auto const manifest = read_json(folder + "/athanor.json");
  if (text_of(manifest, "name").empty()) {
    std::fputs(fmt::format("polymers: {}: no athanor.json with the name of a model in this folder\n", folder)
                   .c_str(),
               stderr);
    return 1;
  }
  say("{}\n", painted(model_title(folder), Colour::bold));
  tell("what", text_of(manifest, "description"));
  tell_errors(read_json(folder + "/cross_validation.json"));
  tell_intervals(read_json(folder + "/calibration.json"));
  auto const domain = read_json(folder + "/domain.json");
  tell("domain",
       fmt::format("{} atom environments of RDKit {}; {} chains of a table are listed",
                   count_of(domain, "identifiers"), text_of(domain, "rdkit"), count_of(domain, "chains")));
  for (std::string_view what = "data"; auto const& source : data_sources(folder)) {
    tell(what, source);
    what = "";
  }
  tell("more", folder + "/MODEL_CARD.md");
  tell("program", fmt::format("polymers, of Athanor {}", athanor::version_text));
  return 0;
}

}  // namespace polymers
