#include <simulation/stage.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <optional>
#include <span>
#include <stdexcept>

#include <simulation/graphs.hpp>

namespace athanor_tests {

namespace {

constexpr float base_of(std::uint32_t value) { return static_cast<float>(content_of(value) * 32); }

// "v37r0:" and as many dots as the value says, so that texts differ in length.
std::string text_of(std::uint32_t value, std::uint32_t row) {
  std::uint32_t const content = content_of(value);
  return "v" + std::to_string(content) + "r" + std::to_string(row) + ":" + std::string(content % 5, '.');
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

// The parameter that row `index` of a batch was given; of `made`, its processor alone reads it.
float shift_at(ModelKind kind, ath_batch const& batch, std::int64_t index) {
  auto const number = [&](std::size_t input, std::int64_t at) {
    return static_cast<float const*>(batch.inputs[input].data)[at];
  };
  switch (kind) {
    case ModelKind::plain:
    case ModelKind::single:
    case ModelKind::held: return number(1, 0);
    case ModelKind::carried: return number(3, index);
    case ModelKind::graph: return number(4, index);
    default: return static_cast<float>(static_cast<std::int32_t const*>(batch.inputs[1].data)[index]);
  }
}

// Of odd values, as their requests say; the other number is the default of those that say none.
constexpr std::int32_t tag_of(std::uint32_t value) { return value % 2 == 1 ? 4 : 3; }

bool has_tag(ModelKind kind, ath_batch const& batch, std::int64_t index, std::uint32_t value) {
  return kind != ModelKind::texts ||
         static_cast<std::int32_t const*>(batch.inputs[2].data)[index] == tag_of(value);
}

// Whether the items of a request are padded, or each that a processor makes of them.
bool pads_numbers(ModelKind kind) { return kind == ModelKind::padded || kind == ModelKind::carried; }
bool pads(ModelKind kind) { return pads_numbers(kind) || kind == ModelKind::made; }

bool brings_table(ModelKind kind) { return kind == ModelKind::padded || kind == ModelKind::made; }

// What a request of that value brings for all its items.
std::vector<float> table_of(std::uint32_t value) {
  return std::vector<float>(1 + value % 2, 0.5F + static_cast<float>(content_of(value) % 3));
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
  std::int64_t const width = pads_numbers(kind) ? batch.inputs[0].shape[1] : 2;
  return {x[width * index], x[width * index + 1]};
}

constexpr float filling = -7;
constexpr float more_of_made = 5;

std::int64_t bucket_of_length(ModelKind kind, std::int64_t length) noexcept {
  if (pads_numbers(kind)) return length <= 3 ? 3 : 6;
  return length <= 4 ? 4 : length <= 5 ? 5 : 7;
}

// Row `index` of a padded batch: as long as it should be, in a batch of its request's bucket, and padded.
bool is_padded(ModelKind kind, ath_batch const& batch, std::int64_t index, SeenRow const& seen) {
  std::int64_t const width = batch.inputs[0].shape[1];
  std::int64_t const length = pads_numbers(kind) ? length_of(seen.value) : made_length_of(seen.row);
  if (width != bucket_of(kind, seen.value)) return false;
  auto const* const row = static_cast<float const*>(batch.inputs[0].data) + width * index;
  auto const* const told = static_cast<std::int64_t const*>(batch.inputs[1].data);
  if (kind == ModelKind::made && told[index] != length) return false;
  for (std::int64_t i = 0; i < width; ++i) {
    if (pads_numbers(kind) && told[width * index + i] != (i < length ? 1 : 0)) return false;
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
  if (kind == ModelKind::graph) return false;  // its processor refuses them
  if (kind == ModelKind::texts) return text_at(input, 0).empty();
  float const first = *static_cast<float const*>(input.data);
  return first == 0.015625F || first == 0.03125F;
}

constexpr std::uint32_t mark_of(SeenRow const& row) { return graph_mark(row.value, row.row); }

std::vector<SeenRow> read_graph_rows(Stage& stage, ath_batch const& batch) {
  std::vector<SeenRow> rows;
  auto const marks = read_graphs({batch.inputs, batch.input_count}, batch.items);
  if (!marks) stage.wrong("the model was given graphs that nobody asked for, or mixed ones");
  if (!marks) return std::vector<SeenRow>(static_cast<std::size_t>(batch.items));
  for (std::uint32_t const mark : *marks) rows.push_back({mark / most_graphs, mark % most_graphs});
  return rows;
}

std::vector<SeenRow> read_rows(Stage& stage, ModelKind kind, ath_batch const& batch) {
  std::vector<SeenRow> rows;
  if (kind == ModelKind::graph) rows = read_graph_rows(stage, batch);
  auto const& input = batch.inputs[0];
  for (std::int64_t i = 0; i < batch.items; ++i) {
    std::optional<SeenRow> seen;
    if (kind == ModelKind::graph) {
      seen = rows[static_cast<std::size_t>(i)];
    } else if (kind == ModelKind::texts) {
      seen = read_text(text_at(input, i));
    } else if (kind == ModelKind::made) {
      auto const* const z = static_cast<float const*>(input.data) + input.shape[1] * i;
      seen = read_numbers(z);
      auto const value = static_cast<std::uint32_t>(std::lround(z[2]));
      if (seen && (content_of(value) != seen->value || z[3] != static_cast<float>(seen->row))) seen.reset();
      if (seen) seen->value = value;
    } else {
      seen = read_numbers(numbers_at(kind, batch, i).data());
    }
    if (seen && has_shift(kind) && kind != ModelKind::made) {
      float const shift = shift_at(kind, batch, i);
      if (shift != 0 && shift != 1 && shift != 2)
        stage.wrong("the model was given a parameter that nobody set");
      seen->value = value_of(seen->value, static_cast<std::uint32_t>(std::lround(shift)) % 3);
    }
    if (!seen || seen->row >= items_of(seen->value)) {
      stage.wrong("the model was given a row that nobody asked for: " +
                  (kind == ModelKind::texts ? std::string(text_at(input, i))
                                            : std::to_string(*static_cast<float const*>(input.data))));
      seen = SeenRow{};
    } else if (!has_tag(kind, batch, i, seen->value)) {
      stage.wrong("the model was given another tag than the request's, or no default");
    } else if (!has_table(kind, batch, seen->value)) {
      stage.wrong("the model was given the table of another request");
    } else if (!has_constants(kind, batch, i)) {
      stage.wrong("the model was given another constant than its manifest's");
    } else if (pads(kind) && !is_padded(kind, batch, i, *seen)) {
      stage.wrong("the model was given a row that is not padded as it should be");
    }
    if (kind == ModelKind::graph) {
      rows[static_cast<std::size_t>(i)] = *seen;
    } else {
      rows.push_back(*seen);
    }
  }
  return rows;
}

}  // namespace

std::int64_t bucket_of(ModelKind kind, std::uint32_t value) noexcept {
  if (pads_numbers(kind)) return bucket_of_length(kind, length_of(value));
  std::int64_t longest = 0;
  for (std::uint32_t row = 0; row < items_of(value); ++row) longest = std::max(longest, made_length_of(row));
  return bucket_of_length(kind, longest);
}

std::int64_t width_of(ModelKind kind, std::uint32_t value) noexcept {
  return pads_numbers(kind) ? length_of(value) : 2;
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
  if (pads_numbers(kind))
    return items * static_cast<std::int64_t>(sizeof(float)) * bucket_of(kind, value) + shared;
  auto given = static_cast<std::int64_t>(numbers.size() * sizeof(float) + text.size()) + shared;
  for (std::uint32_t row = 0; kind == ModelKind::graph && row < items_of(value); ++row) {
    Graph const graph = graph_of(graph_mark(value, row));
    given += static_cast<std::int64_t>((graph.atoms.size() + graph.edges.size()) * sizeof(std::int64_t));
  }
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
  bool const shifts = kind != ModelKind::ensemble && kind != ModelKind::padded && kind != ModelKind::ragged;
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
  bool const padded = pads(kind_);
  auto const items = static_cast<std::size_t>(count);
  auto const width = static_cast<std::size_t>(padded ? batch.inputs[0].shape[1] : 2);
  memory_.assign(width * items, 0.0F);
  for (std::size_t i = 0; i < std::min(memory_.size(), width * rows.size()); ++i) {
    auto const& row = rows[i / width];
    float const value = base_of(row.value) +
                        static_cast<float>(std::size_t{2} * row.row + i % width % 2 + 1 + member_) +
                        shift_in_answer(kind_, row.value);
    bool const fills = padded && static_cast<float const*>(batch.inputs[0].data)[i] == filling;
    memory_[apart ? i % 2 * items + i / 2 : i] = fills ? std::nanf("") : value;
  }
  Shape const rows_first =
      kind_ == ModelKind::single ? Shape{2 * count} : Shape{count, static_cast<std::int64_t>(width)};
  give(batch.outputs[0], memory_.data(), apart ? Shape{2, count} : rows_first);
  if (kind_ == ModelKind::plain) give(batch.outputs[1], &edition_, Shape{});
  if (kind_ == ModelKind::graph) give_forces(batch, rows);
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

void StageBackend::Instance::give_forces(ath_batch& batch, std::vector<SeenRow> const& rows) {
  forces_.clear();
  for (SeenRow const& row : rows) append_forces(mark_of(row), forces_);
  give(batch.outputs[1], forces_.data(),
       Shape{static_cast<std::int64_t>(forces_.size()) / forces_of_atom, forces_of_atom});
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
    auto const* const state = static_cast<float const*>(batch.inputs[2].data) + 2 * i;
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

// The processors.

namespace {

// Of an item's content and what the request says.
std::uint32_t value_with_parameter(Stage& stage, Item const& item, std::uint32_t content) {
  double const shift = item.parameter<double>(0).value();
  if (shift != 0 && shift != 1 && shift != 2)
    stage.wrong("the processor was given a parameter that nobody set");
  return value_of(content, static_cast<std::uint32_t>(shift) % 3);
}

// The first number that a model answers for the item.
float first_of_answer(ModelKind kind, SeenRow const& item) {
  return base_of(item.value) + static_cast<float>(2 * item.row + 1) + shift_in_answer(kind, item.value);
}

// What the item's text and its parameter say. `right`: what else the item has.
Result<SeenRow> read_item(Stage& stage, Item const& item, bool right) {
  Tensor const text = item.input(0);
  auto seen = read_text(text.text_at(0));
  if (!seen || !right) {
    stage.wrong("the processor was given an item that nobody asked for");
    return fail(Code::internal, Reason::backend_failure, "not an item");
  }
  seen->value = value_with_parameter(stage, item, seen->value);
  if (auto told = stage.preprocess(seen->value); !told) return tl::unexpected(told.error());
  return *seen;
}

// That `row`, of so many numbers, is what a model of that
// kind answers for the item, whose preprocess kept `seen`.
void check_answer(Stage& stage, ModelKind kind, Item const& item, SeenRow const& seen, Tensor const& row,
                  std::int64_t width) {
  stage.postprocess();
  Tensor const text = item.input(0);
  auto const read = read_text(text.text_at(0));
  bool const own = row.shape() == Shape{1, width} && read && read->value == content_of(seen.value) &&
                   read->row == seen.row && item.parameter<double>(0).value() == shift_of(seen.value);
  if (!own || row.as<float>()[0] != first_of_answer(kind, seen))
    stage.wrong("postprocess was given what belongs to another item");
}

}  // namespace

std::span<Port const> MadeRows::made() const {
  static constexpr Port ports[] = {{"z", DType::f32}};
  return ports;
}

Result<Preprocessed> MadeRows::preprocess(Item const& item) const {
  SparedMemory const spared;
  Tensor const text = item.input(0);
  Tensor const x = item.input(1);
  if (text.text_at(0).empty()) return fail(Code::invalid_argument, Reason::value_range, "not an item");
  auto const seen = read_item(stage, item, read_numbers(x.as<float>().data()).has_value());
  if (!seen) return tl::unexpected(seen.error());
  auto z = Tensor::allocate(DType::f32, Shape{1, made_length_of(seen->row)}).value();
  std::ranges::fill(z.mutable_as<float>(), more_of_made);
  float const made[4] = {x.as<float>()[0], x.as<float>()[1], static_cast<float>(seen->value),
                         static_cast<float>(seen->row)};
  std::memcpy(z.mutable_data(), made, sizeof(made));
  Preprocessed result;
  result.kept = std::make_shared<SeenRow const>(*seen);
  result.tensors.push_back(std::move(z));
  result.cost = 1 + seen->value % 3;
  return result;
}

std::span<Port const> MadeRows::outputs() const {
  static constexpr Port ports[] = {{"y", DType::f32}};
  return ports;
}

Result<std::vector<Tensor>> MadeRows::postprocess(Item const& item, void const* kept,
                                                  std::span<Tensor const> rows) const {
  SparedMemory const spared;
  SeenRow const& seen = *static_cast<SeenRow const*>(kept);
  check_answer(stage, ModelKind::made, item, seen, rows[0], made_length_of(seen.row));
  return std::vector{Tensor::view<float>(rows[0].as<float>().first(2), Shape{1, 2}).clone().value()};
}

// Graphs.

std::span<Port const> MadeGraphs::made() const {
  static constexpr Port ports[] = {{"atom", DType::i64}, {"edge", DType::i64}};
  return ports;
}

Result<Preprocessed> MadeGraphs::preprocess(Item const& item) const {
  SparedMemory const spared;
  Tensor const text = item.input(0);
  if (text.text_at(0).size() < 2) return fail(Code::invalid_argument, Reason::value_range, "not an item");
  auto const seen = read_item(stage, item, true);
  if (!seen) return tl::unexpected(seen.error());
  Preprocessed result;
  result.kept = std::make_shared<SeenRow const>(*seen);
  result.tensors = tensors_of(graph_of(mark_of(*seen)));
  return result;
}

std::span<Port const> MadeGraphs::outputs() const {
  static constexpr Port ports[] = {{"label", DType::bytes}, {"words", DType::bytes}};
  return ports;
}

Result<std::vector<Tensor>> MadeGraphs::postprocess(Item const& item, void const* kept,
                                                    std::span<Tensor const> rows) const {
  SparedMemory const spared;
  SeenRow const& seen = *static_cast<SeenRow const*>(kept);
  check_answer(stage, ModelKind::graph, item, seen, rows[0], 2);
  return texts_of(mark_of(seen), 0);
}

}  // namespace athanor_tests
