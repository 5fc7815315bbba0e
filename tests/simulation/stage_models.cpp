// The folders of the simulated world's models.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <athanor/core/hash.hpp>
#include <simulation/graphs.hpp>
#include <simulation/stage.hpp>

namespace athanor_tests {

ModelFolders::ModelFolders() {
  std::string pattern = (std::filesystem::temp_directory_path() / "athanor-world-XXXXXX").string();
  root_ = ::mkdtemp(pattern.data());
  std::string const x = R"({"name": "x", "dtype": "f32", "shape": ["items", 2]})";
  std::string const text = R"({"name": "text", "dtype": "bytes", "shape": ["items"]})";
  std::string const tag = R"({"name": "tag", "dtype": "i32", "shape": ["items"])";
  std::string const y = R"({"name": "y", "dtype": "f32", "shape": ["items", 2]})";
  std::string const read_table = R"({"name": "table", "dtype": "f32", "shape": [null]})";
  std::string const table = R"({"name": "table", "dtype": "f32", "shape": ["table"], "shared": true})";
  std::string const apart_x = R"({"name": "x", "dtype": "f32", "shape": [2, "items"]})";
  std::string const apart_y = R"({"name": "y", "dtype": "f32", "shape": [2, "items"]})";
  std::string const model_x = R"("model_inputs": [)" + x + R"(, {"name": "shift", "dtype": "f32", "shape": [],
      "from": "parameter:shift"}, {"name": "rate", "dtype": "i64", "shape": [], "constant": 16000}],
      "model_outputs": [)" + y +
                              R"(, {"name": "edition", "dtype": "f32", "shape": []}],
      "parameters": [{"name": "shift", "type": "f64", "default": 0}], )";
  std::string const model_text =
      R"("model_inputs": [)" + text + R"(, {"name": "shift", "dtype": "i32", "shape": ["items"],
      "from": "parameter:shift"}, )" +
      tag + R"(}], "parameters": [{"name": "shift", "type": "i64", "default": 0}], )";
  std::string const padded_x = R"({"name": "x", "dtype": "f32", "shape": ["items", "numbers"],
      "pad": {"buckets": {"numbers": [3, 6]}, "value": -7}}, {"name": "mask", "dtype": "i64", "shape": ["items", "numbers"],
      "make": "mask"})";
  std::string const shift = R"({"name": "shift", "type": "f64", "default": 0})";
  std::string const delay = R"("policy": "size_or_delay", "max_delay_us": 200)";
  write(ModelKind::plain,
        R"("inputs": [)" + x + R"(], "outputs": [)" + y +
            R"(, {"name": "edition", "dtype": "f32", "shape": ["items"]}],
      "batching": {"max_items": 4, "instances": 2, )" +
            delay + "}, " + model_x,
        1);
  write(ModelKind::texts,
        R"("inputs": [)" + text + ", " + tag + R"(, "default": 3}], "outputs": [)" + y +
            R"(], "batching": {"sizes": [1, 3]}, )" + model_text,
        1);
  write(ModelKind::made,
        R"("processor": {"name": "stage-processor", "inputs": ["text", "x"]}, "inputs": [)" + x + ", " +
            text + ", " + table + R"(], "model_inputs": [{"name": "z", "dtype": "f32",
      "shape": ["items", "parts"], "pad": {"buckets": {"parts": [4, 5, 7]}, "value": -7}}, {"name": "length", "dtype": "i64",
      "shape": ["items"], "make": "length", "axis": "parts"}, )" +
            read_table + R"(], "parameters": [{"name": "shift", "type": "f64", "default": 0}],
      "model_outputs": [{"name": "w", "dtype": "f32", "shape": ["items", "parts"]}], "outputs": [{"name": "y", "dtype": "f32",
      "shape": ["items", 2], "from": "processor:y"}], "batching": {"sizes": [2, 8], "instances": 2}, )",
        1);
  write(ModelKind::ensemble,
        R"("inputs": [)" + x + R"(], "model_inputs": [)" + apart_x + R"(, {"name": "step",
      "dtype": "i32", "shape": ["items"], "constant": 5}], "model_outputs": [)" +
            apart_y + R"(], "outputs": [{"name":
      "y", "dtype": "f32", "shape": ["items", 2], "from": "mean:y"}], "min_members": 2, "batching": {"max_items": 4,
      )" + delay +
            "}, ",
        3);
  write(ModelKind::single,
        R"("inputs": [)" + x + R"(], "model_inputs": [{"name": "x", "dtype": "f32", "shape": [2]},
      {"name": "shift", "dtype": "f32", "shape": [], "from": "parameter:shift"}],
      "parameters": [{"name": "shift", "type": "f64", "default": 0}],
      "model_outputs": [{"name": "y", "dtype": "f32", "shape": [2]}], "outputs": [)" +
            y + R"(], "batching": {"max_items": 1, "instances": 2}, )",
        1);
  write(ModelKind::padded,
        R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", "numbers"]}, )" + table +
            R"(], "model_inputs": [)" + padded_x + ", " + read_table +
            R"(], "outputs": [{"name": "y", "dtype": "f32",
      "shape": ["items", "numbers"]}], "batching": {"max_items": 4, "instances": 2, )" +
            delay + "}, ",
        1);
  write(ModelKind::ragged,
        R"("inputs": [)" + x +
            R"(], "model_outputs": [{"name": "n", "dtype": "i64", "shape": ["items"]}, {"name": "y",
      "dtype": "f32", "shape": ["rows", 2], "rows": "n"}], "outputs": [{"name": "y", "dtype": "f32", "shape": ["rows", 2]},
      {"name": "count", "dtype": "i64", "shape": ["items"], "from": "rows:rows"}], "batching": {"sizes": [3],
      "instances": 2, )" +
            delay + "}, ",
        1);
  write(ModelKind::graph,
        R"("processor": {"name": "stage-grapher", "rows": ["model:y"]}, "inputs": [)" + text +
            R"(], "model_inputs": [)" + std::string(graph_inputs) +
            R"(, {"name": "shift", "dtype": "f32", "shape": ["items"], "from": "parameter:shift"}],
      "parameters": [)" +
            shift + R"(], "model_outputs": [)" + y + ", " + std::string(force_output) + R"(], "outputs": [)" +
            y + ", " + std::string(graph_answers) + R"(], "batching": {"max_items": 4, "instances": 2, )" +
            delay + "}, ",
        1);
  std::string const seen = R"(, {"name": "seen", "dtype": "f32", "shape": ["items", 2]})";
  std::string const sequences = R"("batching": {"max_items": 4}, "sequences": {"max": 3, "idle_ms": 40)";
  write(ModelKind::carried,
        R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", "numbers"]}], "model_inputs": [)" +
            padded_x + R"(, {"name": "state", "dtype": "f32", "shape": ["items", 2], "from": "state:next"},
      {"name": "shift", "dtype": "f32", "shape": ["items"], "from": "parameter:shift"}], "parameters": [)" +
            shift + R"(], "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", "numbers"]})" + seen +
            "], " + sequences + "}, ",
        1);
  write(ModelKind::held,
        R"("inputs": [)" + x + R"(], "model_inputs": [)" + x +
            R"(, {"name": "shift", "dtype": "f32", "shape": [],
      "from": "parameter:shift"}], "parameters": [)" +
            shift + R"(], "outputs": [)" + y + seen + "], " + sequences + R"(, "held": true}, )",
        1);
}

ModelFolders::~ModelFolders() { std::filesystem::remove_all(root_); }

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
