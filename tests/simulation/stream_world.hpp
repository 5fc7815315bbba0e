// One schedule of streams: callers who read, dawdle, leave and cancel, over models that the engine steps,
// which are unloaded and replaced meanwhile, while memory and threads lack, the clock leaps and the process
// forks; and the judge, who knows what every part must be.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <athanor/core/simulation.hpp>
#include <simulation/sequences.hpp>
#include <simulation/stepped.hpp>
#include <support/detached.hpp>
#include <support/simulated_serving.hpp>
#include <support/thread_memory.hpp>

namespace athanor_tests {

inline constexpr Duration usual_deadline = std::chrono::milliseconds(200);  // of a call that names none

struct StreamTotals {
  std::uint64_t calls = 0;
  std::uint64_t whole = 0;
  std::uint64_t parts = 0;
  std::uint64_t shared = 0;        // batches of several calls
  std::uint64_t replacements = 0;  // of models
};

class StreamWorld final : public StepStage {
 public:
  StreamWorld(std::uint64_t seed, StepFolders const& folders);
  StreamWorld(StreamWorld const&) = delete;
  StreamWorld& operator=(StreamWorld const&) = delete;

  // What was wrong; empty when nothing was.
  std::string play(StreamTotals& totals);

  // An actor that never ends keeps all this in use.
  bool stuck() const noexcept { return world_.actors() != 0; }

  // What the backend and the processor ask.
  Wish const* wish(StepModel const& model, std::uint32_t mark) override;
  void loaded(StepModel const&) override { ++loads_; }
  void unloaded() override { --loads_; }
  StepEnd run(StepModel const& model, std::vector<std::uint32_t> const& marks,
              std::vector<StepState> const& found) override;
  void stepped(std::vector<std::uint32_t> const& marks) override;
  void process() override { dawdle(8); }
  void wrong(std::string text) override {
    if (wrong_.empty()) wrong_ = std::move(text);
  }

 private:
  using State = serving::EngineState<SimulatedServing>;
  using Served = serving::ServedModel<SimulatedServing>;
  using Handle = Model<SimulatedServing>;
  using Parts = Stream<SimulatedServing>;

  // A model of the engine, and what has happened to it.
  struct Added {
    StepModel model;
    std::shared_ptr<Served> served;  // none: nobody holds the handle for its own sake
    std::uint64_t calls = 0;
    std::uint64_t answered = 0;
    std::uint64_t unseen = 0;  // calls whose end nobody saw
    std::uint64_t maybe = 0;   // calls that were refused for lack of memory, perhaps before they were any
    std::uint64_t runs = 0;
    std::uint64_t failed_runs = 0;
    std::uint64_t positions = 0;  // of `padded`: in the items of all runs,
    std::uint64_t padding = 0;    // and beside them
    int unloading = 0;
    Order unloaded = 0;
  };
  // One call as its caller knows it, and its work as the backend does.
  struct Call {
    StreamWorld& world;
    Added& added;
    Wish wish;
    std::uint64_t group;  // calls of one infer_many
    TimePoint began;
    std::optional<Duration> deadline;
    Order from;
    Order quiet;  // when the world was quiet last, before it
    bool streamed = false;
    bool cancel_asked = false;    // or about to be
    TimePoint due = no_deadline;  // of one with callbacks: when its end is told at the latest
    std::int64_t read = 0;        // parts
    Order until = 0;
    bool abandoned = false;  // ended while its work may have gone on
    StepState state{};       // that its last step left,
    StepState before{};      // and found,
    Order stepped = 0;       // when
    std::uint32_t runs = 0;
    std::uint32_t faults = 0;  // runs that failed

    void part(Outputs part) noexcept {
      world.part_comes(*this, part);
      world.dawdle(3);
      due = std::max(due, world.world_.now());
    }
    void end(Result<Report> outcome) noexcept { world.stream_ends(*this, outcome); }
    void on_answer(Result<Answer> answer) noexcept { world.answer_comes(*this, answer); }
  };

  void finish();
  void compare(Added const& added);

  // Actors.
  void call_some();
  void infer(Added& added);
  void infer_many(Added& added);
  void submit(Added& added);
  void run_job(Added& added);
  void read(Added& added);
  void call_back(Added& added);
  void await(Added& added);
  Detached follow(std::shared_ptr<Parts> stream, Call& call);
  void unload_some();
  void replace_some();
  void refuse_threads_some();
  void leap_some();
  void fork_some();
  void fork(Added& added);
  void stop();

  Added& add(StepModel const& model);
  Added& choose();
  Call& new_call(Added& added, std::uint64_t group);
  Call& new_call(Added& added) { return new_call(added, ++groups_); }
  Call& call_of(std::uint32_t mark) { return calls_[mark - 1]; }
  Request request_of(Call const& call) const {
    return athanor_tests::request_of(call.added.model, call.wish);
  }
  static CallOptions options_of(Call const& call);
  void dawdle(std::uint64_t one_in);
  // Which allocation of a thread fails next; 0: none.
  std::size_t next_failure();
  void answer_in_child(Result<Answer> const&) noexcept { wrong("a completion in the child of a fork"); }
  void part_in_child(Outputs const&) noexcept { wrong("a part in the child of a fork"); }
  void end_in_child(Result<Report> const&) noexcept { wrong("an end in the child of a fork"); }
  // Calls the engine on this thread, which may lack memory: no value if an exception said so; the call is
  // over then.
  template <class Body>
  auto call_engine(Call& call, Body body) -> std::optional<decltype(body())>;
  std::shared_ptr<Parts> open(Added& added, Call& call);
  void cancel_later(Call& call, std::shared_ptr<Parts> const& stream);

  // The judge.
  Order tick() noexcept { return ++order_; }
  void require(bool holds, char const* what, Call const& call);
  void part_comes(Call& call, Outputs const& part);
  void stream_ends(Call& call, Result<Report> const& outcome);
  void answer_comes(Call& call, Result<Answer> const& answer);
  void leaves(Call& call);
  void refused(Call& call, Error const& error);
  void call_is_over(Call& call);
  void call_throws(Call& call);
  // Whether an allocation of somebody's thread has failed since the last look.
  void notice_memory() {
    if (std::exchange(thread_memory().failed, false)) memory_failed_ = tick();
  }
  bool may_lack_memory(Call const& call) const noexcept { return memory_failed_ > call.from; }
  std::string unexplained_exhaustion(Call const& call, Error const& error) const;
  std::string unexplained_absence(Call const& call, Error const& error) const;
  void judge_report(Call const& call, Report const& report);
  std::string unexplained(Call const& call, Error const& error) const;
  bool may_be_full(Call const& call) const;

  std::uint64_t drawn_;
  Simulation world_;
  StepFolders const& folders_;
  StepBackend backend_{*this};
  StepProcessor processor_{*this};
  ath_backend_table backend_table_ = make_table(backend_);
  ath_processor_table processor_table_ = make_table(processor_);
  std::deque<Added> added_;
  std::deque<Call> calls_;  // by mark, from 1 on
  std::shared_ptr<State> state_;
  std::optional<Jobs<SimulatedServing>> jobs_;
  std::uint64_t fails_one_in_ = 0;
  std::uint64_t slow_one_in_ = 0;
  bool breaks_ = false;
  bool memory_fails_ = false;
  bool threads_refused_ = false;  // for a while at least
  bool stopping_ = false;
  int inside_ = 0;  // threads in the backend
  int loads_ = 0;
  std::uint64_t groups_ = 0;
  std::uint64_t shared_ = 0;
  Order order_ = 0;
  Order memory_failed_ = 0;
  Order leaped_ = 0;
  Order quiet_since_ = 0;  // what was abandoned before holds no place any more
  std::string wrong_;
};

}  // namespace athanor_tests
