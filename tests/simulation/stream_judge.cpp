// What may come of the calls of a schedule of streams.
#include <algorithm>

#include <simulation/stream_world.hpp>

namespace athanor_tests {

using namespace std::chrono_literals;

void StreamWorld::require(bool holds, char const* what, Call const& call) {
  if (!holds) wrong("expected: " + std::string(what) + " [call " + std::to_string(call.wish.mark) + "]");
}

void StreamWorld::part_comes(Call& call, Outputs const& part) {
  SparedMemory const spared;
  ++call.read;
  require(call.until == 0, "no part comes after the end", call);
  require(call.read <= call.wish.steps(), "a call ends with the step that is its last", call);
  if (auto const why = judge_part(call.added.model, call.wish, call.read, part); !why.empty()) wrong(why);
}

void StreamWorld::call_is_over(Call& call) {
  require(call.until == 0, "every call ends once", call);
  notice_memory();
  call.until = tick();
}

/// It may have been a call of the engine by then.
void StreamWorld::call_throws(Call& call) {
  call_is_over(call);
  call.abandoned = true;
  ++call.added.maybe;
  ++call.added.unseen;
  require(may_lack_memory(call), "only a lack of memory is an exception", call);
}

void StreamWorld::stream_ends(Call& call, Result<Report> const& outcome) {
  SparedMemory const spared;
  if (!outcome) return refused(call, outcome.error());
  call_is_over(call);
  ++call.added.answered;
  require(call.read == call.wish.steps(), "a stream that ends well has given every part", call);
  judge_report(call, *outcome);
}

void StreamWorld::answer_comes(Call& call, Result<Answer> const& answer) {
  SparedMemory const spared;
  if (!answer) return refused(call, answer.error());
  call_is_over(call);
  ++call.added.answered;
  call.read = call.wish.steps();
  if (auto const why = judge_part(call.added.model, call.wish, call.read, answer->outputs); !why.empty())
    wrong(why);
  judge_report(call, answer->report);
}

void StreamWorld::leaves(Call& call) {
  call_is_over(call);
  call.abandoned = call.cancel_asked = true;
  ++call.added.unseen;
}

void StreamWorld::refused(Call& call, Error const& error) {
  call_is_over(call);
  // A reader who lacked memory for a part, or for what makes it, has left as well: a step may be running.
  call.abandoned = error.code == Code::deadline_exceeded || error.code == Code::cancelled ||
                   error.reason == Reason::stopping || (call.streamed && may_lack_memory(call));
  // A processor that takes its time over a part is on the reader's thread. A reader whose call ended by itself
  // before it was there waits for a worker.
  bool const ended_itself = call.faults > 0 || call.state.steps == call.wish.steps() || stopping_ ||
                            call.added.unloading > 0 || call.added.unloaded != 0;
  bool const may_wait = leaped_ != 0 || call.added.model.kind == StepKind::graph || ended_itself;
  require(may_wait || may_lack_memory(call) || world_.now() <= call.due,
          "callbacks are told in time that time is up", call);
  // The call had its answer, and its reader was too late for it, or lacked memory for a part.
  if (call.streamed && call.abandoned && call.state.steps == call.wish.steps()) ++call.added.unseen;
  if (error.reason == Reason::out_of_memory) ++call.added.maybe;
  if (error.message.empty() && memory_failed_ == 0) wrong("an error without a sentence");
  if (auto const why = unexplained(call, error); !why.empty())
    wrong("unexplained: " + to_string(error) + " [" + why + "]");
}

void StreamWorld::judge_report(Call const& call, Report const& report) {
  require(report.attempts == call.runs, "a report counts the steps that its call was in", call);
  require(report.batch_items >= 1 && report.batch_items <= most_stepped,
          "a report says how large the batch was", call);
  require(report.cache == CacheState::off && report.members == 0, "a step is neither cached nor of members",
          call);
  require(report.model == id_of(call.added.model), "a report names the model that answered", call);
  Duration const there_was = world_.now() - call.began;
  require(report.total >= 0ms && report.total <= there_was && report.delivered <= there_was,
          "a report has no more time than there was", call);
  require(report.total <= call.deadline.value_or(usual_deadline), "a success comes before the deadline",
          call);
}

// Empty when the error is one that the schedule explains.
std::string StreamWorld::unexplained(Call const& call, Error const& error) const {
  Added const& added = call.added;
  switch (error.code) {
    case Code::deadline_exceeded:
      return world_.now() - call.began >= call.deadline.value_or(usual_deadline)
                 ? ""
                 : "its deadline has not passed";
    // A load that an unload gave up cancels the calls that wait for it.
    case Code::cancelled:
      return call.cancel_asked || added.unloading > 0 || added.unloaded > call.from ? ""
                                                                                    : "nobody cancelled it";
    case Code::internal:
      return (call.faults > 0 && !added.model.held) || may_lack_memory(call) ? "" : "no run with it failed";
    case Code::aborted:
      if (error.reason != Reason::sequence_lost) return "a reason that does not fit";
      return added.model.held && (call.faults > 0 || may_lack_memory(call))
                 ? ""
                 : "nothing has happened to its state";
    case Code::resource_exhausted: return unexplained_exhaustion(call, error);
    case Code::unavailable: return unexplained_absence(call, error);
    default: return "a code that does not fit";
  }
}

std::string StreamWorld::unexplained_exhaustion(Call const& call, Error const& error) const {
  if (error.reason == Reason::out_of_memory) return may_lack_memory(call) ? "" : "no memory was lacking";
  // A timer that finds no memory has no thread either.
  if (error.reason == Reason::none)
    return threads_refused_ || may_lack_memory(call) ? "" : "there were threads";
  if (error.retry_after <= 0ms) return "no time to come back";
  if (error.reason == Reason::sequences_full) return may_be_full(call) ? "" : "there is a place for it";
  // Steps are few and runs are slow in places: what is predicted is as long as the slowest.
  return error.reason == Reason::expected_wait && (slow_one_in_ != 0 || leaped_ != 0) ? ""
                                                                                      : "no run was slow";
}

std::string StreamWorld::unexplained_absence(Call const& call, Error const& error) const {
  Added const& added = call.added;
  if (error.reason == Reason::breaker_open)
    return breaks_ && (added.failed_runs >= 5 || memory_failed_ != 0) ? ""
                                                                      : "the breaker had no reason to open";
  if (error.reason == Reason::stopping && stopping_) return "";
  if (error.reason != Reason::stopping && error.reason != Reason::model_load)
    return "a reason that does not fit";
  if (error.reason == Reason::model_load && (memory_failed_ != 0 || threads_refused_)) return "";
  // While the model is on its way out, or its load is that was given up, no call begins.
  return error.retry_after > 0ms && (added.unloading > 0 || added.unloaded != 0) ? "" : "nobody stops";
}

/// An upper bound: everybody but its own group who was, or whose work may have been, there at any time of
/// this call.
bool StreamWorld::may_be_full(Call const& call) const {
  auto const holds_place = [&](Call const& other) {
    return &other.added == &call.added && other.group != call.group &&
           (other.until == 0 || other.until > call.from || (other.abandoned && other.until > call.quiet));
  };
  return std::ranges::count_if(calls_, holds_place) >= static_cast<std::ptrdiff_t>(most_places);
}

}  // namespace athanor_tests
