// Members of an ensemble that have a backend, a format and inputs of their own.
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <athanor/manifest/manifest.hpp>

using namespace athanor;

namespace {

/// A manifest of two inputs and two members with further keys.
std::string members(std::string const& first, std::string const& second) {
  std::string const digest = R"("digest": "xxh128:99aa06d3014798d86001c324468d497f")";
  return R"({"athanor": 1, "name": "mixed", "version": "1.0.0", "backend": "torch", "format": "torchscript",
    "method": "encode", "operators": ["audio"],
    "inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}, {"name": "c", "dtype": "i64", "shape": ["items", 1]}],
    "model_outputs": [{"name": "y", "dtype": "f32", "shape": ["items"]}],
    "outputs": [{"name": "y", "dtype": "f32", "shape": ["items"], "from": "mean:y"}],
    "members": [{"file": "a", )" +
         digest + first + R"(}, {"file": "b", )" + digest + second + "}]}";
}

std::string refusal(std::string const& json) {
  auto const manifest = parse_manifest(json);
  REQUIRE_FALSE(manifest);
  CHECK(manifest.error().reason == Reason::manifest);
  return manifest.error().message;
}

}  // namespace

// mutant: a member has the manifest's backend, format and inputs
// mutant: a method is that of every member
TEST_CASE("members may have a backend, a format and inputs of their own") {
  std::string const reads_x = R"(, "inputs": ["x"])";
  auto const read =
      parse_manifest(members(reads_x, R"(, "backend": "other", "format": "own", "inputs": ["c", "x"])"));
  REQUIRE_MESSAGE(read, read.error().message);
  manifest::Member const& own = read->members[0];
  manifest::Member const& other = read->members[1];
  CHECK(own.backend == "torch");
  CHECK(read->full_format(own) == "torchscript?method=encode&operators=audio");
  CHECK(other.backend == "other");
  CHECK(read->full_format(other) == "own");
  CHECK(other.inputs == std::vector<std::string>{"c", "x"});
  auto const package = parse_manifest(members(reads_x, R"(, "format": "pt2")"));
  REQUIRE_MESSAGE(package, package.error().message);
  CHECK(package->full_format(package->members[1]) == "pt2?operators=audio");
  CHECK(package->members[1].reads("c"));
  CHECK(parse_manifest(
      members(reads_x, R"(, "lookups": {"c": [5, 6]})")));  // the first member does not read it
}

// mutant: a member may read an input twice
// mutant: a model input may have no reader
TEST_CASE("the inputs of a member are model inputs, each once, and each of them has a reader") {
  auto const refused = [](std::string const& inputs) {
    return refusal(members(R"(, "inputs": )" + inputs, ""));
  };
  CHECK(refused(R"(["z"])") ==
        "athanor.json: members[0].inputs[0]: expected the name of a model input, got 'z'");
  CHECK(refused(R"(["x", "x"])") ==
        "athanor.json: members[0].inputs[0]: expected every model input once, got 'x' again");
  CHECK(refused("[]").starts_with("athanor.json: members[0].inputs: expected"));
  CHECK(refusal(members(R"(, "inputs": ["x"])", R"(, "inputs": ["x"])")) ==
        "athanor.json: model_inputs[1]: expected a member that reads 'c', got none");
}
