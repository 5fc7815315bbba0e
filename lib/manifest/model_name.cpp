#include <athanor/manifest/model_name.hpp>

#include <algorithm>
#include <optional>
#include <vector>

#include "core/json_text.hpp"

namespace athanor::inline v1 {

namespace {

struct Parts {
  std::string_view core[3];
  std::vector<std::string_view> prerelease;
};

bool is_digits(std::string_view text) noexcept {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

bool is_number(std::string_view text) noexcept {
  return is_digits(text) && (text.size() == 1 || text[0] != '0');
}

bool is_identifier(std::string_view text) noexcept {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
  });
}

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> parts;
  for (;;) {
    auto const dot = text.find('.');
    parts.push_back(text.substr(0, dot));
    if (dot == std::string_view::npos) return parts;
    text.remove_prefix(dot + 1);
  }
}

std::optional<Parts> split_version(std::string_view version) {
  Parts parts;
  if (auto const plus = version.find('+'); plus != std::string_view::npos) {
    if (!std::ranges::all_of(split(version.substr(plus + 1)), is_identifier)) return {};
    version = version.substr(0, plus);
  }
  if (auto const dash = version.find('-'); dash != std::string_view::npos) {
    parts.prerelease = split(version.substr(dash + 1));
    for (auto const part : parts.prerelease)
      if (!is_identifier(part) || (is_digits(part) && !is_number(part))) return {};
    version = version.substr(0, dash);
  }
  auto const core = split(version);
  if (core.size() != 3 || !std::ranges::all_of(core, is_number)) return {};
  std::ranges::copy(core, parts.core);
  return parts;
}

/// Numbers of any length without leading zeros.
std::weak_ordering compare_numbers(std::string_view left, std::string_view right) noexcept {
  if (left.size() != right.size()) return left.size() <=> right.size();
  return left <=> right;
}

std::weak_ordering compare_identifiers(std::string_view left, std::string_view right) noexcept {
  bool const left_number = is_digits(left);
  bool const right_number = is_digits(right);
  if (left_number && right_number) return compare_numbers(left, right);
  if (left_number != right_number)
    return left_number ? std::weak_ordering::less : std::weak_ordering::greater;
  return left <=> right;
}

}  // namespace

bool is_semantic_version(std::string_view version) noexcept { return split_version(version).has_value(); }

std::weak_ordering compare_versions(std::string_view left, std::string_view right) noexcept {
  auto const a = split_version(left);
  auto const b = split_version(right);
  if (!a || !b) {
    if (a.has_value() != b.has_value()) return a ? std::weak_ordering::greater : std::weak_ordering::less;
    return left <=> right;
  }
  for (std::size_t i = 0; i < 3; ++i)
    if (auto const order = compare_numbers(a->core[i], b->core[i]); order != 0) return order;
  if (a->prerelease.empty() != b->prerelease.empty())
    return a->prerelease.empty() ? std::weak_ordering::greater : std::weak_ordering::less;
  std::size_t const common = std::min(a->prerelease.size(), b->prerelease.size());
  for (std::size_t i = 0; i < common; ++i)
    if (auto const order = compare_identifiers(a->prerelease[i], b->prerelease[i]); order != 0) return order;
  return a->prerelease.size() <=> b->prerelease.size();
}

Result<ModelName> parse_model_name(std::string_view text) {
  auto const at = text.find('@');
  ModelName model{std::string(text.substr(0, at)), {}};
  if (!json::is_name(model.name))
    return fail(Code::invalid_argument, Reason::syntax,
                "model name: expected 1 to 128 letters, digits, '.', '_' or '-' before any '@', got '{}'",
                text);
  if (at == std::string_view::npos) return model;
  model.version = text.substr(at + 1);
  if (!is_semantic_version(model.version))
    return fail(Code::invalid_argument, Reason::syntax,
                "model name: expected a semantic version such as 1.0.0 after '@', got '{}'", text);
  return model;
}

}  // namespace athanor::inline v1
