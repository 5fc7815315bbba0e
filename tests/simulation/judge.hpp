// What may come of a call, told from what the world did: an outcome that nothing explains is a fault.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <athanor/serving/answer.hpp>
#include <athanor/serving/statistics.hpp>
#include <simulation/graphs.hpp>
#include <simulation/script.hpp>
#include <simulation/sequences.hpp>
#include <simulation/stage.hpp>

namespace athanor_tests {

// One call as its caller knows it.
struct CallRecord {
  ModelKind model = ModelKind::plain;
  std::uint32_t value = 0;
  std::uint32_t items = 1;
  std::int64_t bytes = 0;
  TimePoint began{};
  TimePoint deadline = no_deadline;
  Order from = 0;
  CacheMode cache = CacheMode::use;
  bool of_many = false;       // one request of an infer_many
  bool of_job = false;        // its end is known when somebody looks
  bool cancel_asked = false;  // or about to be
  bool returned = false;
  Order until = 0;
  bool abandoned = false;  // answered while its work may have gone on
  SequenceFacts* sequence = nullptr;
};

// What a caller was given; which tensors there are depends on the model.
struct Given {
  Report report{};
  Tensor const* y = nullptr;
  Tensor const* edition = nullptr;
  Tensor const* count = nullptr;
  Tensor const* seen = nullptr;
  GraphOutputs graphs{};
};
Given given(Answer const& answer);

// One run of one member, as the backend knows it.
struct Execution {
  ModelKind model;
  std::uint32_t member;
  std::vector<std::uint32_t> values;  // each once
  TimePoint began;
  Order from;
  TimePoint ended{};
  Order until = 0;
  std::optional<Error> error{};
};

class Judge {
 public:
  explicit Judge(Script const& script) : script_(script) {}

  // The first thing that was wrong; empty when nothing was.
  std::string const& verdict() const noexcept { return verdict_; }
  void wrong(std::string text);

  // Later than everything that has happened.
  Order tick() noexcept { return ++order_; }

  // What happens, as it happens.
  void call_begins(CallRecord& call);
  void call_ends(CallRecord& call, Given const& answer, TimePoint now);
  void call_ends(CallRecord& call, Error const& error, TimePoint now);
  void call_ends(CallRecord& call, Result<Answer> const& answer, TimePoint now);
  // Nobody will see the outcome of the call, which may go on.
  void call_is_unseen(CallRecord& call);
  // It never was a call of the engine.
  void call_is_none(CallRecord& call);
  // Also for answers that were kept since.
  void judge_rows(CallRecord const& call, Given const& answer);
  void run_ends(Execution const& execution);
  void load_begins(ModelKind model, TimePoint now) {
    load_wanted(model, now);
    ++facts(model).loads;
  }
  void load_ends(ModelKind model) {
    --facts(model).loads;
    facts(model).loaded = tick();
  }
  void load_failed(ModelKind model) { ++facts(model).failed_loads; }
  // Of one member, in the backend.
  void file_load_begins(ModelKind model) { ++facts(model).file_loads; }
  void file_load_ends(ModelKind model);
  void unload_begins(ModelKind model) { ++facts(model).unloading; }
  void unload_ends(ModelKind model) {
    --facts(model).unloading;
    facts(model).unloaded = tick();
  }
  Order forget_begins(ModelKind model) {
    facts(model).ever_forgets = true;
    return tick();
  }
  void forget_ends(ModelKind model, Order from) {
    facts(model).forgets_from = std::max(facts(model).forgets_from, from);
    facts(model).forgotten = tick();
  }
  void clock_leaps(Duration by);
  bool clock_has_leapt() const noexcept { return leaped_ != 0; }
  // Whether an allocation of somebody's thread has failed since the last look.
  void notice_memory() {
    if (std::exchange(thread_memory().failed, false)) memory_failed_ = tick();
  }
  void threads_refused() { threads_refused_ = true; }
  bool refused_threads() const noexcept { return threads_refused_; }
  // Refused in the child of a fork: the error, or none when there was an answer.
  void refused_in_child(ModelKind model, Error const* error, bool counted);
  // Refused before it was a call, and counted.
  void was_refused(ModelKind model, Code code) { ++facts(model).outcomes[static_cast<std::size_t>(code)]; }
  // A completion of a call that was not accepted.
  void never(Result<Answer>) noexcept { wrong("a completion in the child of a fork"); }
  // A call that let an exception out, which only a lack of memory does.
  void call_throws(CallRecord& call);
  // Some of the model's calls are counted where nobody can ask any more.
  void counts_are_lost(ModelKind model) { facts(model).inexact = true; }
  // Others keep the model that had its name.
  // Its memory is on its way out when nobody has a handle of it.
  void model_is_removed(ModelKind model) { facts(model).removed = tick(); }
  void model_is_replaced(ModelKind model) { facts(model).replaced = true; }
  void stop_called() { stopping_ = true; }
  // A sequence was opened or reset; `now` is a time before that.
  void sequence_begins(SequenceFacts& sequence, ModelKind model, TimePoint now) {
    sequence = {.model = model, .since = tick(), .used = now};
  }
  // A sequence has no place any more, or got none.
  void sequence_refused(SequenceFacts const* sequence, Error const& error, TimePoint now);
  // Nothing can go on without the clock: whoever can be answered has been.
  void idle(TimePoint now, bool backends_empty, bool timers_armed);

  // At the end: what the engine counted is what happened.
  void compare(ModelKind model, ModelStatistics const& statistics, std::uint64_t reruns);

  std::uint64_t calls() const noexcept { return calls_.size() - unseen_; }
  std::uint64_t values() const noexcept { return values_; }
  std::uint64_t errors() const noexcept { return errors_; }
  std::uint64_t trace() const noexcept { return trace_; }

 private:
  // What is known of one value of one model.
  struct Content {
    Order computed_from = 0;    // of its last successful run: when that began,
    Order computed_until = 0;   // and ended; 0 when there was none
    int refreshing = 0;         // calls with CacheMode::refresh under way
    Order refreshed_until = 0;  // when the last of them ended
    Order stored = 0;           // since then it is stored for certain; 0 when it is not
    std::vector<Execution> failed{};
  };
  struct Facts {
    std::array<std::uint64_t, 16> outcomes{};
    std::uint64_t hits = 0;
    std::uint64_t joined = 0;
    std::uint64_t degraded = 0;
    std::uint64_t runs = 0;  // of member 0
    std::uint64_t failed_runs = 0;
    std::uint64_t failed_loads = 0;
    Duration longest_run{0};
    Duration leaps{0};  // since somebody wanted it
    std::uint64_t unseen = 0;
    int loads = 0;  // calls of Model::load
    Order loaded = 0;
    int file_loads = 0;
    Order files_loaded = 0;
    bool lacked_budget = false;  // a load may have, and is remembered
    Order removed = 0;
    bool replaced = false;
    int unloading = 0;
    Order unloaded = 0;
    bool ever_forgets = false;
    Order forgets_from = 0;  // of those that are over, the last
    Order forgotten = 0;
    bool inexact = false;
    std::optional<TimePoint> wanted{};  // since then
    std::map<std::uint32_t, Content> contents{};
  };

  Facts& facts(ModelKind model) { return facts_[static_cast<std::size_t>(model)]; }
  Content& known_of(CallRecord const& call) { return facts(call.model).contents[call.value]; }
  void load_wanted(ModelKind model, TimePoint now) {
    if (!facts(model).wanted) facts(model).wanted = now;
  }
  void count_outcome(CallRecord const& call, Code code);
  void judge_value(CallRecord const& call, Given const& answer);
  void judge_ragged(CallRecord const& call, Given const& answer);
  void judge_report(CallRecord const& call, Given const& answer, TimePoint now);
  void judge_delivery(CallRecord const& call, Report const& report, TimePoint now);
  // Empty when the error is explained.
  std::string unexplained(CallRecord const& call, Error const& error, TimePoint now);
  std::string unexplained_stop(CallRecord const& call, Error const& error);
  std::string unexplained_load(ModelKind kind, TimePoint now);
  std::string unexplained_exhaustion(CallRecord const& call, Error const& error);
  std::string unexplained_wait(CallRecord const& call, TimePoint now);
  std::string unexplained_failure(CallRecord const& call, Error const& error);
  std::string unexplained_loss(CallRecord const& call, Error const& error, TimePoint now);
  void sequence_goes_on(CallRecord const& call, Error const* error);
  bool concerns(Order run_until, CallRecord const& call) const;
  bool must_hit(CallRecord const& call);
  bool may_be_held(CallRecord const& call, Reason reason) const;
  // Whether that call was there at `from` or later, or its work.
  bool may_overlap(CallRecord const& other, Order from) const;
  Order since(CallRecord const& call) const;
  bool others_use_budget(ModelKind model, Order from) const;
  bool load_may_be_given_up(Facts const& model) const;
  bool may_lack_memory(CallRecord const& call) const;
  void call_is_over(CallRecord& call);

  Script const& script_;
  std::string verdict_;
  std::vector<CallRecord*> calls_;
  std::array<Facts, model_kinds> facts_{};
  bool stopping_ = false;
  bool threads_refused_ = false;
  Order leaped_ = 0;
  Order memory_failed_ = 0;
  Order order_ = 0;
  Order quiet_since_ = 0;     // what was over before is not held any more
  std::uint64_t unseen_ = 0;  // calls
  std::uint64_t values_ = 0;
  std::uint64_t errors_ = 0;
  std::uint64_t trace_ = 0;
};

// Adds what `compare` looks at.
void add(ModelStatistics& sum, ModelStatistics const& one);

}  // namespace athanor_tests
