#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <athanor/batching/policy.hpp>

namespace athanor::inline v1::batching {

Result<void> PolicySettings::check(std::string_view name,
                                   std::initializer_list<std::string_view> known) const {
  if (!policy.empty() && policy != name) return tl::unexpected(unknown_policy({name}));
  for (auto const& parameter : parameters) {
    if (std::ranges::find(known, parameter.name) != known.end()) continue;
    return fail(
        Code::invalid_argument, Reason::manifest,
        "unknown key '{}'; known: max_items, max_cost, sizes, instances, policy; the policy '{}' takes {}",
        parameter.name, name,
        known.size() == 0 ? "no parameters" : fmt::format("{}", fmt::join(known.begin(), known.end(), ", ")));
  }
  return {};
}

Result<std::int64_t> PolicySettings::parameter(std::string_view name, std::int64_t least, std::int64_t most,
                                               std::int64_t absent) const {
  auto const found = std::ranges::find(parameters, name, &PolicyParameter::name);
  if (found == parameters.end()) return absent;
  if (found->value >= least && found->value <= most) return found->value;
  return fail(Code::invalid_argument, Reason::manifest, "{}: expected a whole number from {} to {}, got {}",
              name, least, most, found->value);
}

Error PolicySettings::unknown_policy(std::initializer_list<std::string_view> known) const {
  return make_error(Code::invalid_argument, Reason::manifest, "policy: expected '{}', got '{}'",
                    fmt::format("{}", fmt::join(known.begin(), known.end(), "' or '")), policy);
}

}  // namespace athanor::inline v1::batching
