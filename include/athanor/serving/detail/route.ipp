#pragma once

#include <algorithm>
#include <limits>
#include <memory>
#include <new>
#include <utility>

#include <athanor/core/detail/inside.hpp>
#include <athanor/core/detail/leave_to_idle.hpp>
#include <athanor/core/detail/noexcept_error.hpp>
#include <athanor/serving/detail/engine_state.hpp>
#include <athanor/serving/detail/outputs.hpp>

namespace athanor::inline v1::serving {

/// Inputs that take longer to check and to hash than a look at the clock, and outputs that take longer to
/// check.
inline constexpr std::int64_t bytes_worth_a_clock = 4096;

inline bool is_worth_a_clock(std::span<Tensor const> outputs) noexcept {
  for (Tensor const& output : outputs)
    if (output.size_bytes() >= static_cast<std::size_t>(bytes_worth_a_clock)) return true;
  return false;
}

// The route. Every room is entered at most once, in this order. The room that holds a parked call resumes it;
// the thread that removes a call from a room owns the call's next step.
template <class T>
void EngineState<T>::advance(CallType& call, CallerKind caller, TimePoint now) noexcept {
  for (;;) {
    // No other thread decides the answer of a call that is starting: see call_bits.
    if (caller == CallerKind::worker && call.step != RouteStep::join && call.step < RouteStep::finish &&
        !is_needed(call))
      end_route(call, make_error(Code::cancelled, Reason::cancelled,
                                 "the call was given up before it was computed: all its callers have left"));
    Progress progress = Progress::next;
    switch (call.step) {
      case RouteStep::join:
        progress = join_step(call, now);
        // What follows is not charged with the reading of large inputs.
        if (progress == Progress::next && call.inputs.checked().bytes >= bytes_worth_a_clock)
          now = Env::now();
        break;
      case RouteStep::admit_work: progress = admit_work_step(call, now); break;
      case RouteStep::guard: progress = guard_step(call, now); break;
      case RouteStep::prepare:
        progress = prepare_step(call, caller, now);
        if (progress == Progress::next && call.model->description().preprocesses) now = Env::now();
        break;
      case RouteStep::pin: progress = pin_step(call, now); break;
      case RouteStep::slot: progress = slot_step(call); break;
      case RouteStep::push: push_step(call, caller, now); return;
      case RouteStep::postprocess: progress = postprocess_step(call, caller); break;
      case RouteStep::finish: finish_step(call, caller, Env::now()); return;
      case RouteStep::answer: answer_step(call, caller, call.ended); return;
    }
    if (progress == Progress::parked) return;
  }
}

template <class T>
typename EngineState<T>::Progress EngineState<T>::end_route(CallType& call, Error error) noexcept {
  call.route_end = {true, std::move(error)};
  call.step = RouteStep::finish;
  return Progress::next;
}

/// Ends a route on which nothing was done for the call and it waited for nothing: how long that took is no
/// latency.
template <class T>
typename EngineState<T>::Progress EngineState<T>::turn_away(CallType& call, Error error) noexcept {
  end_route(call, std::move(error));
  call.route_end.turned_away = true;
  return Progress::next;
}

/// Looks for NaN and infinities in the inputs, which check() has left to this, and adds them to the key, if
/// there is one.
template <class T>
std::optional<Error> EngineState<T>::read_inputs(CallType const& call, KeyHasher* hasher) noexcept {
  Signature const& signature = call.model->description().signature;
  for (std::size_t i = 0; i < signature.inputs.size(); ++i) {
    Tensor const& input = call.inputs[i];
    bool const refuses = signature.inputs[i].non_finite == NonFinite::refuse;
    std::int64_t at = -1;
    if (hasher == nullptr) {
      if (refuses) at = first_non_finite(input);
    } else if (refuses) {
      at = hasher->add_finite(input);
    } else {
      hasher->add(input);
    }
    if (at >= 0) return non_finite_error(signature.inputs[i], at);
  }
  return std::nullopt;
}

/// Hit: answered from the cache. Waiter: parked on an equal call's flight. Owner: its work is the flight's.
template <class T>
inline typename EngineState<T>::Progress EngineState<T>::join_step(CallType& call, TimePoint now) noexcept {
  call.step = RouteStep::admit_work;
  ModelDescription const& description = call.model->description();
  Signature const& signature = description.signature;
  bool const cached = options_.cache_bytes != 0 && description.manifest.cache;
  bool const parametric = !signature.parameters.empty();
  bool const own = parametric && leaves_out_seed(signature, call.inputs.checked());
  if (!cached || own || call.cache_mode == CacheMode::skip) {
    if (call.cache_mode != CacheMode::only_if_cached) {
      // Without a key, what was left to the hash is read here.
      if (call.inputs.checked().unread)
        if (auto const refused = read_inputs(call, nullptr))
          return turn_away(call, named(*call.model, *refused));
      return Progress::next;
    }
    return turn_away(call, make_error(Code::not_found, Reason::not_cached,
                                      "{}: expected {}, as the call reads the cache only", description.id,
                                      own ? "a value for the seed" : "a model whose answers are cached"));
  }
  KeyHasher hasher(secret_);
  hasher.add(description.content);
  if (!call.inputs.checked().unread) {
    for (std::size_t i = 0; i < signature.inputs.size(); ++i) hasher.add(call.inputs[i]);
  } else if (auto const refused = read_inputs(call, &hasher)) {
    return turn_away(call, named(*call.model, *refused));
  }
  if (parametric)
    for (ath_value const& value : call.parameters.values()) hasher.add(value);
  auto const joined = cache_.join(call, hasher.finish(), call.cache_mode, now);
  if (joined == caching::Join::waiter) return Progress::parked;  // another thread may own the call already
  if (joined == caching::Join::hit) {
    call.outputs->stored = std::move(call.flight_value);
    call.report.cache = CacheState::hit;
    call.report.members = call.outputs->stored->members;
    call.step = RouteStep::finish;
  } else if (joined == caching::Join::refused) {
    return turn_away(call, named(*call.model, caching::refusal_error(call.refusal, cache_.options())));
  } else if (joined == caching::Join::owner) {
    call.report.cache = call.cache_mode == CacheMode::refresh ? CacheState::refreshed : CacheState::miss;
  }
  return Progress::next;
}

template <class T>
inline typename EngineState<T>::Progress EngineState<T>::admit_work_step(CallType& call,
                                                                         TimePoint now) noexcept {
  call.step = RouteStep::guard;
  auto const& lane = call.model->lane();
  auto const items = static_cast<std::uint32_t>(call.inputs.checked().items);
  if (items <= lane.options().max_items && after(now, lane.longest_wait()) < call.deadline)
    return Progress::next;
  Duration const queue = lane.predicted_wait(now, call.last_instance);
  // Of items that a processor has still to make, the least that they may be.
  Padding const& padding = call.model->description().plan.padding;
  std::int64_t const cost =
      padding.empty() ? 0 : items * padding.positions_of(padding.buckets_of(call.longest));
  Duration const wait = saturating_sum(queue, lane.predicted({items, cost}));
  auto admitted = admission::admit_work(after(now, wait), call.deadline, now);
  if (admitted) return Progress::next;
  if (queue == Duration{} && call.deadline > now && call.model->allow_trial(now, wait)) return Progress::next;
  if (others_wait(call)) {
    // This caller has no time for it; the others may have.
    abandon(call, named(*call.model, admitted.error()));
    if (executor_.post(static_cast<Continuation&>(call))) return Progress::parked;
    admitted = tl::unexpected(no_worker());  // which is what the others learn
  }
  return turn_away(call, named(*call.model, admitted.error()));
}

/// Half-open, a call reserves a probe's place here, and its batch is its own; the lease runs from the
/// execution on. Closed, leases belong to batches.
template <class T>
inline typename EngineState<T>::Progress EngineState<T>::guard_step(CallType& call, TimePoint now) noexcept {
  call.step = RouteStep::prepare;
  auto& breaker = call.model->breaker();
  if (breaker.state() == breaking::State::closed) return Progress::next;
  auto lease = breaker.reserve(now);
  if (!lease) return turn_away(call, named(*call.model, lease.error()));
  if (lease->probe >= 0) {
    call.lease = *lease;
    call.alone = true;
  }
  return Progress::next;
}

/// Whether a deadline, a cancellation or a stop has ended the call.
template <class T>
bool EngineState<T>::is_over(CallType const& call) noexcept {
  return (call.word.load() & (call_bits::revoked | call_bits::stopped)) != 0 || Env::now() >= call.deadline;
}

/// Whether nobody waits for the call's answer any more. While a blocking caller's own thread moves it,
/// nothing else sees that its cancellation was cancelled, or its deadline has passed.
template <class T>
bool EngineState<T>::is_given_up(CallType& call, CallerKind caller) noexcept {
  bool const here = caller == CallerKind::caller && call.cancellation != nullptr;
  bool const over = (call.word.load() & call_bits::claimed) != 0 || is_over(call) ||
                    (here && call.cancellation->is_cancelled());
  return over && !others_wait(call);
}

/// A call while its processor may ask about it.
template <class T>
struct EngineState<T>::Asking {
  EngineState& engine;
  CallType& call;
  CallerKind caller;
  Inside<EngineState, Env> here{&engine};

  ItemFacts facts() const noexcept {
    auto const is_cancelled = [](void const* asked) -> std::int32_t {
      return static_cast<Asking const*>(asked)->is_given_up() ? 1 : 0;
    };
    return {call.parameters.values(), is_cancelled, this};
  }
  /// A processor that was told so may end with any error.
  Error error_of(Error error) const { return is_given_up() ? end_of_wait(call) : std::move(error); }
  bool is_given_up() const noexcept { return engine.is_given_up(call, caller); }
};

/// The inputs that the processor reads. They are copied if the call may be abandoned while the processor
/// runs, so that its caller never waits for the processor.
template <class T>
Result<std::vector<Tensor>> EngineState<T>::processor_inputs(CallType& call, CallerKind caller) {
  CallLock<T> const lock(call);
  bool const copy = call.inputs.borrowed() && caller != CallerKind::caller;
  return call.inputs.take(call.model->description().processor_inputs, copy);
}

/// What the processor makes of an item is charged to the call before the next one is looked at.
template <class T>
Result<void> EngineState<T>::prepare_items(CallType& call, CallerKind caller, TimePoint now) {
  auto const inputs = processor_inputs(call, caller);
  if (!inputs) return tl::unexpected(inputs.error());
  call.batch_cost = 0;
  call.longest = {};
  bool const pads = !call.model->description().plan.padding.empty();
  Asking const asking{*this, call, caller};
  for (std::int64_t item = 0; item < call.inputs.checked().items; ++item) {
    if (item != 0 && asking.is_given_up()) return tl::unexpected(end_of_wait(call));
    auto made = preprocess_item(call.model->description(), *inputs, asking.facts(), item);
    if (!made) return tl::unexpected(asking.error_of(std::move(made.error())));
    if (auto const charged = gate_.admit_more(call, made->bytes(), now); !charged)
      return tl::unexpected(named(*call.model, charged.error()));
    // So that what the engine holds at once costs less than 2^63 in all.
    call.batch_cost += std::min(made->cost(), std::numeric_limits<std::int64_t>::max() / options_.max_items);
    if (pads) call.longest = longest_of(call.longest, *made_lengths(call.model->description(), *made));
    call.made.push_back(std::move(*made));
  }
  ModelType const& model = *call.model;
  if (!model.description().batches_differ) return {};
  CallLock<T> const lock(call);
  for (std::uint32_t item = 1; item < call.made.size() && !call.inputs.gone(); ++item)
    if (model.shape_key(call, item) != model.shape_key(call))
      return fail(Code::invalid_argument, Reason::shape,
                  "{}: item {}: expected the shapes of item 0 beyond axis 0; send it as a request of its own",
                  model.description().id, item);
  return {};
}

/// Items are preprocessed on a blocking caller's thread or on a worker's, never inside submit; those of a
/// group on several.
template <class T>
inline typename EngineState<T>::Progress EngineState<T>::prepare_step(CallType& call, CallerKind caller,
                                                                      TimePoint now) noexcept {
  if (call.model->description().preprocesses) {
    if (caller == CallerKind::submitter || caller == CallerKind::group) {
      if (executor_.post(static_cast<Continuation&>(call))) return Progress::parked;
      return turn_away(call, no_worker());
    }
    auto prepared = [&]() -> Result<void> {
      try {
        return prepare_items(call, caller, now);
      } catch (...) {
        return tl::unexpected(
            detail::caught(Code::resource_exhausted, Reason::out_of_memory, call.model->description().id));
      }
    }();
    call.report.prepare = Env::now() - now;
    if (!prepared) return end_route(call, std::move(prepared.error()));
  } else {
    call.batch_cost = std::max<std::int64_t>(call.inputs.checked().bytes, 1);
    if (call.model->description().has_common) {
      CallLock<T> const lock(call);
      if (!call.inputs.gone())
        call.batch_cost =
            bytes_of_items(call.model->description(), call.inputs.request(), call.inputs.checked());
    }
  }
  // What a padded batch costs is how long it is, whatever its items hold.
  if (Padding const& padding = call.model->description().plan.padding; !padding.empty())
    call.batch_cost = call.inputs.checked().items * padding.positions_of(padding.buckets_of(call.longest));
  call.step = RouteStep::pin;
  return Progress::next;
}

template <class T>
inline typename EngineState<T>::Progress EngineState<T>::pin_step(CallType& call, TimePoint now) noexcept {
  call.step = call.ticket.number == 0 ? RouteStep::push : RouteStep::slot;
  auto acquired = loader_.pin(call, call.model->load_record(), now, *this);
  if (acquired) return *acquired == loading::PinResult::ready ? Progress::next : Progress::parked;
  bool const prepared = call.report.prepare != Duration{};
  return prepared ? end_route(call, std::move(acquired.error()))
                  : turn_away(call, std::move(acquired.error()));
}

/// The state of a sequence is in the model that its last call held, or nowhere.
template <class T>
typename EngineState<T>::Progress EngineState<T>::slot_step(CallType& call) noexcept {
  call.step = RouteStep::push;
  auto entered = call.model->sequences()->with(
      [&](auto& places) { return places.enter(call.ticket, call.payload->number); });
  if (!entered) return end_route(call, named(*call.model, entered.error()));
  return Progress::next;
}

template <class T>
void EngineState<T>::push_step(CallType& call, CallerKind caller, TimePoint now) noexcept {
  call.step = RouteStep::finish;
  batching::Slot& slot = call;
  slot.batch_items = static_cast<std::uint32_t>(call.inputs.checked().items);
  // The default deadline bounds the wait, but a lone caller may run its own work under it. A group has many
  // batches.
  bool const bounded = call.own_deadline || caller == CallerKind::group;
  slot.batch_deadline = bounded ? call.deadline : no_deadline;
  slot.batch_key = 0;
  if (call.model->description().batches_differ) {
    CallLock<T> const lock(call);
    if (!call.inputs.gone()) slot.batch_key = call.model->batch_key(call);
  }
  if (caller == CallerKind::group) return call.leader->held.append(slot);
  // Of a call that the engine steps, only the reader of its stream makes steps.
  bool const here = caller == CallerKind::caller && options_.caller_runs == CallerRuns::when_idle &&
                    !call.model->description().steps;
  auto& lane = call.model->lane();
  if (here)
    if (auto const ended = lane.run_alone(slot, now))
      return batched(call, slot.batch_failed ? &slot.batch_error : nullptr, *ended, caller);
  if (caller == CallerKind::caller) listen(call);  // before this thread runs its batches
  lane.queue(slot, here ? batching::LendThread::yes : batching::LendThread::no, now);
}

template <class T>
void EngineState<T>::on_task(Task& task) noexcept {
  auto& call = static_cast<CallType&>(static_cast<Continuation&>(task));
  if (call.step == RouteStep::answer) return call.engine->answer_step(call, CallerKind::worker, call.ended);
  auto const handle = call.engine->keep_model(call);  // the call may end before this thread has left the lane
  call.engine->advance(call, CallerKind::worker, Env::now());
}

template <class T>
void EngineState<T>::resume(loading::Slot<LoadedModel>& slot, Error const* error) noexcept {
  auto& call = static_cast<CallType&>(slot);
  auto const handle = keep_model(call);  // as above
  CallerScope<Env> const scope;  // a load thread, or one that unloads: completions of users do not run on it
  if (error != nullptr) end_route(call, detail::copy_of(*error));
  advance(call, CallerKind::worker, Env::now());
}

template <class T>
void EngineState<T>::batched(CallType& call, Error const* error, TimePoint now, CallerKind caller) noexcept {
  // A model may fail with the same reason: of another engine, which it has asked.
  bool const expired =
      error != nullptr && error->reason == Reason::deadline_waiting && call.batch_deadline <= now;
  if (expired && others_wait(call)) {
    abandon(call, late(call));
    // The deadline is this caller's alone; the work continues for waiters with deadlines of their own.
    call.batch_deadline = no_deadline;
    return call.model->lane().queue(call, batching::LendThread::no, now);
  }
  if (error != nullptr) {
    // Of a batch that was given up, each call ends for a reason of its own.
    bool const given_up = error->code == Code::cancelled && is_given_up(call, caller);
    end_route(call, given_up ? end_of_wait(call) : detail::copy_of(*error));
  } else if (call.incomplete.load(std::memory_order_relaxed)) {
    end_route(call, make_error(Code::cancelled, Reason::cancelled,
                               "the call was not executed: its caller left with its inputs"));
  } else if (call.model->description().postprocesses) {
    return begin_postprocess(call, caller, now);
  } else {
    auto const outputs = call.outputs->computed();
    if (auto finite = check_finite(call.model->description(), outputs); !finite)
      end_route(call, std::move(finite.error()));
    if (is_worth_a_clock(outputs)) now = Env::now();
  }
  finish_step(call, caller, now);
}

/// Items are postprocessed on the thread of a caller that ran the model, otherwise on a worker: the thread
/// that ends a batch continues with the lane.
template <class T>
void EngineState<T>::begin_postprocess(CallType& call, CallerKind caller, TimePoint now) noexcept {
  call.step = RouteStep::postprocess;
  if (caller != CallerKind::caller) {
    if (executor_.post(static_cast<Continuation&>(call))) return;
    end_route(call, no_worker());
  }
  advance(call, caller, now);
}

template <class T>
Result<void> EngineState<T>::postprocess_items(CallType& call, CallerKind caller) {
  ModelDescription const& description = call.model->description();
  auto const inputs = processor_inputs(call, caller);
  if (!inputs) return tl::unexpected(inputs.error());
  auto const computed = call.outputs->computed();
  auto const rows = computed.subspan(description.signature.outputs.size());
  std::vector<MadeItem> answers;
  Asking const asking{*this, call, caller};
  for (std::int64_t item = 0; item < call.inputs.checked().items; ++item) {
    if (asking.is_given_up()) return tl::unexpected(end_of_wait(call));
    auto made = postprocess_item(description, *inputs, asking.facts(),
                                 call.made.empty() ? nullptr : &call.made[static_cast<std::size_t>(item)],
                                 rows, call.longest, item, item);
    if (!made) return tl::unexpected(asking.error_of(std::move(made.error())));
    answers.push_back(std::move(*made));
  }
  return put_postprocessed(description, answers, computed).and_then([&] {
    return check_finite(description, computed);
  });
}

template <class T>
typename EngineState<T>::Progress EngineState<T>::postprocess_step(CallType& call,
                                                                   CallerKind caller) noexcept {
  TimePoint const began = Env::now();
  auto postprocessed = [&]() -> Result<void> {
    try {
      return postprocess_items(call, caller);
    } catch (...) {
      return tl::unexpected(
          detail::caught(Code::resource_exhausted, Reason::out_of_memory, call.model->description().id));
    }
  }();
  call.report.postprocess = Env::now() - began;
  if (!postprocessed) return end_route(call, std::move(postprocessed.error()));
  call.step = RouteStep::finish;
  return Progress::next;
}

/// Makes the one copy that the flight's waiters and the cache share.
template <class T>
Result<StoredAnswerPointer> EngineState<T>::copy_answer(CallType& call, std::size_t& bytes) noexcept {
  try {
    auto answer = std::make_shared<StoredAnswer>();
    answer->members = call.report.members;
    auto const outputs = call.outputs->computed().first(call.model->description().signature.outputs.size());
    answer->outputs.reserve(outputs.size());
    bytes = sizeof(StoredAnswer) + caching::shared_overhead + detail::block_overhead;
    for (Tensor const& output : outputs) {
      auto copy = output.clone();
      if (!copy) return tl::unexpected(std::move(copy.error()));
      bytes += sizeof(Tensor) + copy->buffer().footprint();
      answer->outputs.push_back(std::move(*copy));
    }
    return answer;
  } catch (...) {
    return tl::unexpected(
        detail::caught(Code::resource_exhausted, Reason::out_of_memory, "an answer to be shared"));
  }
}

/// The client of the cache that ends a flight: it gathers those who wait for it, and answers them.
template <class T>
struct EngineState<T>::Waiters {
  EngineState* engine = nullptr;
  batching::SlotList calls{};

  void resume(typename Cache::Slot& slot, StoredAnswerPointer const& value, Error const* error) noexcept {
    auto& call = static_cast<CallType&>(slot);
    call.report.cache = CacheState::joined;
    call.step = RouteStep::finish;
    if (error != nullptr) {
      engine->end_route(call, detail::copy_of(*error));
    } else {
      call.outputs->stored = value;
      call.report.members = value->members;
    }
    calls.append(call);
  }

  void operator()() noexcept {
    while (batching::Slot* const slot = calls.pop())
      engine->finish_step(static_cast<CallType&>(*slot), CallerKind::worker, Env::now());
  }
};

/// Answers those who wait for an owner's work. Each may have to be woken: a caller whose own answer is ready
/// leaves all but a few to a worker, if one is idle.
template <class T>
void EngineState<T>::end_flight(CallType& call, CallerKind caller, TimePoint now) noexcept {
  constexpr int few = 16;
  Waiters waiters{this};
  if (call.route_end.failed) {
    cache_.fail(call, call.route_end.error, waiters);
  } else {
    publish(call, now, waiters);
  }
  if (caller == CallerKind::caller) {
    Waiters first{this};
    for (int i = 0; i < few && !waiters.calls.empty(); ++i) first.calls.append(*waiters.calls.pop());
    // Before the first are answered, because their completions may need every worker.
    if (!waiters.calls.empty()) detail::leave_to_idle_thread(executor_, waiters);
    first();
  }
  waiters();
}

template <class T>
void EngineState<T>::publish(CallType& call, TimePoint now, Waiters& waiters) noexcept {
  std::size_t bytes = 0;
  auto const answer = copy_answer(call, bytes);
  if (!answer) return cache_.fail(call, answer.error(), waiters);
  // An answer of fewer than all members goes to the waiters and is not stored.
  std::size_t const members = call.model->description().plan.members.size();
  if (call.report.members != 0 && call.report.members < members)
    bytes = std::numeric_limits<std::size_t>::max();
  cache_.publish(call, *answer, bytes, call.report.compute, now, waiters);
}

/// State that the backend holds has moved on by an unknown part of a step when that fails.
template <class T>
void EngineState<T>::end_sequence_work(CallType& call, CallerKind caller) noexcept {
  bool const lost = call.model->sequences()->with(
      [&](auto& places) { return places.end_work(call.ticket, call.route_end.failed); });
  // A caller that was late or has cancelled gets that error; later calls get that of the lost state.
  Code const code = call.route_end.error.code;
  bool const says_why = code == Code::deadline_exceeded || code == Code::cancelled;
  if (!lost || (says_why && is_given_up(call, caller))) return;
  end_route(call, make_error(Code::aborted, Reason::sequence_lost, "the state of the sequence is lost: {}",
                             call.route_end.error.message));
}

/// Ends a call on its caller's thread, which is inside `start`: no other thread answers it, so its word is
/// left unchanged, and the engine's reference is dropped with the caller's. False if it has been answered
/// already while others wait.
template <class T>
inline bool EngineState<T>::end_here(CallType& call, TimePoint now) noexcept {
  auto const seen = call.word.load();
  if ((seen & call_bits::claimed) != 0) return false;
  if ((seen & call_bits::stopped) != 0) end_route(call, stop_error());
  take_ending(call);
  call.report.total = now - call.began;
  call.ended_here = true;
  return true;
}

template <class T>
inline void EngineState<T>::take_ending(CallType& call) noexcept {
  call.answer_end.failed = call.route_end.failed;
  if (!call.route_end.failed) return;
  call.answer_end.error = std::move(call.route_end.error);
  call.answer_end.turned_away = call.route_end.turned_away;
}

/// The end of every route: the rooms that were entered get the outcome in reverse order, then the caller
/// does. A worker ends all its calls and wakes their blocking callers before it runs the first completion, so
/// that no user code delays the end of a call or the next batch of an instance.
template <class T>
void EngineState<T>::finish_step(CallType& call, CallerKind caller, TimePoint now) noexcept {
  // A hit found by submit completes on a worker: never inside submit.
  if (caller == CallerKind::submitter && !call.route_end.failed) {
    if (executor_.post(static_cast<Continuation&>(call))) return;
    end_route(call, no_worker());
  }
  if (call.ticket.number != 0) end_sequence_work(call, caller);
  if (call.role() == caching::Join::owner) end_flight(call, caller, now);
  if (call.payload != nullptr) loader_.unpin(call);
  if (call.lease.taken) call.model->breaker().abandon(call.lease, now);
  call.lease = {};
  // Before what it is charged, and before the caller is answered. Parts that wait for a reader need it still:
  // it goes with the reader's reference.
  if (call.stream == nullptr && !call.made.empty()) call.made.clear();
  room_line_.give_back(call);
  if (caller == CallerKind::caller && end_here(call, now)) return;
  if (call.asynchronous() && CallerScope<Env>::depth() == 0) {
    call.step = RouteStep::answer;
    call.ended = now;
    if (executor_.defer(static_cast<Continuation&>(call))) return;
  }
  answer_step(call, caller, now);
}

/// Answers the caller, unless that has been done, and ends the route.
template <class T>
void EngineState<T>::answer_step(CallType& call, CallerKind caller, TimePoint now) noexcept {
  std::uint32_t references = CallType::engine_reference;
  if (call.route_end.failed || !answer_at_once(call, now, references)) {
    auto const seen = call.word.fetch_or(call_bits::claimed);
    if ((seen & call_bits::claimed) == 0) {
      if ((seen & call_bits::stopped) != 0) end_route(call, stop_error());
      take_ending(call);
      if (caller == CallerKind::submitter) call.refused = true;
      references += answer(call, now);
    }
  }
  end_of_route(call, references);
}

}  // namespace athanor::inline v1::serving
