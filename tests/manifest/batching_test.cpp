// What a manifest says about batches.
#include <doctest/doctest.h>

#include <string>

#include <athanor/manifest/manifest.hpp>
#include <manifest/refusal.hpp>

using namespace athanor;

namespace {

std::string manifest_of(std::string const& batching, std::string const& more = "") {
  return R"({"athanor": 1, "name": "m", "version": "1.0.0", "backend": "torch", "format": "pt2",
    "inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 1]}],
    "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 1]}],
    "batching": )" +
         batching + more + R"(, "members": [{"file": "m.pt2", "digest": "xxh128:)" + std::string(32, '0') +
         R"("}]})";
}

std::string refusal(std::string const& batching, std::string const& more = "") {
  return athanor_tests::refusal(manifest_of(batching, more)).substr(std::string("athanor.json: ").size());
}

}  // namespace

TEST_CASE("a model that takes certain batch sizes has the largest of them as its largest batch") {
  auto const manifest = parse_manifest(manifest_of(R"({"sizes": [1, 8, 32], "instances": 2})"));
  REQUIRE_MESSAGE(manifest, manifest.error().message);
  CHECK(manifest->batching.sizes == std::vector<std::int64_t>{1, 8, 32});
  CHECK(manifest->batching.max_items == 32);
  CHECK(manifest->pads());
  CHECK(parse_manifest(manifest_of(R"({"sizes": [1, 8, 32], "max_items": 8})"))->batching.max_items == 8);
  CHECK_FALSE(parse_manifest(manifest_of(R"({"max_items": 8})"))->pads());
}

// mutant: buckets, or sizes of a batch, need not ascend
// mutant: the largest batch may be none of the sizes
TEST_CASE("batch sizes that make no sense are named by their place") {
  CHECK(refusal(R"({"sizes": [8, 8]})") == "batching.sizes[1]: expected more than 8, as sizes ascend; got 8");
  CHECK(refusal(R"({"sizes": []})").starts_with("batching.sizes: expected"));
  CHECK(refusal(R"({"sizes": [0]})").starts_with("batching.sizes[0]: expected"));
  CHECK(refusal(R"({"sizes": 8})").starts_with("batching.sizes: expected"));
  CHECK(refusal(R"({"sizes": [1, 8], "max_items": 4})") ==
        "batching.max_items: expected one of the sizes (1, 8), got 4");
}

// mutant: a warm-up may be larger than any batch
TEST_CASE("no self-test and no warm-up is larger than the largest batch size") {
  std::string const rows = R"([[1], [2], [3]])";
  std::string const test =
      R"(, "self_test": [{"inputs": {"x": )" + rows + R"(}, "outputs": {"y": )" + rows + "}}]";
  CHECK(refusal(R"({"sizes": [2]})", test) ==
        "self_test[0].inputs: expected at most 2 items, the largest of batching.sizes, got 3");
  CHECK(refusal(R"({"sizes": [4]})", test + R"(, "warm_up": {"batches": [4, 5]})") ==
        "warm_up.batches[1]: expected at most 4 items, the largest of batching.sizes, got 5");
  CHECK(parse_manifest(manifest_of(R"({"sizes": [4]})", test + R"(, "warm_up": {"batches": [4]})")));
}
