// The parameters that a manifest declares.
#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <string>

#include <athanor/manifest/manifest.hpp>
#include <manifest/refusal.hpp>

using namespace athanor;

namespace {

// `x` f32 [items], which a processor makes `z` of; more model inputs, and more sections.
std::string manifest_of(std::string const& parameters, std::string const& more = "",
                        std::string const& model_inputs = "") {
  return R"({"athanor": 1, "name": "m", "version": "1.0.0", "backend": "torch", "format": "pt2",
    "inputs": [{"name": "x", "dtype": "f32", "shape": ["items"]}],
    "processor": {"name": "p"}, "model_inputs": [{"name": "z", "dtype": "f32", "shape": ["items"]})" +
         model_inputs + R"(],
    "outputs": [{"name": "y", "dtype": "f32", "shape": ["items"]}],
    "members": [{"file": "m.pt2", "digest": "xxh128:)" +
         std::string(32, '0') + R"("}], "parameters": [)" + parameters + "]" + more + "}";
}

std::string refusal(std::string const& parameters, std::string const& more = "",
                    std::string const& model_inputs = "") {
  return athanor_tests::refusal(manifest_of(parameters, more, model_inputs));
}

}  // namespace

TEST_CASE("a manifest declares parameters with type, default, range, choices and seed") {
  auto const manifest = parse_manifest(manifest_of(
      R"({"name": "exact", "type": "bool", "default": true}, {"name": "threshold", "type": "f64", "min": 0, "max": 1},
         {"name": "mode", "type": "text", "choices": ["fast", "best"], "default": "best"},
         {"name": "size", "type": "i64", "choices": [1, 2, 4]}, {"name": "seed", "type": "i64", "default": 0, "seed": true})"));
  REQUIRE(manifest);
  auto const& parameters = manifest->signature().parameters;
  REQUIRE(parameters.size() == 5);
  CHECK(parameters[0] == ParameterSpec{"exact", ParameterType::boolean, true});
  CHECK(parameters[1] == ParameterSpec{"threshold", ParameterType::f64, {}, 0.0, 1.0});
  CHECK(parameters[2] == ParameterSpec{"mode", ParameterType::text, "best", {}, {}, {"fast", "best"}});
  CHECK(parameters[3] ==
        ParameterSpec{
            "size", ParameterType::i64, {}, {}, {}, {std::int64_t{1}, std::int64_t{2}, std::int64_t{4}}});
  CHECK(parameters[4] == ParameterSpec{"seed", ParameterType::i64, std::int64_t{0}, {}, {}, {}, true});
}

// mutant: a parameter may have the name of an input
// mutant: a seed needs no default
TEST_CASE("a mistake in a parameter's declaration is named by its place") {
  CHECK(refusal(R"({"name": "x", "type": "f64"})") ==
        "athanor.json: parameters[0].name: expected a name that no input has, got 'x'");
  CHECK(refusal(R"({"name": "a", "type": "f64"}, {"name": "a", "type": "i64"})") ==
        "athanor.json: parameters[1].name: expected every name once, got 'a' again");
  CHECK(refusal(R"({"name": "a", "type": "f32"})") ==
        "athanor.json: parameters[0].type: expected bool, i64, f64 or text, got 'f32'");
  CHECK(refusal(R"({"name": "a", "type": "f64", "optional": true})").find("unknown key 'optional'") !=
        std::string::npos);
  CHECK(refusal(R"({"name": "a", "type": "f64", "min": 2, "max": 1})") ==
        "athanor.json: parameters[0].max: expected at least min, which is 2, got 1");
  CHECK(refusal(R"({"name": "a", "type": "text", "min": 2})") ==
        "athanor.json: parameters[0].min: expected no value except for i64 and f64, got one for text");
  CHECK(refusal(R"({"name": "a", "type": "f64", "choices": [1]})") ==
        "athanor.json: parameters[0].choices: expected no value except for i64 and text, got one for f64");
  CHECK(refusal(R"({"name": "a", "type": "i64", "choices": []})").find("parameters[0].choices: expected") !=
        std::string::npos);
  CHECK(refusal(R"({"name": "a", "type": "i64", "choices": [1, 1]})") ==
        "athanor.json: parameters[0].choices[1]: expected different choices, got 1 twice");
  CHECK(refusal(R"({"name": "a", "type": "i64", "max": 1, "choices": [1, 2]})") ==
        "athanor.json: parameters[0].choices[1]: a: expected a value of at most 1, got 2");
  CHECK(refusal(R"({"name": "a", "type": "f64", "max": 1, "default": 1.5})") ==
        "athanor.json: parameters[0].default: a: expected a value of at most 1, got 1.5");
  CHECK(refusal(R"({"name": "a", "type": "i64", "default": 1.5})")
            .find("parameters[0].default: expected a whole number") != std::string::npos);
  CHECK(refusal(R"({"name": "a", "type": "text", "default": "a\u0000"})") ==
        "athanor.json: parameters[0].default: a: expected text without NUL, got NUL at byte 1");
  std::string const seed =
      "athanor.json: parameters[0].seed: expected an i64 with a default, as a request may leave a seed out; "
      "got ";
  CHECK(refusal(R"({"name": "a", "type": "i64", "seed": true})") == seed + "i64 without one");
  CHECK(refusal(R"({"name": "a", "type": "f64", "default": 1, "seed": true})") ==
        seed + "f64 with a default");
  std::string many;
  for (int i = 0; i < 17; ++i)
    many += (i == 0 ? "" : ", ") + (R"({"name": "p)" + std::to_string(i) + R"(", "type": "i64"})");
  CHECK(refusal(many) == "athanor.json: parameters: expected at most 16, got 17");
}

TEST_CASE("a self-test sets parameters among its inputs") {
  std::string const threshold = R"({"name": "threshold", "type": "f64", "max": 1})";
  auto const with = [](std::string const& inputs) {
    return R"(, "self_test": [{"inputs": {"x": [1])" + inputs + R"(}, "outputs": {"y": [1]}}])";
  };
  auto const manifest = parse_manifest(manifest_of(threshold, with(R"(, "threshold": 0.5)")));
  REQUIRE(manifest);
  CHECK(manifest->self_tests[0].inputs.inputs()[0].name == "threshold");
  CHECK(manifest->self_tests[0].inputs.inputs()[0].value.as<double>()[0] == 0.5);
  CHECK(refusal(threshold, with(R"(, "threshold": 2)")) ==
        "athanor.json: self_test[0].inputs.threshold: threshold: expected a value of at most 1, got 2");
  CHECK(refusal(threshold, with("")) ==
        "athanor.json: self_test[0].inputs: threshold: expected f64 of at most 1, got no parameter of that "
        "name");
}

// mutant: a parameter that a model input reads in fewer bits keeps no bounds
TEST_CASE("a model input is a parameter's value, per item or for all of a batch") {
  auto const manifest = parse_manifest(manifest_of(
      R"({"name": "a", "type": "f64", "min": 0}, {"name": "n", "type": "i64"}, {"name": "b", "type": "bool"})",
      "",
      R"(, {"name": "a_each", "dtype": "f32", "shape": ["items", 1], "from": "parameter:a"},
         {"name": "n_each", "dtype": "i64", "shape": ["items"], "from": "parameter:n"},
         {"name": "n_all", "dtype": "i32", "shape": [1], "from": "parameter:n"},
         {"name": "b_all", "dtype": "bool", "shape": [], "from": "parameter:b"})"));
  REQUIRE(manifest);
  REQUIRE(manifest->model_inputs.size() == 5);
  Assemble const expected[] = {Assemble::stack, Assemble::repeat, Assemble::repeat, Assemble::share,
                               Assemble::share};
  for (std::size_t i = 0; i < 5; ++i) CHECK(manifest->model_inputs[i].assemble == expected[i]);
  CHECK(manifest->model_inputs[3].parameter == "n");
  CHECK(manifest->parameters[0].least == ParameterValue(0.0));
  CHECK(manifest->parameters[0].most == ParameterValue(double{std::numeric_limits<float>::max()}));
  CHECK(manifest->parameters[1].least == ParameterValue(std::int64_t{INT32_MIN}));
  CHECK(manifest->parameters[1].most == ParameterValue(std::int64_t{INT32_MAX}));
  CHECK_FALSE(manifest->parameters[2].least);
}

TEST_CASE("a model input that cannot hold its parameter is refused") {
  auto const refused = [](std::string const& parameter, std::string const& input) {
    return refusal(R"({"name": "p", )" + parameter + "}", "", R"(, {"name": "m", )" + input + "}");
  };
  std::string const from = R"("from": "parameter:p")";
  std::string const place = "athanor.json: model_inputs[1]";
  CHECK(refused(R"("type": "f64")", R"("dtype": "f32", "shape": [2], )" + from) ==
        place + ".shape: expected [items], [items, 1], [] or [1] for a parameter, got f32 [2]");
  CHECK(refused(R"("type": "f64")", R"("dtype": "i64", "shape": [], )" + from) ==
        place + ".dtype: expected a type that holds the f64 'p', got i64");
  CHECK(refused(R"("type": "text")", R"("dtype": "bytes", "shape": [], )" + from) ==
        place + ".dtype: expected a type that holds the text 'p', got bytes");
  CHECK(refused(R"("type": "i64", "max": 3000000000)", R"("dtype": "i32", "shape": [], )" + from) ==
        place + ".dtype: expected a type that holds every value of 'p', got i32");
  CHECK(refused(R"("type": "f64", "default": 1e39)", R"("dtype": "f32", "shape": [], )" + from) ==
        place + ".dtype: expected a type that holds every value of 'p', got f32");
  CHECK(refused(R"("type": "i64")", R"("dtype": "i64", "shape": [], "from": "parameter:q")") ==
        place + ".from: expected the name of a parameter, got 'q'");
  CHECK(refused(R"("type": "i64")", R"("dtype": "i64", "shape": [], "from": "input:x")") ==
        place + ".from: expected parameter:NAME or state:NAME, got 'input:x'");
  CHECK(refused(R"("type": "i64")", R"("dtype": "i64", "shape": [], "make": "count", )" + from) ==
        place + ".make: expected nothing beside 'from', got a value");
}

// mutant: a parameter needs no reader
TEST_CASE("a parameter without a reader is rejected") {
  auto text = manifest_of(R"({"name": "p", "type": "f64"})");
  std::string const processed =
      R"("processor": {"name": "p"}, "model_inputs": [{"name": "z", "dtype": "f32", "shape": ["items"]}],)";
  text.replace(text.find(processed), processed.size(), "");
  auto const manifest = parse_manifest(text);
  REQUIRE_FALSE(manifest);
  CHECK(manifest.error().message ==
        "athanor.json: parameters[0]: expected a processor or a model input that reads 'p', got none");
}
