// The queue's side of the lane: entering, leaving, dispatching. The other half is lane_serving.ipp.
#pragma once

#include <algorithm>
#include <cassert>
#include <type_traits>
#include <utility>

#include <athanor/batching/detail/lane.hpp>
#include <athanor/core/detail/noexcept_error.hpp>

namespace athanor::inline v1::batching {

namespace detail {
/// An executor thread goes to the back of the executor's queue after so long, so that other lanes get their
/// turn.
inline constexpr Duration executor_turn = std::chrono::milliseconds(1);
inline constexpr std::uint32_t last_is_awaited = 1U << 31;
}  // namespace detail

template <Environment Env, BatchingPolicy Policy, class H>
Lane<Env, Policy, H>::Lane(LaneOptions const& options, Policy policy, H& client,
                           typename Env::Executor& executor)
    : client_(client),
      executor_(executor),
      options_(options),
      limits_{options.instances, options.max_items, options.max_cost, options.dearest_item},
      policy_(policy),
      instances_(std::make_unique<Instance[]>(options.instances)),
      all_summons_(std::make_unique<Summons[]>(options.instances)),
      machine_(limits_, std::move(policy)) {
  static_assert(LaneClient<H>,
                "the lane's client has wanted, begin, execute, end and finish as batching::LaneClient says");
  assert(validate(options));
  timer_.fire = &Lane::on_timer;
  timer_.lane = this;
  for (std::uint32_t i = 0; i < options.instances; ++i) {
    instances_[i].parts.resize(std::min(options.max_items, most_parts));
    instances_[i].batch.instance = i;
    instances_[i].left.run = &Lane::on_left;
    instances_[i].left.lane = this;
    instances_[i].left.instance = &instances_[i];
    Summons& summons = all_summons_[i];
    summons.run = &Lane::on_task;
    summons.lane = this;
    summons.next_summons = std::exchange(unused_summons_, &summons);
  }
}

/// Waits for the executor's threads: also for those that are still inside while the executor stops, which
/// runs whatever it has taken.
template <Environment Env, BatchingPolicy Policy, class H>
Lane<Env, Policy, H>::~Lane() {
  if (executor_.disarm(timer_)) count_out();
  // In a child of a fork those that are counted are not there.
  while (executor_visits_.load() != 0 && Env::forks() == forks_) {
    std::uint32_t const visits = executor_visits_.fetch_or(detail::last_is_awaited) | detail::last_is_awaited;
    if (visits == detail::last_is_awaited) return;
    executor_visits_.wait_until(visits, no_deadline);
  }
}

template <Environment Env, BatchingPolicy Policy, class H>
bool Lane<Env, Policy, H>::retire(Task& left) noexcept {
  if (left_ == nullptr) left_ = &left;
  if (executor_.disarm(timer_)) drop_visit();
  return (executor_visits_.fetch_or(detail::last_is_awaited) & ~detail::last_is_awaited) == 0;
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::count_in() noexcept {
  std::uint32_t visits = executor_visits_.load();
  while (!executor_visits_.compare_exchange(visits, visits + 1)) {
  }
}

/// The last thing an executor thread does here.
template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::count_out() noexcept {
  auto const [visits, left] = drop_visit();
  if (visits != detail::last_is_awaited) return;
  if (left != nullptr) {
    left->run(*left);
  } else {
    executor_visits_.wake_all();
  }
}

/// Returns what is left in the word, and whom the last one tells. After the last one the lane may be gone.
template <Environment Env, BatchingPolicy Policy, class H>
std::pair<std::uint32_t, Task*> Lane<Env, Policy, H>::drop_visit() noexcept {
  std::uint32_t visits = executor_visits_.load();
  Task* left = nullptr;
  do {
    left = (visits & detail::last_is_awaited) != 0 ? left_ : nullptr;
  } while (!executor_visits_.compare_exchange(visits, visits - 1));
  return {visits - 1, left};
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::reset(Slot& slot) noexcept {
  assert(slot.batch_items > 0 && slot.batch_cost >= 0);
  slot.state = SlotState::outside;
  slot.batch_failed = false;
  slot.continues = false;
  slot.batched = 0;
  slot.completed = 0;
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::admit(Slot& slot, Surroundings const& around, Deferred& deferred) noexcept {
  reset(slot);
  if (refusing_) {
    set_error(slot, refusal_);
    deferred.finished.append(slot);
  } else {
    machine_.add(slot, around, deferred.finished);
  }
}

/// Whether an executor thread is on its way to every idle instance.
template <Environment Env, BatchingPolicy Policy, class H>
bool Lane<Env, Policy, H>::is_attended() const noexcept {
  std::uint32_t idle = 0;
  for (std::uint32_t i = 0; i < options_.instances; ++i) idle += instances_[i].busy.load() == 0 ? 1U : 0U;
  return idle == 0 || idle <= coming_.load();
}

/// False, and nothing has happened, if an instance is idle without a thread on its way to it, or if the lane
/// refuses. Once the slot is in the inbox it is no longer this thread's.
template <Environment Env, BatchingPolicy Policy, class H>
bool Lane<Env, Policy, H>::leave_in_inbox(Slot& slot, TimePoint now) noexcept {
  if ((waiting_.load() & 1U) != 0 || !is_attended()) return false;
  slot.entered = now;
  queued_items_.fetch_add(slot.batch_items, std::memory_order_relaxed);
  queued_cost_.fetch_add(slot.batch_cost, std::memory_order_relaxed);
  waiting_.fetch_add(2, std::memory_order_seq_cst);
  slot.next = inbox_.load(std::memory_order_relaxed);
  while (!inbox_.compare_exchange_weak(slot.next, &slot, std::memory_order_seq_cst)) {
  }
  if (is_attended() && (waiting_.load() & 1U) == 0) return true;
  Deferred deferred;
  mutex_.lock();
  unlock_and_dispatch(now, deferred);
  return true;
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::empty_inbox(TimePoint now, Deferred& deferred) noexcept {
  if (inbox_.load() == nullptr) return;
  Slot* oldest = nullptr;
  for (Slot* slot = inbox_.exchange(nullptr, std::memory_order_seq_cst); slot != nullptr;) {
    Slot* const older = std::exchange(slot->next, oldest);
    oldest = std::exchange(slot, older);
  }
  Surroundings const surroundings = around(now);
  while (oldest != nullptr) {
    Slot& slot = *std::exchange(oldest, oldest->next);
    ++published_requests_;
    published_items_ += slot.batch_items;
    published_cost_ += slot.batch_cost;
    admit(slot, surroundings, deferred);
  }
}

template <Environment Env, BatchingPolicy Policy, class H>
Surroundings Lane<Env, Policy, H>::around(TimePoint now) const noexcept {
  std::uint32_t idle = 0;
  for (std::uint32_t i = 0; i < options_.instances; ++i) idle += instances_[i].busy.load() == 0 ? 1U : 0U;
  return {now, idle, informed().cost};
}

/// False if the timer cannot be armed.
template <Environment Env, BatchingPolicy Policy, class H>
bool Lane<Env, Policy, H>::arm(TimePoint at) noexcept {
  armed_at_ = at;
  if (fires_due_ > 0 && executor_.disarm(timer_)) {
    --fires_due_;
  } else {
    count_in();
  }
  if (executor_.arm(timer_, at)) {
    ++fires_due_;
    return true;
  }
  count_out();
  armed_at_ = no_deadline;
  return false;
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::store_counts() noexcept {
  constexpr auto relaxed = std::memory_order_relaxed;
  SlotQueue const& queue = machine_.queue();
  if (auto const more = queue.items() - std::exchange(published_items_, queue.items()); more != 0)
    queued_items_.fetch_add(more, relaxed);
  if (auto const more = queue.cost() - std::exchange(published_cost_, queue.cost()); more != 0)
    queued_cost_.fetch_add(more, relaxed);
  if (expired_.load(relaxed) != machine_.expired()) expired_.store(machine_.expired(), relaxed);
  auto const more = queue.requests() - std::exchange(published_requests_, queue.requests());
  if (more != 0) waiting_.fetch_add(2 * more, std::memory_order_seq_cst);
}

/// Plans, unlocks, and does what was decided. What is queued is published before the instances are looked at:
/// see the class.
template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::unlock_and_dispatch(TimePoint now, Deferred& deferred) noexcept {
  empty_inbox(now, deferred);
  store_counts();
  if (machine_.queue().requests() > 0) {
    Surroundings const surroundings = around(now);
    Plan plan = machine_.plan(surroundings);
    // Without an idle instance a wake-up is useless: the thread that returns an instance plans again.
    if (surroundings.idle_instances > 0 && plan.wake_at < armed_at_ && !arm(plan.wake_at)) {
      machine_.hold_nothing(surroundings);
      plan = machine_.plan(surroundings);
    }
    std::uint64_t const wanted = std::min<std::uint64_t>(plan.batches, surroundings.idle_instances);
    while (coming_.load() < wanted && unused_summons_ != nullptr) summon(deferred);
  }
  unlock_and_post(now, deferred);
}

/// Does what was decided under the mutex.
template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::unlock_and_post(TimePoint now, Deferred& deferred) noexcept {
  mutex_.unlock();
  post(deferred);
  finish(deferred.finished, now);
}

/// As unlock_and_dispatch, for a caller whose own answers are ready: what lies in the inbox, which may be
/// much, is left to an executor thread.
template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::unlock_and_leave(TimePoint now, Deferred& deferred) noexcept {
  if (inbox_.load() == nullptr) return unlock_and_dispatch(now, deferred);
  store_counts();
  if (!is_attended() && unused_summons_ != nullptr) summon(deferred);
  unlock_and_post(now, deferred);
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::summon(Deferred& deferred) noexcept {
  Summons* const summons = std::exchange(unused_summons_, unused_summons_->next_summons);
  summons->next_summons = std::exchange(deferred.summons, summons);
  coming_.fetch_add(1);
  count_in();
}

/// No thread comes for it any more.
template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::put_aside(Summons& summons) noexcept {
  summons.turn_ends = {};
  summons.next_summons = std::exchange(unused_summons_, &summons);
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::post(Deferred& deferred) noexcept {
  while (Summons* summons = deferred.summons) {
    deferred.summons = summons->next_summons;
    if (executor_.post(*summons)) continue;
    // No thread would run what is queued. What enters later may find one again.
    Deferred refused;
    mutex_.lock();
    put_aside(*summons);
    coming_.fetch_sub(1);
    machine_.refuse(make_error(Code::resource_exhausted, Reason::none,
                               "no thread runs the batch: none can be started, or the executor is stopping"),
                    refused.finished);
    unlock_and_dispatch(Env::now(), refused);
    count_out();
  }
}

template <Environment Env, BatchingPolicy Policy, class H>
Finished Lane<Env, Policy, H>::finish(Slot& slot, TimePoint now) noexcept {
  Error const* const error = slot.batch_failed ? &slot.batch_error : nullptr;
  if constexpr (std::is_void_v<decltype(client_.finish(slot, error, now))>) {
    client_.finish(slot, error, now);
    return Finished::done;
  } else {
    return client_.finish(slot, error, now);
  }
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::finish(SlotList& slots, TimePoint now) noexcept {
  SlotList again;
  while (Slot* const slot = slots.pop())
    if (finish(*slot, now) == Finished::again) again.append(*slot);
  if (!again.empty()) put_back(again, now);
}

/// Together: the next batch sees all of them.
template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::put_back(SlotList& slots, TimePoint now) noexcept {
  Deferred deferred;
  mutex_.lock();
  Surroundings const surroundings = around(now);
  while (Slot* const slot = slots.pop()) {
    slot->entered = now;
    if (refusing_) {
      set_error(*slot, refusal_);
      deferred.finished.append(*slot);
    } else {
      machine_.put_back(*slot, surroundings, deferred.finished);
    }
  }
  unlock_and_dispatch(now, deferred);
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::put_back(Slot& slot, LendThread lend, TimePoint now) noexcept {
  if (lend == LendThread::yes) {
    if (auto const ended = run_alone(slot, now, true)) {
      if (finish(slot, *ended) == Finished::done) return;
      now = *ended;
    }
  }
  SlotList one;
  one.append(slot);
  put_back(one, now);
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::enter(Slot& slot, LendThread lend, TimePoint now) noexcept {
  if (lend == LendThread::yes)
    if (auto const ended = run_alone(slot, now)) {
      finish(slot, *ended);
      return;
    }
  queue(slot, lend, now);
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::queue(Slot& slot, LendThread lend, TimePoint now) noexcept {
  bool const lends = lend == LendThread::yes && options_.caller_runs;
  if (!lends && leave_in_inbox(slot, now)) return;
  TimePoint const deadline = slot.batch_deadline;
  slot.entered = now;
  Deferred deferred;
  mutex_.lock();
  empty_inbox(now, deferred);
  admit(slot, around(now), deferred);
  if (!lends || slot.state != SlotState::queued) return unlock_and_dispatch(now, deferred);
  serve_as_caller(&machine_.queue().first_of(slot), {slot.sequence, slot.sequence + 1, slot.batch_items},
                  deadline, now, deferred);
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::enter_all(SlotList& slots, LendThread lend, TimePoint now) noexcept {
  if (slots.empty()) return;
  TimePoint deadline = no_deadline;
  Slot* first = nullptr;
  std::uint64_t last = 0;
  std::uint64_t items = 0;
  Deferred deferred;
  mutex_.lock();
  empty_inbox(now, deferred);
  while (Slot* const slot = slots.pop()) {
    deadline = std::min(deadline, slot->batch_deadline);
    slot->entered = now;
    admit(*slot, around(now), deferred);
    if (slot->state != SlotState::queued) continue;
    if (first == nullptr) first = slot;
    last = slot->sequence;
    items += slot->batch_items;
  }
  if (lend == LendThread::no || !options_.caller_runs || first == nullptr)
    return unlock_and_dispatch(now, deferred);
  serve_as_caller(&machine_.queue().first_of(*first),
                  {first->sequence, last + 1, items, true, lend == LendThread::readily}, deadline, now,
                  deferred);
}

template <Environment Env, BatchingPolicy Policy, class H>
bool Lane<Env, Policy, H>::withdraw(Slot& slot) noexcept {
  TimePoint const now = Env::now();
  Deferred deferred;
  mutex_.lock();
  empty_inbox(now, deferred);
  bool const withdrawn = machine_.withdraw(slot, around(now));
  unlock_and_dispatch(now, deferred);
  return withdrawn;
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::refuse_all(Error const& error) noexcept {
  TimePoint const now = Env::now();
  Deferred deferred;
  mutex_.lock();
  if (!std::exchange(refusing_, true)) {
    athanor::detail::copy_error(refusal_, error);
    waiting_.fetch_or(1, std::memory_order_seq_cst);
  }
  empty_inbox(now, deferred);
  machine_.refuse(refusal_, deferred.finished);
  unlock_and_dispatch(now, deferred);
}

template <Environment Env, BatchingPolicy Policy, class H>
LaneSnapshot Lane<Env, Policy, H>::snapshot() const noexcept {
  constexpr auto relaxed = std::memory_order_relaxed;
  LaneSnapshot snapshot;
  snapshot.queued_items = queued_items_.load(relaxed);
  snapshot.queued_requests = waiting_.load(relaxed) / 2;
  snapshot.queued_cost = queued_cost_.load(relaxed);
  snapshot.expired = expired_.load(relaxed);
  for (std::uint32_t i = 0; i < options_.instances; ++i) {
    Instance const& instance = instances_[i];
    (instance.busy.load(relaxed) != 0 ? snapshot.busy_instances : snapshot.idle_instances) += 1;
    snapshot.batches += instance.batches.load(relaxed);
    snapshot.batch_items += instance.batch_items.load(relaxed);
    snapshot.caller_batches += instance.caller_batches.load(relaxed);
    snapshot.failed_batches += instance.failed_batches.load(relaxed);
    snapshot.reruns += instance.reruns.load(relaxed);
  }
  snapshot.predicted_wait = predicted_wait(Env::now());
  return snapshot;
}

template <Environment Env, BatchingPolicy Policy, class H>
auto Lane<Env, Policy, H>::informed() const noexcept -> Instance const& {
  Instance const* most = &instances_[0];
  for (std::uint32_t i = 1; i < options_.instances; ++i)
    if (instances_[i].cost.recorded() > most->cost.recorded()) most = &instances_[i];
  return *most;
}

template <Environment Env, BatchingPolicy Policy, class H>
Duration Lane<Env, Policy, H>::predicted(Work const& work) const noexcept {
  return predicted_run(informed().cost, limits_, work);
}

template <Environment Env, BatchingPolicy Policy, class H>
Duration Lane<Env, Policy, H>::predicted_wait(TimePoint now, std::uint32_t first) const noexcept {
  constexpr auto relaxed = std::memory_order_relaxed;
  std::uint64_t const queued = queued_items_.load(relaxed);
  if (queued == 0 && first < options_.instances && instances_[first].busy.load(relaxed) == 0)
    return Duration{};
  CostModel const& cost = informed().cost;
  auto const known = [&](std::uint32_t size) {
    return cost.trusts(size) ? cost.predicted_p50(size) : Duration{};
  };
  Duration work{};
  for (std::uint32_t i = 0; i < options_.instances; ++i) {
    Instance const& instance = instances_[i];
    if (instance.busy.load(relaxed) == 0) {
      if (queued == 0) return Duration{};
      continue;
    }
    std::uint32_t const size = instance.running_size.load(relaxed);
    if (size == 0) continue;
    Duration const elapsed = now - TimePoint{Duration{instance.began.load(relaxed)}};
    work = saturating_sum(work, std::max(known(size) - std::max(elapsed, Duration{}), Duration{}));
  }
  std::uint64_t const in_batch = std::clamp<std::uint64_t>(queued, 1, options_.max_items);
  std::uint32_t const size =
      learned_size(limits_, {std::max<std::uint64_t>(queued, 1), queued_cost_.load(relaxed)}, in_batch);
  auto const batches =
      static_cast<std::int64_t>(queued / options_.max_items + (queued % options_.max_items == 0 ? 0U : 1U));
  return saturating_sum(work, saturating_product(known(size), batches)) / options_.instances;
}

}  // namespace athanor::inline v1::batching

#include <athanor/batching/detail/lane_serving.ipp>
