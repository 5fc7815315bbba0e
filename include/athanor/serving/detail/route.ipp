#pragma once

#include <limits>

#include <athanor/serving/detail/core.hpp>

namespace athanor::inline v1::serving {

// The route. Every room is entered at most once, in this order; a parked call is resumed by the room that
// holds it, and whoever removes a call from a room owns what happens to it next.
template <class T>
void Core<T>::advance(CallType& call, Origin origin, TimePoint now) noexcept {
  for (;;) {
    if (call.at != At::join && call.at != At::settle && !is_needed(call))
      end_route(call, make_error(Code::cancelled, Reason::cancelled, "nobody waits for this work any more"));
    Step step = Step::next;
    switch (call.at) {
      case At::join: step = join(call, now); break;
      case At::admit_work: step = admit_work(call, now); break;
      case At::guard: step = guard(call, now); break;
      case At::prepare:
        step = prepare(call, origin, now);
        if (step == Step::next && call.entry->description().processor) now = Env::now();
        break;
      case At::acquire: step = acquire(call, now); break;
      case At::push: push(call, origin, now); return;
      case At::settle: settle(call, origin, Env::now()); return;
    }
    if (step == Step::parked) return;
  }
}

template <class T>
typename Core<T>::Step Core<T>::end_route(CallType& call, Error error) noexcept {
  call.failed = true;
  call.error = std::move(error);
  call.at = At::settle;
  return Step::next;
}

/// Hit: answered from the cache. Waiter: parked on an equal call's flight. Owner: its work is the flight's.
template <class T>
typename Core<T>::Step Core<T>::join(CallType& call, TimePoint now) noexcept {
  call.at = At::admit_work;
  ModelDescription const& description = call.entry->description();
  bool const cached = options_.cache_bytes != 0 && description.manifest.cache;
  if (!cached || call.cache_mode == CacheMode::skip) {
    if (call.cache_mode != CacheMode::only_if_cached) return Step::next;
    return end_route(call, make_error(Code::not_found, Reason::not_cached, "{}: its answers are not cached",
                                      description.id));
  }
  KeyHasher hasher(secret_);
  hasher.add(description.content);
  for (std::size_t i = 0; i < description.signature.inputs.size(); ++i) hasher.add(call.input(i));
  // Said before it is known: a waiter is out of this thread's hands the moment it joins.
  call.role.store(caching::Join::waiter, std::memory_order_release);
  auto const joined = cache_.join(call, hasher.finish(), static_cast<caching::Mode>(call.cache_mode), now);
  if (joined == caching::Join::waiter) return Step::parked;
  call.role.store(joined, std::memory_order_release);
  if (joined == caching::Join::hit) {
    call.stored = std::move(call.value);
    call.report.cache = CacheState::hit;
    call.report.members = call.stored->members;
    call.at = At::settle;
  } else if (joined == caching::Join::refused) {
    return end_route(call, caching::refusal_error(call.refusal, cache_.options()));
  } else if (joined == caching::Join::owner) {
    call.report.cache = call.cache_mode == CacheMode::refresh ? CacheState::refreshed : CacheState::miss;
  }
  return Step::next;
}

template <class T>
typename Core<T>::Step Core<T>::admit_work(CallType& call, TimePoint now) noexcept {
  call.at = At::guard;
  auto const& lane = call.entry->lane();
  auto const snapshot = lane.snapshot();
  auto const items = static_cast<std::uint32_t>(call.checked.items);
  // The exact prediction takes the lane's mutex: it is asked for only where it can matter.
  bool const surely = items <= lane.options().max_items &&
                      after(now, snapshot.predicted_wait + snapshot.largest_batch) < call.deadline;
  if (surely) return Step::next;
  Duration const wait = snapshot.predicted_wait + lane.predicted(items);
  auto admitted = admission::admit_work(after(now, wait), call.deadline, now);
  if (admitted) return Step::next;
  if (snapshot.predicted_wait == Duration{} && call.deadline > now && call.entry->may_try(now, wait))
    return Step::next;
  if (others_wait(call)) {
    leave(call, admitted.error());  // this caller has no time for it, those may have
    if (executor_.post(static_cast<Continuation&>(call))) return Step::parked;
  }
  return end_route(call, std::move(admitted.error()));
}

/// Half-open, a call takes its probe's lease here, and its batch is its own. Closed, leases belong to
/// batches.
template <class T>
typename Core<T>::Step Core<T>::guard(CallType& call, TimePoint now) noexcept {
  call.at = At::prepare;
  auto& breaker = call.entry->breaker();
  if (breaker.state() == breaking::State::closed) return Step::next;
  auto lease = breaker.acquire(now);
  if (!lease) {
    lease.error().message = detail::format("{}: {}", call.entry->description().id, lease.error().message);
    return end_route(call, std::move(lease.error()));
  }
  if (lease->probe >= 0) {
    call.lease = *lease;
    call.alone = true;
  }
  return Step::next;
}

/// The inputs that the processor reads. They are copied if the caller may leave while the processor runs, so
/// that leaving never waits for it.
template <class T>
Result<std::vector<Tensor>> Core<T>::processor_inputs(CallType& call, Origin origin) {
  bool const may_leave = call.borrowed && origin != Origin::caller;
  auto const& wanted = call.entry->description().processor_inputs;
  std::vector<Tensor> inputs;
  inputs.reserve(wanted.size());
  Result<void> taken;
  call.lock_inputs();
  if (call.inputs_gone) {
    taken = fail(Code::cancelled, Reason::cancelled, "the caller took its inputs back");
  } else {
    for (std::size_t const index : wanted) {
      Tensor const& given = call.input(index);
      Result<Tensor> input = may_leave ? given.clone() : Result<Tensor>(given);
      if (!input) {
        taken = tl::unexpected(std::move(input.error()));
        break;
      }
      inputs.push_back(std::move(*input));
    }
  }
  call.unlock_inputs();
  if (!taken) return tl::unexpected(std::move(taken.error()));
  return inputs;
}

template <class T>
Result<void> Core<T>::prepare_items(CallType& call, Origin origin) {
  auto const inputs = processor_inputs(call, origin);
  if (!inputs) return tl::unexpected(inputs.error());
  call.batching::Slot::cost = 0;
  for (std::int64_t item = 0; item < call.checked.items; ++item) {
    auto made = preprocess_item(*call.entry->description().processor, *inputs, item);
    if (!made) return tl::unexpected(std::move(made.error()));
    call.batching::Slot::cost += made->cost();
    call.made.push_back(std::move(*made));
  }
  return {};
}

/// MadeItem are made on a blocking caller's thread or on a worker's, never inside submit; those of a group on
/// several.
template <class T>
typename Core<T>::Step Core<T>::prepare(CallType& call, Origin origin, TimePoint now) noexcept {
  if (call.entry->description().processor) {
    if (origin == Origin::submitter || origin == Origin::group) {
      if (executor_.post(static_cast<Continuation&>(call))) return Step::parked;
      return end_route(call, make_error(Code::unavailable, Reason::stopping, "the engine is stopping"));
    }
    auto prepared = prepare_items(call, origin);
    call.report.prepare = Env::now() - now;
    if (!prepared) return end_route(call, std::move(prepared.error()));
  } else {
    call.batching::Slot::cost = std::max<std::int64_t>(call.checked.bytes, 1);
  }
  call.at = At::acquire;
  return Step::next;
}

template <class T>
typename Core<T>::Step Core<T>::acquire(CallType& call, TimePoint now) noexcept {
  call.at = At::push;
  auto acquired = loader_.pin(call, call.entry->load_entry(), now, *this);
  if (!acquired) return end_route(call, std::move(acquired.error()));
  return *acquired == loading::PinResult::ready ? Step::next : Step::parked;
}

template <class T>
void Core<T>::push(CallType& call, Origin origin, TimePoint now) noexcept {
  call.at = At::settle;
  batching::Slot& slot = call;
  slot.items = static_cast<std::uint32_t>(call.checked.items);
  // The default deadline bounds the wait, but does not keep a lone caller from running its own work.
  slot.deadline = call.own_deadline ? call.deadline : no_deadline;
  slot.key = 0;
  if (call.entry->description().shapes_vary) {
    call.lock_inputs();
    if (!call.inputs_gone) slot.key = call.entry->shape_key(call);
    call.unlock_inputs();
  }
  if (origin == Origin::group) return call.leader->held.append(slot);
  bool const here = origin == Origin::caller && options_.caller_runs == CallerRuns::when_idle;
  call.entry->lane().enter(slot, here ? batching::Entry::may_run_here : batching::Entry::never_here, now);
}

template <class T>
void Core<T>::batched(CallType& call, Error const* error, TimePoint now) noexcept {
  bool const expired = error != nullptr && error->reason == Reason::deadline_waiting;
  if (expired && others_wait(call)) {
    leave(call, late(call));
    // A deadline is its caller's; the work goes on for those who wait with deadlines of their own.
    static_cast<batching::Slot&>(call).deadline = no_deadline;
    return call.entry->lane().enter(call, batching::Entry::never_here, now);
  }
  if (error != nullptr) {
    end_route(call, *error);
  } else if (auto answer = call.entry->check_answer(call); !answer) {
    end_route(call, std::move(answer.error()));
  }
  settle(call, Origin::worker, now);
}

template <class T>
void Core<T>::resume(caching::Slot<StoredAnswerPointer>& slot, StoredAnswerPointer const& value,
                     Error const* error) noexcept {
  auto& call = static_cast<CallType&>(slot);
  call.report.cache = CacheState::joined;
  call.at = At::settle;
  if (error != nullptr) {
    end_route(call, *error);
  } else {
    call.stored = value;
    call.report.members = value->members;
  }
  settle(call, Origin::worker, Env::now());
}

template <class T>
void Core<T>::resume(loading::Slot<LoadedModel>& slot, Error const* error) noexcept {
  auto& call = static_cast<CallType&>(slot);
  if (error != nullptr) end_route(call, *error);
  advance(call, Origin::worker, Env::now());
}

/// What the flight's waiters and the cache get: one copy, made here and shared from then on.
template <class T>
void Core<T>::publish(CallType& call, TimePoint now) noexcept {
  auto answer = std::make_shared<StoredAnswer>();
  answer->members = call.report.members;
  std::size_t bytes = sizeof(StoredAnswer);
  for (Tensor const& output : call.computed) {
    auto copy = output.clone();
    if (!copy) return cache_.fail(call, copy.error(), *this);
    bytes += copy->size_bytes() + sizeof(Tensor);
    answer->outputs.push_back(std::move(*copy));
  }
  // What fewer than all members answered goes to those who wait for it, and is not kept.
  std::size_t const members = call.entry->description().plan.members.size();
  if (call.report.members != 0 && call.report.members < members)
    bytes = std::numeric_limits<std::size_t>::max();
  cache_.publish(call, StoredAnswerPointer(std::move(answer)), bytes, call.report.compute, now, *this);
}

/// The end of every route: the rooms that were entered see the outcome, in reverse, then the caller does.
template <class T>
void Core<T>::settle(CallType& call, Origin origin, TimePoint now) noexcept {
  // A hit found by submit completes on a worker: never inside submit.
  if (origin == Origin::submitter && !call.failed) {
    if (executor_.post(static_cast<Continuation&>(call))) return;
    end_route(call, make_error(Code::unavailable, Reason::stopping, "the engine is stopping"));
  }
  if (call.role.load(std::memory_order_acquire) == caching::Join::owner) {
    if (call.failed) {
      cache_.fail(call, call.error, *this);
    } else {
      publish(call, now);
    }
  }
  if (call.payload != nullptr) loader_.unpin(call);
  if (call.lease.taken) call.entry->breaker().abandon(call.lease, now);
  call.lease = {};
  gate_.leave(call);
  if (claim(call)) {
    call.answer_failed = call.failed;
    if (call.failed) call.answer_error = std::move(call.error);
    if (origin == Origin::submitter) call.refused = true;
    answer(call, now);
  }
  end_of_route();
  call.release();
}

template <class T>
bool Core<T>::claim(CallType& call) noexcept {
  return (call.word.fetch_or(word::claimed) & word::claimed) == 0;
}

template <class T>
void Core<T>::on_delivery(Task& task) noexcept {
  auto& call = static_cast<CallType&>(static_cast<Delivery&>(task));
  call.completion.function(call.completion.context, call.core->collect(call));
  call.release();
}

/// Hands the answer to the caller. Only for who claimed the call.
template <class T>
void Core<T>::answer(CallType& call, TimePoint now) noexcept {
  call.report.total = now - call.began;
  call.entry->record(call);
  if (call.watch.exchange(Watch::ended) == Watch::on) unwatch(call);
  if (call.asynchronous() && !call.refused) {
    call.owners.fetch_add(1, std::memory_order_relaxed);  // the delivery's
    if (Lending::depth == 0 || !executor_.post(static_cast<Delivery&>(call)))
      on_delivery(static_cast<Delivery&>(call));
    return;
  }
  if (call.leader == nullptr) {
    if ((call.word.fetch_or(word::answered) & word::parked) != 0) call.word.wake_all();
  } else if (CallType& leader = *call.leader; leader.unanswered.fetch_sub(1) == 1) {
    if ((leader.word.fetch_or(word::gathered) & word::parked) != 0) leader.word.wake_all();
  }
}

template <class T>
bool Core<T>::is_needed(CallType& call) noexcept {
  return (call.word.load() & word::claimed) == 0 || others_wait(call);
}

/// True for the owner of a flight that others joined. When false, nobody will.
template <class T>
bool Core<T>::others_wait(CallType& call) noexcept {
  return call.role.load(std::memory_order_acquire) == caching::Join::owner && !cache_.owner_leaves(call);
}

/// The caller leaves: the work goes on for others with inputs of its own, or is told that there are none any
/// more.
template <class T>
void Core<T>::keep_or_lose_inputs(CallType& call, bool needed) noexcept {
  if (!call.borrowed) return;
  call.lock_inputs();
  call.inputs_gone = true;
  if (needed) {
    Request copy;
    bool whole = true;
    for (auto const& input : call.request->inputs()) {
      auto tensor = input.value.clone();
      whole = whole && tensor.has_value();
      if (tensor) copy.set(input.name, std::move(*tensor));
    }
    if (whole) {
      call.owned_request = std::move(copy);
      call.request = &call.owned_request;
      call.borrowed = false;
      call.inputs_gone = false;
    }
  }
  call.unlock_inputs();
}

template <class T>
void Core<T>::leave(CallType& call, Error error) noexcept {
  if (!claim(call)) return;
  call.answer_failed = true;
  call.answer_error = std::move(error);
  bool mine = false;  // the call was taken out of a room: its route ends here
  if (call.role.load(std::memory_order_acquire) == caching::Join::waiter) {
    mine = cache_.leave(call).removed;
    if (!mine) keep_or_lose_inputs(call, false);
  } else {
    bool const needed = is_needed(call);
    mine = !needed && (call.entry->lane().withdraw(call) || loader_.withdraw(call));
    if (!mine) keep_or_lose_inputs(call, needed);
  }
  if (mine) {
    end_route(call, make_error(Code::cancelled, Reason::cancelled, "the caller left"));
    settle(call, Origin::worker, Env::now());
  }
  answer(call, Env::now());
}

/// From here on the call can be taken back, and an asynchronous one ends at its deadline. It may have been
/// answered already: whoever comes second of `watch` and `answer` takes the watch down.
template <class T>
void Core<T>::watch(CallType& call) noexcept {
  if (call.asynchronous()) {
    call.owners.fetch_add(1, std::memory_order_relaxed);  // the timer's
    call.Timer::fire = &Core::on_timer;
    executor_.arm(call, call.deadline);
  }
  if (call.cancellation != nullptr) {
    call.CancelHook::cancelled = &Core::on_cancelled;
    if (!call.cancellation->link(call)) on_cancelled(call);
  }
  if (call.watch.exchange(Watch::on) == Watch::ended) unwatch(call);
}

template <class T>
void Core<T>::unwatch(CallType& call) noexcept {
  if (call.cancellation != nullptr) call.cancellation->unlink(call);
  if (call.asynchronous() && executor_.disarm(call)) call.release();
}

/// The deadline, or a cancellation that brought it forward.
template <class T>
void Core<T>::on_timer(Timer& timer) noexcept {
  auto& call = static_cast<CallType&>(timer);
  auto& core = *call.core;
  if (Env::now() >= call.deadline) {
    core.leave(call, core.late(call));
  } else {
    core.leave(call, taken_back(call));
  }
  call.release();
}

// Runs under the Cancellation's mutex, so it only passes the word on: to the thread that waits, or to a
// worker. A timer that cannot be disarmed has fired, and the call is being answered.
template <class T>
void Core<T>::on_cancelled(CancelHook& hook) noexcept {
  auto& call = static_cast<CallType&>(hook);
  if (call.asynchronous()) {
    if (call.core->executor_.disarm(call)) call.core->executor_.arm(call, Env::now());
  } else {
    revoke(call);
  }
}

template <class T>
void Core<T>::revoke(CallType& call) noexcept {
  if ((call.word.fetch_or(word::revoked) & word::parked) != 0) call.word.wake_all();
}

template <class T>
void Core<T>::on_task(Task& task) noexcept {
  auto& call = static_cast<CallType&>(static_cast<Continuation&>(task));
  call.core->advance(call, Origin::worker, Env::now());
}

}  // namespace athanor::inline v1::serving
