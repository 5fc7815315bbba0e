// The folders of the simulated world's models.
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <string>
#include <string_view>

#include <athanor/core/hash.hpp>
#include <simulation/graphs.hpp>
#include <simulation/stage.hpp>

namespace athanor_tests {
namespace {

// Inputs, outputs and parameters that several models have.
constexpr std::string_view x = R"({"name": "x", "dtype": "f32", "shape": ["items", 2]})";
constexpr std::string_view y = R"({"name": "y", "dtype": "f32", "shape": ["items", 2]})";
constexpr std::string_view seen = R"({"name": "seen", "dtype": "f32", "shape": ["items", 2]})";
constexpr std::string_view text = R"({"name": "text", "dtype": "bytes", "shape": ["items"]})";
constexpr std::string_view numbers = R"({"name": "x", "dtype": "f32", "shape": ["items", "numbers"]})";
constexpr std::string_view padded_numbers =
    R"({"name": "x", "dtype": "f32", "shape": ["items", "numbers"],
      "pad": {"buckets": {"numbers": [3, 6]}, "value": -7}}, {"name": "mask", "dtype": "i64", "shape": ["items", "numbers"],
      "make": "mask"})";
constexpr std::string_view table = R"({"name": "table", "dtype": "f32", "shape": ["table"], "shared": true})";
constexpr std::string_view read_table = R"({"name": "table", "dtype": "f32", "shape": [null]})";
constexpr std::string_view shift = R"({"name": "shift", "type": "f64", "default": 0})";
constexpr std::string_view shift_of_batch =
    R"({"name": "shift", "dtype": "f32", "shape": [], "from": "parameter:shift"})";
constexpr std::string_view shift_of_items =
    R"({"name": "shift", "dtype": "f32", "shape": ["items"], "from": "parameter:shift"})";
constexpr std::string_view delay = R"("policy": "size_or_delay", "max_delay_us": 200)";
constexpr std::string_view sequences =
    R"("batching": {"max_items": 4}, "sequences": {"max": 3, "idle_ms": 40)";

std::string joined(std::initializer_list<std::string_view> parts) {
  std::string all;
  for (auto const part : parts) all += part;
  return all;
}

std::string plain_manifest() {
  return joined({R"("inputs": [)", x, R"(], "outputs": [)", y,
                 R"(, {"name": "edition", "dtype": "f32", "shape": ["items"]}],
      "batching": {"max_items": 4, "instances": 2, )",
                 delay, R"(}, "model_inputs": [)", x, ", ", shift_of_batch,
                 R"(, {"name": "rate", "dtype": "i64", "shape": [], "constant": 16000}], "model_outputs": [)",
                 y, R"(, {"name": "edition", "dtype": "f32", "shape": []}], "parameters": [)", shift, "], "});
}

std::string texts_manifest() {
  return joined({R"("inputs": [)", text,
                 R"(, {"name": "tag", "dtype": "i32", "shape": ["items"], "default": 3}],
      "outputs": [)",
                 y, R"(], "batching": {"sizes": [1, 3]}, "model_inputs": [)", text,
                 R"(, {"name": "shift", "dtype": "i32", "shape": ["items"], "from": "parameter:shift"},
      {"name": "tag", "dtype": "i32", "shape": ["items"]}],
      "parameters": [{"name": "shift", "type": "i64", "default": 0}], )"});
}

std::string made_manifest() {
  return joined({R"("processor": {"name": "stage-processor", "inputs": ["text", "x"]}, "inputs": [)", x, ", ",
                 text, ", ", table, R"(], "model_inputs": [{"name": "z", "dtype": "f32",
      "shape": ["items", "parts"], "pad": {"buckets": {"parts": [4, 5, 7]}, "value": -7}}, {"name": "length", "dtype": "i64",
      "shape": ["items"], "make": "length", "axis": "parts"}, )",
                 read_table, R"(], "parameters": [)", shift, R"(],
      "model_outputs": [{"name": "w", "dtype": "f32", "shape": ["items", "parts"]}], "outputs": [{"name": "y", "dtype": "f32",
      "shape": ["items", 2], "from": "processor:y"}], "batching": {"sizes": [2, 8], "instances": 2}, )"});
}

std::string ensemble_manifest() {
  return joined({R"("inputs": [)", x,
                 R"(], "model_inputs": [{"name": "x", "dtype": "f32", "shape": [2, "items"]}, {"name": "step",
      "dtype": "i32", "shape": ["items"], "constant": 5}],
      "model_outputs": [{"name": "y", "dtype": "f32", "shape": [2, "items"]}],
      "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2], "from": "mean:y"}], "min_members": 2,
      "batching": {"max_items": 4, )",
                 delay, "}, "});
}

std::string single_manifest() {
  return joined({R"("inputs": [)", x, R"(], "model_inputs": [{"name": "x", "dtype": "f32", "shape": [2]}, )",
                 shift_of_batch, R"(], "parameters": [)", shift, R"(],
      "model_outputs": [{"name": "y", "dtype": "f32", "shape": [2]}], "outputs": [)",
                 y, R"(], "batching": {"max_items": 1, "instances": 2}, )"});
}

std::string padded_manifest() {
  return joined({R"("inputs": [)", numbers, ", ", table, R"(], "model_inputs": [)", padded_numbers, ", ",
                 read_table,
                 R"(], "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", "numbers"]}],
      "batching": {"max_items": 4, "instances": 2, )",
                 delay, "}, "});
}

std::string ragged_manifest() {
  return joined({R"("inputs": [)", x,
                 R"(], "model_outputs": [{"name": "n", "dtype": "i64", "shape": ["items"]}, {"name": "y",
      "dtype": "f32", "shape": ["rows", 2], "rows": "n"}], "outputs": [{"name": "y", "dtype": "f32", "shape": ["rows", 2]},
      {"name": "count", "dtype": "i64", "shape": ["items"], "from": "rows:rows"}], "batching": {"sizes": [3],
      "instances": 2, )",
                 delay, "}, "});
}

std::string graph_manifest() {
  return joined({R"("processor": {"name": "stage-grapher", "rows": ["model:y"]}, "inputs": [)", text,
                 R"(], "model_inputs": [)", graph_inputs, ", ", shift_of_items, R"(], "parameters": [)",
                 shift, R"(], "model_outputs": [)", y, ", ", force_output, R"(], "outputs": [)", y, ", ",
                 graph_answers, R"(], "batching": {"max_items": 4, "instances": 2, )", delay, "}, "});
}

std::string carried_manifest() {
  return joined({R"("inputs": [)", numbers, R"(], "model_inputs": [)", padded_numbers,
                 R"(, {"name": "state", "dtype": "f32", "shape": ["items", 2], "from": "state:next"}, )",
                 shift_of_items, R"(], "parameters": [)", shift,
                 R"(], "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", "numbers"]}, )", seen,
                 "], ", sequences, "}, "});
}

std::string held_manifest() {
  return joined({R"("inputs": [)", x, R"(], "model_inputs": [)", x, ", ", shift_of_batch,
                 R"(], "parameters": [)", shift, R"(], "outputs": [)", y, ", ", seen, "], ", sequences,
                 R"(, "held": true}, )"});
}

}  // namespace

ModelFolders::ModelFolders() {
  write(ModelKind::plain, plain_manifest(), 1);
  write(ModelKind::texts, texts_manifest(), 1);
  write(ModelKind::made, made_manifest(), 1);
  write(ModelKind::ensemble, ensemble_manifest(), 3);
  write(ModelKind::single, single_manifest(), 1);
  write(ModelKind::padded, padded_manifest(), 1);
  write(ModelKind::ragged, ragged_manifest(), 1);
  write(ModelKind::graph, graph_manifest(), 1);
  write(ModelKind::carried, carried_manifest(), 1);
  write(ModelKind::held, held_manifest(), 1);
}

void ModelFolders::write(ModelKind kind, std::string const& manifest, std::uint32_t members) const {
  std::string const at = folder(kind);
  std::filesystem::create_directory(at);
  std::string list;
  for (std::uint32_t i = 0; i < members; ++i) {
    std::string const file = "m" + std::to_string(i);
    std::ofstream(at + "/" + file) << "weights";
    list += (i == 0 ? "" : ", ") + std::string(R"({"file": ")") + file + R"(", "digest": "xxh128:)" +
            to_hex(*hash_file(at + "/" + file)) + R"("})";
  }
  std::ofstream(at + "/athanor.json") << R"({"athanor": 1, "name": ")" << traits_of(kind).name
                                      << R"(", "version": "1.0.0", "backend": "stage", "format": "any", )"
                                      << manifest << R"("members": [)" << list << "]}";
}

}  // namespace athanor_tests
