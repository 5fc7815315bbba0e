/// Versions in semantic-version order, and names that carry one.
#pragma once

#include <compare>
#include <string>
#include <string_view>

#include <athanor/core/error.hpp>

namespace athanor::inline v1 {

/// True for `MAJOR.MINOR.PATCH[-PRERELEASE][+BUILD]` as semver.org writes it.
bool is_semantic_version(std::string_view version) noexcept;

/// Precedence: 1.0.0 > 1.0.0-rc.10 > 1.0.0-rc.2 > 1.0.0-beta. Build metadata does not count: equivalent
/// versions may differ in text. A text that is not a semantic version is older than every semantic version;
/// two such texts compare byte by byte.
std::weak_ordering compare_versions(std::string_view left, std::string_view right) noexcept;

/// A model's name, with an optional version.
struct ModelName {
  std::string name;
  std::string version;  ///< empty: the newest
  bool operator==(ModelName const&) const = default;
};

/// `places` or `places@2.1.0`. Names are letters, digits, `.`, `_` and `-`, at most 128; a version after `@`
/// must be a semantic version. invalid_argument otherwise.
Result<ModelName> parse_model_name(std::string_view text);

}  // namespace athanor::inline v1
