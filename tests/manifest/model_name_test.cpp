#include <athanor/manifest/model_name.hpp>

#include <doctest/doctest.h>

using namespace athanor;

// mutant: numbers in versions are compared as text
TEST_CASE("S4-10 versions stand in semantic order, releases above their candidates") {
  char const* const ascending[] = {"latest",
                                   "stable",
                                   "1.0.0-alpha",
                                   "1.0.0-alpha.1",
                                   "1.0.0-alpha.beta",
                                   "1.0.0-beta",
                                   "1.0.0-beta.2",
                                   "1.0.0-beta.11",
                                   "1.0.0-rc.2",
                                   "1.0.0-rc.10",
                                   "1.0.0",
                                   "1.0.1",
                                   "1.2.0",
                                   "1.10.0",
                                   "2.0.0-1",
                                   "2.0.0-a",
                                   "2.0.0",
                                   "10.0.0",
                                   "18446744073709551616.0.0"};
  for (std::size_t i = 0; i < std::size(ascending); ++i)
    for (std::size_t k = 0; k < std::size(ascending); ++k) {
      CAPTURE(ascending[i]);
      CAPTURE(ascending[k]);
      auto const order = compare_versions(ascending[i], ascending[k]);
      CHECK((order < 0) == (i < k));
      CHECK((order == 0) == (i == k));
    }
  CHECK(compare_versions("1.0.0+build.1", "1.0.0+build.2") == 0);
}

TEST_CASE("what is no semantic version is recognised") {
  for (auto const* good : {"0.0.0", "1.0.0-rc.1+sha.5", "1.0.0+001", "1.0.0--"})
    CHECK(is_semantic_version(good));
  for (auto const* bad :
       {"", "1", "1.0", "1.0.0.0", "01.0.0", "1.0.0-", "1.0.0-01", "1.0.0-a..b", "v1.0.0", "1.0.0+", "1.0.x"})
    CHECK_FALSE(is_semantic_version(bad));
}

TEST_CASE("a model's name may carry its version") {
  CHECK(*parse_model_name("tg") == ModelName{"tg", ""});
  CHECK(*parse_model_name("tg@1.0.0-rc.1") == ModelName{"tg", "1.0.0-rc.1"});
  for (auto const* bad : {"", "@1.0.0", "a b", "a/b", "tg@", "tg@latest", "tg@1.0.0@2"}) {
    auto const parsed = parse_model_name(bad);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().reason == Reason::syntax);
  }
}
