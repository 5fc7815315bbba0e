// The second half of lane.ipp: how batches are taken, run and completed.
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

}  // namespace detail

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::on_task(Task& task) noexcept {
  auto& instance = static_cast<Instance&>(task);
  Lane& lane = *instance.lane;
  lane.serve_on_executor(instance);
  lane.count_out();
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::on_timer(Timer& timer) noexcept {
  Lane& lane = *static_cast<LaneTimer&>(timer).lane;
  Deferred deferred;
  TimePoint const now = Env::now();
  lane.lock();
  if (--lane.fires_due_ == 0) lane.armed_at_ = no_deadline;
  lane.absorb(now, deferred);
  lane.unlock_and_dispatch(now, deferred);
  lane.count_out();
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::load(Instance& instance, FormedBatch const& taken, TimePoint now,
                                bool on_caller) noexcept {
  instance.batch.parts = std::span(instance.parts.data(), taken.parts);
  instance.batch.items = taken.items;
  instance.batch.cost = taken.cost;
  instance.batch.formed = now;
  instance.batch.on_caller = on_caller;
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::return_instance(Instance& instance) noexcept {
  machine_.mark_idle();
  instance.started = false;
  instance.next = std::exchange(idle_, &instance);
}

template <Environment Env, BatchingPolicy Policy, class H>
auto Lane<Env, Policy, H>::start_on_caller(Slot& slot, TimePoint now) noexcept -> Instance* {
  if (!options_.caller_runs || idle_ == nullptr) return nullptr;
  FormedBatch const taken = machine_.take_for_caller(slot, now, idle_->parts);
  if (taken.parts == 0) return nullptr;
  Instance* const instance = std::exchange(idle_, idle_->next);
  load(*instance, taken, now, true);
  return instance;
}

template <Environment Env, BatchingPolicy Policy, class H>
auto Lane<Env, Policy, H>::start_group_on_caller(std::uint64_t items, TimePoint deadline, TimePoint now,
                                                 Deferred& deferred) noexcept -> Instance* {
  if (!options_.caller_runs || idle_ == nullptr || !machine_.ends_in_time(items, deadline, now))
    return nullptr;
  FormedBatch const taken = machine_.take_for_group(now, idle_->parts, deferred.finished);
  if (taken.parts == 0) return nullptr;
  Instance* const instance = std::exchange(idle_, idle_->next);
  load(*instance, taken, now, false);
  return instance;
}

/// What the batch that just ran teaches, and counts.
template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::note_batch(Instance& instance) noexcept {
  if (!std::exchange(instance.executed, false)) return;
  auto const add = [](auto& counter, std::uint64_t by) {
    counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
  };
  if (!instance.failed) {
    machine_.record(instance.batch.items, instance.run_time);
    published_.largest_batch.store(machine_.cost_model().predicted_p95(options_.max_items).count(),
                                   std::memory_order_relaxed);
  }
  add(published_.batches, 1);
  add(published_.batch_items, instance.batch.items);
  if (instance.batch.on_caller) add(published_.caller_batches, 1);
  if (instance.failed) add(published_.failed_batches, 1);
  if (instance.reruns > 0) add(published_.reruns, instance.reruns);
}

/// Settles the account of the batch that ran, and takes the next one unless it would exceed `budget`. When
/// false, the instance is idle and no longer this thread's.
template <Environment Env, BatchingPolicy Policy, class H>
bool Lane<Env, Policy, H>::next_batch(Instance& instance, TimePoint now, Duration budget) noexcept {
  Deferred deferred;
  lock();
  if (std::exchange(instance.started, false)) machine_.mark_started();
  note_batch(instance);
  absorb(now, deferred);
  FormedBatch taken;
  if (budget > Duration{}) taken = machine_.take(now, instance.parts, budget, deferred.finished);
  bool const more = taken.parts > 0;
  if (more) {
    load(instance, taken, now, false);
  } else {
    return_instance(instance);
  }
  unlock_and_dispatch(now, deferred);
  return more;
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::serve_as_caller(Instance& instance, TimePoint deadline,
                                           std::uint64_t owed) noexcept {
  TimePoint now;
  do {
    owed -= std::min<std::uint64_t>(owed, instance.batch.items);
    now = run(instance);
    if (owed > 0 && !next_batch(instance, now, Duration::max())) return;
  } while (owed > 0);
  TimePoint const until = std::min(after(now, options_.serve_others_for), deadline);
  while (next_batch(instance, now, until - now)) now = run(instance);
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::serve_on_executor(Instance& instance) noexcept {
  TimePoint now = Env::now();
  TimePoint const turn_ends = after(now, detail::executor_turn);
  while (next_batch(instance, now, now < turn_ends ? Duration::max() : Duration{})) now = run(instance);
}

/// Runs the instance's batch and finishes its slots. Returns when execution ended.
template <Environment Env, BatchingPolicy Policy, class H>
TimePoint Lane<Env, Policy, H>::run(Instance& instance) noexcept {
  drop_unwanted(instance);
  Batch const& batch = instance.batch;
  if (batch.parts.empty()) return Env::now();
  if (auto permission = client_.begin(batch); !permission) {
    TimePoint const refused = Env::now();
    fail_parts(batch.parts, permission.error());
    finish_parts(batch.parts, refused);
    return refused;
  }
  auto const outcome = client_.execute(batch);
  instance.executed = true;
  instance.failed = !outcome;
  instance.reruns = 0;
  Verdict const verdict = outcome ? Verdict::success : isolate(instance, outcome.error());
  TimePoint const ended = Env::now();
  instance.run_time = ended - batch.formed;
  client_.end(batch, verdict, ended);
  finish_parts(batch.parts, ended);
  return ended;
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::drop_unwanted(Instance& instance) noexcept {
  Batch& batch = instance.batch;
  std::size_t kept = 0;
  for (Part const part : batch.parts) {
    if (client_.wanted(*part.slot)) {
      instance.parts[kept++] = part;
      continue;
    }
    fail_parts({&part, 1},
               make_error(Code::cancelled, Reason::cancelled, "nobody waits for the answer any more"));
    finish_parts({&part, 1}, Env::now());
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
Verdict Lane<Env, Policy, H>::isolate(Instance& instance, Error const& error) noexcept {
  Batch const& batch = instance.batch;
  if (batch.parts.size() == 1 || options_.rework_limit == 0 || !splitting_may_help(error)) {
    fail_parts(batch.parts, error);
    return Verdict::failed;
  }
  Rework rework;
  rework.items_left = std::uint64_t{options_.rework_limit} * batch.items;
  bisect(instance, batch.parts, error, rework);
  instance.reruns = rework.runs;
  return rework.succeeded ? Verdict::isolated : Verdict::failed;
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
    Deferred deferred;
    lock();
    machine_.fail(*part.slot, error);
    unlock_and_dispatch(Env::now(), deferred);
  }
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::finish_parts(std::span<Part const> parts, TimePoint now) noexcept {
  for (Part const& part : parts) {
    Slot& slot = *part.slot;
    bool complete = true;
    if (!part.whole()) {
      Deferred deferred;
      lock();
      complete = machine_.complete_part(part);
      unlock_and_dispatch(now, deferred);
    }
    if (complete) client_.finish(slot, slot.batch_failed ? &slot.batch_error : nullptr, now);
  }
}

}  // namespace athanor::inline v1::batching
