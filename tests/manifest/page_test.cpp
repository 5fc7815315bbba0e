// What docs/manifest.md shows is a manifest, or a part of one.
#include <doctest/doctest.h>

#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include <athanor/manifest/manifest.hpp>

using namespace athanor;

namespace {

// The blocks of JSON of a page.
std::vector<std::string> blocks_of(std::string_view page) {
  constexpr std::string_view begin = "```json\n";
  constexpr std::string_view end = "```";
  std::vector<std::string> blocks;
  for (auto at = page.find(begin); at != std::string_view::npos; at = page.find(begin, at)) {
    at += begin.size();
    blocks.emplace_back(page.substr(at, page.find(end, at) - at));
  }
  return blocks;
}

// A manifest with these keys and all others that it needs.
std::string complete(std::string const& block) {
  if (block.starts_with('{')) return block;
  auto const unless = [&](std::string_view key, std::string const& value) {
    return block.find(key) == std::string::npos ? fmt::format(", {}: {}", key, value) : std::string();
  };
  return R"({"athanor": 1, "name": "page", "version": "1.0.0", "backend": "b", "format": "f",
    "processor": {"name": "p"}, "inputs": [{"name": "text", "dtype": "bytes", "shape": ["items"]}],
    "members": [{"file": "a", "digest": "xxh128:99aa06d3014798d86001c324468d497f"}], )" +
         block + unless(R"("model_inputs")", R"([{"name": "x", "dtype": "f32", "shape": ["items"]}])") +
         unless(R"("model_outputs")", R"([{"name": "y", "dtype": "f32", "shape": ["items"]}])") +
         unless(R"("outputs")",
                R"([{"name": "label", "dtype": "f32", "shape": ["items"], "from": "processor:label"}])") +
         "}";
}

}  // namespace

TEST_CASE("every block of JSON of the manifest's page is read") {
  std::ifstream file(ATHANOR_MANIFEST_PAGE);
  std::ostringstream page;
  page << file.rdbuf();
  auto const blocks = blocks_of(page.view());
  CHECK(blocks.size() >= 5);
  for (std::string const& block : blocks) {
    auto const manifest = parse_manifest(complete(block));
    CHECK_MESSAGE(manifest, block, manifest ? "" : manifest.error().message);
  }
}
