// Sequences that the engine steps, as a manifest declares them.
#include <doctest/doctest.h>

#include <string>

#include <athanor/manifest/manifest.hpp>
#include <manifest/refusal.hpp>

using namespace athanor;

namespace {

std::string manifest_of(std::string const& steps, std::string const& done = R"("bool", "shape": ["items"])",
                        std::string const& range = R"("min": 1, "max": 50)") {
  // A parameter must be read by somebody.
  bool const asks = steps.find("most") != std::string::npos;
  std::string const parameters =
      asks ? R"("parameters": [{"name": "most", "type": "i64", "default": 5, )" + range + "}]," : "";
  return R"({"athanor": 1, "name": "m", "version": "1.0.0", "backend": "b", "format": "f",
    "inputs": [{"name": "x", "dtype": "f32", "shape": ["items"]}],)" +
         parameters + R"(
    "model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items"]},
                     {"name": "h", "dtype": "f32", "shape": ["items"], "from": "state:next"}],
    "model_outputs": [{"name": "y", "dtype": "f32", "shape": ["items"]},
                      {"name": "next", "dtype": "f32", "shape": ["items"]},
                      {"name": "done", "dtype": )" +
         done + R"(}],
    "outputs": [{"name": "y", "dtype": "f32", "shape": ["items"]}],
    "members": [{"file": "m", "digest": "xxh128:)" +
         std::string(32, '0') + R"("}], "sequences": {"steps": )" + steps + "}}";
}

template <class... Args>
std::string refusal(Args const&... args) {
  return athanor_tests::refusal(manifest_of(args...));
}

}  // namespace

TEST_CASE("what ends a call that the engine steps is a model output, a number, or a parameter") {
  auto const both = parse_manifest(manifest_of(R"({"until": "done", "max": 12})"));
  REQUIRE_MESSAGE(both, both.error().message);
  REQUIRE(both->sequences->steps);
  CHECK(both->sequences->steps->until == "done");
  CHECK(both->sequences->steps->max == 12);
  auto const most = parse_manifest(manifest_of(R"({"max": "most"})"));
  REQUIRE_MESSAGE(most, most.error().message);
  CHECK(most->sequences->steps->until.empty());
  CHECK(most->sequences->steps->parameter == "most");
  CHECK(most->sequences->steps->max == 50);
}

// mutant: any output may say which step is the last
// mutant: a parameter may ask for no step
TEST_CASE("steps without an end, or with one that cannot be, are refused by name") {
  CHECK(refusal(R"({"until": "done"})").find("sequences.steps.max") != std::string::npos);
  CHECK(refusal(R"({"max": 0})") ==
        "athanor.json: sequences.steps.max: expected a whole number from 1 to 1048576, got 0");
  CHECK(refusal(R"({"max": 5, "while": "done"})").find("unknown key 'while'") != std::string::npos);
  CHECK(
      refusal(R"({"max": 5, "until": "end"})") ==
      "athanor.json: sequences.steps.until: expected a model output, bool [items]; got no output of the name "
      "'end'");
  CHECK(refusal(R"({"max": 5, "until": "done"})", R"("f32", "shape": ["items"])")
            .find("expected a model output, bool [items]; got ") != std::string::npos);
  CHECK(refusal(R"({"max": 5, "until": "done"})", R"("bool", "shape": ["items", 2])")
            .find("expected a model output, bool [items]; got ") != std::string::npos);
  CHECK(
      refusal(R"({"max": "least"})") ==
      "athanor.json: sequences.steps.max: expected a parameter, i64 with min and max of 1 to 1048576; got no "
      "parameter of the name 'least'");
  CHECK(refusal(R"({"max": "most"})", R"("bool", "shape": ["items"])", R"("min": 0, "max": 50)")
            .find("sequences.steps.max: expected a parameter") != std::string::npos);
  CHECK(refusal(R"({"max": "most"})", R"("bool", "shape": ["items"])", R"("min": 1)")
            .find("sequences.steps.max: expected a parameter") != std::string::npos);
}
