// The second half of lane.ipp: how batches are formed, run and finished.
#pragma once

#include <algorithm>
#include <cstddef>

#include <athanor/batching/detail/lane.hpp>

namespace athanor::inline v1::batching {

namespace detail {

inline std::uint32_t items_of(std::span<Part const> parts) noexcept {
  std::uint32_t items = 0;
  for (Part const& part : parts) items += part.count;
  return items;
}

inline std::int64_t cost_of(std::span<Part const> parts) noexcept {
  std::int64_t cost = 0;
  for (Part const& part : parts) cost += part_cost(*part.slot, part.first, part.count);
  return cost;
}

/// Where to cut so that both sides have parts and their items differ least.
inline std::size_t middle(std::span<Part const> parts) noexcept {
  std::int64_t const all = items_of(parts);
  std::int64_t left = parts[0].count;
  std::size_t cut = 1;
  while (cut + 1 < parts.size()) {
    std::int64_t const further = left + parts[cut].count;
    if (std::max(further, all - further) >= std::max(left, all - left)) break;
    left = further;
    ++cut;
  }
  return cut;
}

/// When a caller looks at an instance that was taken when it came, while that is known to take less than 2
/// us.
inline constexpr Duration first_look = std::chrono::nanoseconds(150);
inline constexpr Duration further_looks = std::chrono::microseconds(1);
inline constexpr int pauses_between_looks = 4;

}  // namespace detail

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::on_task(Task& task) noexcept {
  auto& summons = static_cast<Summons&>(task);
  summons.lane->serve_on_executor(summons);
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::on_timer(Timer& timer) noexcept {
  Lane& lane = *static_cast<LaneTimer&>(timer).lane;
  Deferred deferred;
  TimePoint const now = Env::now();
  lane.mutex_.lock();
  if (--lane.fires_due_ == 0) lane.armed_at_ = no_deadline;
  lane.unlock_and_dispatch(now, deferred);
  lane.count_out();
}

/// An idle instance, which is the caller's from then on; null when there is none.
template <Environment Env, BatchingPolicy Policy, class H>
auto Lane<Env, Policy, H>::take_idle(std::uint32_t first) noexcept -> Instance* {
  std::uint32_t at = first < options_.instances ? first : 0;
  for (std::uint32_t tries = 0; tries < options_.instances; ++tries) {
    Instance& instance = instances_[at];
    std::uint32_t idle = 0;
    if (instance.busy.load(std::memory_order_relaxed) == 0 &&
        instance.busy.compare_exchange_strong(idle, 1U, std::memory_order_seq_cst))
      return &instance;
    if (++at == options_.instances) at = 0;
  }
  return nullptr;
}

/// As take_idle, also an instance that will be idle before another thread could have been woken. Each look
/// takes a line from the thread that has the instance, and each change of hands a dozen. So there is one look
/// soon, and where the thread still has the instance, or has taken it again, further ones only after it has
/// run several batches.
template <Environment Env, BatchingPolicy Policy, class H>
auto Lane<Env, Policy, H>::take_soon(Slot const& slot, TimePoint& now) noexcept -> Instance* {
  std::uint32_t const first = slot.last_instance;
  if (Instance* const instance = take_idle(first)) return instance;
  if constexpr (!Env::simulated) {
    if (!is_nearly_done(instances_[first < options_.instances ? first : 0], slot)) return nullptr;
    TimePoint const came = Env::now();
    TimePoint next_look = came + detail::first_look;
    for (int spin = 1; spin <= athanor::detail::spins_before_parking && waiting_.load() == 0; ++spin) {
      Env::relax();
      if (spin % detail::pauses_between_looks != 0 || Env::now() < next_look) continue;
      if (Instance* const instance = take_idle(first)) {
        now = Env::now();  // what was waited is no run time, by which the next caller decides whether to wait
        return instance;
      }
      next_look = came + detail::further_looks;
    }
  }
  return nullptr;
}

/// A batch whose size is not published, since it begins or has just ended, is taken for one of the caller's
/// size.
template <Environment Env, BatchingPolicy Policy, class H>
bool Lane<Env, Policy, H>::is_nearly_done(Instance const& instance, Slot const& slot) const noexcept {
  std::uint32_t size = instance.running_size.load(std::memory_order_relaxed);
  if (size == 0) size = learned_size(limits_, {slot.batch_items, slot.batch_cost});
  return instance.cost.trusts(size) && instance.cost.predicted_p95(size) < std::chrono::microseconds(2);
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::load(Instance& instance, FormedBatch const& formed, bool on_caller) noexcept {
  instance.batch.parts = std::span(instance.parts.data(), formed.parts);
  instance.batch.items = formed.items;
  instance.batch.cost = formed.cost;
  instance.batch.on_caller = on_caller;
}

template <Environment Env, BatchingPolicy Policy, class H>
std::optional<TimePoint> Lane<Env, Policy, H>::run_alone(Slot& slot, TimePoint now, bool continues) noexcept {
  bool const fits =
      slot.batch_items <= limits_.max_items && (slot.batch_items == 1 || slot.batch_cost <= limits_.max_cost);
  if (!fits || slot.batch_deadline <= now || waiting_.load() != 0) return std::nullopt;
  if (!options_.caller_runs || !client_.wanted(slot)) return std::nullopt;
  slot.entered = now;
  Instance* const instance = take_soon(slot, now);
  if (instance == nullptr) return std::nullopt;
  if ((!continues && !policy_dispatches(slot, *instance, now)) ||
      !ends_in_time(instance->cost, limits_, {slot.batch_items, slot.batch_cost}, slot.batch_deadline, now)) {
    give_back(*instance);  // in the queue everything is looked at
    return std::nullopt;
  }
  slot.last_instance = instance->batch.instance;
  slot.batch_failed = false;
  instance->parts[0] = Part{&slot, 0, slot.batch_items};
  load(*instance, {1, slot.batch_items, slot.batch_cost}, true);
  now = run_wanted(*instance, now);
  give_back(*instance);
  if (waiting_.load() != 0) {
    Deferred deferred;
    mutex_.lock();
    unlock_and_leave(now, deferred);
    now = Env::now();
  }
  return now;
}

template <Environment Env, BatchingPolicy Policy, class H>
bool Lane<Env, Policy, H>::policy_dispatches(Slot const& slot, Instance const& instance,
                                             TimePoint now) const noexcept {
  return checked_decision(policy_,
                          {.now = now,
                           .oldest_entered = now,
                           .earliest_deadline = slot.batch_deadline,
                           .queued_items = slot.batch_items,
                           .queued_requests = 1,
                           .queued_cost = slot.batch_cost,
                           .max_items = limits_.max_items,
                           .idle_instances = 1,
                           .instances = limits_.instances,
                           .cost = &instance.cost,
                           .item_size = learned_size(limits_, {slot.batch_items, slot.batch_cost}, 1)})
             .kind == BatchDecision::Kind::dispatch;
}

/// Takes the batch that is to run next. When false, the instance is idle and no longer this thread's.
template <Environment Env, BatchingPolicy Policy, class H>
bool Lane<Env, Policy, H>::next_batch(Instance& instance, TimePoint now, Deferred& deferred) noexcept {
  FormedBatch const formed = machine_.take(around(now), instance.parts, deferred.finished);
  load(instance, formed, false);
  if (formed.parts == 0) give_back(instance);
  return formed.parts > 0;
}

/// As next_batch, but only a batch that holds any of the caller's own.
template <Environment Env, BatchingPolicy Policy, class H>
bool Lane<Env, Policy, H>::next_for_caller(Instance& instance, Slot* first, Brought const& own,
                                           TimePoint deadline, TimePoint now, Deferred& deferred) noexcept {
  FormedBatch const formed =
      machine_.take_for_caller(first, own, deadline, around(now), instance.parts, deferred.finished);
  load(instance, formed, formed.parts == 1 && instance.parts[0].whole() && !own.together);
  if (formed.parts == 0) give_back(instance);
  return formed.parts > 0;
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::serve_as_caller(Slot* first, Brought const& own, TimePoint deadline, TimePoint now,
                                           Deferred& deferred) noexcept {
  Instance* const instance = take_idle(first->last_instance);
  bool more = instance != nullptr && next_for_caller(*instance, first, own, deadline, now, deferred);
  for (std::uint64_t items_left = own.items;;) {
    unlock_and_dispatch(now, deferred);
    if (!more) return;
    Leaver caller{own, deferred};
    now = run(*instance, Env::now(), &caller);
    mutex_.lock();
    if (caller.left) return unlock_and_leave(now, deferred);
    collect(instance->batch.parts, deferred);
    for (Part const& part : instance->batch.parts)
      if (own.holds(*part.slot)) items_left -= part.count;
    if (items_left == 0) {
      give_back(*instance);
      return unlock_and_leave(now, deferred);
    }
    empty_inbox(now, deferred);
    more = next_for_caller(*instance, machine_.queue().oldest(), own, deadline, now, deferred);
  }
}

/// Runs one batch. Once the summons is deferred or posted, it and the lane are no longer this thread's.
template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::serve_on_executor(Summons& summons) noexcept {
  for (;;) {
    Deferred deferred;
    mutex_.lock();
    TimePoint now = Env::now();  // what the wait for the mutex took, the batch spent in the queue
    coming_.fetch_sub(1);
    empty_inbox(now, deferred);
    Instance* const instance = take_idle(0);
    bool const found = instance != nullptr && next_batch(*instance, now, deferred);
    if (!found) put_aside(summons);
    unlock_and_dispatch(now, deferred);
    if (!found) return count_out();
    if (summons.turn_ends == TimePoint{}) summons.turn_ends = after(now, detail::executor_turn);
    now = run(*instance, Env::now());
    SlotList slots = ended(instance->batch.parts);
    coming_.fetch_add(1);
    give_back(*instance);
    finish(slots, now);
    // Whatever waits now: what the slots defer runs first, and may fill the lane again.
    if (now < summons.turn_ends && executor_.defer(summons)) return;
    summons.turn_ends = {};
    if (waiting_.load(std::memory_order_relaxed) <= 1) return end_turn(summons, now);
    if (executor_.post(summons)) return;
  }
}

/// Ends a turn after which nothing waits: a summons behind other tasks would keep a lane that is retired.
template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::end_turn(Summons& summons, TimePoint now) noexcept {
  Deferred deferred;
  mutex_.lock();
  coming_.fetch_sub(1);
  put_aside(summons);
  unlock_and_dispatch(now, deferred);
  count_out();
}

/// Runs the instance's batch. Returns when execution ended; its slots are then to be collected.
template <Environment Env, BatchingPolicy Policy, class H>
TimePoint Lane<Env, Policy, H>::run(Instance& instance, TimePoint now, Leaver* caller) noexcept {
  drop_unwanted(instance);
  return instance.batch.parts.empty() ? now : run_wanted(instance, now, caller);
}

template <Environment Env, BatchingPolicy Policy, class H>
TimePoint Lane<Env, Policy, H>::run_wanted(Instance& instance, TimePoint now, Leaver* caller) noexcept {
  Batch& batch = instance.batch;
  batch.formed = now;
  if (auto permission = client_.begin(batch); !permission) {
    fail_parts(batch.parts, permission.error());
    return Env::now();
  }
  instance.began.store(now.time_since_epoch().count(), std::memory_order_relaxed);
  instance.running_size.store(learned_size(limits_, {batch.items, batch.cost}), std::memory_order_relaxed);
  Rework rework;
  auto const outcome = client_.execute(batch);
  Verdict const verdict = outcome ? Verdict::success : isolate(instance, outcome.error(), rework, caller);
  TimePoint const ended = Env::now();
  if (caller != nullptr && caller->left) return ended;
  instance.running_size.store(0, std::memory_order_relaxed);
  note(instance, ended - now, !outcome, rework);
  client_.end(batch, verdict, ended);
  return ended;
}

/// What the batch that just ran teaches, and counts. How long one takes that fails says nothing.
template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::note(Instance& instance, Duration run_time, bool failed,
                                Rework const& rework) noexcept {
  constexpr auto relaxed = std::memory_order_relaxed;
  auto const add = [](auto& counter, std::uint64_t by) {
    counter.store(counter.load(relaxed) + by, relaxed);
  };
  add(instance.batches, 1);
  add(instance.batch_items, instance.batch.items);
  if (instance.batch.on_caller) add(instance.caller_batches, 1);
  if (failed) {
    add(instance.failed_batches, 1);
    add(instance.reruns, rework.runs);
    return;
  }
  instance.cost.record(learned_size(limits_, {instance.batch.items, instance.batch.cost}), run_time);
  // Every call reads it: it is raised at once, but lowered only when it says far too much, and looked at
  // again only now and then.
  std::int64_t const known = largest_batch_.load(relaxed);
  if (run_time.count() <= known && instance.cost.recorded() % 8 != 0) return;
  std::int64_t const largest = instance.cost.predicted_p95(largest_size(limits_)).count();
  if (largest > known || largest < known / 4) largest_batch_.store(largest + largest / 8, relaxed);
}

/// Slots without a waiting caller are finished before the batch runs.
template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::drop_unwanted(Instance& instance) noexcept {
  Batch& batch = instance.batch;
  std::size_t kept = 0;
  for (Part const part : batch.parts) {
    if (client_.wanted(*part.slot)) {
      instance.parts[kept++] = part;
      continue;
    }
    fail_parts({&part, 1}, make_error(Code::cancelled, Reason::cancelled,
                                      "the call was withdrawn before its batch was executed"));
    SlotList dropped;
    if (part.whole()) {
      dropped.append(*part.slot);
      finish(dropped, Env::now());
      continue;
    }
    Deferred deferred;
    mutex_.lock();
    collect({&part, 1}, deferred);
    unlock_and_dispatch(Env::now(), deferred);
  }
  if (kept == batch.parts.size()) return;
  batch.parts = batch.parts.first(kept);
  batch.items = detail::items_of(batch.parts);
  batch.cost = detail::cost_of(batch.parts);
}

/// Finds out which parts of a failed batch fail on their own, by halves. One culprit costs at most about
/// twice the batch's items again, which is the usual limit of the rework. Once a piece succeeded the model is
/// known to work: then every culprit is found, at the cost of the batch's items once per halving.
template <Environment Env, BatchingPolicy Policy, class H>
Verdict Lane<Env, Policy, H>::isolate(Instance& instance, Error const& error, Rework& rework,
                                      Leaver* caller) noexcept {
  Batch const& batch = instance.batch;
  if (batch.parts.size() == 1 || options_.rework_limit == 0 || !splitting_may_help(error)) {
    fail_parts(batch.parts, error);
    return Verdict::failed;
  }
  rework.items_left = std::uint64_t{options_.rework_limit} * batch.items;
  std::size_t const own = caller != nullptr ? bring_first(instance, caller->own) : 0;
  if (own == 0 || own == batch.parts.size()) {
    bisect(instance, batch.parts, error, rework);
  } else {
    isolate_company(instance, own, error, rework, *caller);
  }
  return verdict_of(rework);
}

/// As isolate, for a caller that has brought the first parts only: whether these fail decides what it waits
/// for.
template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::isolate_company(Instance& instance, std::size_t own, Error const& error,
                                           Rework& rework, Leaver& caller) noexcept {
  auto const parts = instance.batch.parts;
  rerun(instance, parts.first(own), error, rework);
  if (!leave(instance, own, error, rework, caller)) rerun(instance, parts.subspan(own), error, rework);
}

/// Moves a caller's own parts, which stand together, to the front of its batch. Returns how many they are.
template <Environment Env, BatchingPolicy Policy, class H>
std::size_t Lane<Env, Policy, H>::bring_first(Instance& instance, Brought const& own) noexcept {
  auto const begin = instance.parts.begin();
  auto const end = begin + static_cast<std::ptrdiff_t>(instance.batch.parts.size());
  auto const is_own = [&](Part const& part) { return own.holds(*part.slot); };
  auto const first = std::find_if(begin, end, is_own);
  auto const last = std::find_if_not(first, end, is_own);
  std::rotate(begin, first, last);
  return static_cast<std::size_t>(last - first);
}

/// Leaves what follows the caller's own parts to an executor thread. False, and it is still this thread's to
/// run again, if none is idle.
template <Environment Env, BatchingPolicy Policy, class H>
bool Lane<Env, Policy, H>::leave(Instance& instance, std::size_t own, Error const& error,
                                 Rework const& rework, Leaver& caller) noexcept {
  auto const parts = instance.batch.parts;
  mutex_.lock();
  collect(parts.first(own), caller.deferred);
  mutex_.unlock();
  instance.batch.parts = parts.subspan(own);
  instance.left.rework = rework;
  athanor::detail::copy_error(instance.left.error, error);
  count_in();
  caller.left = executor_.post_if_idle(instance.left);
  if (!caller.left) count_out();
  return caller.left;
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::on_left(Task& task) noexcept {
  auto& left = static_cast<LeftBatch&>(task);
  Lane& lane = *left.lane;
  lane.end_left(*left.instance);
  lane.count_out();
}

/// Runs the rest of a failed batch again and ends the batch. Its callers may have left while it waited for
/// this thread.
template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::end_left(Instance& instance) noexcept {
  Batch& batch = instance.batch;
  std::ranges::copy(batch.parts, instance.parts.begin());  // over the parts of the caller who left it
  batch.parts = std::span(instance.parts.data(), batch.parts.size());
  std::uint32_t const items = batch.items;
  drop_unwanted(instance);
  batch.items = items;  // they all ran once
  Rework& rework = instance.left.rework;
  if (!batch.parts.empty()) rerun(instance, batch.parts, instance.left.error, rework);
  TimePoint const ended = Env::now();
  instance.running_size.store(0, std::memory_order_relaxed);
  note(instance, ended - batch.formed, true, rework);
  client_.end(batch, verdict_of(rework), ended);
  Deferred deferred;
  mutex_.lock();
  collect(batch.parts, deferred);
  give_back(instance);
  unlock_and_dispatch(ended, deferred);
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::bisect(Instance& instance, std::span<Part const> parts, Error const& error,
                                  Rework& rework) noexcept {
  std::size_t const cut = detail::middle(parts);
  rerun(instance, parts.first(cut), error, rework);
  rerun(instance, parts.subspan(cut), error, rework);
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::rerun(Instance& instance, std::span<Part const> parts, Error const& error,
                                 Rework& rework) noexcept {
  Batch piece = instance.batch;
  piece.parts = parts;
  piece.items = detail::items_of(parts);
  piece.cost = detail::cost_of(parts);
  if (!rework.succeeded && piece.items > rework.items_left) return fail_parts(parts, error);
  rework.items_left -= std::min<std::uint64_t>(piece.items, rework.items_left);
  ++rework.runs;
  auto const outcome = client_.execute(piece);
  if (outcome) {
    rework.succeeded = true;
  } else if (parts.size() == 1 || !splitting_may_help(outcome.error())) {
    fail_parts(parts, outcome.error());
  } else {
    bisect(instance, parts, outcome.error(), rework);
  }
}

/// A slot that is here as a whole is this thread's alone; the parts of a split one may be with several.
template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::fail_parts(std::span<Part const> parts, Error const& error) noexcept {
  for (Part const& part : parts) {
    if (part.whole()) {
      set_error(*part.slot, error);
      continue;
    }
    TimePoint const now = Env::now();
    Deferred deferred;
    mutex_.lock();
    machine_.fail(*part.slot, error, around(now));
    unlock_and_dispatch(now, deferred);
  }
}

/// Slots of which these were the last parts are to be finished.
template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::collect(std::span<Part const> parts, Deferred& deferred) noexcept {
  for (Part const& part : parts)
    if (part.whole() || machine_.complete_part(part)) deferred.finished.append(*part.slot);
}

/// The same, of a batch that an executor thread has run.
template <Environment Env, BatchingPolicy Policy, class H>
SlotList Lane<Env, Policy, H>::ended(std::span<Part const> parts) noexcept {
  Deferred deferred;
  if (std::ranges::all_of(parts, &Part::whole)) {
    for (Part const& part : parts) deferred.finished.append(*part.slot);
  } else {
    mutex_.lock();
    collect(parts, deferred);
    mutex_.unlock();
  }
  return deferred.finished;
}

}  // namespace athanor::inline v1::batching
