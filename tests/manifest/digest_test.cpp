// The files that a manifest names hold what it says.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <filesystem>
#include <string>
#include <string_view>

#include <athanor/core/hash.hpp>
#include <athanor/manifest/digest.hpp>
#include <athanor/manifest/manifest.hpp>
#include <support/folder.hpp>

using namespace athanor;
using namespace athanor_tests;

// mutant: digests are not compared
TEST_CASE("S4-9 a changed, truncated or missing file is refused with the digest expected and got") {
  Folder folder;
  folder.write("fold.pt", "weights");
  std::string const path = (folder / "fold.pt").string();
  std::string const digest = "xxh128:" + to_hex(hash128("weights"));
  CHECK(verify_digest(path, digest));
  folder.write("fold.pt", "weight");
  auto const changed = verify_digest(path, digest);
  REQUIRE_FALSE(changed);
  CHECK(changed.error().code == Code::data_loss);
  CHECK(changed.error().reason == Reason::digest);
  CHECK(changed.error().message == fmt::format("{}: expected content with digest {}, got xxh128:{}", path,
                                               digest, to_hex(hash128("weight"))));
  auto const missing = verify_digest(path + "x", digest);
  REQUIRE_FALSE(missing);
  CHECK(missing.error().reason == Reason::file);
}

// mutant: a file may not be a link
TEST_CASE("a file may be a link out of the folder, and its content is what the digest says") {
  Folder hub;
  hub.write("blob", "weights");
  Folder folder;
  std::filesystem::create_symlink(hub / "blob", folder / "fold.pt");
  std::string const path = (folder / "fold.pt").string();
  std::string const digest = "xxh128:" + to_hex(hash128("weights"));
  CHECK(verify_digest(path, digest));
  hub.write("blob", "others");
  auto const changed = verify_digest(path, digest);
  REQUIRE_FALSE(changed);
  CHECK(changed.error().code == Code::data_loss);
  CHECK(changed.error().reason == Reason::digest);
  std::filesystem::remove(hub / "blob");
  auto const dangling = verify_digest(path, digest);
  REQUIRE_FALSE(dangling);
  CHECK(dangling.error().code == Code::not_found);
  CHECK(dangling.error().reason == Reason::file);
}

// mutant: only the first file of a model is verified
TEST_CASE("S4-9 every file that a manifest names is verified") {
  Folder folder;
  auto const digest = [](std::string_view content) { return "xxh128:" + to_hex(hash128(content)); };
  folder.write("a.pt", "a");
  folder.write("b.pt", "b");
  folder.write("domain.json", "{}");
  Manifest manifest;
  manifest.processor.emplace();
  manifest.processor->digests = {{"domain.json", digest("{}")}};
  manifest.members.resize(2);
  manifest.members[0].file = {"a.pt", digest("a")};
  manifest.members[1].file = {"b.pt", digest("b")};
  CHECK(verify_files(folder.path(), manifest));
  folder.write("b.pt", "c");
  CHECK(verify_files(folder.path(), manifest).error().reason == Reason::digest);
  folder.write("b.pt", "b");
  folder.write("domain.json", "[]");
  CHECK(verify_files(folder.path(), manifest).error().reason == Reason::digest);
}
