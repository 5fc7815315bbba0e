#include <string>

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <athanor/core/hash.hpp>
#include <athanor/manifest/manifest.hpp>
#include <manifest/refusal.hpp>
#include <support/folder.hpp>

using namespace athanor;
using namespace athanor_tests;
using manifest::OutputSource;

namespace {

std::string const zeros(32, '0');

/// A whole ensemble manifest; tests replace one piece of it.
std::string const whole =
    R"({
  "athanor": 1, "name": "tg", "version": "1.2.0", "description": "glass transition", "backend": "torch", "format": "torchscript",
  "processor": {"name": "polymer-graph", "inputs": ["smiles"], "options": {"units": 1}, "digests": {"domain.json": "xxh128:)" +
    zeros +
    R"("}},
  "inputs": [{"name": "smiles", "dtype": "bytes", "shape": ["items"], "max_bytes": 4096}],
  "model_inputs": [
    {"name": "atom", "dtype": "i64", "shape": ["atoms"]},
    {"name": "edge", "dtype": "i64", "shape": ["edges", 2], "index_of": "atoms"},
    {"name": "segment", "dtype": "i64", "shape": ["atoms"], "make": "segment"},
    {"name": "graphs", "dtype": "i64", "shape": [1], "make": "count"}],
  "model_outputs": [{"name": "tg", "dtype": "f32", "shape": ["items"]}],
  "outputs": [
    {"name": "tg_mean", "dtype": "f32", "shape": ["items"], "unit": "K", "from": "mean:tg"},
    {"name": "tg_std", "dtype": "f32", "shape": ["items"], "unit": "K", "from": "std:tg"},
    {"name": "unknown", "dtype": "i64", "shape": ["items"], "from": "unknown"},
    {"name": "answered", "dtype": "i64", "shape": ["items"], "from": "members"},
    {"name": "unseen", "dtype": "i64", "shape": ["items"], "from": "processor:unseen"}],
  "members": [
    {"file": "fold-0.pt", "digest": "xxh128:)" +
    zeros + R"(", "lookups": {"atom": [70, 5]}, "scale": {"tg": {"center": 300.5, "scale": 80}}},
    {"file": "folds/fold-1.pt", "digest": "xxh128:)" +
    zeros + R"(", "lookups": {"atom": [5]}}],
  "min_members": 1,
  "batching": {"max_items": 32, "max_cost": 20000, "policy": "size_or_delay", "max_delay_us": 500, "instances": 2},
  "cache": false, "device": "cuda:1", "threads": 2,
  "self_test": [{"inputs": {"smiles": ["*CC*"]}, "outputs": {"tg_mean": [251.5]}, "tolerance": 1e-4}],
  "warm_up": {"batches": [1, 8]}
})";

std::string with(std::string_view piece, std::string_view replacement, std::string text = whole) {
  auto const at = text.find(piece);
  REQUIRE(at != std::string::npos);
  return text.replace(at, piece.size(), replacement);
}

std::string const plain =
    R"({"athanor": 1, "name": "double", "version": "1.0.0", "backend": "torch", "format": "pt2",
  "inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 3]}],
  "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", null]}],
  "members": [{"file": "double.pt2", "digest": "xxh128:)" +
    zeros + R"("}]})";

}  // namespace

// mutant: a backend is not told the method
// mutant: a backend is not told that a model computes gradients
// mutant: a backend is not told of libraries of operators
TEST_CASE("a method, autograd and operators follow the format that a backend is given") {
  auto const format = [](std::string const& keys) {
    auto const read = parse_manifest(with(R"("format": "pt2")", R"("format": "pt2")" + keys, plain));
    REQUIRE_MESSAGE(read, read.error().message);
    return read->full_format(read->members[0]);
  };
  CHECK(format("") == "pt2");
  CHECK(format(R"(, "autograd": false)") == "pt2");
  CHECK(format(R"(, "method": "encode")") == "pt2?method=encode");
  CHECK(format(R"(, "autograd": true)") == "pt2?autograd=true");
  CHECK(format(R"(, "method": "encode", "autograd": true)") == "pt2?method=encode&autograd=true");
  CHECK(format(R"(, "operators": ["torchvision", "audio"])") == "pt2?operators=torchvision&operators=audio");
  CHECK(format(R"(, "method": "encode", "operators": ["audio"])") == "pt2?method=encode&operators=audio");
  CHECK(refusal(with(R"("format": "pt2")", R"("format": "pt2?method=x")", plain)).find("format: ") !=
        std::string::npos);
  CHECK(refusal(with(R"("format": "pt2")", R"("format": "pt2", "method": "a&b")", plain)).find("method: ") !=
        std::string::npos);
}

// mutant: a library of operators may be named twice
TEST_CASE("a manifest names each library of operators once") {
  auto const refused = [](std::string const& list) {
    return refusal(with(R"("format": "pt2")", R"("format": "pt2", "operators": )" + list, plain));
  };
  CHECK(refused(R"(["audio", "audio"])") ==
        "athanor.json: operators[1]: expected every library once, got 'audio' again");
  CHECK(refused("[]").find("operators: expected ") != std::string::npos);
  CHECK(refused(R"(["a/b"])").find("operators[0]: expected ") != std::string::npos);
}

TEST_CASE("a whole manifest is read into its parts") {
  auto const read = parse_manifest(whole);
  REQUIRE_MESSAGE(read, (read ? "" : read.error().message));
  Manifest const& manifest = *read;
  CHECK(manifest.id() == "tg@1.2.0");
  CHECK(manifest.processor->name == "polymer-graph");
  CHECK(manifest.processor->options_json == R"({"units":1})");
  REQUIRE(manifest.processor->digests.size() == 1);
  CHECK(manifest.processor->digests[0].file == "domain.json");
  CHECK(manifest.inputs[0].max_bytes == 4096);
  REQUIRE(manifest.model_inputs.size() == 4);
  CHECK(manifest.model_inputs[0].assemble == Assemble::ragged);
  CHECK(manifest.model_inputs[0].axis == "atoms");
  CHECK(manifest.model_inputs[1].index_of == "atoms");
  CHECK(manifest.model_inputs[2].assemble == Assemble::segment);
  CHECK(manifest.model_inputs[2].axis == "atoms");
  CHECK(manifest.model_inputs[3].assemble == Assemble::count);
  CHECK(manifest.outputs[0].source == OutputSource::mean);
  CHECK(manifest.outputs[0].of == "tg");
  CHECK(manifest.outputs[0].spec.unit == "K");
  CHECK(manifest.outputs[1].source == OutputSource::standard_deviation);
  CHECK(manifest.outputs[4].of == "unseen");
  CHECK(manifest.members[0].lookups[0].codes == std::vector<std::int64_t>{70, 5});
  CHECK(manifest.members[0].scales[0].center == 300.5);
  CHECK(manifest.members[1].file.file == "folds/fold-1.pt");
  CHECK(manifest.min_members == 1);
  CHECK(manifest.batching.policy == "size_or_delay");
  CHECK(manifest.batching.parameters ==
        std::vector{std::pair{std::string("max_delay_us"), std::int64_t{500}}});
  CHECK(manifest.batching.instances == 2);
  CHECK_FALSE(manifest.cache);
  CHECK(manifest.device == Device{DeviceType::cuda, 1});
  CHECK(manifest.self_tests[0].inputs.inputs()[0].value.text_at(0) == "*CC*");
  CHECK(manifest.self_tests[0].outputs[0].value.as<float>()[0] == 251.5f);
  CHECK(manifest.self_tests[0].tolerance == 1e-4);
  CHECK(manifest.warm_up_batches == std::vector<std::int64_t>{1, 8});
  CHECK(manifest.signature().outputs[4].name == "unseen");
}

TEST_CASE("a plain model needs only its tensors and its file") {
  auto const read = parse_manifest(plain);
  REQUIRE_MESSAGE(read, (read ? "" : read.error().message));
  CHECK(read->model_inputs.size() == 1);
  CHECK(read->model_inputs[0].assemble == Assemble::stack);
  CHECK(read->model_outputs[0].name == "y");
  CHECK(read->outputs[0].source == OutputSource::model);
  CHECK(read->outputs[0].of == "y");
  CHECK(read->min_members == 1);
  CHECK(read->cache);
  CHECK_FALSE(read->device);
}

// mutant: unknown keys are ignored
// mutant: more members may be asked for than there are
TEST_CASE("S3-22 unknown keys and impossible values are refused by name") {
  CHECK(refusal(with(R"("digest": "xxh128:)", R"("digst": "xxh128:)")) ==
        "athanor.json: members[0]: unknown key 'digst'; known: file, digest, backend, format, inputs, "
        "lookups, scale");
  CHECK(refusal(with(R"("cache")", R"("cash")"))
            .starts_with("athanor.json: unknown key 'cash'; known: athanor, name,"));
  CHECK(refusal(with(R"("max_items": 32)", R"("max_items": 0)")) ==
        "athanor.json: batching.max_items: expected a whole number from 1 to 1048576, got 0");
  CHECK(refusal(with(R"("min_members": 1)", R"("min_members": 3)")) ==
        "athanor.json: min_members: expected at most the 2 members, got 3");
  CHECK(refusal(with("\"1.2.0\"", "\"1.2\"")) ==
        "athanor.json: version: expected a semantic version such as 1.0.0, got '1.2'");
  CHECK(refusal(with(R"("athanor": 1)", R"("athanor": 2)")) ==
        "athanor.json: athanor: expected format 1, got 2: this library is older than the manifest");
}

// mutant: references of a manifest are not checked
// mutant: nesting has no limit
// mutant: a fault of JSON is in the first line
// mutant: two tensors may have one name
// mutant: index_of may name an axis that no ragged input has
// mutant: one member's output is accepted for several
// mutant: a code may stand twice in a lookup
// mutant: a number without bounds is told the least that there is
TEST_CASE("every mistake in a manifest is named with its place, what was expected and what came") {
  struct Row {
    char const* piece;
    char const* replacement;
    char const* message;
  };
  Row const rows[] = {
      {R"("name": "tg", )", "",
       "athanor.json: name: expected a name of 1 to 128 letters, digits, '.', '_' or '-', got nothing"},
      {R"("name": "tg", )", R"("name": "t g", )",
       "athanor.json: name: expected a name of 1 to 128 letters, digits, '.', '_' or '-', got \"t g\""},
      {R"("name": "tg", )", R"("name": "tg", "name": "tg", )",
       "athanor.json: expected every key of an object once, got 'name' again"},
      {R"("dtype": "bytes")", R"("dtype": "string")",
       "athanor.json: inputs[0].dtype: dtype: expected one of bool, u8, u16, u32, u64, i8, i16, i32, i64, "
       "f16, bf16, "
       "f32, f64, bytes; got 'string'"},
      {R"(["edges", 2])", R"(["edges", -2])",
       "athanor.json: model_inputs[1].shape[1]: expected a whole number from 0 to 2147483647, got -2"},
      {R"("shape": ["edges", 2])", R"("shape": [5, 2])",
       "athanor.json: model_inputs[1].index_of: expected a ragged input of i32 or i64, got i64 [items, 5, "
       "2]"},
      {R"("index_of": "atoms")", R"("index_of": "bonds")",
       "athanor.json: model_inputs[1].index_of: expected the axis of a ragged model input, got 'bonds'"},
      {R"("make": "count")", R"("make": "zeros")",
       "athanor.json: model_inputs[3].make: expected 'segment', 'count', 'mask' or 'length', got 'zeros'"},
      {R"("name": "edge")", R"("name": "atom")",
       "athanor.json: model_inputs[1].name: expected every name once, got 'atom' again"},
      {R"("from": "mean:tg")", R"("from": "mean:tq")",
       "athanor.json: outputs[0].from: expected one of the model outputs (tg), got 'tq'"},
      {R"("from": "mean:tg")", R"("from": "mode:tg")",
       "athanor.json: outputs[0].from: expected model:NAME, mean:NAME, median:NAME, std:NAME, "
       "processor:NAME, "
       "rows:AXIS, unknown or members; got 'mode:tg'"},
      {R"("from": "mean:tg")", R"("from": "model:tg")",
       "athanor.json: outputs[0].from: expected mean:tg, median:tg or std:tg of 2 members, got the output of "
       "one model"},
      {R"("lookups": {"atom": [70, 5]})", R"("lookups": {"tg": [70, 5]})",
       "athanor.json: members[0].lookups.tg: expected the name of an i64 model input that a request or a "
       "processor gives, "
       "got 'tg'"},
      {"[70, 5]", "[70, 5, 70]",
       "athanor.json: members[0].lookups.atom: expected every code once, got 70 twice"},
      {R"("scale": 80)", R"("scale": 0)",
       "athanor.json: members[0].scale.tg.scale: expected a number other than 0, got 0"},
      {R"("file": "fold-0.pt")", R"("file": "../fold-0.pt")",
       "athanor.json: members[0].file: expected a path inside the model's folder, without '.' and '..'; got "
       "'../fold-0.pt'"},
      {R"("file": "fold-0.pt")", R"("file": "/fold-0.pt")",
       "athanor.json: members[0].file: expected a path inside the model's folder, without '.' and '..'; got "
       "'/fold-0.pt'"},
      {R"("inputs": ["smiles"])", R"("inputs": ["text"])",
       "athanor.json: processor.inputs[0]: expected one of the inputs (smiles), got 'text'"},
      {R"("unit": "K", "from": "mean:tg")", R"("unit": "K", "non_finite": "keep", "from": "mean:tg")",
       "athanor.json: outputs[0].non_finite: expected 'refuse' or 'allow', got 'keep'"},
      {R"("policy": "size_or_delay")", R"("policy": "eager policy")",
       "athanor.json: batching.policy: expected a name of 1 to 128 letters, digits, '.', '_' or '-', got "
       "\"eager policy\""},
      {R"("max_delay_us": 500)", R"("max_delay_us": "500")",
       "athanor.json: batching.max_delay_us: expected a whole number, got \"500\""},
      {R"("cuda:1")", R"("gpu")", "athanor.json: device: device: expected cpu, cuda or cuda:N; got 'gpu'"},
      {R"("cache": false)", R"("cache": 0)", "athanor.json: cache: expected true or false, got 0"},
      {R"({"tg_mean": [251.5]})", R"({"tg_mean": ["hot"]})",
       "athanor.json: self_test[0].outputs.tg_mean: tg_mean: [0]: expected f32, got \"hot\""},
      {R"({"tg_mean": [251.5]})", R"({"tg_mean": [251.5, 3]})",
       "athanor.json: self_test[0].outputs.tg_mean: expected 1 items as in the inputs, got 2"},
      {R"({"smiles": ["*CC*"]})", R"({})",
       "athanor.json: self_test[0].inputs: smiles: expected bytes [items], got no input of that name"},
      {R"("unit": "K", "from": "mean:tg")", R"("unit": "K", "from": "mean:tg",)",
       "athanor.json: expected JSON, got something else at byte 1113"},
  };
  for (auto const& row : rows) {
    CAPTURE(row.piece);
    CAPTURE(row.replacement);
    auto const message = refusal(with(row.piece, row.replacement));
    if (std::string_view(row.message).find("at byte") == std::string_view::npos)
      CHECK(message == row.message);
    else
      CHECK(message.starts_with("athanor.json: expected JSON, got something else at byte"));
  }
  CHECK(refusal("[]") == "athanor.json: expected an object, got []");
  CHECK(refusal("").starts_with("athanor.json: expected JSON"));
  CHECK(refusal("{\n  \"athanor\": 1,\n  \"name\" 2\n}\n") ==
        "athanor.json: expected JSON, got something else at byte 27 (line 3)");
  CHECK(refusal(R"({"athanor": 1, "x": )" + std::string(100, '[') + std::string(100, ']') + "}") ==
        "athanor.json: expected at most 64 levels of nesting, got more");
  CHECK(refusal(with(R"("f32", "shape": ["items", null])", R"("f64", "shape": ["rows"])", plain)) ==
        "athanor.json: model_outputs[0].shape: expected an axis of a ragged model input, or \"rows\": the "
        "model output "
        "that counts the rows; got 'rows'");
  CHECK(refusal(with(R"("outputs")",
                     R"("model_inputs": [{"name": "z", "dtype": "f32", "shape": ["items"]}], "outputs")",
                     plain)) ==
        "athanor.json: model_inputs[0].name: expected one of the inputs (x), got 'z'");
}

// mutant: positions may be floats
// mutant: positions of i32 are refused
// mutant: a segment may follow an axis that no ragged input has
// mutant: lookups of what the batch makes are accepted
// mutant: a model input may have another type than its source
// mutant: lookups of floats are accepted
// mutant: a standard deviation of one member is accepted
TEST_CASE("what is made of inputs and members is refused where there is nothing to make it of") {
  char const* const edge = R"("name": "edge", "dtype": "i64")";
  CHECK(refusal(with(edge, R"("name": "edge", "dtype": "f32")")) ==
        "athanor.json: model_inputs[1].index_of: expected a ragged input of i32 or i64, got f32 [edges, 2]");
  CHECK(parse_manifest(with(edge, R"("name": "edge", "dtype": "i32")")));
  CHECK(
      refusal(with(R"("shape": ["atoms"], "make": "segment")", R"("shape": ["bonds"], "make": "segment")")) ==
      "athanor.json: model_inputs[2].shape: expected the axis of a ragged model input first, got 'bonds'");
  CHECK(refusal(with(R"({"atom": [70, 5]})", R"({"segment": [70, 5]})")) ==
        "athanor.json: members[0].lookups.segment: expected the name of an i64 model input that a "
        "request or a processor gives, "
        "got i64 [atoms]");
  auto const given = [](char const* dtype, std::string text) {
    return with(
        R"("outputs")",
        fmt::format(R"("model_inputs": [{{"name": "x", "dtype": "{}", "shape": ["items", 3]}}], "outputs")",
                    dtype),
        std::move(text));
  };
  CHECK(refusal(given("f64", plain)) ==
        "athanor.json: model_inputs[0].dtype: expected f32 as in inputs, got f64");
  auto const looked_up = [](char const* dtype) {
    return with(R"("file")", R"("lookups": {"x": [1]}, "file")",
                with(R"("dtype": "f32", "shape": ["items", 3])",
                     fmt::format(R"("dtype": "{}", "shape": ["items", 3])", dtype), plain));
  };
  CHECK(
      refusal(given("i64", looked_up("f32"))) ==
      "athanor.json: model_inputs[0].dtype: expected lookups of an input of i32 or i64, got f32 [items, 3]");
  CHECK(parse_manifest(given("i64", looked_up("i32"))));
  auto const computed = [](char const* from) {
    char const* const y = R"("y", "dtype": "f32", "shape": ["items", null])";
    return with(R"("outputs")", fmt::format(R"("model_outputs": [{{"name": {}}}], "outputs")", y),
                with(y, fmt::format(R"({}, "from": "{}")", y, from), plain));
  };
  CHECK(refusal(computed("std:y")) ==
        "athanor.json: outputs[0].from: expected several members for a standard deviation, got 1");
  CHECK(parse_manifest(computed("mean:y")));
  CHECK(parse_manifest(computed("median:y")));
}

// mutant: a model input of another rank than its source is accepted
// mutant: a fixed length may differ from its source's
// mutant: the last axis is not compared
TEST_CASE("a shape that nothing gives is refused") {
  char const* const mean = R"("tg_mean", "dtype": "f32", "shape": ["items"])";
  CHECK(refusal(with(mean, R"("tg_mean", "dtype": "f32", "shape": ["items", 2])")) ==
        "athanor.json: outputs[0].shape: expected 'tg_mean' to have the shape of the model output 'tg', f32 "
        "[items]; got f32 [items, 2]");
  auto const wide = [&](std::string_view given, std::string_view declared) {
    auto text = with(
        R"("outputs")",
        fmt::format(R"("model_outputs": [{{"name": "y", "dtype": "f32", "shape": {}}}], "outputs")", given),
        plain);
    return with(R"(["items", null]}],
  "members")",
                fmt::format("{}}}],\n  \"members\"", declared), text);
  };
  CHECK(refusal(wide(R"(["items", 1])", R"(["items", 2])")) ==
        "athanor.json: outputs[0].shape: expected 'y' to have the shape of the model output 'y', f32 [items, "
        "1]; got f32 [items, 2]");
  CHECK(refusal(wide(R"(["items", null])", R"(["items", 2])"))
            .starts_with("athanor.json: outputs[0].shape: expected 'y' to have"));
  CHECK(refusal(wide(R"(["rows", 2])", R"(["items", 2])")) ==
        "athanor.json: model_outputs[0].shape: expected an axis of a ragged model input, or \"rows\": the "
        "model output "
        "that counts the rows; got 'rows'");
  for (auto const& [given, declared] :
       {std::pair(R"(["items", 2])", R"(["items", 2])"), std::pair(R"(["items", 2])", R"(["items", null])"),
        std::pair(R"(["items", null])", R"(["items", "width"])")})
    CHECK_MESSAGE(parse_manifest(wide(given, declared)), given, " ", declared);
  CHECK(refusal(with(R"("unknown", "dtype": "i64", "shape": ["items"])",
                     R"("unknown", "dtype": "i64", "shape": ["items", 1])")) ==
        "athanor.json: outputs[2]: expected i64 [items] for a count, got i64 [items, 1]");
  CHECK(refusal(with(R"("outputs")",
                     R"("model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 4]}], "outputs")",
                     plain)) ==
        "athanor.json: model_inputs[0].shape: expected the axes of 'x' as in inputs, f32 [items, 3]; got f32 "
        "[items, 4]");
}

// mutant: a made count may be of any shape
TEST_CASE("an input that is made has the shape that it is made in") {
  auto const shaped = [](std::string_view name, std::string_view from, std::string_view to) {
    return with(fmt::format(R"("{}", "dtype": "i64", "shape": {})", name, from),
                fmt::format(R"("{}", "dtype": "i64", "shape": {})", name, to));
  };
  for (auto const* shape : {"[5]", R"(["items"])", "[null]", "[1, 1]"})
    CHECK_MESSAGE(refusal(shaped("graphs", "[1]", shape))
                      .starts_with("athanor.json: model_inputs[3]: expected i64 [] or i64 [1] for 'graphs', "
                                   "which is generated; got i64 ["),
                  shape);
  CHECK(parse_manifest(shaped("graphs", "[1]", "[]")));
  CHECK(refusal(shaped("segment", R"(["atoms"])", R"(["atoms", 1])")) ==
        "athanor.json: model_inputs[2]: expected i64 of one dimension for 'segment', which is generated; got "
        "i64 [atoms, 1]");
  CHECK(
      refusal(shaped("segment", R"(["atoms"])", "[]"))
          .starts_with("athanor.json: model_inputs[2].shape: expected 'items' or the name of a ragged axis"));
}

// mutant: lookups may lack for some members
// mutant: unknown codes are counted without a segment to tell items apart
TEST_CASE("lookups make i64 tokens for every member of an ensemble") {
  CHECK(refusal(with(R"(, "lookups": {"atom": [5]})", "")) ==
        "athanor.json: members[0].lookups.atom: expected lookups of 'atom' for all members or for none, got "
        "none for members[1]");
  CHECK(refusal(with(R"("atom", "dtype": "i64")", R"("atom", "dtype": "i32")")) ==
        "athanor.json: members[0].lookups.atom: expected the name of an i64 model input that a request "
        "or a processor gives, got i32 [atoms]");
  CHECK(refusal(with(R"({"name": "segment", "dtype": "i64", "shape": ["atoms"], "make": "segment"},)", "")) ==
        "athanor.json: outputs[2].from: expected a segment input along the axis of 'atom', to tell the items "
        "apart; got none");
}

// mutant: a mean of integers is accepted
// mutant: a scale of integers is accepted
// mutant: texts are accepted as an output of a model
TEST_CASE("means, deviations and scales are of types that are computed in") {
  for (auto const* dtype : {"f16", "bf16", "i64"}) {
    std::string text = with(R"("tg", "dtype": "f32")", fmt::format(R"("tg", "dtype": "{}")", dtype));
    text = with(R"("tg_mean", "dtype": "f32")", fmt::format(R"("tg_mean", "dtype": "{}")", dtype), text);
    CHECK(refusal(text) == fmt::format("athanor.json: outputs[0].dtype: expected f32 or f64 for a mean, a "
                                       "median or a standard deviation, "
                                       "got {}",
                                       dtype));
  }
  std::string const half = with(R"("y", "dtype": "f32")", R"("y", "dtype": "f16")", plain);
  CHECK(parse_manifest(half));
  CHECK(refusal(with(R"("file")", R"("scale": {"y": {"center": 0, "scale": 2}}, "file")", half)) ==
        "athanor.json: members[0].scale.y: expected a model output of f32 or f64, got f16 [items, ?]");
  CHECK(
      refusal(with(R"("y", "dtype": "f32")", R"("y", "dtype": "bytes")", plain)) ==
      "athanor.json: outputs[0].dtype: expected numbers, or texts from processor:NAME; got bytes [items, ?]");
}

// mutant: a warm-up needs no self-test
TEST_CASE("a setting that nothing would heed is refused") {
  auto const tests = whole.find(R"("self_test")");
  auto const end = whole.find(R"("warm_up")");
  std::string untested = whole;
  CHECK(refusal(untested.erase(tests, end - tests)) ==
        "athanor.json: warm_up: expected a self_test whose inputs the batches are made of, got none");
  CHECK(refusal(with(R"("threads": 2)", R"("threads": 257)")) ==
        "athanor.json: threads: expected a whole number from 1 to 256, got 257");
  CHECK(parse_manifest(with(R"("threads": 2)", R"("threads": 256)")));
}

// mutant: a path with dots is accepted
// mutant: a scale may be any number but 0
// mutant: a tolerance may be any number
// mutant: lengths that no memory holds are accepted while they fit 64 bits
TEST_CASE("a manifest that says what cannot be is refused by name") {
  for (auto const* shape : {R"(["items", "items"])", R"(["atoms", "items"])", R"(["items", 3, "items"])"}) {
    std::string const expected = std::string_view(shape).find("atoms") == std::string_view::npos
                                     ? "expected 'items' once"
                                     : "expected 'items' as the first dimension only";
    CHECK_MESSAGE(refusal(with(R"(["items", 3])", shape, plain)).find(expected) != std::string::npos, shape);
    CHECK_MESSAGE(refusal(with(R"(["items", null])", shape, plain)).find(expected) != std::string::npos,
                  shape);
  }
  for (auto const* file : {".", "./.", "././.", "./double.pt2", "a/./b", "a//b/.", "a/"})
    CHECK_MESSAGE(refusal(with("double.pt2", file, plain)) ==
                      fmt::format("athanor.json: members[0].file: expected a path inside the model's folder, "
                                  "without '.' and '..'; got '{}'",
                                  file),
                  file);
  CHECK(refusal(with("double.pt2", "athanor.json", plain)) ==
        "athanor.json: members[0].file: expected a file beside the manifest, got the manifest");
  CHECK(
      refusal(with(R"({"name": "edge", "dtype": "i64", "shape": ["edges", 2], "index_of": "atoms"})",
                   R"({"name": "edge", "dtype": "i64", "shape": ["edges", 2]})",
                   with(R"("name": "atom", "dtype": "i64", "shape": ["atoms"])",
                        R"("name": "atom", "dtype": "i64", "shape": ["atoms"], "index_of": "edges")"))) ==
      "athanor.json: members[0].lookups.atom: expected codes or positions, got lookups of 'atom', which has "
      "index_of");
  for (auto const* scale : {"5e-324", "1e-38", "-1e-320", "1e38", "-1e300"})
    CHECK_MESSAGE(
        refusal(with(R"("scale": 80)", fmt::format(R"("scale": {})", scale)))
            .starts_with("athanor.json: members[0].scale.tg.scale: expected a magnitude of 1e-37 to "),
        scale);
  for (auto const* center : {"1e308", "-1e38"})
    CHECK_MESSAGE(
        refusal(with(R"("center": 300.5)", fmt::format(R"("center": {})", center)))
            .starts_with("athanor.json: members[0].scale.tg.center: expected a magnitude of at most"),
        center);
  for (auto const* tolerance : {"-1", "1", "1e308"})
    CHECK_MESSAGE(
        refusal(with(R"("tolerance": 1e-4)", fmt::format(R"("tolerance": {})", tolerance)))
            .starts_with("athanor.json: self_test[0].tolerance: expected at least 0 and less than 1"),
        tolerance);
  for (auto const* shape :
       {R"(["items", 2147483647, 2147483647, 2147483647])", R"(["items", 2147483647, 1024])"}) {
    CHECK_MESSAGE(
        refusal(with(R"(["items", null])", shape, plain))
                .find(
                    "expected lengths of at most 1099511627776 bytes together, got f32 [items, 2147483647") !=
            std::string::npos,
        shape);
    CHECK_MESSAGE(refusal(with(R"(["items", 3])", shape, plain))
                      .starts_with("athanor.json: inputs[0].shape: expected lengths of at most"),
                  shape);
  }
}

// mutant: nesting has no limit
TEST_CASE("a manifest that is too much is refused before it is read to its end") {
  std::string inputs;
  for (int i = 0; i < 50'000; ++i)
    inputs +=
        fmt::format(R"({}{{"name": "x{}", "dtype": "f32", "shape": ["items"]}})", i == 0 ? "" : ", ", i);
  CHECK(refusal(with(R"({"name": "x", "dtype": "f32", "shape": ["items", 3]})", inputs, plain)) ==
        "athanor.json: inputs: expected at most 16, got 50000");
  std::string members;
  for (int i = 0; i < 50'000; ++i)
    members += fmt::format(R"({}{{"file": "f{}", "digest": "xxh128:{}"}})", i == 0 ? "" : ", ", i, zeros);
  CHECK(refusal(with(fmt::format(R"({{"file": "double.pt2", "digest": "xxh128:{}"}})", zeros), members,
                     plain)) == "athanor.json: members: expected at most 256, got 50000");
  std::string lookups;
  for (int i = 0; i < 50'000; ++i) lookups += fmt::format(R"({}"x{}": [1])", i == 0 ? "" : ", ", i);
  CHECK(
      refusal(with(R"("file": "double.pt2")", R"("file": "double.pt2", "lookups": {)" + lookups + "}", plain))
          .starts_with("athanor.json: members[0].lookups.x0: expected the name of an i64 model input"));
  // 64 MiB that would hold gigabytes as values.
  CHECK(refusal(std::string(std::size_t{64} << 20, '[')) ==
        "athanor.json: expected at most 64 levels of nesting, got more");
  std::string nested;
  for (int i = 0; i < 1'000'000; ++i) nested += R"({"a":)";
  CHECK(refusal(nested) == "athanor.json: expected at most 64 levels of nesting, got more");
}

// mutant: a processor may read an input without items
// mutant: a processor may read an input twice
TEST_CASE("a processor reads inputs that begin with items, each once") {
  CHECK(parse_manifest(with(R"("dtype": "bytes", "shape": ["items"])",
                            R"("dtype": "bytes", "shape": ["items", 1])",
                            with(R"({"smiles": ["*CC*"]})", R"({"smiles": [["*CC*"]]})"))));
  CHECK(refusal(with(R"("dtype": "bytes", "shape": ["items"])", R"("dtype": "bytes", "shape": [1])")) ==
        "athanor.json: processor.inputs[0]: expected 'items' as the first dimension of 'smiles', got bytes "
        "[1]");
  CHECK(refusal(with(R"("inputs": ["smiles"])", R"("inputs": ["smiles", "smiles"])")) ==
        "athanor.json: processor.inputs[1]: expected every input once, got 'smiles' again");
}

// mutant: a processor that names no inputs is given none
TEST_CASE("a processor is given every input when it names none") {
  std::string const two =
      with(R"("inputs": [{"name": "smiles")",
           R"("inputs": [{"name": "width", "dtype": "f32", "shape": ["items"]}, {"name": "smiles")",
           with(R"({"smiles": ["*CC*"]})", R"({"smiles": ["*CC*"], "width": [1]})"));
  auto const all = parse_manifest(with(R"(, "inputs": ["smiles"])", "", two));
  REQUIRE_MESSAGE(all, all.error().message);
  CHECK(all->processor->inputs == std::vector<std::string>{"width", "smiles"});
  auto const one = parse_manifest(two);
  REQUIRE(one);
  CHECK(one->processor->inputs == std::vector<std::string>{"smiles"});
}

// mutant: numbers may have an encoding
// mutant: every text is taken for UTF-8
TEST_CASE("bytes may be opaque") {
  auto const spec_of = [](std::string const& text) {
    auto const manifest = parse_manifest(text);
    REQUIRE_MESSAGE(manifest, manifest.error().message);
    return manifest->inputs[0].encoding;
  };
  CHECK(spec_of(whole) == Encoding::utf8);
  CHECK(spec_of(with(R"("max_bytes": 4096)", R"("encoding": "utf8")")) == Encoding::utf8);
  CHECK(spec_of(with(R"("max_bytes": 4096)", R"("encoding": "any")")) == Encoding::any);
  CHECK(refusal(with(R"("max_bytes": 4096)", R"("encoding": "latin1")")) ==
        "athanor.json: inputs[0].encoding: expected 'utf8' or 'any', got 'latin1'");
  CHECK(refusal(with(R"("shape": ["items", 3])", R"("shape": ["items", 3], "encoding": "any")", plain)) ==
        "athanor.json: inputs[0].encoding: expected no value except for dtype bytes, got one for f32");
  CHECK(refusal(with(R"("shape": ["items", null])", R"("shape": ["items", null], "encoding": "any")", plain))
            .starts_with("athanor.json: outputs[0]: unknown key 'encoding'"));
}

TEST_CASE("no cut of a manifest is taken for a whole one") {
  for (std::size_t length = 0; length < whole.size(); ++length) {
    if (whole.find_first_not_of(" \n", length) == std::string::npos) break;
    CHECK_FALSE(parse_manifest(std::string_view(whole).substr(0, length)));
  }
}

// mutant: a manifest does not know the hash of its text
TEST_CASE("a manifest knows the hash of the text that it was read from") {
  CHECK(parse_manifest(plain)->content == hash128(plain));
  std::string const spaced = plain + "\n";
  CHECK(parse_manifest(spaced)->content == hash128(spaced));
}

// mutant: an empty path is the root of the file system
TEST_CASE("a manifest is read from its folder, and its absence is a file error") {
  Folder folder;
  CHECK(read_manifest("").error().message == "folder: expected the path of a model, got an empty one");
  auto const missing = read_manifest(folder.path());
  REQUIRE_FALSE(missing);
  CHECK(missing.error().code == Code::not_found);
  CHECK(missing.error().reason == Reason::file);
  folder.write("athanor.json", "");
  CHECK(read_manifest(folder.path()).error().message ==
        folder.path() + "/athanor.json: expected a manifest, got an empty file");
  folder.write("athanor.json", plain);
  CHECK(read_manifest(folder.path())->id() == "double@1.0.0");
  folder.write("athanor.json", with("\"outputs\"", "\"output\"", plain));
  CHECK(read_manifest(folder.path())
            .error()
            .message.starts_with(folder.path() + "/athanor.json: unknown key 'output'; known: "));
}
