// Inputs of which a request has one tensor for all its items.
#include <doctest/doctest.h>

#include <string>

#include <athanor/manifest/manifest.hpp>
#include <manifest/refusal.hpp>

using namespace athanor;
using athanor_tests::refusal;

namespace {

// `x` and `labels`, with that in the input, and more sections.
std::string manifest_of(std::string const& labels, std::string const& more = "",
                        std::string const& x = R"("shape": ["items", 2])") {
  return R"({"athanor": 1, "name": "m", "version": "1.0.0", "backend": "torch", "format": "pt2",
    "inputs": [{"name": "x", "dtype": "f32", )" +
         x + R"(}, {"name": "labels", )" + labels + R"(}], )" + more +
         R"("outputs": [{"name": "y", "dtype": "f32", "shape": ["items", null]}],
    "members": [{"file": "m.pt2", "digest": "xxh128:)" +
         std::string(32, '0') + R"("}]})";
}

constexpr char const* table = R"("dtype": "f32", "shape": ["labels", 2], "shared": true)";

}  // namespace

// mutant: shared inputs are placed like those that items bring
TEST_CASE("a shared input is one of the model's, with axes of its own and without items") {
  for (auto const* more : {"", R"("model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]},
                {"name": "labels", "dtype": "f32", "shape": [null, 2]}],)"}) {
    auto const manifest = parse_manifest(manifest_of(table, more));
    REQUIRE_MESSAGE(manifest, manifest.error().message);
    CHECK(manifest->inputs[1].shared);
    REQUIRE(manifest->model_inputs.size() == 2);
    CHECK(manifest->model_inputs[0].assemble == Assemble::stack);
    CHECK(manifest->model_inputs[1].assemble == Assemble::common);
    CHECK(is_made(manifest->model_inputs[1]));
  }
  auto const processed = parse_manifest(manifest_of(table, R"("processor": {"name": "p"}, "model_inputs": [
        {"name": "made", "dtype": "f32", "shape": ["items", 2]},
        {"name": "labels", "dtype": "f32", "shape": ["labels", 2]}],)"));
  REQUIRE_MESSAGE(processed, processed.error().message);
  CHECK(processed->processor->inputs == std::vector<std::string>{"x"});
  CHECK(processed->model_inputs[1].assemble == Assemble::common);
}

// mutant: nobody need read a shared input
// mutant: a shared input may have the length of an item
TEST_CASE("a shared input that is none for all of a batch is refused by name") {
  CHECK(
      refusal(manifest_of(R"("dtype": "f32", "shape": ["items", 2], "shared": true)")) ==
      "athanor.json: inputs[1].shared: expected numbers without an axis 'items' for a shared input, got f32 "
      "[items, 2]");
  CHECK(refusal(manifest_of(R"("dtype": "bytes", "shape": ["labels"], "shared": true)")) ==
        "athanor.json: inputs[1].shared: expected numbers without an axis 'items' for a shared input, got "
        "bytes [labels]");
  CHECK(refusal(manifest_of(R"("dtype": "f32", "shape": [2], "shared": true, "default": [1, 2])")) ==
        "athanor.json: inputs[1].shape: expected 'items' as the first dimension of an input with a default, "
        "got f32 [2]");
  CHECK(refusal(manifest_of(table, "", R"("shape": [2], "shared": true)")) ==
        "athanor.json: inputs: expected at least one input that every item must provide, got none");
  CHECK(refusal(manifest_of(table,
                            R"("model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],)")) ==
        "athanor.json: inputs[1]: expected a model input 'labels' that reads it, as no processor reads a "
        "shared input; got none");
  CHECK(refusal(manifest_of(table, R"("processor": {"name": "p", "inputs": ["x", "labels"]},)")) ==
        "athanor.json: processor.inputs[1]: expected 'items' as the first dimension of 'labels', got f32 "
        "[labels, 2]");

  auto const read_as = [](std::string const& input, std::string const& x = R"(["items", 2])") {
    return refusal(manifest_of(table,
                               R"("model_inputs": [{"name": "x", "dtype": "f32", "shape": )" + x +
                                   R"(}, {"name": "labels", )" + input + "}],",
                               R"("shape": )" + x));
  };
  std::string const place = "athanor.json: model_inputs[1]";
  CHECK(read_as(R"("dtype": "f64", "shape": ["labels", 2])") ==
        place + ": expected 'labels' as in inputs, f32 [labels, 2]; got f64 [labels, 2]");
  CHECK(read_as(R"("dtype": "f32", "shape": [3, 2])") ==
        place + ": expected 'labels' as in inputs, f32 [labels, 2]; got f32 [3, 2]");
  CHECK(read_as(R"("dtype": "f32", "shape": ["labels", 2], "pad": {"buckets": {"labels": [4]}})") ==
        place + ".pad: expected no value for a shared input, got one");
  CHECK(read_as(R"("dtype": "f32", "shape": ["labels", 2])", R"(["labels"])") ==
        place + ".shape: expected no axis along which items differ for a shared input, got 'labels'");
}
