// Members of an ensemble that have a backend, a format and inputs of their own.
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <athanor/manifest/manifest.hpp>
#include <manifest/refusal.hpp>

using namespace athanor;
using athanor_tests::refusal;

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

// mutant: every member is told of every argument that is None
// mutant: an argument that is None may have no reader
// mutant: a member may read nothing but None
TEST_CASE("a member with inputs of its own is told of the arguments that are None among them") {
  auto const with_none = [](std::string const& first, std::string const& second) {
    std::string const list =
        R"("model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}, {"name": "hint", "constant": null},
                            {"name": "c", "dtype": "i64", "shape": ["items", 1]}], )";
    std::string const at = R"("model_outputs")";
    std::string text = members(first, second);
    return text.insert(text.find(at), list);
  };
  auto const formats = [&](std::string const& first, std::string const& second) {
    auto const manifest = parse_manifest(with_none(first, second));
    REQUIRE_MESSAGE(manifest, manifest.error().message);
    return std::vector{manifest->full_format(manifest->members[0]),
                       manifest->full_format(manifest->members[1])};
  };
  std::string const without = "torchscript?method=encode&operators=audio";
  std::string const with = "torchscript?method=encode&none=hint&operators=audio";
  std::string const chosen = R"(, "inputs": ["hint", "c"])";
  CHECK(formats("", "") == std::vector{with, with});
  CHECK(formats(R"(, "inputs": ["x"])", chosen) == std::vector{without, with});
  CHECK(formats(R"(, "inputs": ["x"])", chosen + R"(, "backend": "other")") ==
        std::vector{without, std::string("torchscript?none=hint")});
  CHECK(formats("", R"(, "format": "pt2")") == std::vector{with, std::string("pt2?operators=audio")});
  CHECK(refusal(with_none(R"(, "inputs": ["x"])", R"(, "inputs": ["c"])")) ==
        "athanor.json: model_inputs[1]: expected a member that reads 'hint', got none");
  CHECK(refusal(with_none("", R"(, "inputs": ["hint"])")) ==
        "athanor.json: members[1].inputs: expected at least one input that is not None, got none");
}
