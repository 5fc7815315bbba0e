#include "info.hpp"

#include <fstream>

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

void tell(std::string_view what, std::string const& text) {
  constexpr std::size_t indent = 12;
  bool first = true;
  for (auto const& line : wrapped(text, columns_of(voice) - indent - 1)) {
    say("{:<{}}{}\n", first ? what : "", indent, line);
    first = false;
  }
}

}  // namespace

std::string model_title(std::string const& folder) {
  auto const manifest = read_json(folder + "/athanor.json");
  return fmt::format("{} {}", text_of(manifest, "name"), text_of(manifest, "version"));
}

std::string data_source(std::string const& folder) {
  return text_of(read_json(folder + "/cross_validation.json"), "source");
}

int print_info(std::string const& folder) {
  auto const manifest = read_json(folder + "/athanor.json");
  if (text_of(manifest, "name").empty()) {
    std::fputs(fmt::format("polymers: {}: no model with a manifest athanor.json is there\n", folder).c_str(),
               stderr);
    return 1;
  }
  say("{}\n", painted(model_title(folder), Colour::bold));
  tell("what", text_of(manifest, "description"));
  auto const errors = read_json(folder + "/cross_validation.json")["mean_absolute_error"];
  if (errors.is_object())
    for (auto const& [name, error] : errors.items())
      if (error.is_number())
        tell(name == errors.begin().key() ? "error" : "",
             fmt::format("{:.1f} K  {}", error.get<double>(), name));
  auto const calibration = read_json(folder + "/calibration.json");
  if (calibration.contains("coverage") && calibration.contains("held_out"))
    tell("interval",
         fmt::format("made for {:.0f} % of polymers; {:.1f} % of those held out lie in theirs",
                     100 * calibration.value("coverage", 0.0), 100 * calibration.value("held_out", 0.0)));
  auto const domain = read_json(folder + "/domain.json");
  tell("domain", fmt::format("{} atom environments; {} chains of a table are listed",
                             count_of(domain, "identifiers"), count_of(domain, "chains")));
  if (auto const source = data_source(folder); !source.empty()) tell("data", source);
  tell("more", folder + "/MODEL_CARD.md");
  tell("program", fmt::format("polymers, of Athanor {}", athanor::version_text));
  return 0;
}

}  // namespace polymers
