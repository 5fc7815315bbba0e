// State that a manifest declares.
#include <doctest/doctest.h>

#include <string>

#include <athanor/manifest/manifest.hpp>
#include <manifest/refusal.hpp>

using namespace athanor;

namespace {

// `x` f32 [items, 2] and the state `h`, whose next value is `h_next`.
std::string manifest_of(std::string const& more = "", std::string const& state = R"("from": "state:h_next")",
                        std::string const& shape = R"(["items", 3])", std::string const& outputs = "") {
  return R"({"athanor": 1, "name": "m", "version": "1.0.0", "backend": "b", "format": "f",
    "inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
    "model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]},
                     {"name": "h", "dtype": "f32", "shape": )" +
         shape + ", " + state + R"(}],
    "outputs": [{"name": "y", "dtype": "f32", "shape": ["items"]}], )" +
         outputs + R"("members": [{"file": "m", "digest": "xxh128:)" + std::string(32, '0') + R"("}])" +
         more + "}";
}

template <class... Args>
std::string refusal(Args const&... args) {
  return athanor_tests::refusal(manifest_of(args...));
}

constexpr char const* of_next = R"("from": "state:h_next")";

}  // namespace

TEST_CASE("a model input that is the state of a sequence names the output that is its next value") {
  auto const manifest = parse_manifest(manifest_of());
  REQUIRE(manifest);
  CHECK(manifest->model_inputs[1].assemble == Assemble::state);
  CHECK(manifest->model_inputs[1].state == "h_next");
  REQUIRE(manifest->model_outputs.size() == 2);
  CHECK(manifest->model_outputs[1].name == "h_next");
  CHECK(to_string(manifest->model_outputs[1]) == "f32 [items, 3]");
  REQUIRE(manifest->sequences);
  CHECK(manifest->sequences->max == 64);
  CHECK(manifest->sequences->idle_ms == 300'000);
  CHECK_FALSE(manifest->sequences->held);
  CHECK_FALSE(manifest->cache);
  CHECK(manifest->signature().inputs.size() == 1);
  auto const settled = parse_manifest(
      manifest_of(R"(, "sequences": {"max": 3, "idle_ms": 20, "held": true}, "cache": false)"));
  REQUIRE(settled);
  CHECK(settled->sequences->max == 3);
  CHECK(settled->sequences->idle_ms == 20);
  CHECK(settled->sequences->held);
  CHECK(settled->full_format(settled->members[0]) == "f");
}

// mutant: a backend is not told what clears its state
// mutant: a reset of carried state is ignored
TEST_CASE("a backend that holds state gets the name of the method that clears it") {
  auto const manifest = parse_manifest(
      manifest_of(R"(, "sequences": {"held": true, "reset": "reset_states"}, "method": "step")"));
  REQUIRE(manifest);
  CHECK(manifest->full_format(manifest->members[0]) == "f?method=step&reset=reset_states");
  CHECK(refusal(R"(, "sequences": {"reset": "reset_states"})") ==
        "athanor.json: sequences.reset: expected \"held\": true beside it, got 'reset_states' alone");
  CHECK(refusal(R"(, "sequences": {"held": true, "reset": "a&b"})").find("sequences.reset: expected ") !=
        std::string::npos);
}

// mutant: states are not looked for among the outputs
TEST_CASE("a mistake in the declaration of state is named by its place") {
  CHECK(refusal("", R"("from": "state:")") ==
        "athanor.json: model_inputs[1].from: expected the name of a model output after 'state:', got none");
  CHECK(refusal("", of_next, R"(["items", null])") ==
        "athanor.json: model_inputs[1].shape: expected numbers of 'items' and fixed lengths for a state, got "
        "f32 [items, ?]");
  CHECK(refusal("", R"("from": "state:h_next", "make": "count")") ==
        "athanor.json: model_inputs[1].make: expected nothing beside 'from', got a value");
  std::string const outputs =
      R"("model_outputs": [{"name": "y", "dtype": "f32", "shape": ["items"]},
                           {"name": "h_next", "dtype": "f32", "shape": ["items", 4]}], )";
  CHECK(refusal("", of_next, R"(["items", 3])", outputs) ==
        "athanor.json: model_inputs[1]: expected the type and shape of the model output 'h_next', "
        "f32 [items, 4]; got f32 [items, 3]");
  CHECK(refusal("", R"("from": "state:g")", R"(["items", 4])", outputs) ==
        "athanor.json: model_inputs[1].from: expected the name of a model output, got 'g'");
  CHECK(refusal(R"(, "cache": true)") ==
        "athanor.json: cache: expected false for a model whose answers depend on earlier calls, got true");
  CHECK(refusal(R"(, "batching": {"instances": 2})") ==
        "athanor.json: batching.instances: expected 1 for a model with state, got 2");
  CHECK(refusal(R"(, "batching": {"sizes": [1, 4]})") ==
        "athanor.json: batching.sizes: expected none for a model with state, since copies of an item would "
        "step it; got 2");
  CHECK(refusal(R"(, "sequences": {"max": 0})") ==
        "athanor.json: sequences.max: expected a whole number from 1 to 65536, got 0");

  CHECK(refusal(R"(, "sequences": {"max": 65536})", of_next, R"(["items", 100000000])") ==
        "athanor.json: sequences.max: expected states of at most 1099511627776 bytes together, got 65536 "
        "sequences");
  CHECK(refusal(R"(, "self_test": [{"inputs": {"x": [[1, 2], [3, 4]]}, "outputs": {"y": [1, 2]}}],
                 "sequences": {"max": 1})") ==
        "athanor.json: self_test[0].inputs: expected at most 1 items, each of a sequence of its own; got 2");
}

// mutant: items of a self-test with state share what lies along a ragged axis
TEST_CASE("a self-test of a model with state has one item beside inputs along a ragged axis") {
  auto const manifest = parse_manifest(
      R"({"athanor": 1, "name": "m", "version": "1.0.0", "backend": "b", "format": "f",
    "inputs": [{"name": "x", "dtype": "f32", "shape": ["time"]}, {"name": "z", "dtype": "f32", "shape": ["items"]}],
    "model_inputs": [{"name": "x", "dtype": "f32", "shape": ["time"]}, {"name": "z", "dtype": "f32", "shape": ["items"]},
                     {"name": "of", "dtype": "i64", "shape": ["time"], "make": "segment"}],
    "outputs": [{"name": "y", "dtype": "f32", "shape": ["items"]}], "sequences": {"held": true},
    "self_test": [{"inputs": {"x": [1, 2, 3], "z": [1, 2]}, "outputs": {"y": [1, 2]}}],
    "members": [{"file": "m", "digest": "xxh128:)" +
      std::string(32, '0') + R"("}]})");
  REQUIRE_FALSE(manifest);
  CHECK(manifest.error().message ==
        "athanor.json: self_test[0].inputs: expected 1 item beside an input along a ragged axis, got 2");
}

TEST_CASE("a section on sequences without any state is refused") {
  auto const manifest = parse_manifest(
      R"({"athanor": 1, "name": "m", "version": "1.0.0", "backend": "b", "format": "f",
    "inputs": [{"name": "x", "dtype": "f32", "shape": ["items"]}],
    "outputs": [{"name": "y", "dtype": "f32", "shape": ["items"]}], "sequences": {},
    "members": [{"file": "m", "digest": "xxh128:)" +
      std::string(32, '0') + R"("}]})");
  REQUIRE_FALSE(manifest);
  CHECK(manifest.error().message ==
        "athanor.json: sequences: expected a model input from state:NAME, or \"held\": true; got neither");
}
