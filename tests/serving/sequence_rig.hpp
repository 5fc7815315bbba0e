// An engine with one model with state, in a simulated world.
#pragma once

#include <doctest/doctest.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <serving/simulated_engine.hpp>

namespace athanor_tests {

enum class Kept { carried, held };

template <class Backend>
struct SequenceRig {
  using State = athanor::serving::EngineState<SimulatedServing>;
  using Handle = athanor::Model<SimulatedServing>;
  using Opened = athanor::Sequence<SimulatedServing>;

  athanor::Simulation world{1};
  Backend backend;
  ath_backend_table table = athanor::make_table(backend);
  ModelFolder folder;
  std::shared_ptr<State> state;
  std::optional<Handle> model;

  // `sequences`: more of that section of the manifest.
  SequenceRig(Kept kept, std::string_view tensors, std::string const& sequences,
              athanor::EngineOptions const& options)
      : folder(R"("sequences": {"held": )" + std::string(kept == Kept::held ? "true, " : "false, ") +
                   sequences + R"(}, "batching": {"max_items": 8},)",
               "sums", "1.0.0", tensors),
        state(std::make_shared<State>(options)) {
    REQUIRE(state->add_backend(table));
    auto added = state->add(folder.path());
    REQUIRE_MESSAGE(added, added.error().message);
    model.emplace(*added);
  }
  ~SequenceRig() { state->stop(athanor::Duration{0}); }
  Opened open() { return model->open_sequence().value(); }
};

// An asynchronous call and what came of it.
struct Ticket {
  std::optional<athanor::Result<athanor::Answer>> answer{};
  static void on_answer(void* context, athanor::Result<athanor::Answer> answer) noexcept {
    static_cast<Ticket*>(context)->answer.emplace(std::move(answer));
  }
  athanor::Completion completion() { return {&on_answer, this}; }
};

}  // namespace athanor_tests
