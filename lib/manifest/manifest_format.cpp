#include <athanor/manifest/manifest.hpp>

#include <string>
#include <string_view>
#include <vector>

#include <fmt/ranges.h>

namespace athanor::inline v1 {

bool Manifest::has_none(manifest::Member const& member, std::string_view argument) const {
  bool const own_format = member.backend == backend && member.format == format;
  return member.inputs.empty() ? own_format : member.reads(argument);
}

std::string Manifest::full_format(manifest::Member const& member) const {
  std::vector<std::string> parts;
  bool const own_backend = member.backend == backend;
  bool const own_format = own_backend && member.format == format;
  if (own_format) {
    if (!method.empty()) parts.push_back("method=" + method);
    if (autograd) parts.emplace_back("autograd=true");
    if (sequences && !sequences->reset.empty()) parts.push_back("reset=" + sequences->reset);
  }
  for (auto const& none : nones)
    if (has_none(member, none.name)) parts.push_back("none=" + none.name);
  // A backend must know which inputs may be absent; one that does not know the word refuses the format.
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (member.reads(inputs[i].name) && defaults[i] && is_none(inputs[i], *defaults[i]))
      parts.push_back("optional=" + inputs[i].name);
  if (own_backend)
    for (std::string const& library : operators) parts.push_back("operators=" + library);
  return parts.empty() ? member.format : fmt::format("{}?{}", member.format, fmt::join(parts, "&"));
}

}  // namespace athanor::inline v1
