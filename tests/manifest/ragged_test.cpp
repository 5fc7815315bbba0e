// Outputs with any number of rows for each item, as a manifest declares them.
#include <doctest/doctest.h>

#include <string>

#include <athanor/manifest/manifest.hpp>
#include <manifest/refusal.hpp>

using namespace athanor;

namespace {

constexpr char const* plain_outputs = R"({"name": "points", "dtype": "f32", "shape": ["points", 2]},
  {"name": "count", "dtype": "i64", "shape": ["items"], "from": "rows:points"})";
constexpr char const* plain_model_outputs = R"({"name": "n", "dtype": "i64", "shape": ["items"]},
  {"name": "points", "dtype": "f32", "shape": ["points", 2], "rows": "n"})";

// A model of `atoms` (ragged) and `x` (items).
std::string manifest_of(std::string const& outputs, std::string const& model_outputs,
                        std::string const& more = "", bool ensemble = false) {
  std::string const member = R"({"file": "m", "digest": "xxh128:)" + std::string(32, '0') + "\"}";
  std::string const other = R"({"file": "n", "digest": "xxh128:)" + std::string(32, '0') + "\"}";
  return R"({"athanor": 1, "name": "m", "version": "1.0.0", "backend": "torch", "format": "pt2",
    "inputs": [{"name": "atoms", "dtype": "f32", "shape": ["atoms"]}], "model_outputs": [)" +
         model_outputs + R"(], "outputs": [)" + outputs + "], \"members\": [" + member +
         (ensemble ? ", " + other : "") + "]" + more + "}";
}

std::string refusal(std::string const& manifest) {
  return athanor_tests::refusal(manifest).substr(std::string("athanor.json: ").size());
}

}  // namespace

TEST_CASE("a ragged axis of a model output is counted by another, or is one of the inputs'") {
  auto const counted = parse_manifest(manifest_of(plain_outputs, plain_model_outputs));
  REQUIRE_MESSAGE(counted, counted.error().message);
  REQUIRE(counted->ragged_axes.size() == 1);
  CHECK(counted->ragged_axes[0].name == "points");
  CHECK(counted->ragged_axes[0].counts == "n");
  CHECK(counted->outputs[1].source == manifest::OutputSource::rows);
  CHECK(counted->outputs[1].of == "points");
  auto const of_inputs =
      parse_manifest(manifest_of(R"({"name": "force", "dtype": "f32", "shape": ["atoms", 3]},
                     {"name": "n", "dtype": "i64", "shape": ["items"], "from": "rows:atoms"})",
                                 R"({"name": "force", "dtype": "f32", "shape": ["atoms", 3]})"));
  REQUIRE_MESSAGE(of_inputs, of_inputs.error().message);
  REQUIRE(of_inputs->ragged_axes.size() == 1);
  CHECK(of_inputs->ragged_axes[0].counts.empty());
}

// mutant: outputs need not begin with the items
TEST_CASE("an output begins with the items or with a ragged axis") {
  std::string const fixed = R"({"name": "y", "dtype": "f32", "shape": [3], "from": "processor:y"})";
  CHECK(
      refusal(manifest_of(fixed, plain_model_outputs)) ==
      "outputs[0].shape: expected 'items' or the name of a ragged axis as the first dimension, got f32 [3]");
}

// mutant: an output along a ragged axis needs no other that counts its rows
TEST_CASE("a mistake in the declaration of ragged rows is named by its place") {
  std::string const count =
      R"(, {"name": "count", "dtype": "i64", "shape": ["items"], "from": "rows:points"})";
  std::string const points = R"({"name": "points", "dtype": "f32", "shape": ["points", 2]})";
  CHECK(refusal(manifest_of(points, plain_model_outputs)) ==
        "outputs[0].shape: expected an output with \"from\": \"rows:points\" that counts the rows of "
        "'points', got none");
  CHECK(refusal(manifest_of(points + count, points)) ==
        "model_outputs[0].shape: expected an axis of a ragged model input, or \"rows\": the model output "
        "that counts the "
        "rows; got 'points'");
  CHECK(refusal(manifest_of(points + count,
                            R"({"name": "points", "dtype": "f32", "shape": ["points", 2], "rows": "m"})")) ==
        "model_outputs[0].rows: expected a model output of i64 [items], got 'm'");
  CHECK(refusal(manifest_of(points + count, R"({"name": "n", "dtype": "f32", "shape": ["items"]},
    {"name": "points", "dtype": "f32", "shape": ["points", 2], "rows": "n"})")) ==
        "model_outputs[1].rows: expected a model output of i64 [items], got f32 [items]");
  CHECK(refusal(manifest_of(points + count,
                            R"({"name": "n", "dtype": "i64", "shape": ["items"], "rows": "n"})")) ==
        "model_outputs[0].rows: expected no value except for an output along a ragged axis, got one for i64 "
        "[items]");
  CHECK(refusal(manifest_of(points + count,
                            std::string(plain_model_outputs) +
                                R"(, {"name": "o", "dtype": "f32", "shape": ["points"], "rows": "o"})")) ==
        "model_outputs[2].rows: expected 'n' as for the other outputs along 'points', got 'o'");
  CHECK(refusal(manifest_of(
            points + R"(, {"name": "c", "dtype": "f32", "shape": ["items"], "from": "rows:points"})",
            plain_model_outputs)) == "outputs[1]: expected i64 [items] for a count, got f32 [items]");
  CHECK(
      refusal(manifest_of(std::string(plain_outputs) +
                              R"(, {"name": "c", "dtype": "i64", "shape": ["items"], "from": "rows:lines"})",
                          plain_model_outputs)) ==
      "outputs[2].from: expected the first axis of another output, got 'lines'");
  CHECK(refusal(manifest_of(R"({"name": "points", "dtype": "f32", "shape": ["dots", 2]},
    {"name": "count", "dtype": "i64", "shape": ["items"], "from": "rows:dots"})",
                            plain_model_outputs))
            .starts_with("outputs[0].shape: expected 'points' to have the shape of the model output"));
}

TEST_CASE("means over members are along an axis that all members share") {
  std::string const outputs = R"({"name": "p", "dtype": "f32", "shape": ["points", 2], "from": "mean:points"},
    {"name": "count", "dtype": "i64", "shape": ["items"], "from": "rows:points"})";
  CHECK(
      refusal(manifest_of(outputs, plain_model_outputs, "", true)) ==
      "outputs[0].from: expected an axis of the model's inputs for a mean, a median or a standard deviation, "
      "got f32 [points, 2]");
  CHECK(parse_manifest(manifest_of(R"({"name": "p", "dtype": "f32", "shape": ["atoms"], "from": "mean:p"},
    {"name": "n", "dtype": "i64", "shape": ["items"], "from": "rows:atoms"})",
                                   R"({"name": "p", "dtype": "f32", "shape": ["atoms"]})", "", true)));
}
