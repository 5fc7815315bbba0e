#pragma once

#include <string>

#include <doctest/doctest.h>

#include <athanor/manifest/manifest.hpp>

namespace athanor_tests {

/// The sentence with which a text is refused as a manifest.
inline std::string refusal(std::string const& text) {
  auto const manifest = athanor::parse_manifest(text);
  REQUIRE_FALSE(manifest);
  CHECK(manifest.error().code == athanor::Code::invalid_argument);
  CHECK(manifest.error().reason == athanor::Reason::manifest);
  CHECK(manifest.error().message.starts_with("athanor.json: "));
  return manifest.error().message;
}

}  // namespace athanor_tests
