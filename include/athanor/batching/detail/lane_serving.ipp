// The second half of lane.ipp: how batches are taken, run and settled.
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
  auto& runner = static_cast<Runner&>(task);
  Lane& lane = *runner.lane;
  lane.serve_summoned(runner);
  lane.count_out();
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::on_timer(Timer& timer) noexcept {
  Lane& lane = *static_cast<LaneTimer&>(timer).lane;
  Deferred deferred;
  TimePoint const now = Env::now();
  lane.acquire();
  if (--lane.fires_due_ == 0) lane.armed_at_ = no_deadline;
  lane.absorb(now, deferred);
  lane.release(now, deferred);
  lane.count_out();
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::load(Runner& runner, Taken const& taken, TimePoint now, bool on_caller) noexcept {
  runner.batch.parts = std::span(runner.room.data(), taken.parts);
  runner.batch.items = taken.items;
  runner.batch.cost = taken.cost;
  runner.batch.formed = now;
  runner.batch.on_caller = on_caller;
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::rest(Runner& runner) noexcept {
  machine_.release();
  runner.summoned = false;
  runner.next = std::exchange(idle_, &runner);
}

template <Environment Env, BatchingPolicy Policy, class H>
auto Lane<Env, Policy, H>::lend(Slot& slot, TimePoint now) noexcept -> Runner* {
  if (!options_.caller_runs || idle_ == nullptr) return nullptr;
  Taken const taken = machine_.lend(slot, now, idle_->room);
  if (taken.parts == 0) return nullptr;
  Runner* const runner = std::exchange(idle_, idle_->next);
  load(*runner, taken, now, true);
  return runner;
}

template <Environment Env, BatchingPolicy Policy, class H>
auto Lane<Env, Policy, H>::lend_to_many(std::uint64_t items, TimePoint deadline, TimePoint now,
                                        Deferred& deferred) noexcept -> Runner* {
  if (!options_.caller_runs || idle_ == nullptr || !machine_.ends_in_time(items, deadline, now))
    return nullptr;
  Taken const taken = machine_.lend_to_many(now, idle_->room, deferred.finished);
  if (taken.parts == 0) return nullptr;
  Runner* const runner = std::exchange(idle_, idle_->next);
  load(*runner, taken, now, false);
  return runner;
}

/// What the batch that just ran teaches, and counts.
template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::note_batch(Runner& runner) noexcept {
  if (!std::exchange(runner.executed, false)) return;
  auto const add = [](auto& counter, std::uint64_t by) {
    counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
  };
  if (!runner.failed) {
    machine_.record(runner.batch.items, runner.run_time);
    published_.largest_batch.store(machine_.cost_model().predicted_p95(options_.max_items).count(),
                                   std::memory_order_relaxed);
  }
  add(published_.batches, 1);
  add(published_.batch_items, runner.batch.items);
  if (runner.batch.on_caller) add(published_.caller_batches, 1);
  if (runner.failed) add(published_.failed_batches, 1);
  if (runner.reruns > 0) add(published_.reruns, runner.reruns);
}

/// Settles the account of the batch that ran, and takes the next one unless it would exceed `budget`. When
/// false, the runner is idle and no longer this thread's.
template <Environment Env, BatchingPolicy Policy, class H>
bool Lane<Env, Policy, H>::next_batch(Runner& runner, TimePoint now, Duration budget) noexcept {
  Deferred deferred;
  acquire();
  if (std::exchange(runner.summoned, false)) machine_.arrive();
  note_batch(runner);
  absorb(now, deferred);
  Taken taken;
  if (budget > Duration{}) taken = machine_.take(now, runner.room, budget, deferred.finished);
  bool const more = taken.parts > 0;
  if (more) {
    load(runner, taken, now, false);
  } else {
    rest(runner);
  }
  release(now, deferred);
  return more;
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::serve_as_caller(Runner& runner, TimePoint deadline, std::uint64_t owed) noexcept {
  TimePoint now;
  do {
    owed -= std::min<std::uint64_t>(owed, runner.batch.items);
    now = run(runner);
    if (owed > 0 && !next_batch(runner, now, Duration::max())) return;
  } while (owed > 0);
  TimePoint const until = std::min(after(now, options_.serve_others_for), deadline);
  while (next_batch(runner, now, until - now)) now = run(runner);
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::serve_summoned(Runner& runner) noexcept {
  TimePoint now = Env::now();
  TimePoint const turn_ends = after(now, detail::executor_turn);
  while (next_batch(runner, now, now < turn_ends ? Duration::max() : Duration{})) now = run(runner);
}

/// Runs the runner's batch and finishes its slots. Returns when execution ended.
template <Environment Env, BatchingPolicy Policy, class H>
TimePoint Lane<Env, Policy, H>::run(Runner& runner) noexcept {
  drop_unwanted(runner);
  Batch const& batch = runner.batch;
  if (batch.parts.empty()) return Env::now();
  if (auto permission = host_.begin(batch); !permission) {
    TimePoint const refused = Env::now();
    fail_parts(batch.parts, permission.error());
    finish_parts(batch.parts, refused);
    return refused;
  }
  auto const outcome = host_.execute(batch);
  runner.executed = true;
  runner.failed = !outcome;
  runner.reruns = 0;
  Verdict const verdict = outcome ? Verdict::success : isolate(runner, outcome.error());
  TimePoint const ended = Env::now();
  runner.run_time = ended - batch.formed;
  host_.end(batch, verdict, ended);
  finish_parts(batch.parts, ended);
  return ended;
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::drop_unwanted(Runner& runner) noexcept {
  Batch& batch = runner.batch;
  std::size_t kept = 0;
  for (Part const part : batch.parts) {
    if (host_.wanted(*part.slot)) {
      runner.room[kept++] = part;
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
Verdict Lane<Env, Policy, H>::isolate(Runner& runner, Error const& error) noexcept {
  Batch const& batch = runner.batch;
  if (batch.parts.size() == 1 || options_.rework_limit == 0 || !splitting_may_help(error)) {
    fail_parts(batch.parts, error);
    return Verdict::failed;
  }
  Rework rework;
  rework.items_left = std::uint64_t{options_.rework_limit} * batch.items;
  halve(runner, batch.parts, error, rework);
  runner.reruns = rework.runs;
  return rework.succeeded ? Verdict::isolated : Verdict::failed;
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::halve(Runner& runner, std::span<Part const> parts, Error const& error,
                                 Rework& rework) noexcept {
  std::size_t const cut = detail::middle(parts);
  rerun(runner, parts.first(cut), error, rework);
  rerun(runner, parts.subspan(cut), error, rework);
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::rerun(Runner& runner, std::span<Part const> parts, Error const& error,
                                 Rework& rework) noexcept {
  Batch piece = runner.batch;
  piece.parts = parts;
  piece.items = detail::items_of(parts);
  piece.cost = detail::cost_of(parts);
  if (!rework.succeeded && piece.items > rework.items_left) return fail_parts(parts, error);
  rework.items_left -= std::min<std::uint64_t>(piece.items, rework.items_left);
  ++rework.runs;
  auto const outcome = host_.execute(piece);
  if (outcome) {
    rework.succeeded = true;
  } else if (parts.size() == 1 || !splitting_may_help(outcome.error())) {
    fail_parts(parts, outcome.error());
  } else {
    halve(runner, parts, outcome.error(), rework);
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
    acquire();
    machine_.fail(*part.slot, error);
    release(Env::now(), deferred);
  }
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::finish_parts(std::span<Part const> parts, TimePoint now) noexcept {
  for (Part const& part : parts) {
    Slot& slot = *part.slot;
    bool complete = true;
    if (!part.whole()) {
      Deferred deferred;
      acquire();
      complete = machine_.settle(part);
      release(now, deferred);
    }
    if (complete) host_.finish(slot, slot.failed ? &slot.error : nullptr, now);
  }
}

}  // namespace athanor::inline v1::batching
