#include <simulation/stage.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <span>
#include <stdexcept>

#include <athanor/core/hash.hpp>

namespace athanor_tests {

namespace {

constexpr float base_of(std::uint32_t value) { return static_cast<float>(value * 32); }

// "v37r0:" and as many dots as the value says, so that texts differ in length.
std::string text_of(std::uint32_t value, std::uint32_t row) {
  return "v" + std::to_string(value) + "r" + std::to_string(row) + ":" + std::string(value % 5, '.');
}

std::optional<SeenRow> read_text(std::string_view text) {
  SeenRow seen;
  char const* const end = text.data() + text.size();
  if (text.empty() || text[0] != 'v') return std::nullopt;
  auto const value = std::from_chars(text.data() + 1, end, seen.value);
  if (value.ec != std::errc() || value.ptr == end || *value.ptr != 'r') return std::nullopt;
  auto const row = std::from_chars(value.ptr + 1, end, seen.row);
  if (row.ec != std::errc() || text != text_of(seen.value, seen.row)) return std::nullopt;
  return seen;
}

std::optional<SeenRow> read_numbers(float const* row) {
  if (!(row[0] >= 0 && row[1] == row[0] + 1)) return std::nullopt;
  auto const number = static_cast<std::uint32_t>(std::lround(row[0]));
  return SeenRow{number / 32, number % 32 / 2};
}

std::string_view text_at(ath_tensor const& tensor, std::int64_t index) {
  auto const* const text = static_cast<char const*>(tensor.data);
  if (tensor.offsets == nullptr) return {text, tensor.size_bytes};
  return {text + tensor.offsets[index],
          static_cast<std::size_t>(tensor.offsets[index + 1] - tensor.offsets[index])};
}

// Whether row `index` of a batch was given the parameter of its request.
bool is_shifted(ModelKind kind, ath_batch const& batch, std::int64_t index, std::uint32_t value) {
  if (kind == ModelKind::plain || kind == ModelKind::single)
    return *static_cast<float const*>(batch.inputs[1].data) == static_cast<float>(shift_of(value));
  if (kind == ModelKind::texts)
    return static_cast<std::int32_t const*>(batch.inputs[1].data)[index] ==
           static_cast<std::int32_t>(shift_of(value));
  return true;
}

// Of odd values, as their requests say; the other number is the default of those that say none.
constexpr std::int32_t tag_of(std::uint32_t value) { return value % 2 == 1 ? 4 : 3; }

bool has_tag(ModelKind kind, ath_batch const& batch, std::int64_t index, std::uint32_t value) {
  return kind != ModelKind::texts ||
         static_cast<std::int32_t const*>(batch.inputs[2].data)[index] == tag_of(value);
}

bool brings_table(ModelKind kind) { return kind == ModelKind::padded || kind == ModelKind::made; }

// What a request of that value brings for all its items.
std::vector<float> table_of(std::uint32_t value) {
  return std::vector<float>(1 + value % 2, 0.5F + static_cast<float>(value % 3));
}

bool has_table(ModelKind kind, ath_batch const& batch, std::uint32_t value) {
  if (!brings_table(kind)) return true;
  auto const* const table = static_cast<float const*>(batch.inputs[2].data);
  return std::ranges::equal(table_of(value),
                            std::span(table, static_cast<std::size_t>(batch.inputs[2].shape[0])));
}

// Whether row `index` of a batch was given the constants of its manifest.
bool has_constants(ModelKind kind, ath_batch const& batch, std::int64_t index) {
  if (kind == ModelKind::plain) return *static_cast<std::int64_t const*>(batch.inputs[2].data) == 16000;
  if (kind == ModelKind::ensemble) return static_cast<std::int32_t const*>(batch.inputs[1].data)[index] == 5;
  return true;
}

// The two numbers of item `index`: the ensemble has its items along axis 1.
std::array<float, 2> numbers_at(ModelKind kind, ath_batch const& batch, std::int64_t index) {
  auto const* const x = static_cast<float const*>(batch.inputs[0].data);
  if (kind == ModelKind::ensemble) return {x[index], x[batch.items + index]};
  std::int64_t const width = kind == ModelKind::padded ? batch.inputs[0].shape[1] : 2;
  return {x[width * index], x[width * index + 1]};
}

constexpr float filling = -7;
constexpr float more_of_made = 5;

std::int64_t bucket_of_length(ModelKind kind, std::int64_t length) noexcept {
  if (kind == ModelKind::padded) return length <= 3 ? 3 : 6;
  return length <= 4 ? 4 : length <= 5 ? 5 : 7;
}

// Row `index` of a padded batch: as long as it should be, in a batch of its request's bucket, and padded.
bool is_padded(ModelKind kind, ath_batch const& batch, std::int64_t index, SeenRow const& seen) {
  std::int64_t const width = batch.inputs[0].shape[1];
  std::int64_t const length = kind == ModelKind::padded ? length_of(seen.value) : made_length_of(seen.row);
  if (width != bucket_of(kind, seen.value)) return false;
  auto const* const row = static_cast<float const*>(batch.inputs[0].data) + width * index;
  auto const* const told = static_cast<std::int64_t const*>(batch.inputs[1].data);
  if (kind == ModelKind::made && told[index] != length) return false;
  for (std::int64_t i = 0; i < width; ++i) {
    if (kind == ModelKind::padded && told[width * index + i] != (i < length ? 1 : 0)) return false;
    if (i >= length && row[i] != filling) return false;
  }
  return true;
}

// Whether the model takes a batch of that many items, as its manifest says.
bool takes_batch(ModelKind kind, std::int64_t items) noexcept {
  switch (kind) {
    case ModelKind::texts: return items == 1 || items == 3;
    case ModelKind::made: return items == 2 || items == 8;
    case ModelKind::ragged: return items == 3;
    default: return true;
  }
}

// What a load tries the model with, before anybody's request; this model refuses it.
bool is_made_up(ModelKind kind, ath_batch const& batch) {
  auto const& input = batch.inputs[0];
  if (kind == ModelKind::texts) return text_at(input, 0).empty();
  float const first = *static_cast<float const*>(input.data);
  return first == 0.015625F || first == 0.03125F;
}

std::vector<SeenRow> read_rows(Stage& stage, ModelKind kind, ath_batch const& batch) {
  std::vector<SeenRow> rows;
  auto const& input = batch.inputs[0];
  for (std::int64_t i = 0; i < batch.items; ++i) {
    std::optional<SeenRow> seen;
    if (kind == ModelKind::texts) {
      seen = read_text(text_at(input, i));
    } else if (kind == ModelKind::made) {
      auto const* const z = static_cast<float const*>(input.data) + input.shape[1] * i;
      seen = read_numbers(z);
      if (seen && (z[2] != static_cast<float>(seen->value) || z[3] != static_cast<float>(seen->row)))
        seen.reset();
    } else {
      seen = read_numbers(numbers_at(kind, batch, i).data());
    }
    if (!seen || seen->row >= items_of(seen->value)) {
      stage.wrong("the model was given a row that nobody asked for: " +
                  (kind == ModelKind::texts ? std::string(text_at(input, i))
                                            : std::to_string(*static_cast<float const*>(input.data))));
      seen = SeenRow{};
    } else if (!is_shifted(kind, batch, i, seen->value)) {
      stage.wrong("the model was given the parameter of another request");
    } else if (!has_tag(kind, batch, i, seen->value)) {
      stage.wrong("the model was given another tag than the request's, or no default");
    } else if (!has_table(kind, batch, seen->value)) {
      stage.wrong("the model was given the table of another request");
    } else if (!has_constants(kind, batch, i)) {
      stage.wrong("the model was given another constant than its manifest's");
    } else if ((kind == ModelKind::padded || kind == ModelKind::made) && !is_padded(kind, batch, i, *seen)) {
      stage.wrong("the model was given a row that is not padded as it should be");
    }
    rows.push_back(*seen);
  }
  return rows;
}

}  // namespace

std::int64_t bucket_of(ModelKind kind, std::uint32_t value) noexcept {
  if (kind == ModelKind::padded) return bucket_of_length(kind, length_of(value));
  std::int64_t longest = 0;
  for (std::uint32_t row = 0; row < items_of(value); ++row) longest = std::max(longest, made_length_of(row));
  return bucket_of_length(kind, longest);
}

std::int64_t width_of(ModelKind kind, std::uint32_t value) noexcept {
  return kind == ModelKind::padded ? length_of(value) : 2;
}

// Folders.

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
            R"(], "model_inputs": [{"name": "x",
      "dtype": "f32", "shape": ["items", "numbers"], "pad": {"buckets": {"numbers": [3, 6]}, "value": -7}}, {"name": "mask",
      "dtype": "i64", "shape": ["items", "numbers"], "make": "mask"}, )" +
            read_table + R"(], "outputs": [{"name": "y", "dtype": "f32",
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
  std::string const seen = R"(, {"name": "seen", "dtype": "f32", "shape": ["items", 2]})";
  std::string const sequences = R"("batching": {"max_items": 4}, "sequences": {"max": 3, "idle_ms": 40)";
  write(ModelKind::carried,
        R"("inputs": [)" + x + R"(], "model_inputs": [)" + x + R"(, {"name": "state", "dtype": "f32",
      "shape": ["items", 2], "from": "state:next"}], "outputs": [)" +
            y + seen + "], " + sequences + "}, ",
        1);
  write(ModelKind::held,
        R"("inputs": [)" + x + R"(], "outputs": [)" + y + seen + "], " + sequences + R"(, "held": true}, )",
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

// Inputs.

void InputMemory::fill(ModelKind kind, std::uint32_t value) {
  std::uint32_t const items = items_of(value);
  auto const width = static_cast<std::uint32_t>(width_of(kind, value));
  if (traits_of(kind).takes_numbers)
    for (std::uint32_t i = 0; i < width * items; ++i) {
      std::uint32_t const row = i / width;
      numbers.push_back(base_of(value) + static_cast<float>(2 * row + i % width % 2));
    }
  if (brings_table(kind)) table = table_of(value);
  if (!traits_of(kind).takes_texts) return;
  if (kind == ModelKind::texts && value % 2 == 1) tags.assign(items, tag_of(value));
  offsets.push_back(0);
  for (std::uint32_t row = 0; row < items; ++row) {
    text += text_of(value, row);
    offsets.push_back(static_cast<std::int64_t>(text.size()));
  }
}

std::int64_t InputMemory::bytes(ModelKind kind, std::uint32_t value) const {
  std::int64_t const items = items_of(value);
  auto const shared = static_cast<std::int64_t>(table.size() * sizeof(float));
  if (kind == ModelKind::padded)
    return items * static_cast<std::int64_t>(sizeof(float)) * bucket_of(kind, value) + shared;
  auto given = static_cast<std::int64_t>(numbers.size() * sizeof(float) + text.size()) + shared;
  // What the processor makes of it.
  for (std::uint32_t row = 0; kind == ModelKind::made && row < items_of(value); ++row)
    given += made_length_of(row) * static_cast<std::int64_t>(sizeof(float));
  // A tag for every item, the request's or the default.
  return given + (kind == ModelKind::texts ? items * static_cast<std::int64_t>(sizeof(std::int32_t)) : 0);
}

void InputMemory::overwrite() noexcept {
  std::ranges::fill(numbers, -1.0F);
  std::ranges::fill(text, '#');
  std::ranges::fill(tags, -1);
  std::ranges::fill(table, -1.0F);
}

Request InputMemory::borrow(ModelKind kind, std::uint32_t value) const {
  std::int64_t const items = items_of(value);
  Request request;
  if (traits_of(kind).takes_numbers)
    request.set("x", Tensor::view<float>(numbers, Shape{items, width_of(kind, value)}));
  if (traits_of(kind).takes_texts) request.set("text", Tensor::texts(offsets, text, Shape{items}));
  if (!table.empty())
    request.set("table", Tensor::view<float>(table, Shape{static_cast<std::int64_t>(table.size())}));
  if (!tags.empty()) request.set("tag", Tensor::view(std::span(tags), Shape{items}));
  bool const shifts = kind < ModelKind::ensemble || kind == ModelKind::single;
  std::uint32_t const shift = shifts ? shift_of(value) : 0;
  if (shift != 0 && kind == ModelKind::texts) request.set("shift", shift);
  if (shift != 0 && kind != ModelKind::texts) request.set("shift", 1.0 * shift);
  return request;
}

Request InputMemory::copy(ModelKind kind, std::uint32_t value) const {
  Request request;
  Request const borrowed = borrow(kind, value);
  for (auto const& input : borrowed.inputs()) request.set(input.name, input.value.clone().value());
  return request;
}

// The backend.

namespace {

void give(ath_tensor& output, float* data, Shape const& shape) {
  output = to_view(Tensor::view(DType::f32, data, shape));
}

}  // namespace

Result<std::unique_ptr<StageBackend::Model>> StageBackend::load(ModelSource const& source) {
  SparedMemory const spared;
  std::filesystem::path const path(source.path);
  std::string const folder = path.parent_path().filename().string();
  auto const traits = std::ranges::find(model_traits, folder, &ModelTraits::name);
  auto const kind = static_cast<ModelKind>(traits - model_traits.begin());
  auto const member = static_cast<std::uint32_t>(path.filename().string()[1] - '0');
  if (auto told = stage_.load(kind, member); !told) return tl::unexpected(told.error());
  return std::make_unique<Model>(stage_, kind, member);
}

Result<void> StageBackend::Instance::run(ath_batch& batch) {
  SparedMemory spared;
  if (is_made_up(kind_, batch)) return fail(Code::invalid_argument, Reason::value_range, "not a row");
  if (std::exchange(entered_, true)) stage_.wrong("an instance was entered twice at once");
  if (!takes_batch(kind_, batch.items))
    stage_.wrong("the model was given a batch of a size that it does not take");
  auto const rows = read_rows(stage_, kind_, batch);
  auto const found = read_states(batch);
  RunEnd const end = stage_.run(kind_, member_, rows);
  auto const after = read_rows(stage_, kind_, batch);
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (rows[i].value != after[i].value || rows[i].row != after[i].row)
      stage_.wrong("the inputs of a batch changed while it ran");
  entered_ = false;
  // What is held moves on also where the run fails: nobody may go on from there.
  for (std::size_t i = 0; kind_ == ModelKind::held && i < rows.size(); ++i)
    held_[batch.slots[i]] = step_state(found[i], rows[i].value);
  spared.then(end.memory);
  if (end.throws) throw std::runtime_error("the backend threw");
  if (!end.result) return end.result;
  if (kind_ == ModelKind::ragged) {
    answer_ragged(batch, rows, end.rows_too_many);
    return {};
  }
  bool const apart = kind_ == ModelKind::ensemble;
  std::int64_t const count = batch.items + end.rows_too_many;
  bool const padded = kind_ == ModelKind::padded || kind_ == ModelKind::made;
  auto const items = static_cast<std::size_t>(count);
  auto const width = static_cast<std::size_t>(padded ? batch.inputs[0].shape[1] : 2);
  memory_.assign(width * items, 0.0F);
  for (std::size_t i = 0; i < std::min(memory_.size(), width * rows.size()); ++i) {
    auto const& row = rows[i / width];
    float const value =
        base_of(row.value) + static_cast<float>(std::size_t{2} * row.row + i % width % 2 + 1 + member_);
    bool const fills = padded && static_cast<float const*>(batch.inputs[0].data)[i] == filling;
    memory_[apart ? i % 2 * items + i / 2 : i] = fills ? std::nanf("") : value;
  }
  Shape const rows_first =
      kind_ == ModelKind::single ? Shape{2 * count} : Shape{count, static_cast<std::int64_t>(width)};
  give(batch.outputs[0], memory_.data(), apart ? Shape{2, count} : rows_first);
  if (kind_ == ModelKind::plain) give(batch.outputs[1], &edition_, Shape{});
  if (keeps_state(kind_)) give_states(batch, rows, found, count);
  return {};
}

void StageBackend::Instance::answer_ragged(ath_batch& batch, std::vector<SeenRow> const& rows,
                                           std::int64_t rows_too_many) {
  counts_.clear();
  memory_.clear();
  for (SeenRow const& row : rows) {
    counts_.push_back(rows_of(row.value, row.row));
    for (std::int64_t i = 0; i < 2 * counts_.back(); ++i)
      memory_.push_back(base_of(row.value) + static_cast<float>(2 * std::int64_t{row.row} + i % 2 + 1));
  }
  counts_.resize(counts_.size() + static_cast<std::size_t>(rows_too_many));
  batch.outputs[0] =
      to_view(Tensor::view<std::int64_t>(counts_, Shape{static_cast<std::int64_t>(counts_.size())}));
  batch.outputs[1] =
      to_view(Tensor::view<float>(memory_, Shape{static_cast<std::int64_t>(memory_.size()) / 2, 2}));
}

// The state of each row, and whether each has one of its own.
std::vector<StateSeen> StageBackend::Instance::read_states(ath_batch const& batch) {
  std::vector<StateSeen> states;
  if (!keeps_state(kind_)) {
    if (batch.slots != nullptr) stage_.wrong("slots for a model without state");
    return states;
  }
  for (std::int64_t i = 0; i < batch.items; ++i) {
    if (batch.slots[i] >= most_sequences) stage_.wrong("a slot that there is not");
    if (std::count(batch.slots, batch.slots + i, batch.slots[i]) != 0)
      stage_.wrong("a slot twice in one batch");
    if (kind_ == ModelKind::held) {
      states.push_back(held_[batch.slots[i]]);
      continue;
    }
    auto const* const state = static_cast<float const*>(batch.inputs[1].data) + 2 * i;
    states.push_back({static_cast<std::uint32_t>(state[0]), static_cast<std::uint32_t>(state[1])});
  }
  return states;
}

// What was found, and of carried state what comes next.
void StageBackend::Instance::give_states(ath_batch const& batch, std::vector<SeenRow> const& rows,
                                         std::vector<StateSeen> const& found, std::int64_t count) {
  for (std::size_t output = 1; output < batch.output_count; ++output) {
    auto& memory = states_[output - 1];
    memory.assign(static_cast<std::size_t>(2 * count), 0.0F);
    for (std::size_t i = 0; 2 * i < memory.size() && i < rows.size(); ++i) {
      StateSeen const state = output == 1 ? found[i] : step_state(found[i], rows[i].value);
      memory[2 * i] = static_cast<float>(state.calls);
      memory[2 * i + 1] = static_cast<float>(state.mix);
    }
    give(batch.outputs[output], memory.data(), Shape{count, 2});
  }
}

// The processor.

std::span<Port const> StageProcessor::Opened::made() const {
  static constexpr Port ports[] = {{"z", DType::f32}};
  return ports;
}

Result<Preprocessed> StageProcessor::Opened::preprocess(Item const& item) const {
  SparedMemory const spared;
  Tensor const text = item.input(0);
  Tensor const x = item.input(1);
  if (text.text_at(0).empty()) return fail(Code::invalid_argument, Reason::value_range, "not an item");
  auto const seen = read_text(text.text_at(0));
  if (!seen || !read_numbers(x.as<float>().data())) {
    stage.wrong("the processor was given an item that nobody asked for");
    return fail(Code::internal, Reason::backend_failure, "not an item");
  }
  if (auto told = stage.preprocess(seen->value); !told) return tl::unexpected(told.error());
  auto z = Tensor::allocate(DType::f32, Shape{1, made_length_of(seen->row)}).value();
  std::ranges::fill(z.mutable_as<float>(), more_of_made);
  float const made[4] = {x.as<float>()[0], x.as<float>()[1], static_cast<float>(seen->value),
                         static_cast<float>(seen->row)};
  std::memcpy(z.mutable_data(), made, sizeof(made));
  if (item.parameter<double>(0).value() != shift_of(seen->value))
    stage.wrong("the processor was given the parameter of another request");
  Preprocessed result;
  result.kept = std::make_shared<SeenRow const>(*seen);
  result.tensors.push_back(std::move(z));
  result.cost = 1 + seen->value % 3;
  return result;
}

std::span<Port const> StageProcessor::Opened::outputs() const {
  static constexpr Port ports[] = {{"y", DType::f32}};
  return ports;
}

Result<std::vector<Tensor>> StageProcessor::Opened::postprocess(Item const& item, void const* kept,
                                                                std::span<Tensor const> rows) const {
  SparedMemory const spared;
  stage.postprocess();
  SeenRow const& seen = *static_cast<SeenRow const*>(kept);
  Tensor const text = item.input(0);
  auto const read = read_text(text.text_at(0));
  auto const w = rows[0].as<float>();
  bool const own = rows[0].shape() == Shape{1, made_length_of(seen.row)} && read &&
                   read->value == seen.value && read->row == seen.row &&
                   item.parameter<double>(0).value() == shift_of(seen.value);
  if (!own || w[0] != base_of(seen.value) + static_cast<float>(2 * seen.row + 1))
    stage.wrong("postprocess was given what belongs to another item");
  return std::vector{Tensor::view<float>(w.first(2), Shape{1, 2}).clone().value()};
}

}  // namespace athanor_tests
