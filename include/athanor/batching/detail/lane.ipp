#pragma once

#include <algorithm>
#include <cassert>
#include <utility>

#include <athanor/batching/detail/lane.hpp>

// Mutex and inbox. Whoever has the mutex works for everybody: a thread that enters tries the mutex once; when
// somebody else has it, it leaves its slot in the inbox, tries once more, and goes. The holder, after
// unlocking, looks at the inbox once more and, when something is there, tries the mutex in its turn. Nobody
// sleeps to enter, and nothing is lost:
//
// - The push P into the inbox and the look C after an unlock are both read-modify-writes of `inbox_` with
//   acquire and release (C is a compare-exchange of null for null), so they have an order.
//
// - C after P: C, or the holder that took P's slot out in between, has the slot. A holder that sees slots
//   tries the mutex; if that fails there is a later holder, which looks in its turn after its own unlock.
//
// - C before P: P reads from C or, through a chain of read-modify-writes, from what follows it, so the
//   unlock before C happens before P's second try of the mutex. That try can fail only because of another,
//   later holder, whose look is yet to come; for the last of these C is after P, or else the try succeeds.
//   (The standard lets try_lock() fail spuriously; no implementation on a futex does.)
//
// The slot's fields are written before P (release) and read by who takes it out (acquire).

namespace athanor::inline v1::batching {

namespace detail {
inline constexpr std::size_t most_parts = 1024;
inline constexpr int spins_before_sleep = 200;
/// An executor thread goes to the back of the executor's queue after so long, so that other lanes get their
/// turn.
inline constexpr Duration executor_turn = std::chrono::milliseconds(1);
inline constexpr std::uint32_t destructor_waits = 1U << 31;
}  // namespace detail

template <Environment Env, BatchingPolicy Policy, class H>
Lane<Env, Policy, H>::Lane(LaneOptions const& options, Policy policy, H& client,
                           typename Env::Executor& executor)
    : client_(client),
      executor_(executor),
      options_(options),
      instances_(std::make_unique<Instance[]>(options.instances)),
      machine_(BatchLimits{options.instances, options.max_items, options.max_cost}, std::move(policy)) {
  static_assert(LaneClient<H>,
                "the lane's client has wanted, begin, execute, end and finish as batching::LaneClient says");
  assert(validate(options));
  timer_.fire = &Lane::on_timer;
  timer_.lane = this;
  final_task_.run = [](Task& task) noexcept { static_cast<FinalTask&>(task).lane->count_out(); };
  final_task_.lane = this;
  for (std::uint32_t i = options.instances; i-- > 0;) {
    Instance& instance = instances_[i];
    instance.run = &Lane::on_task;
    instance.lane = this;
    instance.parts.resize(std::min<std::size_t>(options.max_items, detail::most_parts));
    instance.batch.instance = i;
    instance.next = std::exchange(idle_, &instance);
  }
  publish_snapshot();
}

template <Environment Env, BatchingPolicy Policy, class H>
Lane<Env, Policy, H>::~Lane() {
  if (executor_.disarm(timer_)) count_out();
  if (executor_visits_.load() == 0) return;
  // Posting tells whether the executor still runs what was posted before; if not, it has.
  count_in();
  if (!executor_.post(final_task_)) return;
  for (;;) {
    std::uint32_t const visits =
        executor_visits_.fetch_or(detail::destructor_waits) | detail::destructor_waits;
    if (visits == detail::destructor_waits) return;
    executor_visits_.wait_until(visits, no_deadline);
  }
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
  std::uint32_t visits = executor_visits_.load();
  while (!executor_visits_.compare_exchange(visits, visits - 1)) {
  }
  if (visits - 1 == detail::destructor_waits) executor_visits_.wake_all();
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::lock() const noexcept {
  for (int spin = 0; spin < detail::spins_before_sleep; ++spin) {
    if (mutex_.try_lock()) return;
    Env::relax();
  }
  mutex_.lock();
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::push(Slot& slot) noexcept {
  Slot* head = inbox_.load(std::memory_order_relaxed);
  do {
    slot.next = head;
  } while (!inbox_.compare_exchange_weak(head, &slot, std::memory_order_acq_rel, std::memory_order_relaxed));
}

template <Environment Env, BatchingPolicy Policy, class H>
bool Lane<Env, Policy, H>::inbox_is_empty() const noexcept {
  Slot* nothing = nullptr;
  return inbox_.compare_exchange_strong(nothing, nullptr, std::memory_order_acq_rel,
                                        std::memory_order_acquire);
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::admit(Slot& slot, TimePoint now, Deferred& deferred) noexcept {
  if (refusing_) {
    set_error(slot, refusal_);
    deferred.finished.append(slot);
  } else {
    machine_.add(slot, now, deferred.finished);
  }
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::absorb(TimePoint now, Deferred& deferred) noexcept {
  if (inbox_.load(std::memory_order_relaxed) == nullptr) return;
  Slot* newest = inbox_.exchange(nullptr, std::memory_order_acq_rel);
  Slot* oldest = nullptr;
  while (newest != nullptr) {
    Slot* const next = newest->next;
    newest->next = std::exchange(oldest, newest);
    newest = next;
  }
  while (oldest != nullptr) {
    Slot* const next = oldest->next;
    admit(*oldest, now, deferred);
    oldest = next;
  }
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::arm(TimePoint at) noexcept {
  armed_at_ = at;
  if (fires_due_ > 0 && executor_.disarm(timer_)) {
    --fires_due_;
  } else {
    count_in();
  }
  ++fires_due_;
  executor_.arm(timer_, at);
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::publish_snapshot() noexcept {
  constexpr auto relaxed = std::memory_order_relaxed;
  published_.queued_items.store(machine_.queue().items(), relaxed);
  published_.queued_requests.store(machine_.queue().requests(), relaxed);
  published_.queued_cost.store(machine_.queue().cost(), relaxed);
  published_.busy_instances.store(machine_.busy_instances(), relaxed);
  published_.predicted_wait.store(machine_.predicted_wait().count(), relaxed);
  published_.expired.store(machine_.expired(), relaxed);
}

/// Plans, unlocks, and does what was decided. `now` is only as old as the wait for the mutex.
template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::unlock_and_dispatch(TimePoint now, Deferred& deferred) noexcept {
  for (;;) {
    Plan const plan = machine_.plan(now);
    for (std::uint32_t i = 0; i < plan.start; ++i) {
      Instance* const instance = std::exchange(idle_, idle_->next);
      instance->started = true;
      instance->next = std::exchange(deferred.started, instance);
      count_in();
    }
    if (plan.wake_at < armed_at_) arm(plan.wake_at);
    publish_snapshot();
    mutex_.unlock();
    post_started(deferred);
    if (inbox_is_empty() || !mutex_.try_lock()) break;
    now = Env::now();
    absorb(now, deferred);
  }
  while (Slot* slot = deferred.finished.pop())
    client_.finish(*slot, slot->batch_failed ? &slot->batch_error : nullptr, now);
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::post_started(Deferred& deferred) noexcept {
  while (Instance* instance = deferred.started) {
    deferred.started = instance->next;
    if (executor_.post(*instance)) continue;
    // The executor is stopping: nobody will run what is queued.
    lock();
    machine_.mark_started();
    return_instance(*instance);
    count_out();
    Deferred refused;
    refuse_queued(make_error(Code::unavailable, Reason::stopping, "the executor is stopping"), refused);
    unlock_and_dispatch(Env::now(), refused);
  }
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::refuse_queued(Error const& error, Deferred& deferred) noexcept {
  if (!refusing_) {
    refusing_ = true;
    refusal_ = error;
  }
  absorb(Env::now(), deferred);
  machine_.refuse(refusal_, deferred.finished);
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::reset(Slot& slot, TimePoint now) noexcept {
  assert(slot.batch_items > 0 && slot.batch_cost >= 0);
  slot.entered = now;
  slot.state = SlotState::outside;
  slot.batch_failed = false;
  slot.taken = 0;
  slot.completed = 0;
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::enter(Slot& slot, LendThread lend, TimePoint now) noexcept {
  reset(slot, now);
  TimePoint const deadline = slot.batch_deadline;
  Deferred deferred;
  if (!mutex_.try_lock()) {
    push(slot);
    if (!mutex_.try_lock()) return;
    absorb(now, deferred);
    return unlock_and_dispatch(now, deferred);
  }
  absorb(now, deferred);
  admit(slot, now, deferred);
  Instance* const here = lend == LendThread::yes ? start_on_caller(slot, now) : nullptr;
  unlock_and_dispatch(now, deferred);
  if (here != nullptr) serve_as_caller(*here, deadline, 0);
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::enter_all(SlotList& slots, LendThread lend, TimePoint now) noexcept {
  if (slots.empty()) return;
  std::uint64_t brought = 0;
  TimePoint deadline = no_deadline;
  Deferred deferred;
  lock();
  absorb(now, deferred);
  while (Slot* slot = slots.pop()) {
    reset(*slot, now);
    brought += slot->batch_items;
    deadline = std::min(deadline, slot->batch_deadline);
    admit(*slot, now, deferred);
  }
  Instance* const here =
      lend == LendThread::yes ? start_group_on_caller(brought, deadline, now, deferred) : nullptr;
  unlock_and_dispatch(now, deferred);
  if (here != nullptr) serve_as_caller(*here, deadline, brought);
}

template <Environment Env, BatchingPolicy Policy, class H>
bool Lane<Env, Policy, H>::withdraw(Slot& slot) noexcept {
  TimePoint const now = Env::now();
  Deferred deferred;
  lock();
  absorb(now, deferred);
  bool const withdrawn = machine_.withdraw(slot);
  unlock_and_dispatch(now, deferred);
  return withdrawn;
}

template <Environment Env, BatchingPolicy Policy, class H>
void Lane<Env, Policy, H>::refuse_all(Error const& error) noexcept {
  Deferred deferred;
  lock();
  refuse_queued(error, deferred);
  unlock_and_dispatch(Env::now(), deferred);
}

template <Environment Env, BatchingPolicy Policy, class H>
LaneSnapshot Lane<Env, Policy, H>::snapshot() const noexcept {
  constexpr auto relaxed = std::memory_order_relaxed;
  LaneSnapshot snapshot;
  snapshot.queued_items = published_.queued_items.load(relaxed);
  snapshot.queued_requests = published_.queued_requests.load(relaxed);
  snapshot.queued_cost = published_.queued_cost.load(relaxed);
  snapshot.busy_instances = published_.busy_instances.load(relaxed);
  snapshot.largest_batch = Duration{published_.largest_batch.load(relaxed)};
  snapshot.idle_instances = options_.instances - snapshot.busy_instances;
  snapshot.predicted_wait = Duration{published_.predicted_wait.load(relaxed)};
  snapshot.batches = published_.batches.load(relaxed);
  snapshot.batch_items = published_.batch_items.load(relaxed);
  snapshot.caller_batches = published_.caller_batches.load(relaxed);
  snapshot.failed_batches = published_.failed_batches.load(relaxed);
  snapshot.reruns = published_.reruns.load(relaxed);
  snapshot.expired = published_.expired.load(relaxed);
  return snapshot;
}

/// Looks at the machine under the mutex. Who holds that attends to the inbox afterwards, also a reader.
template <Environment Env, BatchingPolicy Policy, class H>
template <class Look>
auto Lane<Env, Policy, H>::peek(Look look) const noexcept {
  lock();
  auto seen = look(machine_);
  Deferred deferred;
  const_cast<Lane*>(this)->unlock_and_dispatch(Env::now(), deferred);
  return seen;
}

template <Environment Env, BatchingPolicy Policy, class H>
CostModel Lane<Env, Policy, H>::cost_model() const noexcept {
  return peek([](auto const& machine) { return machine.cost_model(); });
}

template <Environment Env, BatchingPolicy Policy, class H>
Duration Lane<Env, Policy, H>::predicted(std::uint32_t items) const noexcept {
  return peek([items](auto const& machine) { return machine.predicted_run(items); });
}

}  // namespace athanor::inline v1::batching

#include <athanor/batching/detail/lane_serving.ipp>
