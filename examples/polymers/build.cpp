#include "build.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "console.hpp"

namespace polymers {

using namespace athanor;

namespace {

std::vector<std::string> monomers_of(std::vector<std::string> const& words) {
  std::vector<std::string> monomers;
  for (auto const& word : words) {
    std::size_t begin = 0;
    for (std::size_t end = 0; end != std::string::npos; begin = end + 1) {
      end = word.find('.', begin);
      monomers.push_back(word.substr(begin, end == std::string::npos ? end : end - begin));
    }
  }
  return monomers;
}

Result<chem::PolymeriseOptions> options_of(BuildSettings const& settings) {
  auto options = settings.options;
  if (settings.mechanism.empty()) return options;
  options.mechanism = chem::mechanism_named(settings.mechanism);
  if (options.mechanism) return options;
  std::vector<std::string_view> names;
  for (auto const mechanism : chem::all_mechanisms) names.push_back(to_string(mechanism));
  return fail(Code::invalid_argument, Reason::option, "mechanism: expected one of {}, got {}",
              fmt::format("{}", fmt::join(names, ", ")), settings.mechanism);
}

}  // namespace

Result<std::vector<std::string>> build(BuildSettings const& settings) {
  auto options = options_of(settings);
  if (!options) return tl::unexpected(std::move(options.error()));
  auto const monomers = monomers_of(settings.monomers);
  std::vector<std::string> built;
  for (std::int32_t number = 0; number < settings.count; ++number, ++options->seed) {
    auto polymer = chem::polymerise(monomers, *options);
    if (!polymer) return tl::unexpected(std::move(polymer.error()));
    bool const endless = !polymer->repeat_unit.empty();
    if (number == 0) {
      say("{:<12} {}\n", "mechanism", to_string(polymer->mechanism));
      say("{:<12} {}\n", "repeat unit",
          endless ? polymer->repeat_unit : "none: the chain is random or branched");
    }
    say("{:<12} {}\n", number == 0 ? fmt::format("{}-mer", options->degree) : "", polymer->oligomer);
    if (number == 0 || !endless) built.push_back(endless ? polymer->repeat_unit : polymer->oligomer);
  }
  return built;
}

}  // namespace polymers
