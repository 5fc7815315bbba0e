// A model that the engine steps: x is how many steps a call wants and a mark
// of the call; y is how many it has made, and the mark as often added up. A
// state that is stepped twice, not at all, or is another call's shows in y.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <athanor/core/backend.hpp>

namespace athanor_tests {

using namespace athanor;

class CountingBackend {
 public:
  static constexpr char const* name = "puppet";
  static constexpr RunsOn runs_on = RunsOn::any_thread;

  // Called inside run, before anything is computed; an error fails the batch.
  std::function<Result<void>(ath_batch const& batch)> on_run = [](ath_batch const&) {
    return Result<void>();
  };
  std::vector<std::vector<float>> marks{};  // of each run
  bool twice = false;                       // a slot was twice in one batch

  struct Instance {
    CountingBackend& backend;
    bool held;
    std::map<std::uint64_t, std::pair<float, float>> states{};
    std::vector<float> y{};
    std::vector<std::uint8_t> done{};

    Result<void> run(ath_batch& batch) {
      auto const items = static_cast<std::size_t>(batch.items);
      auto const* const x = static_cast<float const*>(batch.inputs[0].data);
      bool const made_up = x[0] == 0.015625F || x[0] == 0.03125F || x[0] == -0.015625F;
      if (!made_up) {
        std::set<std::uint64_t> const slots(batch.slots, batch.slots + items);
        backend.twice = backend.twice || slots.size() != items;
        auto& seen = backend.marks.emplace_back();
        for (std::size_t i = 0; i < items; ++i) seen.push_back(x[2 * i + 1]);
        if (auto told = backend.on_run(batch); !told) return told;
      }
      y.resize(2 * items);
      done.resize(items);
      for (std::size_t i = 0; i < items; ++i) step(batch, i);
      for (std::size_t output = 0; output < batch.output_count; ++output) {
        batch.outputs[output] = batch.inputs[0];
        batch.outputs[output].data = y.data();
      }
      ath_tensor& last = batch.outputs[batch.output_count - 1];
      last.dtype = static_cast<std::int32_t>(DType::boolean);
      last.ndim = 1;
      last.size_bytes = items;
      last.data = done.data();
      return {};
    }
    void clear_slot(std::uint64_t slot) noexcept { states[slot] = {}; }

   private:
    void step(ath_batch const& batch, std::size_t item) {
      auto const* const x = static_cast<float const*>(batch.inputs[0].data) + 2 * item;
      auto [count, sum] = held ? states[batch.slots[item]] : carried(batch, item);
      y[2 * item] = ++count;
      y[2 * item + 1] = sum += x[1];
      if (held) states[batch.slots[item]] = {count, sum};
      done[item] = count >= x[0] ? 1 : 0;
    }
    static std::pair<float, float> carried(ath_batch const& batch, std::size_t item) {
      auto const* const state = static_cast<float const*>(batch.inputs[1].data) + 2 * item;
      return {state[0], state[1]};
    }
  };
  struct Model {
    using Instance = CountingBackend::Instance;
    CountingBackend& backend;
    bool held;
    std::uint64_t footprint() const { return 1000; }
    Result<std::unique_ptr<Instance>> make_instance() {
      return std::unique_ptr<Instance>(new Instance{backend, held});
    }
  };
  Result<std::unique_ptr<Model>> load(ModelSource const& source) {
    return std::unique_ptr<Model>(new Model{*this, source.input_count == 1});
  }
};
static_assert(Backend<CountingBackend>);

// What its manifest says. `steps`: that section.
inline std::string counting_tensors(bool held, std::string_view steps, std::string_view more = "",
                                    std::string_view sequences = R"("max": 8)") {
  std::string text = R"("inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]}],
    "model_inputs": [{"name": "x", "dtype": "f32", "shape": ["items", 2]})";
  if (!held) text += R"(, {"name": "state", "dtype": "f32", "shape": ["items", 2], "from": "state:next"})";
  text += R"(], "model_outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]},)";
  if (!held) text += R"({"name": "next", "dtype": "f32", "shape": ["items", 2]},)";
  text += R"({"name": "done", "dtype": "bool", "shape": ["items"]}],
    "outputs": [{"name": "y", "dtype": "f32", "shape": ["items", 2]}],
    "sequences": {"steps": )";
  text += std::string(steps) + (held ? R"(, "held": true, )" : ", ") + std::string(sequences) + "},";
  return text + std::string(more);
}

}  // namespace athanor_tests
