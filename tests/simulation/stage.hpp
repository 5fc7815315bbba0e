// The models of the simulated world: their folders, and a backend and processors that do what the world says.
//
// A request of content c has items_of(c) items; item r of input j holds c * 32 + 2 * r + j, as
// numbers or in a text. Every model answers with its input plus 1 and a quarter of its parameter,
// so that an answer says whose rows and whose parameter the model has seen. (Each member of the
// ensemble adds its number as well, and the answer is the mean over those that answered.)
//
// The parameter: `plain`, `single` and `held` read it for a whole batch, `texts`, `carried` and
// `graph` for each item, `made` in its processor; `ensemble`, `padded` and `ragged` have none.
// A request to `texts` of an odd content says a tag, any other leaves it out. `plain` gives
// with each batch one number for all its items and reads a constant for a batch, `ensemble` one
// for each item. `single` has no batch axis, the ensemble has its items along axis 1.
//
// Items of different length: `padded`, `carried` and `made` pad them, the last also those of one request.
// What pads is checked by the backend, which answers padding with NaN, so that nobody is given it
// unnoticed. Requests to `padded` and `made` have a table for all items, whose length and numbers depend
// on the content. `ragged` answers with any number of rows for each item, all of them its input plus 1.
// `graph` has a processor that makes graphs of texts, and texts of the model's answers; see graphs.hpp.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <athanor/core/backend.hpp>
#include <athanor/core/signature.hpp>
#include <simulation/script.hpp>
#include <support/folder.hpp>
#include <support/thread_memory.hpp>

namespace athanor_tests {

struct ModelTraits {
  char const* name;
  std::int64_t max_items;  // of a batch
  std::uint32_t instances;
  std::uint32_t members;
  std::uint32_t min_members;
  bool takes_numbers;
  bool takes_texts;
};
inline constexpr std::array<ModelTraits, model_kinds> model_traits{{
    {"plain", 4, 2, 1, 1, true, false},
    {"texts", 3, 1, 1, 1, false, true},
    {"made", 8, 2, 1, 1, true, true},
    {"ensemble", 4, 1, 3, 2, true, false},
    {"single", 1, 2, 1, 1, true, false},
    {"padded", 4, 2, 1, 1, true, false},
    {"ragged", 3, 2, 1, 1, true, false},
    {"carried", 4, 1, 1, 1, true, false},
    {"held", 4, 1, 1, 1, true, false},
    {"graph", 4, 2, 1, 1, false, true},
}};
constexpr ModelTraits const& traits_of(ModelKind kind) {
  return model_traits[static_cast<std::size_t>(kind)];
}
// What a model holds once it is loaded, in bytes.
constexpr std::uint64_t footprint_of(ModelKind kind) {
  std::uint64_t const members = traits_of(kind).members;
  return 1000 / members * members;
}
inline constexpr float stage_edition = 7;  // what `plain` gives beside y

// The state of a sequence: how many calls stepped it, and a number made of
// their values. A model with state answers with the one that it found, too.
struct StateSeen {
  std::uint32_t calls = 0;
  std::uint32_t mix = 0;
};
constexpr StateSeen step_state(StateSeen state, std::uint32_t value) noexcept {
  return {state.calls + 1, (state.mix * 31 + value + 1) % 65521};
}
inline constexpr std::size_t most_sequences = 3;  // of one model
inline constexpr Duration idle_time = std::chrono::milliseconds(40);

// The folders of all models.
class ModelFolders {
 public:
  ModelFolders();
  std::string folder(ModelKind kind) const { return root_.path() + "/" + traits_of(kind).name; }

 private:
  void write(ModelKind kind, std::string const& manifest, std::uint32_t members) const;
  Folder root_;
};

// Of one item of a request to `graph`.
inline constexpr std::uint32_t most_graphs = 16;  // of one request
constexpr std::uint32_t graph_mark(std::uint32_t value, std::uint32_t row) noexcept {
  return content_of(value) * most_graphs + row;
}

// The bucket of a request to `padded` or `made`, and how many numbers an answer has for each item.
std::int64_t bucket_of(ModelKind kind, std::uint32_t value) noexcept;
std::int64_t width_of(ModelKind kind, std::uint32_t value) noexcept;

// What the caller's memory holds; a Request borrows it.
struct InputMemory {
  std::vector<float> numbers;
  std::string text;
  std::vector<std::int64_t> offsets;
  std::vector<std::int32_t> tags;
  std::vector<float> table;

  void fill(ModelKind kind, std::uint32_t value);
  // What the engine counts for them.
  std::int64_t bytes(ModelKind kind, std::uint32_t value) const;
  // What nobody may read any more.
  void overwrite() noexcept;
  Request borrow(ModelKind kind, std::uint32_t value) const;
  // The same with memory of its own.
  Request copy(ModelKind kind, std::uint32_t value) const;
};

// One row of a batch, as the backend reads it: of which value it is, and which of its items.
struct SeenRow {
  std::uint32_t value = 0;
  std::uint32_t row = 0;
};

// How a run of the backend ends.
struct RunEnd {
  Result<void> result{};
  bool throws = false;
  std::int64_t rows_too_many = 0;
  std::size_t memory = 0;  // which allocation of the thread fails after it
};

// What the backend and the processor ask.
class Stage {
 public:
  virtual Result<void> load(ModelKind kind, std::uint32_t member) = 0;
  virtual void unload() = 0;
  virtual RunEnd run(ModelKind kind, std::uint32_t member, std::vector<SeenRow> const& rows) = 0;
  virtual Result<void> preprocess(std::uint32_t value) = 0;
  virtual void postprocess() = 0;
  virtual void wrong(std::string text) = 0;

 protected:
  ~Stage() = default;
};

class StageBackend {
 public:
  static constexpr char const* name = "stage";
  static constexpr RunsOn runs_on = RunsOn::any_thread;
  explicit StageBackend(Stage& stage) : stage_(stage) {}

  class Instance {
   public:
    Instance(Stage& stage, ModelKind kind, std::uint32_t member)
        : stage_(stage), kind_(kind), member_(member) {}
    Result<void> run(ath_batch& batch);

    void clear_slot(std::uint64_t slot) noexcept { held_[slot] = {}; }

   private:
    std::vector<StateSeen> read_states(ath_batch const& batch);
    void give_states(ath_batch const& batch, std::vector<SeenRow> const& rows,
                     std::vector<StateSeen> const& found, std::int64_t count);

    Stage& stage_;
    ModelKind kind_;
    std::uint32_t member_;
    bool entered_ = false;
    void answer_ragged(ath_batch& batch, std::vector<SeenRow> const& rows, std::int64_t rows_too_many);
    void give_forces(ath_batch& batch, std::vector<SeenRow> const& rows);
    std::vector<float> memory_{};
    std::vector<float> forces_{};
    float edition_ = stage_edition;
    std::vector<std::int64_t> counts_{};
    std::array<std::vector<float>, 2> states_{};    // what was found, and what comes next
    std::array<StateSeen, most_sequences> held_{};  // by slot
  };
  struct Model {
    using Instance = StageBackend::Instance;
    Stage& stage;
    ModelKind kind;
    std::uint32_t member;
    Model(Stage& of, ModelKind model, std::uint32_t number) : stage(of), kind(model), member(number) {}
    Model(Model const&) = delete;
    Model& operator=(Model const&) = delete;
    ~Model() { stage.unload(); }
    std::uint64_t footprint() const { return footprint_of(kind) / traits_of(kind).members; }
    Result<std::unique_ptr<Instance>> make_instance() {
      return std::make_unique<Instance>(stage, kind, member);
    }
  };
  Result<std::unique_ptr<Model>> load(ModelSource const& source);

 private:
  Stage& stage_;
};

// A processor whose halves are those of `T`, which has the stage and nothing else.
template <class T>
class StagedProcessor {
 public:
  using Opened = T;
  explicit StagedProcessor(Stage& stage) : stage_(stage) {}
  Result<std::unique_ptr<Opened>> open(std::string_view, std::string_view) {
    return std::make_unique<Opened>(Opened{stage_});
  }

 private:
  Stage& stage_;
};

// Makes z, four numbers and more of them in some rows: the two of x, the value and the row that
// the text says, and fives. These are kept until the model's answer, which becomes the caller's.
struct MadeRows {
  Stage& stage;
  std::span<Port const> made() const;
  std::span<Port const> outputs() const;
  Result<Preprocessed> preprocess(Item const& item) const;
  Result<std::vector<Tensor>> postprocess(Item const& item, void const* kept,
                                          std::span<Tensor const> rows) const;
};
struct StageProcessor : StagedProcessor<MadeRows> {
  static constexpr char const* name = "stage-processor";
  using StagedProcessor::StagedProcessor;
};

// Makes the graph that the text names, and names the model's answer.
struct MadeGraphs {
  Stage& stage;
  std::span<Port const> made() const;
  std::span<Port const> outputs() const;
  Result<Preprocessed> preprocess(Item const& item) const;
  Result<std::vector<Tensor>> postprocess(Item const& item, void const* kept,
                                          std::span<Tensor const> rows) const;
};
struct StageGrapher : StagedProcessor<MadeGraphs> {
  static constexpr char const* name = "stage-grapher";
  using StagedProcessor::StagedProcessor;
};

}  // namespace athanor_tests
