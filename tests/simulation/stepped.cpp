#include <simulation/stepped.hpp>

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <span>
#include <stdexcept>

#include <athanor/core/hash.hpp>
#include <support/thread_memory.hpp>

namespace athanor_tests {

namespace {

constexpr float filling = -7;

std::string name_of(StepModel const& model) {
  static constexpr char const* kinds[] = {"plain", "padded", "graph"};
  return std::string(kinds[static_cast<std::size_t>(model.kind)]) + (model.held ? "-held" : "-carried");
}
std::string version_of(StepModel const& model) { return std::to_string(model.edition + 1) + ".0.0"; }

// Of the last part of a path to its folder.
StepModel model_at(std::string const& folder) {
  for (std::size_t kind = 0; kind < step_kinds; ++kind)
    for (bool const held : {false, true})
      for (std::uint32_t edition = 0; edition < step_editions; ++edition)
        if (StepModel const model{static_cast<StepKind>(kind), held, edition}; folder == id_of(model))
          return model;
  std::abort();
}

constexpr std::int64_t constant_of(StepModel const& model) { return 100 + std::int64_t{model.edition}; }

// How many inputs come before `gain`, `mode`, the constant, `seed` and the state.
std::size_t first_inputs(StepModel const& model) {
  return model.kind == StepKind::plain ? 1 : model.kind == StepKind::padded ? 2 : 5;
}

std::int64_t bucket_of(StepModel const& model, Wish const& wish) {
  if (model.kind != StepKind::padded) return 2;
  return wish.length <= 3 ? 3 : 6;
}

// "m12u4": the mark, and the step after which the call is over.
std::string text_of(Wish const& wish) {
  return "m" + std::to_string(wish.mark) + "u" + std::to_string(wish.until);
}
std::optional<std::uint32_t> mark_of(std::string_view text) {
  std::uint32_t mark = 0;
  if (text.size() < 2 || text[0] != 'm') return std::nullopt;
  auto const read = std::from_chars(text.data() + 1, text.data() + text.size(), mark);
  return read.ec == std::errc() ? std::optional(mark) : std::nullopt;
}

void give(ath_tensor& output, DType dtype, void const* data, Shape const& shape) {
  output = to_view(Tensor::view(dtype, data, shape));
}

}  // namespace

std::string id_of(StepModel const& model) { return name_of(model) + "@" + version_of(model); }

std::uint32_t addend_of(StepModel const& model, Wish const& wish) noexcept {
  std::uint32_t const numbers = model.kind == StepKind::padded ? static_cast<std::uint32_t>(wish.length) : 2;
  return wish.mark * wish.gain + 64 * wish.mode + 128 * model.edition + 256 * numbers + 2048 * wish.seed;
}

Request request_of(StepModel const& model, Wish const& wish) {
  Request request;
  if (model.kind == StepKind::graph) {
    request.set("text", Tensor::text(text_of(wish)).clone().value());
  } else {
    std::int64_t const length = model.kind == StepKind::padded ? wish.length : 2;
    auto x = Tensor::allocate(DType::f32, Shape{1, length}).value();
    std::ranges::fill(x.mutable_as<float>(), static_cast<float>(wish.mark));
    x.mutable_as<float>()[0] = static_cast<float>(wish.until);
    request.set("x", std::move(x));
  }
  if (wish.gain != 1) request.set("gain", 1.0 * wish.gain);
  if (wish.mode != 0) request.set("mode", static_cast<std::int64_t>(wish.mode));
  if (wish.seed != 0) request.set("seed", static_cast<std::int64_t>(wish.seed));
  if (wish.most != most_steps) request.set("most", wish.most);
  return request;
}

std::string judge_part(StepModel const& model, Wish const& wish, std::int64_t step, Outputs const& part) {
  Tensor const& y = *part.find("y");
  std::int64_t const width = model.kind == StepKind::padded ? wish.length : 2;
  if (y.shape() != Shape{1, width}) return "a part of another shape";
  auto const numbers = y.as<float>();
  if (numbers[0] != static_cast<float>(step)) return "a part of another step";
  if (numbers[1] != static_cast<float>(step * addend_of(model, wish)))
    return "a part that is not of the call's own state";
  for (float const number : numbers.subspan(2))
    if (number != static_cast<float>(wish.mark)) return "a part of somebody else's numbers";
  if (model.kind != StepKind::graph) return "";
  return judge_graphs(std::span(&wish.mark, 1), static_cast<std::uint32_t>(step), graph_outputs(part));
}

// Folders.

StepFolders::StepFolders() {
  for (std::size_t kind = 0; kind < step_kinds; ++kind)
    for (bool const held : {false, true})
      for (std::uint32_t edition = 0; edition < step_editions; ++edition)
        write({static_cast<StepKind>(kind), held, edition});
}

std::string StepFolders::folder(StepModel const& model) const { return root_.path() + "/" + id_of(model); }

void StepFolders::write(StepModel const& model) const {
  std::string const numbers = R"({"name": "x", "dtype": "f32", "shape": ["items", "numbers"])";
  std::string const pair = R"({"name": "x", "dtype": "f32", "shape": ["items", 2]})";
  std::string const y = R"({"name": "y", "dtype": "f32", "shape": ["items", 2]})";
  std::string inputs = pair;
  std::string model_inputs = pair;
  std::string model_outputs = y;
  std::string outputs = y;
  std::string processor;
  if (model.kind == StepKind::padded) {
    inputs = numbers + "}";
    model_inputs = numbers + R"(, "pad": {"buckets": {"numbers": [3, 6]}, "value": -7}}, {"name": "mask",
      "dtype": "i64", "shape": ["items", "numbers"], "make": "mask"})";
    model_outputs = outputs = R"({"name": "y", "dtype": "f32", "shape": ["items", "numbers"]})";
  } else if (model.kind == StepKind::graph) {
    processor = R"("processor": {"name": "stepper", "rows": ["model:y"]}, )";
    inputs = R"({"name": "text", "dtype": "bytes", "shape": ["items"]})";
    model_inputs = pair + ", " + std::string(graph_inputs);
    model_outputs = y + ", " + std::string(force_output);
    outputs = y + ", " + std::string(graph_answers);
  }
  std::string const at = folder(model);
  std::filesystem::create_directory(at);
  std::ofstream(at + "/m0") << "weights";
  std::string const state =
      R"(, {"name": "state", "dtype": "f32", "shape": ["items", 2], "from": "state:next"})";
  std::ofstream(at + "/athanor.json")
      << R"({"athanor": 1, "name": ")" << name_of(model) << R"(", "version": ")" << version_of(model)
      << R"(", "backend": "stepped", "format": "any", )" << processor << R"("inputs": [)" << inputs
      << R"(], "parameters": [{"name": "gain", "type": "f64", "default": 1}, {"name": "mode", "type": "i64",
      "default": 0}, {"name": "most", "type": "i64", "default": 12, "min": 1, "max": 12},
      {"name": "seed", "type": "i64", "default": 0, "seed": true}], "model_inputs": [)"
      << model_inputs << R"(, {"name": "gain", "dtype": "f32", "shape": ["items"], "from": "parameter:gain"},
      {"name": "mode", "dtype": "i64", "shape": [], "from": "parameter:mode"},
      {"name": "edition", "dtype": "i64", "shape": [], "constant": )"
      << constant_of(model)
      << R"(}, {"name": "seed", "dtype": "i64", "shape": ["items"], "from": "parameter:seed"})"
      << (model.held ? "" : state) << R"(], "model_outputs": [)" << model_outputs
      << (model.held ? "" : R"(, {"name": "next", "dtype": "f32", "shape": ["items", 2]})")
      << R"(, {"name": "done", "dtype": "bool", "shape": ["items"]}], "outputs": [)" << outputs
      << R"(], "batching": {"max_items": 3}, "sequences": {"max": 4, "steps": {"until": "done", "max": "most"})"
      << (model.held ? R"(, "held": true)" : "") << R"(}, "members": [{"file": "m0", "digest": "xxh128:)"
      << to_hex(*hash_file(at + "/m0")) << R"("}]})";
}

// The backend.

Result<std::unique_ptr<StepBackend::Model>> StepBackend::load(ModelSource const& source) {
  SparedMemory const spared;
  auto const folder = std::filesystem::path(source.path).parent_path().filename().string();
  return std::make_unique<Model>(stage_, model_at(folder));
}

float const* StepBackend::Instance::row(ath_batch const& batch, std::int64_t item) const {
  return static_cast<float const*>(batch.inputs[0].data) + batch.inputs[0].shape[1] * item;
}

Result<void> StepBackend::Instance::run(ath_batch& batch) {
  SparedMemory spared;
  if (float const first = *row(batch, 0); first == 0.015625F || first == 0.03125F || first == -0.015625F)
    return fail(Code::invalid_argument, Reason::value_range, "not a row");
  if (std::exchange(entered_, true)) stage_.wrong("an instance was entered twice at once");
  auto const marks = read_marks(batch);
  auto states = read_states(batch);
  StepEnd const end = stage_.run(model_, marks, states);
  if (read_marks(batch) != marks) stage_.wrong("the inputs of a batch changed while it ran");
  entered_ = false;
  for (std::size_t i = 0; i < marks.size(); ++i) {
    Wish const* const wish = stage_.wish(model_, marks[i]);
    if (wish != nullptr) states[i] = {states[i].steps + 1, states[i].sum + addend_of(model_, *wish)};
    // What is held moves on also where the run fails: nobody may go on from there.
    if (model_.held) held_[batch.slots[i]] = states[i];
  }
  spared.then(end.memory);
  if (!end.result) return end.result;
  answer(batch, marks, states);
  if (end.one_row_more) {
    y_.resize(y_.size() + static_cast<std::size_t>(batch.inputs[0].shape[1]));
    give(batch.outputs[0], DType::f32, y_.data(), Shape{batch.items + 1, batch.inputs[0].shape[1]});
    return {};
  }
  stage_.stepped(marks);
  return {};
}

std::vector<std::uint32_t> StepBackend::Instance::read_marks(ath_batch const& batch) {
  std::vector<std::uint32_t> marks;
  for (std::int64_t item = 0; item < batch.items; ++item) {
    float const mark = row(batch, item)[1];
    marks.push_back(mark >= 1 ? static_cast<std::uint32_t>(std::lround(mark)) : 0);
    Wish const* const wish = stage_.wish(model_, marks.back());
    if (wish == nullptr) {
      stage_.wrong("the model was given a row of no call of its own");
    } else {
      check_row(batch, item, *wish);
    }
  }
  if (model_.kind != StepKind::graph) return marks;
  if (read_graphs({batch.inputs + 1, 4}, batch.items) != marks)
    stage_.wrong("the model was given graphs of other calls, or mixed ones");
  return marks;
}

// What belongs to the item, its parameters, what holds for its whole batch, and its padding.
void StepBackend::Instance::check_row(ath_batch const& batch, std::int64_t item, Wish const& wish) {
  ath_tensor const* const inputs = batch.inputs + first_inputs(model_);
  float const* const x = row(batch, item);
  if (x[0] != static_cast<float>(wish.until)) stage_.wrong("the model was given a row of mixed calls");
  if (static_cast<float const*>(inputs[0].data)[item] != static_cast<float>(wish.gain) ||
      *static_cast<std::int64_t const*>(inputs[1].data) != std::int64_t{wish.mode} ||
      static_cast<std::int64_t const*>(inputs[3].data)[item] != std::int64_t{wish.seed})
    stage_.wrong("the model was given the parameter of another call");
  if (*static_cast<std::int64_t const*>(inputs[2].data) != constant_of(model_))
    stage_.wrong("the model was given the constant of another model");
  std::int64_t const width = batch.inputs[0].shape[1];
  if (width != bucket_of(model_, wish)) return stage_.wrong("a call is in a batch of another bucket");
  if (model_.kind != StepKind::padded) return;
  auto const* const mask = static_cast<std::int64_t const*>(batch.inputs[1].data) + width * item;
  for (std::int64_t i = 2; i < width; ++i) {
    bool const own = i < wish.length;
    if (x[i] != (own ? static_cast<float>(wish.mark) : filling) || mask[i] != (own ? 1 : 0))
      return stage_.wrong("the model was given a row that is not padded as it should be");
  }
}

std::vector<StepState> StepBackend::Instance::read_states(ath_batch const& batch) {
  std::vector<StepState> states;
  for (std::int64_t i = 0; i < batch.items; ++i) {
    if (batch.slots[i] >= most_places) stage_.wrong("a slot that there is not");
    if (std::count(batch.slots, batch.slots + i, batch.slots[i]) != 0)
      stage_.wrong("a slot is twice in a batch");
    if (model_.held) {
      states.push_back(held_[batch.slots[i]]);
      continue;
    }
    auto const* const state = static_cast<float const*>(batch.inputs[first_inputs(model_) + 4].data) + 2 * i;
    states.push_back({std::lround(state[0]), static_cast<std::uint32_t>(std::lround(state[1]))});
  }
  return states;
}

void StepBackend::Instance::answer(ath_batch& batch, std::vector<std::uint32_t> const& marks,
                                   std::vector<StepState> const& next) {
  std::int64_t const width = batch.inputs[0].shape[1];
  y_.clear();
  forces_.clear();
  next_.clear();
  done_.clear();
  for (std::size_t i = 0; i < marks.size(); ++i) {
    float const* const x = row(batch, static_cast<std::int64_t>(i));
    float const state[] = {static_cast<float>(next[i].steps), static_cast<float>(next[i].sum)};
    next_.insert(next_.end(), {state[0], state[1]});
    y_.insert(y_.end(), {state[0], state[1]});
    for (std::int64_t j = 2; j < width; ++j) y_.push_back(x[j] == filling ? std::nanf("") : x[j]);
    done_.push_back(state[0] >= x[0] ? 1 : 0);
    if (model_.kind == StepKind::graph) append_forces(marks[i], forces_);
  }
  std::size_t output = 0;
  give(batch.outputs[output++], DType::f32, y_.data(), Shape{batch.items, width});
  if (model_.kind == StepKind::graph)
    give(batch.outputs[output++], DType::f32, forces_.data(),
         Shape{static_cast<std::int64_t>(forces_.size()) / forces_of_atom, forces_of_atom});
  if (!model_.held) give(batch.outputs[output++], DType::f32, next_.data(), Shape{batch.items, 2});
  give(batch.outputs[output], DType::boolean, done_.data(), Shape{batch.items});
}

// The processor.

Result<std::unique_ptr<StepProcessor::Opened>> StepProcessor::open(std::string_view folder,
                                                                   std::string_view) {
  SparedMemory const spared;
  auto const id = std::filesystem::path(folder).filename().string();
  return std::unique_ptr<Opened>(new Opened{stage_, model_at(id)});
}

std::span<Port const> StepProcessor::Opened::made() const {
  static constexpr Port ports[] = {{"x", DType::f32}, {"atom", DType::i64}, {"edge", DType::i64}};
  return ports;
}

std::span<Port const> StepProcessor::Opened::outputs() const {
  static constexpr Port ports[] = {{"label", DType::bytes}, {"words", DType::bytes}};
  return ports;
}

// Of the item, if its parameters are its own, too.
Wish const* StepProcessor::Opened::wish_of(Item const& item) const {
  auto const mark = mark_of(item.input(0).text_at(0));
  Wish const* const wish = mark ? stage.wish(model, *mark) : nullptr;
  if (wish == nullptr || item.input(0).text_at(0) != text_of(*wish)) {
    stage.wrong("the processor was given an item of no call");
    return nullptr;
  }
  if (item.parameter<double>(0).value() != wish->gain ||
      item.parameter<std::int64_t>(1).value() != std::int64_t{wish->mode} ||
      item.parameter<std::int64_t>(2).value() != wish->most ||
      item.parameter<std::int64_t>(3).value() != std::int64_t{wish->seed})
    stage.wrong("the processor was given the parameter of another call");
  return wish;
}

Result<Preprocessed> StepProcessor::Opened::preprocess(Item const& item) const {
  SparedMemory const spared;
  if (item.input(0).text_at(0).size() < 2)
    return fail(Code::invalid_argument, Reason::value_range, "not an item");
  stage.process();
  Wish const* const wish = wish_of(item);
  if (wish == nullptr) return fail(Code::internal, Reason::backend_failure, "not an item");
  Preprocessed result;
  float const numbers[] = {static_cast<float>(wish->until), static_cast<float>(wish->mark)};
  result.tensors.push_back(Tensor::view<float>(numbers, Shape{1, 2}).clone().value());
  for (Tensor& tensor : tensors_of(graph_of(wish->mark))) result.tensors.push_back(std::move(tensor));
  result.kept = std::make_shared<std::uint32_t const>(wish->mark);
  return result;
}

Result<std::vector<Tensor>> StepProcessor::Opened::postprocess(Item const& item, void const* kept,
                                                               std::span<Tensor const> rows) const {
  SparedMemory const spared;
  stage.process();
  Wish const* const wish = wish_of(item);
  if (wish == nullptr) return fail(Code::internal, Reason::backend_failure, "not an item");
  auto const y = rows[0].as<float>();
  if (*static_cast<std::uint32_t const*>(kept) != wish->mark || rows[0].shape() != Shape{1, 2} ||
      y[1] != y[0] * static_cast<float>(addend_of(model, *wish)))
    stage.wrong("postprocess was given what belongs to another call");
  return texts_of(wish->mark, static_cast<std::uint32_t>(std::lround(y[0])));
}

}  // namespace athanor_tests
