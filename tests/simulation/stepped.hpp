// The models that the engine steps in the simulated world of streams: their folders, and a backend and a
// processor for them.
//
// A request is a wish. It has a mark of its own, says with which step its call is over, by its input and by
// the parameter `most`, and has three parameters that go into every step: `gain` and `seed`, of each item,
// and `mode`, for a whole batch. Its state is how many steps it has made and a sum to which every step adds
// what the wish and the edition of the model say. An answer is the state after the step. `plain` and `padded`
// read numbers, the second so many of them as the wish says; `graph` reads a text, of which its processor
// makes numbers and a graph, and answers with forces and texts, too (see graphs.hpp).
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <athanor/core/backend.hpp>
#include <athanor/core/signature.hpp>
#include <athanor/serving/answer.hpp>
#include <simulation/graphs.hpp>
#include <support/folder.hpp>

namespace athanor_tests {

enum class StepKind : std::uint8_t { plain, padded, graph };
inline constexpr std::size_t step_kinds = 3;
inline constexpr std::int64_t most_steps = 12;   // of one call, by the manifest
inline constexpr std::size_t most_places = 4;    // of calls, at once
inline constexpr std::int64_t most_stepped = 3;  // items of a batch
inline constexpr std::uint32_t step_editions = 2;

// One of the models. A later edition has the name of the earlier one, a later version, and another constant.
struct StepModel {
  StepKind kind = StepKind::plain;
  bool held = false;
  std::uint32_t edition = 0;
  friend bool operator==(StepModel const&, StepModel const&) = default;
};
std::string id_of(StepModel const& model);

struct Wish {
  std::uint32_t mark = 0;
  std::int64_t until = 1;
  std::int64_t most = most_steps;
  std::uint32_t gain = 1;
  std::uint32_t mode = 0;
  std::uint32_t seed = 0;
  std::int64_t length = 2;  // of `padded`, from 2 to 5

  std::int64_t steps() const noexcept { return std::min(until, most); }
};
// What a step adds to the sum, and the answer of the step of that number, which counts from 1.
std::uint32_t addend_of(StepModel const& model, Wish const& wish) noexcept;
// What the caller gives, with memory of its own. A parameter that has its default is left out.
Request request_of(StepModel const& model, Wish const& wish);
// What is wrong with the part that the step made; empty when nothing is.
std::string judge_part(StepModel const& model, Wish const& wish, std::int64_t step, Outputs const& part);

// The folders of all models.
class StepFolders {
 public:
  StepFolders();
  std::string folder(StepModel const& model) const;

 private:
  void write(StepModel const& model) const;
  Folder root_;
};

// What a call has come to, as the backend knows it.
struct StepState {
  std::int64_t steps = 0;
  std::uint32_t sum = 0;
  friend bool operator==(StepState const&, StepState const&) = default;
};

// How a run ends.
struct StepEnd {
  Result<void> result{};
  bool one_row_more = false;  // than there should be
  std::size_t memory = 0;     // the allocation after it that fails on its thread; 0: none
};

// What the backend and the processor ask.
class StepStage {
 public:
  // The wish of the call of that mark, or null.
  virtual Wish const* wish(StepModel const& model, std::uint32_t mark) = 0;
  virtual void loaded(StepModel const& model) = 0;
  virtual void unloaded() = 0;
  // Before anything is computed; `found` is the state of each.
  virtual StepEnd run(StepModel const& model, std::vector<std::uint32_t> const& marks,
                      std::vector<StepState> const& found) = 0;
  virtual void stepped(std::vector<std::uint32_t> const& marks) = 0;
  virtual void process() = 0;
  virtual void wrong(std::string text) = 0;

 protected:
  ~StepStage() = default;
};

class StepBackend {
 public:
  static constexpr char const* name = "stepped";
  static constexpr RunsOn runs_on = RunsOn::any_thread;
  explicit StepBackend(StepStage& stage) : stage_(stage) {}

  class Instance {
   public:
    Instance(StepStage& stage, StepModel const& model) : stage_(stage), model_(model) {}
    Result<void> run(ath_batch& batch);
    void clear_slot(std::uint64_t slot) noexcept { held_[slot] = {}; }

   private:
    // By their places among the model's inputs.
    float const* row(ath_batch const& batch, std::int64_t item) const;
    std::vector<std::uint32_t> read_marks(ath_batch const& batch);
    void check_row(ath_batch const& batch, std::int64_t item, Wish const& wish);
    std::vector<StepState> read_states(ath_batch const& batch);
    void answer(ath_batch& batch, std::vector<std::uint32_t> const& marks,
                std::vector<StepState> const& next);

    StepStage& stage_;
    StepModel model_;
    bool entered_ = false;
    std::array<StepState, most_places> held_{};
    std::vector<float> y_{};
    std::vector<float> forces_{};
    std::vector<float> next_{};
    std::vector<std::uint8_t> done_{};
  };
  struct Model {
    using Instance = StepBackend::Instance;
    StepStage& stage;
    StepModel model;
    Model(StepStage& of, StepModel const& which) : stage(of), model(which) { stage.loaded(model); }
    Model(Model const&) = delete;
    Model& operator=(Model const&) = delete;
    ~Model() { stage.unloaded(); }
    std::uint64_t footprint() const { return 1000; }
    Result<std::unique_ptr<Instance>> make_instance() { return std::make_unique<Instance>(stage, model); }
  };
  Result<std::unique_ptr<Model>> load(ModelSource const& source);

 private:
  StepStage& stage_;
};

// Makes the numbers and the graph of `graph`, and names what its steps answer.
class StepProcessor {
 public:
  static constexpr char const* name = "stepper";
  explicit StepProcessor(StepStage& stage) : stage_(stage) {}

  struct Opened {
    StepStage& stage;
    StepModel model;
    std::span<Port const> made() const;
    std::span<Port const> outputs() const;
    Result<Preprocessed> preprocess(Item const& item) const;
    Result<std::vector<Tensor>> postprocess(Item const& item, void const* kept,
                                            std::span<Tensor const> rows) const;

   private:
    Wish const* wish_of(Item const& item) const;
  };
  Result<std::unique_ptr<Opened>> open(std::string_view folder, std::string_view);

 private:
  StepStage& stage_;
};

}  // namespace athanor_tests
