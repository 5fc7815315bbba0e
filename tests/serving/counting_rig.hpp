/// An engine in a simulation with the model of support/counting_backend.hpp, which it steps.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <doctest/doctest.h>

#include <serving/simulated_engine.hpp>
#include <support/counting_backend.hpp>

namespace athanor_tests {

inline constexpr std::string_view until_done = R"({"until": "done", "max": 100})";

struct Counting {
  using State = serving::EngineState<SimulatedServing>;

  Simulation world{1};
  CountingBackend backend;
  ath_backend_table table = make_table(backend);
  ModelFolder folder;
  std::shared_ptr<State> state;
  std::optional<Model<SimulatedServing>> model;

  explicit Counting(std::string const& tensors = counting_tensors(false, until_done),
                    std::string const& more = R"("batching": {"max_items": 8},)",
                    EngineOptions const& options = {})
      : folder(more, "counting", "1.0.0", tensors), state(std::make_shared<State>(options)) {
    REQUIRE(state->add_backend(table));
    for (ath_processor_table const* processor : options.processors) REQUIRE(state->add_processor(*processor));
    auto added = state->add(folder.path());
    REQUIRE_MESSAGE(added, added.error().message);
    model.emplace(*added);
  }
  ~Counting() { state->stop(Duration{0}); }
  Stream<SimulatedServing> open(float steps, float mark, CallOptions const& options = {}) {
    return model->stream(row(steps, mark), options).value();
  }
  // What can be done without the time going on.
  void run_now() {
    while (world.step_now()) {
    }
  }
  // How many parts the backend has made for that mark.
  std::size_t made(float mark) const {
    std::size_t count = 0;
    for (auto const& run : backend.marks)
      count += static_cast<std::size_t>(std::count(run.begin(), run.end(), mark));
    return count;
  }
};

}  // namespace athanor_tests
