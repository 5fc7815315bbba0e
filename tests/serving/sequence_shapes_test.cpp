// State together with items of different length: padded
// along an axis, or one after another along a ragged one.
#include <doctest/doctest.h>

#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <athanor/core/detail/view.hpp>
#include <serving/sequence_rig.hpp>

using namespace athanor;
using namespace athanor_tests;

namespace {

// Gives for every element the sum of its sequence so far, with this element.
struct RunningBackend {
  static constexpr char const* name = "puppet";
  static constexpr RunsOn runs_on = RunsOn::any_thread;

  struct Instance {
    bool held = false;
    std::map<std::uint64_t, float> kept{};
    std::vector<float> y{};
    std::vector<float> sums{};

    Result<void> run(ath_batch& batch) {
      auto const& x = batch.inputs[0];
      auto const* const values = static_cast<float const*>(x.data);
      auto const* const carried = static_cast<float const*>(batch.inputs[batch.input_count - 1].data);
      sums.clear();
      for (std::size_t item = 0; item < static_cast<std::size_t>(batch.items); ++item)
        sums.push_back(held ? kept[batch.slots[item]] : carried[item]);
      y.assign(values, values + x.size_bytes / sizeof(float));
      for (std::size_t i = 0; i < y.size(); ++i) {
        std::size_t const item =
            x.ndim == 2 ? i / static_cast<std::size_t>(x.shape[1])
                        : static_cast<std::size_t>(static_cast<std::int64_t const*>(batch.inputs[1].data)[i]);
        y[i] = sums[item] += y[i];
      }
      for (std::size_t item = 0; held && item < sums.size(); ++item) kept[batch.slots[item]] = sums[item];
      batch.outputs[0] = x;
      batch.outputs[0].data = y.data();
      if (!held) batch.outputs[1] = to_view(Tensor::view<float>(sums, Shape{batch.items}));
      return {};
    }
    void clear_slot(std::uint64_t slot) noexcept { kept[slot] = 0; }
  };
  struct Model {
    using Instance = RunningBackend::Instance;
    bool held = false;
    std::uint64_t footprint() const { return 1; }
    Result<std::unique_ptr<Instance>> make_instance() {
      return std::unique_ptr<Instance>(new Instance{.held = held});
    }
  };
  Result<std::unique_ptr<Model>> load(ModelSource const& source) {
    return std::make_unique<Model>(Model{source.slot_count != 0});
  }
};

std::string tensors(std::string const& inputs, std::string const& model_inputs, std::string const& outputs,
                    Kept kept) {
  std::string const state = R"(, {"name": "sum", "dtype": "f32", "shape": ["items"], "from": "state:next"})";
  return R"("inputs": [)" + inputs + R"(], "model_inputs": [)" + model_inputs +
         (kept == Kept::carried ? state : "") + R"(], "outputs": [)" + outputs + "],";
}

std::string padded(Kept kept) {
  return tensors(
      R"({"name": "x", "dtype": "f32", "shape": ["items", "time"]})",
      R"({"name": "x", "dtype": "f32", "shape": ["items", "time"], "pad": {"buckets": {"time": [2, 4]}, "value": 0}})",
      R"({"name": "y", "dtype": "f32", "shape": ["items", "time"]})", kept);
}

std::string ragged(Kept kept) {
  return tensors(R"({"name": "x", "dtype": "f32", "shape": ["time"]})",
                 R"({"name": "x", "dtype": "f32", "shape": ["time"]},
                    {"name": "of", "dtype": "i64", "shape": ["time"], "make": "segment"})",
                 R"({"name": "y", "dtype": "f32", "shape": ["time"]},
                    {"name": "count", "dtype": "i64", "shape": ["items"], "from": "rows:time"})",
                 kept);
}

using Floats = std::vector<float>;

// Three sequences of different length, twice; the first two share a batch, and all three if `all_share`.
void check_lengths(Kept kept, std::string const& tensors, bool rows, bool all_share) {
  SequenceRig<RunningBackend> rig(kept, tensors, R"("max": 4)", {.caller_runs = CallerRuns::never});
  REQUIRE(rig.model->load());
  std::array<Floats, 3> const given{Floats{1, 2}, Floats{10}, Floats{100, 100, 100}};
  std::array<std::array<Floats, 3>, 2> const expected{
      std::array<Floats, 3>{Floats{1, 3}, Floats{10}, Floats{100, 200, 300}},
      std::array<Floats, 3>{Floats{4, 6}, Floats{20}, Floats{400, 500, 600}}};
  std::vector<Sequence<SimulatedServing>> sequences;
  for (std::size_t i = 0; i < given.size(); ++i) sequences.push_back(rig.open());
  for (auto const& round : expected) {
    std::array<Ticket, 3> tickets;
    for (std::size_t i = 0; i < given.size(); ++i) {
      auto const length = static_cast<std::int64_t>(given[i].size());
      auto x = Tensor::view<float>(given[i], rows ? Shape{1, length} : Shape{length}).clone();
      REQUIRE(sequences[i].submit(Request{{"x", std::move(*x)}}, {}, tickets[i].completion()));
    }
    rig.world.run_until_idle();
    for (std::size_t i = 0; i < given.size(); ++i) {
      auto const& answer = *tickets[i].answer;
      REQUIRE_MESSAGE(answer, answer.error().message);
      auto const y = answer->outputs["y"].as<float>();
      CHECK(Floats(y.begin(), y.end()) == round[i]);
      CHECK(answer->report.batch_items == (all_share ? 3 : i < 2 ? 2 : 1));
    }
  }
}

}  // namespace

TEST_CASE("sequences whose calls differ in length share padded batches, each with its own state") {
  for (Kept const kept : {Kept::carried, Kept::held}) check_lengths(kept, padded(kept), true, false);
}

TEST_CASE("sequences whose calls differ in length share a ragged axis, each with its own state") {
  for (Kept const kept : {Kept::carried, Kept::held}) check_lengths(kept, ragged(kept), false, true);
}
