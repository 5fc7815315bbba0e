// Where a manifest takes a model's inputs from.
#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <athanor/manifest/manifest.hpp>
#include <manifest/refusal.hpp>

using namespace athanor;
using athanor_tests::refusal;

namespace {

// `x` of that shape in the request, in the model and in what the model gives, which `y` takes from it.
std::string shaped(std::string const& request, std::string const& model, std::string const& given,
                   std::string const& answer, std::string const& more = "",
                   std::string const& dtype = "f32") {
  return R"({"athanor": 1, "name": "m", "version": "1.0.0", "backend": "torch", "format": "pt2",
    "inputs": [{"name": "x", "dtype": ")" +
         dtype + R"(", "shape": )" + request + R"(}],
    "model_inputs": [{"name": "x", "dtype": ")" +
         dtype + R"(", "shape": )" + model + R"(}],
    "model_outputs": [{"name": "y", "dtype": "f32", "shape": )" +
         given + R"(}],
    "outputs": [{"name": "y", "dtype": "f32", "shape": )" +
         answer + R"(}],
    "members": [{"file": "m.pt2", "digest": "xxh128:)" +
         std::string(32, '0') + R"("}])" + more + "}";
}
constexpr char const* one_item = R"(, "batching": {"max_items": 1})";

// `x` f32 [items, 2] and the same as model input, with these model inputs beside it, and more sections.
std::string manifest_of(std::string const& model_inputs, std::string const& more = "") {
  return R"({"athanor": 1, "name": "m", "version": "1.0.0", "backend": "torch", "format": "pt2",
    "inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
    "model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]})" +
         model_inputs + R"(], "outputs": [{"name": "y", "dtype": "f32", "shape": ["items"]}],
    "members": [{"file": "m.pt2", "digest": "xxh128:)" +
         std::string(32, '0') + R"("}])" + more + "}";
}

Manifest read(std::string const& text) {
  auto manifest = parse_manifest(text);
  REQUIRE_MESSAGE(manifest, manifest.error().message);
  return std::move(*manifest);
}

}  // namespace

TEST_CASE("a model input is a constant of any type: one for the batch, or a row for every item") {
  auto const manifest = read(manifest_of(
      R"(, {"name": "rate", "dtype": "i64", "shape": [], "constant": 16000},
         {"name": "mean", "dtype": "f32", "shape": [1, 3], "constant": [[0.5, -1, 1e-3]]},
         {"name": "half", "dtype": "f16", "shape": [2], "constant": [1.5, 2]},
         {"name": "flags", "dtype": "bool", "shape": ["items", 2], "constant": [true, false]},
         {"name": "bias", "dtype": "f64", "shape": ["items"], "constant": 0.25},
         {"name": "mode", "dtype": "bytes", "shape": [2], "constant": ["fast", ""]})"));
  auto const& inputs = manifest.model_inputs;
  REQUIRE(inputs.size() == 7);
  for (std::size_t i = 1; i < inputs.size(); ++i) {
    CHECK(inputs[i].assemble == Assemble::fixed);
    CHECK(inputs[i].constant.owned());
  }
  CHECK(inputs[1].constant.shape() == Shape{});
  CHECK(inputs[1].constant.as<std::int64_t>()[0] == 16000);
  CHECK(inputs[2].constant.shape() == Shape{1, 3});
  CHECK(inputs[2].constant.as<float>()[2] == 1e-3F);
  CHECK(inputs[3].constant.size_bytes() == 4);
  CHECK(inputs[4].constant.shape() == Shape{1, 2});
  CHECK(inputs[4].constant.as<bool>()[0]);
  CHECK(inputs[5].constant.shape() == Shape{1});
  CHECK(inputs[5].constant.as<double>()[0] == 0.25);
  CHECK(inputs[6].constant.text_at(0) == "fast");
  CHECK(manifest.inputs.size() == 1);
}

// mutant: a constant's lengths may be any
TEST_CASE("a constant that its input cannot hold, or that is not alone, is refused by its place") {
  auto const refused = [](std::string const& input) {
    return refusal(manifest_of(R"(, {"name": "c", )" + input + "}"));
  };
  std::string const place = "athanor.json: model_inputs[1]";
  CHECK(refused(R"("dtype": "i64", "shape": [], "constant": 1.5)") ==
        place + ".constant: c: expected i64, got 1.5");
  CHECK(refused(R"("dtype": "i8", "shape": [], "constant": 300)") ==
        place + ".constant: c: expected i8, got 300, which it cannot hold");
  CHECK(refused(R"("dtype": "f32", "shape": [2], "constant": [1, 1e39])") ==
        place + ".constant: c: [1]: expected f32, got 1e+39, which it cannot hold");
  CHECK(refused(R"("dtype": "f32", "shape": [2], "constant": [1, 2, 3])") ==
        place + ".constant: c: expected 2 elements, got 3");
  CHECK(refused(R"("dtype": "f32", "shape": ["items", 2], "constant": [[1, 2]])") ==
        place + ".constant: c: expected 2 elements, got 1");
  CHECK(refused(R"("dtype": "f32", "shape": [], "constant": null)") ==
        place + ".constant: c: expected f32, got null");
  CHECK(refused(R"("dtype": "f32", "shape": [null], "constant": [1])") ==
        place + ".shape: expected fixed lengths, alone or after 'items', for a constant; got f32 [?]");
  CHECK(refused(R"("dtype": "f32", "shape": ["items", "wide"], "constant": [1])") ==
        place +
            ".shape: expected fixed lengths, alone or after 'items', for a constant; got f32 [items, wide]");
  for (std::string const key : {"make", "from", "index_of"})
    CHECK(refused(R"("dtype": "i64", "shape": [], "constant": 1, ")" + key + R"(": "count")") ==
          place + "." + key + ": expected nothing beside 'constant', got a value");
}

TEST_CASE("a constant has no lookups and is no input of a request") {
  CHECK(
      refusal(manifest_of(R"(, {"name": "c", "dtype": "i64", "shape": [1], "constant": [7]})",
                          R"(, "self_test": [{"inputs": {"x": [[1, 2]], "c": [7]}, "outputs": {"y": [1]}}])"))
          .find("self_test[0].inputs.c: expected one of x, got 'c'") != std::string::npos);
  auto text = manifest_of(R"(, {"name": "c", "dtype": "i64", "shape": [1], "constant": [7]})");
  text.replace(text.find(R"("file": "m.pt2",)"), 16, R"("file": "m.pt2", "lookups": {"c": [7]},)");
  CHECK(refusal(text).find(
            "lookups.c: expected the name of an i64 model input that a request or a processor gives") !=
        std::string::npos);
}

// mutant: another axis than the items' is put first
// mutant: a named axis of an item is a ragged axis
TEST_CASE("a model has its items along any axis, or none where each run is one item") {
  auto const manifest = read(shaped(R"(["items", "time", 80])", R"(["time", "items", 80])",
                                    R"([4, 3, "items"])", R"(["items", 4, 3])"));
  auto const& input = manifest.model_inputs[0];
  CHECK(input.assemble == Assemble::stack);
  CHECK(input.batch_axis == 1);
  CHECK(to_string(input.spec) == "f32 [items, time, 80]");
  CHECK(to_string(manifest.model_outputs[0]) == "f32 [4, 3, items]");
  CHECK(batch_axis_of(manifest.model_outputs[0]) == 2);
  CHECK(to_string(with_items_first(manifest.model_outputs[0])) == "f32 [items, 4, 3]");

  for (auto const& [request, model, given, answer] :
       {std::array{R"(["items", 2, "samples"])", R"([2, "samples"])", "[2]", R"(["items", 2])"},
        std::array{R"(["items", "samples"])", R"(["samples"])", R"(["samples"])", R"(["items", "samples"])"},
        std::array{R"(["items"])", "[]", "[]", R"(["items"])"},
        std::array{R"(["items", null])", "[null]", R"(["items", 3])", R"(["items", 3])"}}) {
    CAPTURE(model);
    auto const single = read(shaped(request, model, given, answer, one_item));
    CHECK(single.model_inputs[0].assemble == Assemble::stack);
    CHECK(single.model_inputs[0].batch_axis == no_batch_axis);
    CHECK(single.model_inputs[0].spec.stacks());
  }
  CHECK(read(shaped(R"(["samples"])", R"(["samples"])", R"(["items"])", R"(["items"])"))
            .model_inputs[0]
            .assemble == Assemble::ragged);
  CHECK(read(shaped(R"(["items", "samples"])", R"(["samples"])", R"(["items"])", R"(["items"])",
                    R"(, "batching": {"max_items": 1}, "processor": {"name": "p"})"))
            .model_inputs[0]
            .assemble == Assemble::ragged);
  CHECK(read(shaped(R"(["items", 2])", R"(["items", 2])", "[3]", R"(["items", 3])")).model_outputs.size() ==
        1);
  CHECK(read(shaped(R"(["items", 0])", R"(["items", 0])", R"(["items", 0])", R"(["items", 0])"))
            .inputs[0]
            .dims[1] == Dim::fixed(0));
}

// mutant: a model of one item in each run may be given several
TEST_CASE("a batch axis that requests, answers or the batching do not have is refused by name") {
  std::string const items = R"(["items", 2])";
  CHECK(refusal(shaped(items, "[2]", items, items)) ==
        "athanor.json: model_inputs[0].shape: expected 'items' or the name of a ragged axis as the first "
        "dimension, or "
        "\"batching\": {\"max_items\": 1} for a model of one item in each run; got f32 [2]");
  CHECK(refusal(shaped(items, "[2]", items, items, R"(, "batching": {"max_items": 2})"))
            .starts_with("athanor.json: model_inputs[0].shape: expected 'items' or"));
  CHECK(refusal(shaped(items, "[3]", items, items, one_item)) ==
        "athanor.json: model_inputs[0].shape: expected the axes of 'x' as in inputs, f32 [items, 2]; got f32 "
        "[items, "
        "3]");
  CHECK(refusal(shaped(items, R"([2, "items", "items"])", items, items)) ==
        "athanor.json: model_inputs[0].shape: expected 'items' once, got it 2 times");
  CHECK(refusal(shaped(R"([2, "items"])", items, items, items)) ==
        "athanor.json: inputs[0].shape[1]: expected 'items' as the first dimension only, got f32 [2, items]");
  CHECK(refusal(shaped(items, items, R"(["rows", 2])", items)) ==
        "athanor.json: model_outputs[0].shape: expected an axis of a ragged model input, or \"rows\": the "
        "model output "
        "that counts the rows; got 'rows'");
  CHECK(refusal(shaped(items, items, R"([3, "items"])", items)) ==
        "athanor.json: outputs[0].shape: expected 'y' to have the shape of the model output 'y', f32 [3, "
        "items]; got "
        "f32 [items, 2]");
  CHECK(refusal(shaped(items, R"([2, "items"])", items, items, "", "bytes")) ==
        "athanor.json: model_inputs[0].shape: expected 'items' as the first dimension of texts, got it as "
        "dimension 2");
  CHECK(refusal(shaped(items, items, "[1, 1, 1, 1, 1, 1, 1, 1]", items)) ==
        "athanor.json: model_outputs[0].shape: expected at most 7 dimensions beside 'items', got 8");
  CHECK(refusal(shaped(items, "[1, 1, 1, 1, 1, 1, 1, 1]", items, items, one_item)) ==
        "athanor.json: model_inputs[0].shape: expected at most 7 dimensions beside 'items', got 8");
}

// mutant: a processor may be given None
TEST_CASE("arguments that are None, and inputs that may be, are told to the backend with the format") {
  std::string const hint =
      R"("inputs": [{"name": "hint", "dtype": "f32", "shape": ["items"], "default": null}, )";
  std::string const mapped = R"("model_inputs": [{"name": "hint", "dtype": "f32", "shape": ["items"]}, )";
  auto const text = [&](std::string const& more_inputs, std::string const& optional = "",
                        std::string const& more = "") {
    auto made = manifest_of(more_inputs, more);
    if (optional.empty()) return made;
    made.replace(made.find(R"("inputs": [)"), 11, optional);
    return made.replace(made.find(R"("model_inputs": [)"), 17, mapped);
  };
  auto const manifest = read(text(R"(, {"name": "scale", "constant": null})", hint));
  CHECK(manifest.full_format(manifest.members[0]) == "pt2?none=scale&optional=hint");
  auto other = manifest.members[0];
  other.format = "own";
  CHECK(manifest.full_format(other) == "own?optional=hint");
  REQUIRE(manifest.nones.size() == 1);
  CHECK(manifest.nones[0].name == "scale");
  CHECK(manifest.model_inputs.size() == 2);
  CHECK(manifest.signature().is_optional(0));
  CHECK(is_none(manifest.inputs[0], *manifest.defaults[0]));

  CHECK(refusal(text(R"(, {"name": "x", "constant": null})")) ==
        "athanor.json: model_inputs[1].name: expected every name once, got 'x' again");
  CHECK(refusal(text(R"(, {"name": "c", "constant": null, "shape": []})")) ==
        "athanor.json: model_inputs[1]: unknown key 'shape'; known: name, constant");
  CHECK(refusal(text(
            "", R"("inputs": [{"name": "hint", "dtype": "bytes", "shape": ["items"], "default": null}, )")) ==
        "athanor.json: inputs[0].default: expected null only for numbers whose shape begins with 'items' or "
        "that "
        "are shared, got it for bytes [items]");
  std::string const as_it_is =
      "athanor.json: inputs[0].default: expected null only for an input that the model reads as it is, "
      "without a "
      "processor, lookups or padding; got it for 'hint'";
  CHECK(refusal(text("", hint, R"(, "processor": {"name": "p"})")) == as_it_is);
}

// mutant: the place of a model input leaves out arguments that are None
TEST_CASE("the place of a model input behind an argument that is None is that of the manifest") {
  auto const refused = [](std::string const& key, std::string const& inputs, std::string const& more = "") {
    return refusal(
        R"({"athanor": 1, "name": "m", "version": "1.0.0", "backend": "torch", "format": "torchscript",
      "inputs": [{"name": "x", "dtype": "f32", "shape": ["items", "length"]}],
      "model_inputs": [{"name": "first", "constant": null}, {"name": "x", "dtype": "f32", "shape": ["items", "length"])" +
        key + R"(}, {"name": "second", "constant": null})" + inputs + R"(],
      "model_outputs": [{"name": "y", "dtype": "f32", "shape": ["items"]}],
      "outputs": [{"name": "y", "dtype": "f32", "shape": ["items"]}],
      "members": [{"file": "a", "digest": "xxh128:99aa06d3014798d86001c324468d497f"}])" +
        more + "}");
  };
  auto const is_at = [](std::string const& place, std::string const& message) {
    CHECK_MESSAGE(message.starts_with("athanor.json: " + place + ": "), message);
  };
  std::string const state = R"(, {"name": "s", "dtype": "f32", "shape": ["items", null], "from": "state:y"})";
  std::string const item = R"(, "batching": {"max_items": 1})";
  is_at("model_inputs[1].index_of", refused(R"(, "index_of": "length")", ""));
  is_at("model_inputs[1].pad", refused(R"(, "pad": {"value": 0})", ""));
  is_at("model_inputs[3].name", refused("", R"(, {"name": "z", "dtype": "f32", "shape": ["items"]})"));
  is_at("model_inputs[3].name",
        refused("", R"(, {"name": "x", "dtype": "f32", "shape": ["items", "length"]})"));
  is_at("model_inputs[3].from",
        refused("", R"(, {"name": "p", "dtype": "f32", "shape": [], "from": "parameter:q"})"));
  is_at("model_inputs[3].shape",
        refused("", R"(, {"name": "n", "dtype": "i64", "shape": ["atoms"], "make": "segment"})"));
  is_at("model_inputs[3].axis",
        refused("",
                R"(, {"name": "n", "dtype": "i64", "shape": ["items"], "make": "length", "axis": "atoms"})"));
  is_at("model_inputs[3].shape",
        refused("",
                R"(, {"name": "n", "dtype": "i64", "shape": [2000000, 2000000, 2000000], "make": "count"})"));
  is_at("model_inputs[3].shape", refused("", state, item + R"(, "sequences": {"max": 2})"));
  is_at("model_inputs[2].name", refused("", R"(, {"name": "second", "constant": null})"));
}

// mutant: a default need not be what its input allows
// mutant: a request may leave out all inputs
TEST_CASE("an input with a default is one that a request may leave out, and its default is checked like it") {
  auto const with = [](std::string const& input) {
    auto text = manifest_of(R"(, {"name": "mask", "dtype": "f32", "shape": ["items", 2]})");
    std::string const x = R"({"name": "x", "dtype": "f32", "shape": ["items", 2]}],)";
    return text.replace(text.find(x), x.size(),
                        x.substr(0, x.size() - 2) + R"(, {"name": "mask", )" + input + "}],");
  };
  auto const manifest = read(with(R"("dtype": "f32", "shape": ["items", 2], "default": [1, 0.5])"));
  auto const signature = manifest.signature();
  CHECK_FALSE(signature.is_optional(0));
  REQUIRE(signature.is_optional(1));
  CHECK(signature.defaults[1]->shape() == Shape{1, 2});
  CHECK(signature.defaults[1]->as<float>()[1] == 0.5F);

  std::string const place = "athanor.json: inputs[1]";
  CHECK(refusal(with(R"("dtype": "f32", "shape": ["items", 2], "default": [1])")) ==
        place + ".default: mask: expected 2 elements, got 1");
  CHECK(refusal(with(R"("dtype": "f32", "shape": ["items", null], "default": [1, 2])")) ==
        place + ".shape: expected fixed lengths, alone or after 'items', for a default; got f32 [items, ?]");
  CHECK(refusal(with(R"("dtype": "f32", "shape": [2], "default": [1, 2])")) ==
        place + ".shape: expected 'items' as the first dimension of an input with a default, got f32 [2]");
  CHECK(refusal(with(R"("dtype": "bytes", "shape": ["items"], "max_bytes": 2, "default": "abc")")) ==
        place + ".default: mask: element 0: expected at most 2 bytes, got 3");
  auto text = manifest_of("");
  text.replace(text.find(R"("shape")"), 7, R"("default": [1, 2], "shape")");
  CHECK(refusal(text) == "athanor.json: inputs: expected at least one input without a default, got none");
}
