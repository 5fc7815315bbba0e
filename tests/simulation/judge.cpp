#include <simulation/judge.hpp>

#include <algorithm>
#include <cmath>

#include <athanor/batching/cost_model.hpp>
#include <athanor/core/time.hpp>

namespace athanor_tests {

namespace {

std::string describe(CallRecord const& call) {
  return std::string(traits_of(call.model).name) + " value " + std::to_string(call.value) + ", " +
         std::to_string(call.items) + " items";
}

}  // namespace

void Judge::wrong(std::string text) {
  if (verdict_.empty()) verdict_ = std::move(text);
}

Given given(Answer const& answer) {
  auto const find = [&](char const* name) { return answer.outputs.find(name); };
  return {answer.report, find("y"),    find("edition"),
          find("count"), find("seen"), graph_outputs(answer.outputs)};
}

void Judge::call_begins(CallRecord& call) {
  calls_.push_back(&call);
  call.from = tick();
  if (call.sequence != nullptr) ++call.sequence->calls;
  load_wanted(call.model, call.began);
  if (call.cache == CacheMode::refresh) ++known_of(call).refreshing;
}

void Judge::call_is_over(CallRecord& call) {
  if (call.returned) return wrong("a call was answered twice: " + describe(call));
  notice_memory();
  call.returned = true;
  call.until = tick();
  if (call.sequence != nullptr) --call.sequence->calls;
  if (call.cache != CacheMode::refresh) return;
  --known_of(call).refreshing;
  known_of(call).refreshed_until = call.until;
}

void Judge::count_outcome(CallRecord const& call, Code code) {
  ++facts(call.model).outcomes[static_cast<std::size_t>(code)];
  trace_ = (trace_ ^ (static_cast<std::uint64_t>(code) + std::uint64_t{16} * call.value)) * 0x100000001b3ULL;
}

void Judge::call_ends(CallRecord& call, Given const& answer, TimePoint now) {
  call_is_over(call);
  count_outcome(call, Code::ok);
  ++values_;
  judge_value(call, answer);
  judge_report(call, answer, now);
  if (call.sequence == nullptr) return;
  auto const seen = answer.seen->as<float>();
  auto const why = call.sequence->judge(
      call.from, call.value, {static_cast<std::uint32_t>(seen[0]), static_cast<std::uint32_t>(seen[1])});
  if (!why.empty()) wrong(why + ": " + describe(call));
  sequence_goes_on(call, nullptr);
}

void Judge::call_ends(CallRecord& call, Error const& error, TimePoint now) {
  call_is_over(call);
  count_outcome(call, error.code);
  ++errors_;
  call.abandoned = error.code == Code::deadline_exceeded || error.code == Code::cancelled ||
                   error.reason == Reason::stopping || error.reason == Reason::expected_wait;
  if (error.message.empty() && memory_failed_ == 0) wrong("an error without a sentence: " + describe(call));
  if (auto const why = unexplained(call, error, now); !why.empty())
    wrong("unexplained: " + to_string(error) + " [" + why + "]: " + describe(call));
  if (call.sequence != nullptr) sequence_goes_on(call, &error);
}

void Judge::call_ends(CallRecord& call, Result<Answer> const& answer, TimePoint now) {
  if (answer) return call_ends(call, given(*answer), now);
  call_ends(call, answer.error(), now);
}

void Judge::call_is_unseen(CallRecord& call) {
  call_is_over(call);
  call.abandoned = true;
  ++facts(call.model).unseen;
  ++unseen_;
}

void Judge::call_is_none(CallRecord& call) {
  call_is_over(call);
  ++unseen_;
}

void Judge::call_throws(CallRecord& call) {
  call_is_over(call);
  call.abandoned = true;
  ++errors_;
  if (call.sequence != nullptr) call.sequence->given_up = true;
  if (!may_lack_memory(call)) wrong("an exception: " + describe(call));
}

void Judge::refused_in_child(ModelKind model, Error const* error, bool counted) {
  if (error == nullptr || error->code != Code::failed_precondition ||
      error->message.find("fork") == std::string::npos)
    return wrong("not refused in the child of a fork: " +
                 (error == nullptr ? "answered" : to_string(*error)));
  if (counted) ++facts(model).outcomes[static_cast<std::size_t>(error->code)];
}

// Values.

// Every item has its own number of rows, and all are its.
void Judge::judge_ragged(CallRecord const& call, Given const& answer) {
  std::vector<std::int64_t> counts;
  std::vector<float> rows;
  for (std::uint32_t item = 0; item < call.items; ++item) {
    counts.push_back(rows_of(call.value, item));
    for (std::int64_t i = 0; i < 2 * counts.back(); ++i)
      rows.push_back(static_cast<float>(content_of(call.value) * 32 + 2 * item + 1) +
                     static_cast<float>(i % 2));
  }
  Tensor const& y = *answer.y;
  if (!std::ranges::equal(answer.count->as<std::int64_t>(), counts))
    return wrong("an answer with other numbers of rows: " + describe(call));
  if (y.shape() != Shape{static_cast<std::int64_t>(rows.size()) / 2, 2} ||
      !std::ranges::equal(y.as<float>(), rows))
    wrong("somebody else's rows: " + describe(call));
}

void Judge::judge_rows(CallRecord const& call, Given const& answer) {
  if (call.model == ModelKind::ragged) return judge_ragged(call, answer);
  Tensor const& y = *answer.y;
  auto const width = static_cast<std::uint32_t>(width_of(call.model, call.value));
  if (y.shape() != Shape{call.items, width}) return wrong("an answer of another shape: " + describe(call));
  ModelTraits const& traits = traits_of(call.model);
  float const least = traits.members == 1 ? 1.0F : 1.5F;
  float const most = traits.members == 1 ? 1.0F : 2.5F;
  bool const all = traits.members == 1 || answer.report.members == traits.members;
  for (std::uint32_t i = 0; i < width * call.items; ++i) {
    std::uint32_t const row = i / width;
    float const added = y.as<float>()[i] - shift_in_answer(call.model, call.value) -
                        static_cast<float>(content_of(call.value) * 32 + 2 * row + i % width % 2);
    if (added < least || added > most) return wrong("somebody else's answer: " + describe(call));
    if (traits.members > 1 && all && added != 2.0F)
      return wrong("a mean over all members that is none: " + describe(call));
  }
  if (call.model == ModelKind::graph) {
    std::vector<std::uint32_t> marks;
    for (std::uint32_t row = 0; row < call.items; ++row) marks.push_back(graph_mark(call.value, row));
    if (auto const why = judge_graphs(marks, 0, answer.graphs); !why.empty())
      wrong(why + ": " + describe(call));
  }
  if (call.model != ModelKind::plain) return;
  Tensor const& edition = *answer.edition;
  auto const is_edition = [](float value) { return value == stage_edition; };
  if (edition.shape() != Shape{call.items} || !std::ranges::all_of(edition.as<float>(), is_edition))
    wrong("not every item has what holds for its batch: " + describe(call));
}

void Judge::judge_value(CallRecord const& call, Given const& answer) {
  judge_rows(call, answer);
  Content& content = known_of(call);
  if (call.cache == CacheMode::only_if_cached && answer.report.cache != CacheState::hit)
    wrong("an answer that was not cached, for only_if_cached: " + describe(call));
  if (is_poison(call.value)) wrong("a value for the poison: " + describe(call));
  if (is_processed(call.model) && is_refused_by_processor(call.value))
    wrong("a value for what the processor refuses: " + describe(call));
  if (content.computed_until == 0) return wrong("an answer that nobody computed: " + describe(call));
  Facts const& model = facts(call.model);
  bool const whole = traits_of(call.model).members == std::max(answer.report.members, 1U);
  if (answer.report.cache == CacheState::hit) {
    if (model.forgotten != 0 && model.forgotten < call.from && content.computed_from < model.forgets_from)
      wrong("an answer from before it was forgotten: " + describe(call));
    if (!whole) wrong("a degraded answer from the cache: " + describe(call));
    return;
  }
  if (!concerns(content.computed_until, call))
    wrong("not computed for this call, and not from the cache: " + describe(call) + ", " +
          to_string(answer.report));
  if (must_hit(call)) wrong("computed although it is in the cache: " + describe(call));
  bool const stored = answer.report.cache == CacheState::miss || answer.report.cache == CacheState::refreshed;
  // A refresh takes over from the computations beside it, which then store nothing.
  bool const alone = content.refreshing == 0 && content.refreshed_until < call.from;
  if (whole && stored && alone && content.stored == 0) content.stored = tick();
}

void Judge::judge_report(CallRecord const& call, Given const& answer, TimePoint now) {
  Report const& report = answer.report;
  Facts& model = facts(call.model);
  ModelTraits const& traits = traits_of(call.model);
  if (report.cache == CacheState::hit) ++model.hits;
  if (report.cache == CacheState::joined) ++model.joined;
  if (traits.members > 1 && report.members < traits.members) ++model.degraded;
  if (traits.members > 1 && report.members < traits.min_members)
    wrong("fewer members than the manifest asks for: " + describe(call));
  if (traits.members == 1 && report.members != 0) wrong("members of a plain model: " + describe(call));
  if (report.total < Duration{0} || report.total > now - call.began)
    wrong("a report of more time than there was: " + describe(call));
  judge_delivery(call, report, now);
  bool const off =
      script_.options.cache_bytes == 0 || call.cache == CacheMode::skip || keeps_state(call.model);
  bool const no_memory = memory_failed_ != 0 && report.cache == CacheState::off;  // for a flight
  if (no_memory) return;
  if (off != (report.cache == CacheState::off))
    wrong("the cache took part against the caller's wish: " + describe(call));
  if ((call.cache == CacheMode::refresh && !off) != (report.cache == CacheState::refreshed))
    wrong("refreshed, or not, against the caller's wish: " + describe(call));
  bool const computed = report.cache != CacheState::hit && report.cache != CacheState::joined;
  if (computed != (report.attempts > 0)) wrong("attempts that were none: " + describe(call));
  if (computed && (report.batch_items == 0 || report.batch_items > traits.max_items))
    wrong("a batch of a size that there is not: " + describe(call));
}

/// A success is in its caller's hands by the deadline. Of an infer_many each was ready
/// by then, and the caller, who may run the model itself, has all of them at its return.
void Judge::judge_delivery(CallRecord const& call, Report const& report, TimePoint now) {
  if (report.delivered < report.total || report.delivered > now - call.began)
    wrong("a report of a delivery before the answer, or after its caller had it: " + describe(call));
  if (call.deadline == no_deadline) return;
  if (report.delivered > call.deadline - call.began)
    wrong("a report of a success after the deadline: " + describe(call));
  // A call that was interrupted before it read the clock has its time from after a leap.
  if (!call.of_many && !call.of_job && leaped_ <= call.from && now > call.deadline)
    wrong("a success after the deadline: " + describe(call));
}

/// Whether a run that ended then may have answered the call: it may join a flight whose run is over.
bool Judge::concerns(Order run_until, CallRecord const& call) const {
  bool const joins = script_.options.cache_bytes != 0 && call.cache == CacheMode::use;
  return run_until != 0 && (run_until >= call.from || joins);
}

/// Only where nothing but the call itself decides: nothing is evicted and nothing was forgotten.
bool Judge::must_hit(CallRecord const& call) {
  Facts const& model = facts(call.model);
  Content const& content = known_of(call);
  bool const looks_up = call.cache == CacheMode::use || call.cache == CacheMode::only_if_cached;
  return looks_up && script_.options.cache_bytes >= (std::size_t{1} << 20) && content.stored != 0 &&
         content.stored < call.from && !model.ever_forgets && memory_failed_ == 0;
}

// Errors.

std::string Judge::unexplained(CallRecord const& call, Error const& error, TimePoint now) {
  Facts const& model = facts(call.model);
  switch (error.reason) {
    case Reason::deadline_waiting:
    case Reason::deadline_running:
      if (error.code != Code::deadline_exceeded) return "a code that does not fit";
      return now < call.deadline ? "its deadline has not passed" : "";
    case Reason::cancelled:
      if (error.code != Code::cancelled) return "nobody took these inputs back";
      if (call.cancel_asked || model.unloading > 0 || model.unloaded > call.from) return "";
      if (may_lack_memory(call)) return "";  // for the copy that its work needed when another caller left
      return "nobody cancelled it";
    case Reason::stopping: return unexplained_stop(call, error);
    case Reason::breaker_open:
      if (error.code != Code::unavailable || error.retry_after.count() <= 0) return "no time to come back";
      if (script_.options.breaker && (model.failed_runs >= 5 || memory_failed_ != 0)) return "";
      return "the breaker had no reason to open";
    case Reason::not_cached:
      if (error.code != Code::not_found) return "a code that does not fit";
      if (call.cache != CacheMode::only_if_cached) return "the caller did not ask for only_if_cached";
      return must_hit(call) ? "it is in the cache" : "";
    case Reason::syntax:
      if (is_processed(call.model) && is_refused_by_processor(call.value)) return "";
      return "the processor did not refuse it";
    case Reason::model_load: return unexplained_load(call.model, now);
    case Reason::queue_full:
    case Reason::memory_full:
    case Reason::too_large:
    case Reason::expected_wait:
    case Reason::budget:
      if (error.code != Code::resource_exhausted) return "a code that does not fit";
      return error.reason == Reason::expected_wait && error.retry_after.count() > 0
                 ? unexplained_wait(call, now)
                 : unexplained_exhaustion(call, error);
    case Reason::sequence_lost:
    case Reason::sequence_busy: return unexplained_loss(call, error, now);
    case Reason::none:
      if (error.code != Code::resource_exhausted) return "an error without a reason";
      return threads_refused_ || may_lack_memory(call) ? "" : "there were threads";
    default: return unexplained_failure(call, error);
  }
}

/// Of the engine; or of the loader: the model is on its way out, until the last who used it then has gone.
std::string Judge::unexplained_stop(CallRecord const& call, Error const& error) {
  if (error.code != Code::unavailable) return "a code that does not fit";
  if (stopping_) return "";
  if (error.retry_after.count() <= 0) return "nobody stopped the engine";
  Facts const& model = facts(call.model);
  Order const from = since(call);
  if (model.unloaded > from || load_may_be_given_up(model)) return "";
  bool const in_use = std::ranges::any_of(calls_, [&](CallRecord const* other) {
    return other != &call && other->model == call.model && other->from < model.unloaded &&
           may_overlap(*other, from);
  });
  return model.unloaded != 0 && in_use ? "" : "nobody unloads the model";
}

std::string Judge::unexplained_load(ModelKind kind, TimePoint now) {
  Facts const& model = facts(kind);
  if (model.failed_loads > 0 || memory_failed_ != 0 || threads_refused_) return "";
  if (now - *model.wanted >= script_.options.load_deadline) return "";
  return load_may_be_given_up(model) ? "" : "no load failed, or took so long";
}

/// One that an unload gave up may be running until all is quiet.
bool Judge::load_may_be_given_up(Facts const& model) const {
  return model.unloading > 0 || (model.unloaded != 0 && model.unloaded >= quiet_since_);
}

bool Judge::may_overlap(CallRecord const& other, Order from) const {
  return !other.returned || other.until >= from || (other.abandoned && other.until >= quiet_since_);
}

/// When what the call was told may have happened: before it came, where it joined the flight of others.
Order Judge::since(CallRecord const& call) const {
  Order first = call.from;
  if (script_.options.cache_bytes == 0 || call.cache == CacheMode::skip) return first;
  for (CallRecord const* other : calls_)
    if (other->model == call.model && other->value == call.value && may_overlap(*other, call.from))
      first = std::min(first, other->from);
  return first;
}

/// An upper bound: everybody who was there at any time of this call, and whose work may still go on.
bool Judge::may_be_held(CallRecord const& call, Reason reason) const {
  std::int64_t items = call.items;
  std::int64_t bytes = call.bytes;
  for (CallRecord const* other : calls_) {
    if (other == &call || !may_overlap(*other, call.from)) continue;
    items += other->items;
    bytes += other->bytes;
  }
  return reason == Reason::queue_full ? items > script_.options.max_items : bytes > script_.options.max_bytes;
}

/// Whether another model may have memory that cannot be taken from it: it was
/// pinned, on its way in or on its way out. The thread that answered a call,
/// or ended a load, may not have let go of its model before a quiet moment.
bool Judge::others_use_budget(ModelKind kind, Order from) const {
  if (!script_.options.model_bytes) return false;
  from = std::min(from, quiet_since_);
  auto const is_other = [&](ModelKind other) {
    return other != kind || facts_[static_cast<std::size_t>(kind)].replaced;
  };
  for (ModelKind const other : script_.models) {
    Facts const& model = facts_[static_cast<std::size_t>(other)];
    bool const moves = model.loads > 0 || model.loaded > from || model.file_loads > 0 ||
                       model.files_loaded > from || model.unloading > 0 || model.unloaded > from ||
                       model.removed > from;
    if (is_other(other) && moves) return true;
  }
  return std::ranges::any_of(
      calls_, [&](CallRecord const* other) { return is_other(other->model) && may_overlap(*other, from); });
}

void Judge::file_load_ends(ModelKind kind) {
  Facts& model = facts(kind);
  --model.file_loads;
  model.files_loaded = tick();
  // The engine measures it now; a failure is remembered.
  model.lacked_budget = model.lacked_budget || others_use_budget(kind, model.files_loaded);
}

std::string Judge::unexplained_exhaustion(CallRecord const& call, Error const& error) {
  if (error.reason == Reason::too_large)
    return call.items > script_.options.max_items || call.bytes > script_.options.max_bytes ? "" : "it fits";
  auto const& budget = script_.options.model_bytes;
  if (error.reason == Reason::budget)
    return budget && footprint_of(call.model) > *budget ? "" : "the budget is large enough";
  if (error.retry_after.count() <= 0) return "no time to come back";
  if (may_be_held(call, error.reason)) return "";
  if (error.reason == Reason::queue_full) return "the engine was not full";
  // The call may be told of the load before it, which was measured some time after its files had been loaded.
  Facts& model = facts(call.model);
  Order const from = model.files_loaded != 0 ? std::min(since(call), model.files_loaded) : since(call);
  model.lacked_budget = model.lacked_budget || others_use_budget(call.model, from);
  return model.lacked_budget ? "" : "neither the engine nor the budget of models was full";
}

/// At worst everybody's items run one by one before it, each as long as the longest
/// run of the model; and a prediction is trusted once there were enough batches.
std::string Judge::unexplained_wait(CallRecord const& call, TimePoint now) {
  Facts const& model = facts(call.model);
  if (call.deadline == no_deadline) return "it has no deadline";
  if (model.runs < batching::CostModel::trusted_samples) return "too few batches to predict by";
  std::int64_t others = call.items;
  for (CallRecord const* other : calls_)
    if (other != &call && other->model == call.model &&
        (!other->returned || other->abandoned || other->until > call.from))
      others += other->items;
  ModelTraits const& traits = traits_of(call.model);
  // An engine that is interrupted between a run and its look at the clock takes a leap for a part of the run.
  bool const interrupts = script_.turns.switch_one_in != 0 || script_.turns.order != Turns::Order::random;
  Duration const longest = model.longest_run * traits.members + (interrupts ? model.leaps : Duration{0});
  // A batch may run again by halves.
  Duration const longest_batch = longest * (2 * traits.max_items);
  // Requests of a group may have waited for room before they were refused.
  return longest_batch * (others + 1) > call.deadline - now ? "" : "no run of this model was so long";
}

void Judge::clock_leaps(Duration by) {
  leaped_ = tick();
  for (Facts& model : facts_)
    if (model.wanted) model.leaps += by;
}

/// What the end of a call means for the ones that come after it.
void Judge::sequence_goes_on(CallRecord const& call, Error const* error) {
  SequenceFacts& sequence = *call.sequence;
  if (error == nullptr) {  // others may come before the call takes its ticket, or when the place is another's
    sequence.used = std::max(sequence.used, call.began);
    return;
  }
  if (call.abandoned || error->reason == Reason::none) sequence.given_up = true;
  if (error->reason == Reason::sequence_lost && sequence.lost == 0) sequence.lost = tick();
}

void Judge::sequence_refused(SequenceFacts const* sequence, Error const& error, TimePoint now) {
  bool const lost = error.reason == Reason::sequence_lost;
  bool const idle = sequence != nullptr && now - sequence->used >= idle_time;
  if (sequence != nullptr && (!lost || !idle)) wrong("a sequence lost its place: " + to_string(error));
  if (sequence != nullptr) return;
  if (stopping_ && error.code == Code::unavailable && error.reason == Reason::stopping) return;
  if (error.code != Code::resource_exhausted || error.reason != Reason::sequences_full ||
      error.retry_after <= Duration{0})
    wrong("a sequence was not opened: " + to_string(error));
}

std::string Judge::unexplained_loss(CallRecord const& call, Error const& error, TimePoint now) {
  if (call.sequence == nullptr) return "a call of no sequence";
  SequenceFacts const& sequence = *call.sequence;
  Facts const& model = facts(call.model);
  auto const any_other = [&](auto const& fits) {
    return std::ranges::any_of(calls_, [&](CallRecord const* other) {
      return other != &call && other->sequence == &sequence && fits(*other);
    });
  };
  if (error.reason == Reason::sequence_busy) {
    if (error.code != Code::failed_precondition) return "a code that does not fit";
    auto const busy = [&](CallRecord const& other) { return !other.returned || other.until > call.from; };
    return any_other(busy) ? "" : "no other call of the sequence was there";
  }
  if (error.code != Code::aborted) return "a code that does not fit";
  if (sequence.lost != 0 || sequence.closed || sequence.given_up) return "";
  if (model.unloading > 0 || model.unloaded > sequence.since) return "";
  if (others_use_budget(call.model, sequence.since)) return "";  // it was evicted for another one
  if (call.model == ModelKind::held && (model.failed_runs > 0 || memory_failed_ != 0)) return "";
  if (now - sequence.used >= idle_time) return "";
  // A call that was given up may not have returned to its caller yet.
  auto const given_up = [&](CallRecord const& other) {
    bool const late = now >= other.deadline || other.cancel_asked || stopping_;
    return !other.returned && (late || may_lack_memory(other));
  };
  return any_other(given_up) ? "" : "nothing has happened to its state";
}

/// Since the call began, or before in the work that it joined.
bool Judge::may_lack_memory(CallRecord const& call) const { return concerns(memory_failed_, call); }

std::string Judge::unexplained_failure(CallRecord const& call, Error const& error) {
  bool const lacks = error.reason == Reason::out_of_memory || error.reason == Reason::backend_failure ||
                     error.reason == Reason::member_failed;
  if (lacks && may_lack_memory(call)) return "";
  if (error.reason == Reason::out_of_memory && error.code == Code::resource_exhausted && threads_refused_)
    return "";
  for (Execution const& run : known_of(call).failed) {
    if (!concerns(run.until, call)) continue;
    if (run.error->code == error.code && run.error->reason == error.reason) return "";
    if (traits_of(call.model).members > 1 && error.reason == Reason::member_failed) return "";
  }
  return "no run with it failed so";
}

// The backend.

void Judge::run_ends(Execution const& run) {
  Facts& model = facts(run.model);
  if (run.member == 0) ++model.runs;
  model.longest_run = std::max(model.longest_run, run.ended - run.began);
  if (run.error) ++model.failed_runs;
  for (std::uint32_t const value : run.values) {
    Content& content = model.contents[value];
    if (run.error) {
      content.failed.push_back(run);
      continue;
    }
    content.computed_from = std::max(content.computed_from, run.from);
    content.computed_until = run.until;
  }
}

void Judge::idle(TimePoint now, bool backends_empty, bool timers_armed) {
  bool quiet = backends_empty && !timers_armed;
  for (CallRecord const* call : calls_) {
    if (call->returned) continue;
    quiet = false;
    // A call that was interrupted before it read the clock has its time from after a leap.
    if (!backends_empty || leaped_ > call->from) continue;
    if (now > call->deadline) wrong("nobody answers a call whose deadline has passed: " + describe(*call));
  }
  if (quiet) quiet_since_ = tick();
}

// Counts.

void add(ModelStatistics& sum, ModelStatistics const& one) {
  for (std::size_t i = 0; i < sum.requests.size(); ++i) sum.requests[i] += one.requests[i];
  sum.cache_hits += one.cache_hits;
  sum.cache_joined += one.cache_joined;
  sum.degraded += one.degraded;
  sum.batches += one.batches;
  sum.queued_items += one.queued_items;
  sum.busy_instances += one.busy_instances;
}

void Judge::compare(ModelKind kind, ModelStatistics const& statistics, std::uint64_t reruns) {
  Facts const& model = facts(kind);
  if (model.inexact) return;
  auto const differs = [&](char const* what, std::uint64_t counted, std::uint64_t happened) {
    wrong(std::string(traits_of(kind).name) + ": " + what + ": the engine counts " + std::to_string(counted) +
          ", and there were " + std::to_string(happened));
  };
  // Of calls whose outcome nobody saw, any may be.
  auto const compare = [&](char const* what, std::uint64_t counted, std::uint64_t happened) {
    if (counted < happened || counted > happened + model.unseen) differs(what, counted, happened);
  };
  std::uint64_t counted = 0;
  std::uint64_t happened = model.unseen;
  for (std::size_t code = 0; code < model.outcomes.size(); ++code) {
    compare(to_string(static_cast<Code>(code)).data(), statistics.requests[code], model.outcomes[code]);
    counted += statistics.requests[code];
    happened += model.outcomes[code];
  }
  if (counted != happened) differs("calls", counted, happened);
  compare("hits", statistics.cache_hits, model.hits);
  compare("joined", statistics.cache_joined, model.joined);
  compare("degraded", statistics.degraded, model.degraded);
  if (statistics.batches + reruns < model.runs)
    differs("batches and reruns", statistics.batches + reruns, model.runs);
  if (statistics.queued_items != 0) differs("queued items", statistics.queued_items, 0);
  if (statistics.busy_instances != 0) differs("busy instances", statistics.busy_instances, 0);
}

}  // namespace athanor_tests
