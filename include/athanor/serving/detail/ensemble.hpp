/// Execution of a model: one member, or an ensemble whose members read the same assembled batch, each with
/// its own choice of inputs, token table and scaler.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <athanor/core/backend.hpp>
#include <athanor/manifest/model_input.hpp>
#include <athanor/serving/detail/batch_buffer.hpp>
#include <athanor/serving/detail/handles.hpp>
#include <athanor/serving/detail/input_starts.hpp>
#include <athanor/serving/detail/padding.hpp>

namespace athanor::inline v1::serving {

/// Maps codes to tokens: the code at index i of `codes` is token i + 2, every other code is token 1.
/// Immutable.
class TokenLookup {
 public:
  static constexpr std::int64_t unknown = 1;

  TokenLookup() = default;
  explicit TokenLookup(std::span<std::int64_t const> codes);
  bool empty() const noexcept { return rows_.empty(); }
  std::int64_t token(std::int64_t code) const noexcept;

 private:
  struct Row {
    std::int64_t code;
    std::int64_t token;
  };
  std::vector<Row> rows_;  // ascending by code
};

/// value = raw * scale + center.
struct Scaler {
  double center = 0;
  double scale = 1;
};

struct MemberPlan {
  std::string file;
  std::vector<TokenLookup> lookups;   ///< by model input; an empty one passes the input through
  std::vector<Scaler> scalers;        ///< by model output
  std::vector<std::size_t> inputs{};  ///< which model inputs it reads, in its order; empty: all
};

/// The source of an output.
struct OutputPlan {
  static constexpr std::size_t not_ragged = static_cast<std::size_t>(-1);
  enum class From : std::uint8_t {
    model,
    mean,
    median,
    standard_deviation,
    unknown,
    members,
    preprocess,
    postprocess,
    rows,      ///< how many rows items have along a ragged axis of the model's
    made_rows  ///< the same of what postprocess makes
  };
  /// How its rows get into an answer.
  enum class Rows : std::uint8_t {
    copied,  ///< as they are
    cut,     ///< without what is padding in them
    made,    ///< from what preprocess made of the items
    later    ///< once the batch is scattered: from postprocess, or along a ragged axis
  };
  TensorSpec spec;
  From from = From::model;
  std::size_t index = 0;  ///< of the model output, or of the tensor that preprocess or postprocess makes
  PaddedDims padded{};    ///< of the model output: along these it is cut back
  /// Of an output with rows along a ragged axis, or that counts them: which axis of the plan; of what
  /// postprocess makes, the output that counts them.
  std::size_t ragged = not_ragged;

  /// Whether the processor makes it, rather than the model.
  bool is_processed() const noexcept {
    return from == From::preprocess || from == From::postprocess || from == From::made_rows;
  }
  /// Whether it has a row for each item, and not rows along a ragged axis.
  bool has_item_rows() const noexcept { return ragged == not_ragged || from == From::rows; }
  Rows rows() const noexcept {
    if (from == From::postprocess || from == From::made_rows || !has_item_rows()) return Rows::later;
    if (from == From::preprocess) return Rows::made;
    return padded.empty() ? Rows::copied : Rows::cut;
  }
};

/// Where the rows of items along a ragged axis are counted.
struct RaggedPlan {
  /// In the model's inputs: `index` is a `ragged` one along the axis; else in model output `index`.
  bool of_inputs = false;
  std::size_t index = 0;
};

/// State that a model carries from call to call.
struct StatePlan {
  std::size_t input = 0;   ///< the model input that it is
  std::size_t output = 0;  ///< the model output that is its next value
};

/// Everything that is the same for all instances of a model.
struct ExecutionPlan {
  std::vector<ModelInput> inputs;
  Padding padding;                        ///< of the inputs
  std::vector<TensorSpec> model_outputs;  ///< as the model returns them: `items` along any axis, or none
  std::vector<RaggedPlan> ragged;         ///< axes of model outputs
  /// By model output: the ragged axis of its rows, or not_ragged.
  std::vector<std::size_t> ragged_model_outputs;
  std::vector<OutputPlan> outputs;  ///< the public ones, then those that only postprocess reads
  std::vector<MemberPlan> members;
  std::size_t min_members = 1;
  std::vector<StatePlan> states;  ///< by their inputs
  std::size_t slots = 0;          ///< of state; 0 for a model without
};

/// How a backend asks whether anybody waits for the batch that it runs; none: nobody knows.
struct BatchWork {
  std::int32_t (*is_cancelled)(void const* work) = nullptr;
  void const* work = nullptr;
};

/// One instance of every member. Not thread-safe: one run at a time.
class Ensemble {
 public:
  /// `plan` must outlive the ensemble; one instance per member of the plan, in its order.
  Ensemble(ExecutionPlan const& plan, std::vector<Instance> members);

  /// Runs every member over the assembled inputs (in the order of plan.inputs) and aggregates. Returns how
  /// many members answered. Checks what each returns: count, element type, rows, and the batch's `widths`
  /// along padded axes. Fewer than `min_members` good answers fail the batch with the first member's error,
  /// named by its file. `starts`: where the items of the batch begin along the axes of ragged inputs, by
  /// model input.
  Result<std::uint32_t> run(std::span<TensorView const> inputs, std::int64_t items,
                            PaddedLengths const& widths = {}, InputStarts starts = {}, BatchWork work = {});

  /// What a member gave, or failed to give, against the manifest, in any run since the last call; nothing
  /// while all kept to it. It stands also where enough others answered.
  std::optional<Error> take_broken_promise() noexcept { return std::exchange(broken_promise_, std::nullopt); }

  /// Where the rows of each item begin along a ragged axis of the plan, in the last run; one more for the
  /// end.
  std::span<std::int64_t const> starts(std::size_t ragged) const noexcept { return starts_[ragged]; }

  /// The public outputs of the last run, each with `items` rows, in the plan's order; those that the
  /// processor makes are left empty. Valid until the next run.
  std::span<TensorView const> outputs() const noexcept { return passes_outputs_ ? raw_ : outputs_; }
  /// A model output of the last run of the only member, as that gives it. Valid until the next run.
  TensorView const& model_output(std::size_t output) const noexcept { return raw_[output]; }

  /// Of a model with state: the slot of each item of the next run.
  std::vector<std::uint64_t>& slots() noexcept { return slots_; }
  /// Clears a slot of the state that the backend holds.
  void clear_slot(std::uint64_t slot) noexcept { members_[0].clear_slot(slot); }

 private:
  Result<void> run_member(std::size_t member, std::span<TensorView const> inputs, std::int64_t items,
                          InputStarts const& starts, BatchWork const& work);
  void map_tokens(std::size_t member, std::span<TensorView const> inputs);
  std::span<TensorView const> choose(MemberPlan const& member, std::span<TensorView const> inputs);
  Result<void> check_ragged_outputs(std::size_t member, std::int64_t items, InputStarts const& starts);
  Result<void> check_outputs(std::size_t member, std::int64_t items, std::span<std::size_t const> outputs);
  Result<void> check_output(std::size_t member, std::size_t output, std::int64_t rows) const;
  Result<void> count_rows(std::size_t member, std::int64_t items, InputStarts const& starts);
  std::int64_t rows_of(std::size_t output, std::int64_t items) const noexcept;
  std::int64_t count_of(OutputPlan const& plan, std::size_t item, std::uint32_t good) const noexcept;
  void put_items_first(std::size_t slot, std::size_t axis, std::int64_t items);
  tl::unexpected<Error> refuse_output(std::size_t member, std::size_t output, std::string const& fault) const;
  void average(OutputPlan const& plan, std::uint32_t good, std::span<double> mean) const;
  void deviate(OutputPlan const& plan, std::uint32_t good, std::span<double const> mean,
               std::span<double> deviation) const;
  void take_median(OutputPlan const& plan, std::uint32_t good, std::span<double> median);
  TensorView buffer_for(std::size_t output, TensorView const& like);
  void fill_output(std::size_t output, std::int64_t items, std::uint32_t good);

  static constexpr std::size_t none = static_cast<std::size_t>(-1);

  ExecutionPlan const& plan_;
  std::vector<Instance> members_;
  bool const maps_tokens_;             // some member has a token table
  bool const chooses_inputs_;          // some member reads a choice of the model inputs
  bool const passes_outputs_;          // the public outputs are those of the only member, as it gives them
  std::vector<BatchBuffer> tokens_;    // by model input: tokens of the current member
  std::vector<std::size_t> segments_;  // by model input: the input that says which item an element is of
  std::vector<std::int64_t> unknown_;  // by item: the largest number of unknown codes of any member
  std::vector<std::int64_t> unknown_here_;  // by item: unknown codes of the current member
  std::vector<TensorView> mapped_;          // by model input
  std::vector<TensorView> chosen_;          // by input of the current member
  std::vector<std::size_t> batch_axes_;     // by model output
  std::vector<TensorView> raw_;        // member-major: member * model outputs + output; checked, items first
  std::vector<TensorView> passed_;     // as raw_: what last passed the checks; its memory is not read
  std::vector<BatchBuffer> moved_;     // as raw_: memory of the outputs that had to be rearranged
  std::vector<PaddedDims> padded_;     // by model output
  PaddedLengths widths_{};             // of the batch at hand
  std::vector<BatchBuffer> computed_;  // by public output
  BatchBuffer mean_;                   // of the output being computed
  BatchBuffer deviation_;              // likewise
  BatchBuffer median_;                 // likewise
  BatchBuffer given_;                  // of the median: by element, what each member gave
  std::vector<std::uint8_t> answered_;
  std::vector<TensorView> outputs_;
  std::vector<std::size_t> ragged_;  // by model output: its ragged axis, or not_ragged
  std::vector<std::size_t> order_;   // model outputs as they are checked: those whose rows others count last
  std::size_t first_ragged_ = 0;     // of order_
  std::vector<std::vector<std::int64_t>> starts_;  // by ragged axis
  std::vector<std::uint64_t> slots_;
  std::optional<Error> broken_promise_;
};

}  // namespace athanor::inline v1::serving
