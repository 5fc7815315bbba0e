// The padded axes that a manifest declares.
#include <doctest/doctest.h>

#include <string>

#include <athanor/manifest/manifest.hpp>
#include <manifest/refusal.hpp>

using namespace athanor;

namespace {

// `ids` i64 [items, tokens], padded as `pad` says; more model inputs, and outputs.
std::string manifest_of(std::string const& pad, std::string const& model_inputs = "",
                        std::string const& model_output = R"(["items", "tokens"])",
                        std::string const& member = "",
                        std::string const& output = R"(["items", "tokens"])") {
  return R"({"athanor": 1, "name": "m", "version": "1.0.0", "backend": "torch", "format": "pt2",
    "inputs": [{"name": "ids", "dtype": "i64", "shape": ["items", "tokens"]},
               {"name": "types", "dtype": "f16", "shape": ["items", null]},
               {"name": "words", "dtype": "bytes", "shape": ["items", "tokens"]}],
    "model_inputs": [{"name": "ids", "dtype": "i64", "shape": ["items", "tokens"])" +
         (pad.empty() ? "" : ", \"pad\": " + pad) + "}" + model_inputs + R"(],
    "model_outputs": [{"name": "y", "dtype": "f32", "shape": )" +
         model_output + R"(}], "outputs": [{"name": "y", "dtype": "f32", "shape": )" + output + R"(}],
    "members": [{"file": "m.pt2", "digest": "xxh128:)" +
         std::string(32, '0') + "\"" + member + "}]}";
}

constexpr char const* buckets = R"({"buckets": {"tokens": [16, 32, 128]}, "value": 7})";

std::string refusal(std::string const& manifest) {
  return athanor_tests::refusal(manifest).substr(std::string("athanor.json: ").size());
}

}  // namespace

// mutant: an input along a padded axis without a value of its own stays as it is
TEST_CASE("a manifest declares buckets at one input, and every input along the axis is padded") {
  auto const manifest = parse_manifest(
      manifest_of(buckets, R"(, {"name": "types", "dtype": "f16", "shape": ["items", "tokens"]},
                  {"name": "words", "dtype": "bytes", "shape": ["items", "tokens"], "pad": {"value": "[PAD]"}},
                  {"name": "mask", "dtype": "bf16", "shape": ["items", 1, "tokens"], "make": "mask"},
                  {"name": "length", "dtype": "i32", "shape": ["items", 1], "make": "length", "axis": "tokens"})"));
  REQUIRE_MESSAGE(manifest, manifest.error().message);
  REQUIRE(manifest->padded_axes.size() == 1);
  CHECK(manifest->padded_axes[0].name == "tokens");
  CHECK(manifest->padded_axes[0].buckets == std::vector<std::int64_t>{16, 32, 128});
  auto const& inputs = manifest->model_inputs;
  REQUIRE(inputs.size() == 5);
  REQUIRE(inputs[0].fill);
  CHECK(inputs[0].fill->as<std::int64_t>()[0] == 7);
  REQUIRE(inputs[1].fill);
  CHECK(inputs[1].fill->dtype() == DType::f16);
  CHECK(inputs[1].fill->size_bytes() == 2);
  REQUIRE(inputs[2].fill);
  CHECK(inputs[2].fill->text_at(0) == "[PAD]");
  CHECK(inputs[3].assemble == Assemble::mask);
  CHECK_FALSE(inputs[3].fill);
  CHECK(inputs[4].assemble == Assemble::length);
  CHECK(inputs[4].axis == "tokens");
}

// mutant: buckets, or sizes of a batch, need not ascend
TEST_CASE("a mistake in the padding of a manifest is named by its place") {
  auto const pad = [](std::string const& text) { return refusal(manifest_of(text)); };
  CHECK(pad(R"({"buckets": {"tokens": [16, 16]}})") ==
        "model_inputs[0].pad.buckets.tokens[1]: expected more than 16, as buckets ascend; got 16");
  CHECK(pad(R"({"buckets": {"tokens": []}})").starts_with("model_inputs[0].pad.buckets.tokens: expected"));
  CHECK(
      pad(R"({"buckets": {"tokens": [0]}})").starts_with("model_inputs[0].pad.buckets.tokens[0]: expected"));
  CHECK(pad(R"({"buckets": {"letters": [8]}})") ==
        "model_inputs[0].pad.buckets.letters: expected an axis of 'ids' beyond the first, got i64 [items, "
        "tokens]");
  CHECK(pad(R"({"buckets": {"items": [8]}})")
            .starts_with("model_inputs[0].pad.buckets.items: expected an axis"));
  CHECK(pad(R"({"value": 0})") ==
        "model_inputs[0].pad: expected an axis with buckets in its shape, got i64 [items, "
        "tokens]");
  CHECK(pad(R"({"buckets": {"tokens": [8]}, "value": 1.5})")
            .starts_with("model_inputs[0].pad.value: ids: expected"));
  CHECK(pad(R"({"buckets": {"tokens": [8]}, "values": 1})")
            .starts_with("model_inputs[0].pad: unknown key 'values'"));
}

// mutant: the largest buckets are not looked at
TEST_CASE("buckets that no memory holds are a mistake") {
  auto const two = R"({"buckets": {"tokens": [1, 65536]}})";
  CHECK(refusal(manifest_of(two, R"(, {"name": "types", "dtype": "f16", "shape": ["items", "letters"],
                                      "pad": {"buckets": {"letters": [32768]}}})")) ==
        "model_inputs: expected largest buckets of at most 2147483647 together, got more");
  CHECK(refusal(manifest_of(two,
                            R"(, {"name": "types", "dtype": "f16", "shape": ["items", "tokens", 16777216]})"))
            .starts_with("model_inputs[1].shape: expected lengths of at most"));
}

TEST_CASE("what is made of the padding has a shape and a type that can hold it") {
  auto const with = [](std::string const& input) { return refusal(manifest_of(buckets, ", " + input)); };
  CHECK(with(R"({"name": "m", "dtype": "i64", "shape": ["items", "letters"], "make": "mask"})") ==
        "model_inputs[1]: expected numbers or bool of 'items', padded axes and lengths of 1 for a mask, got "
        "i64 "
        "[items, letters]");
  CHECK(with(R"({"name": "m", "dtype": "bytes", "shape": ["items", "tokens"], "make": "mask"})")
            .starts_with("model_inputs[1]: expected numbers"));
  CHECK(with(R"({"name": "m", "dtype": "bool", "shape": ["items"], "make": "mask"})")
            .starts_with("model_inputs[1]: expected numbers"));
  CHECK(with(R"({"name": "l", "dtype": "f32", "shape": ["items"], "make": "length", "axis": "tokens"})") ==
        "model_inputs[1]: expected i32 or i64 [items] or [items, 1] for a length, got f32 [items]");
  CHECK(with(R"({"name": "l", "dtype": "i64", "shape": ["items"], "make": "length", "axis": "letters"})") ==
        "model_inputs[1].axis: expected an axis with buckets, got 'letters'");
  CHECK(with(R"({"name": "l", "dtype": "i64", "shape": ["items"], "make": "length"})")
            .starts_with("model_inputs[1].axis: expected"));
  CHECK(with(R"({"name": "c", "dtype": "i64", "shape": [1], "make": "count", "axis": "tokens"})") ==
        "model_inputs[1].axis: expected no value except with \"make\": \"length\", got one");
  CHECK(with(R"({"name": "c", "dtype": "i64", "shape": [1], "make": "count", "pad": {"value": 1}})") ==
        "model_inputs[1].pad: expected no value except for an input that a request or a processor gives, got "
        "one for 'c'");
  CHECK(
      with(
          R"({"name": "types", "dtype": "f16", "shape": ["items", "tokens"], "pad": {"buckets": {"tokens": [4]}}})") ==
      "model_inputs[1].pad.buckets.tokens: expected the buckets of 'tokens' at one input only, got them "
      "again");
  CHECK(with(R"({"name": "r", "dtype": "f16", "shape": ["tokens"]})")
            .starts_with("model_inputs: expected 'tokens' to be ragged or padded, got both"));
}

// mutant: an output may name a padded axis that the model's output does not
TEST_CASE("an answer is cut back only along an axis that the model's output names") {
  CHECK(refusal(manifest_of(buckets, "", R"(["items", null])"))
            .starts_with("outputs[0].shape: expected 'y' to have the shape of the model output 'y'"));
  CHECK(parse_manifest(manifest_of(buckets, "", R"(["items", "tokens"])", "", R"(["items", null])")));
}

TEST_CASE("a padded input has no lookups, since its padding is not a code") {
  CHECK(refusal(manifest_of(buckets, "", R"(["items", "tokens"])", R"(, "lookups": {"ids": [5]})")) ==
        "members[0].lookups.ids: expected an input that is not padded, got lookups of 'ids', whose padding "
        "is not a code");
}
