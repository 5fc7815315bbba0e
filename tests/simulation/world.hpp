// The engine over the stage, callers as actors, and the judge: all that one run is made of.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <athanor/core/simulation.hpp>
#include <simulation/job_desk.hpp>
#include <simulation/judge.hpp>
#include <simulation/run.hpp>
#include <simulation/sequence_desk.hpp>
#include <support/simulated_serving.hpp>

namespace athanor_tests {

using State = serving::EngineState<SimulatedServing>;
using Served = serving::ServedModel<SimulatedServing>;
using Handle = Model<SimulatedServing>;
using Kind = SimulatedEvent::Kind;

// Of the calling actor.
inline thread_local int inside_call = 0;  // infer, infer_many or submit
inline thread_local int inside_completion = 0;

class World final : public Stage {
 public:
  World(Script const& script, ModelFolders const& folders)
      : script_(script),
        folders_(folders),
        simulation_(script.seed, script.turns),
        judge_(script),
        jobs_(simulation_, judge_, script.jobs) {
    simulation_.give_each_actor(inside_call);
    simulation_.give_each_actor(inside_completion);
    simulation_.give_each_actor(thread_memory().fails_at);
  }

  RunResult run() {
    open();
    simulation_.spawn([this] { conduct(); });
    run_until_idle();
    finish();
    return {judge_.verdict(), tally()};
  }
  // An actor that never ends keeps all this in use.
  bool stuck() const noexcept { return simulation_.actors() != 0; }

  // What the backend and the processor ask.
  Result<void> load(ModelKind kind, std::uint32_t member) override;
  void unload() override { ++unloads_; }
  RunEnd run(ModelKind kind, std::uint32_t member, std::vector<SeenRow> const& rows) override;
  Result<void> preprocess(std::uint32_t value) override;
  void postprocess() override { dawdle(); }
  void wrong(std::string text) override { judge_.wrong(std::move(text)); }

 private:
  void dawdle();

  // A call, and what its caller holds meanwhile.
  struct Caller {
    World& world;
    SimulatedEvent event;
    CallRecord record{};
    InputMemory memory{};
    std::shared_ptr<Token> token{};
    std::optional<Handle> model{};  // of a submit
    std::optional<Submission<SimulatedServing>> submission{};
    bool submits = false;  // it is inside `submit`
    int cancels = 0;       // threads inside Submission::cancel
    std::optional<Answer> kept{};

    Caller(World& of, SimulatedEvent const& what) : world(of), event(what) {}
    void on_answer(Result<Answer> answer) noexcept { world.complete(*this, std::move(answer)); }
  };
  struct Scope {
    int& depth;
    explicit Scope(int& of) : depth(of) { ++depth; }
    ~Scope() { --depth; }
    Scope(Scope const&) = delete;
    Scope& operator=(Scope const&) = delete;
  };

  void open();
  void run_until_idle();
  void finish();
  void check_rest();
  Tally tally() const;

  // Actors.
  void conduct();
  void perform(SimulatedEvent const& event);
  void drop_answers();
  void replace(SimulatedEvent const& event);
  void fork(ModelKind kind);
  Caller& new_caller(SimulatedEvent const& event, std::uint32_t value, SequenceFacts* sequence = nullptr);
  CallOptions options_of(Caller& caller);
  // Its caller's thread lacks memory if the event says so.
  template <class Body>
  void without_memory(SimulatedEvent const& event, Body body);
  void load(SimulatedEvent const& event);
  void infer(SimulatedEvent const& event);
  void infer_into(SimulatedEvent const& event);
  void infer_many(SimulatedEvent const& event);
  void submit(SimulatedEvent const& event);
  void cancel_call(std::uint32_t target);
  void cancel_token(std::size_t target);
  void stop(SimulatedEvent const& event);
  void submit_job(SimulatedEvent const& event);
  void complete(Caller& caller, Result<Answer> answer) noexcept;
  void end(Caller& caller, Result<Answer> answer);
  void drop_handles(Caller& caller);
  void end_with_exception(Caller& caller);
  void take_back(Caller& caller);

  Handle model(ModelKind kind) { return Handle(served_.at(kind)); }
  // Which allocation fails after something that the world did on a thread.
  std::size_t next_failure() { return happens(script_.faults.memory) ? 1 + simulation_.below(24) : 0; }
  bool happens(bool fault) { return fault && simulation_.below(script_.faults.rare) == 0; }
  bool backends_empty() const { return inside_ == 0; }

  Script const& script_;
  ModelFolders const& folders_;
  Simulation simulation_;
  Judge judge_;
  StageBackend backend_{*this};
  StageProcessor processor_{*this};
  StageGrapher grapher_{*this};
  ath_backend_table backend_table_ = make_table(backend_);
  ath_processor_table processor_table_ = make_table(processor_);
  ath_processor_table grapher_table_ = make_table(grapher_);
  std::vector<std::unique_ptr<Caller>> callers_;
  std::array<Token, 2> tokens_;
  std::array<bool, 2> cancel_begun_{};
  SimulatedWord hangs_end_{};
  std::uint64_t loads_ = 0;
  std::uint64_t unloads_ = 0;
  int inside_ = 0;   // threads in a backend or a processor
  int calling_ = 0;  // completions that call the engine
  int inside_of_[model_kinds]{};
  bool stopped_ = false;
  std::uint32_t failing_runs_ = 0;
  std::uint64_t half_open_ = 0;
  std::uint64_t degraded_ = 0;
  std::shared_ptr<State> state_;
  std::map<ModelKind, std::shared_ptr<Served>> served_;
  std::vector<std::pair<ModelKind, std::shared_ptr<Served>>> replaced_;
  SequenceDesk<SimulatedServing> sequences_{simulation_, judge_,
                                            [this](ModelKind kind) { return model(kind); }};
  JobDesk<SimulatedServing> jobs_;
  int replacing_ = 0;
  int replacements_ = 0;
};

}  // namespace athanor_tests
