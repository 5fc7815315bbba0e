#pragma once

#include <athanor/core/detail/noexcept_error.hpp>
#include <athanor/loading/detail/loader_shell.hpp>

namespace athanor::inline v1::loading {

// Loading, on the load threads.

template <class P, Environment Env>
void LoaderShell<P, Env>::start_reserved() noexcept {
  for (;;) {
    Record* record = nullptr;
    {
      Lock const lock(mutex_);
      auto const id = machine_.next_start();
      if (id == LoaderMachine::none) return;
      record = records_[id].get();
    }
    if (!load_threads_.post(record->load_task))
      end_load(*record, fail(Code::resource_exhausted, Reason::none, "no thread can be started to load it"));
  }
}

template <class P, Environment Env>
Result<Loaded<P>> LoaderShell<P, Env>::call_load(Record& record) noexcept {
  try {
    auto loaded = functions_.load(record.target());
    if (loaded && loaded->payload == nullptr)
      return fail(Code::internal, Reason::model_load,
                  "the load function returned neither a payload nor an error");
    return loaded;
  } catch (...) {
    return tl::unexpected(detail::caught(Code::internal, Reason::model_load, "the load function threw"));
  }
}

template <class P, Environment Env>
Result<void> LoaderShell<P, Env>::call_warm_up(Record& record, P& payload) noexcept {
  if (!functions_.warm_up) return {};
  try {
    return functions_.warm_up(record.target(), payload);
  } catch (...) {
    return tl::unexpected(detail::caught(Code::internal, Reason::model_load, "the warm-up function threw"));
  }
}

template <class P, Environment Env>
Result<void> LoaderShell<P, Env>::evict_for(Record& record, std::uint64_t bytes) noexcept try {
  Lock lock(mutex_);
  machine_.expect(record.id, bytes);
  for (;;) {
    if (machine_.is_late(record.id))
      return fail(
          Code::deadline_exceeded, Reason::model_load,
          "the load was given up before it had ended: its deadline has passed, or its callers have left");
    observe_all();
    auto plan = machine_.measured(record.id, bytes);
    if (plan.want == LoaderMachine::Want::refuse) return tl::unexpected(std::move(plan.error));
    auto const victims = records_of(plan.victims);  // from here on nothing is allocated
    if (!close_to_pins(plan.victims)) continue;
    machine_.reserve_growth(record.id, bytes, plan.victims);
    if (!victims.empty()) {
      lock.unlock();
      for (Record* victim : victims) free_evicted(*victim);
      lock.lock();
    }
    machine_.charge_measured(record.id, bytes);
    lock.unlock();
    start_reserved();
    return {};
  }
} catch (...) {
  return tl::unexpected(detail::caught(Code::resource_exhausted, Reason::out_of_memory, record.name));
}

template <class P, Environment Env>
void LoaderShell<P, Env>::run_load(Record& record) noexcept {
  {
    Lock lock(mutex_);
    if (machine_.is_late(record.id)) {
      machine_.late_finish(record.id);
      auto const over = take_if_over(record);
      lock.unlock();
      return start_reserved();
    }
  }
  auto loaded = call_load(record);
  if (!loaded) return end_load(record, tl::unexpected(std::move(loaded.error())));
  auto fit =
      evict_for(record, loaded->bytes).and_then([&] { return call_warm_up(record, *loaded->payload); });
  if (fit) return end_load(record, std::move(loaded->payload));
  call_released(record, *loaded->payload);
  loaded->payload.reset();
  end_load(record, tl::unexpected(std::move(fit.error())));
}

/// The one end of every load: publishes the payload, or frees it first and then tells why not.
template <class P, Environment Env>
void LoaderShell<P, Env>::end_load(Record& record, Result<std::shared_ptr<P>> outcome) noexcept {
  Lock lock(mutex_);
  disarm_deadline(record);
  Chain chain = nullptr;
  std::optional<Error> error;
  if (machine_.is_late(record.id)) {
    if (outcome) {
      lock.unlock();
      call_released(record, **outcome);
      outcome->reset();
      lock.lock();
    }
    machine_.late_finish(record.id);
  } else if (!outcome) {
    error = machine_.failed(record.id, outcome.error(), Env::now(), Env::random());
    chain = take_parked(record);
  } else {
    TimePoint const now = Env::now();
    record.payload = std::move(*outcome);
    machine_.mark_ready(record.id, now);
    chain = take_parked(record);
    std::uint64_t pins = 0;
    for (Slot* slot = chain; slot != nullptr; slot = slot->next) {
      slot->payload = record.payload.get();
      slot->wanted = &record;
      ++pins;
    }
    record.pins.open(pins, now);
  }
  auto const over = take_if_over(record);
  lock.unlock();
  resume_all(chain, error ? &*error : nullptr);
  start_reserved();
}

template <class P, Environment Env>
struct LoaderShell<P, Env>::LateCallers {
  Chain chain = nullptr;
  Error error{};
  void operator()() noexcept { resume_all(chain, &error); }
};

/// Tells those who waited for an overdue load. The thread that keeps time leaves many of them to an idle load
/// thread, because every other deadline waits for it.
template <class P, Environment Env>
void LoaderShell<P, Env>::tell_late(LateCallers late) noexcept {
  std::size_t many = 0;
  for (Slot* slot = late.chain; slot != nullptr && many < callers_worth_a_thread; slot = slot->next) ++many;
  bool const left = many == callers_worth_a_thread && detail::leave_to_idle_thread(load_threads_, late);
  if (!left) late();
}

template <class P, Environment Env>
void LoaderShell<P, Env>::on_deadline(Record& record) noexcept {
  LateCallers late;
  std::unique_ptr<Record> over;
  {
    Lock const lock(mutex_);
    --record.armed;
    if (machine_.overdue(record.id, Env::now(), Env::random())) {
      detail::copy_error(late.error, *machine_.failure(record.id));
      late.chain = take_parked(record);
    }
    over = take_if_over(record);
  }
  tell_late(std::move(late));
  start_reserved();
}

template <class P, Environment Env>
bool LoaderShell<P, Env>::arm_deadline(Record& record) noexcept {
  if (!timekeeper_.arm(record.deadline, machine_.deadline(record.id))) return false;
  ++record.armed;
  return true;
}

/// A timer that could not be disarmed is about to call on_deadline, which counts it out.
template <class P, Environment Env>
void LoaderShell<P, Env>::disarm_deadline(Record& record) noexcept {
  if (timekeeper_.disarm(record.deadline)) --record.armed;
}

// Letting go.

template <class P, Environment Env>
void LoaderShell<P, Env>::call_released(Record& record, P& payload) noexcept {
  if (functions_.released) functions_.released(record.target(), payload);
}

template <class P, Environment Env>
void LoaderShell<P, Env>::free_evicted(Record& record) noexcept {
  call_released(record, *record.payload);
  record.payload.reset();
  std::unique_ptr<Record> over;
  Lock const lock(mutex_);
  machine_.freed(record.id);
  over = take_if_over(record);
}

template <class P, Environment Env>
void LoaderShell<P, Env>::free_payload(Record& record) noexcept {
  free_evicted(record);
  start_reserved();
}

template <class P, Environment Env>
void LoaderShell<P, Env>::post_free(Record& record) noexcept {
  if (!unload_threads_.post(record.free_task)) free_payload(record);
}

/// True if the record was draining and its last pin is gone; the caller then frees it.
template <class P, Environment Env>
bool LoaderShell<P, Env>::retire_drained(Record& record) noexcept {
  if (machine_.state(record.id) != ModelState::draining) return false;
  if (record.pins.held() != 0) return false;
  machine_.retire(record.id);
  return true;
}

template <class P, Environment Env>
void LoaderShell<P, Env>::finish_drain(std::size_t id, std::uint64_t serial) noexcept {
  Record* record = nullptr;
  {
    Lock const lock(mutex_);
    record = records_[id].get();
    if (record == nullptr || record->serial != serial || !retire_drained(*record)) return;
  }
  post_free(*record);
}

/// Returns the slots that waited for a load given up; sets `free` when the payload can go now.
template <class P, Environment Env>
auto LoaderShell<P, Env>::begin_unload(Record& record, bool& free) noexcept -> Chain {
  switch (machine_.unload(record.id)) {
    case LoaderMachine::Unload::nothing: break;
    case LoaderMachine::Unload::drain:
      record.pins.close();
      free = retire_drained(record);
      break;
    case LoaderMachine::Unload::abandon: disarm_deadline(record); return take_parked(record);
  }
  return nullptr;
}

template <class P, Environment Env>
void LoaderShell<P, Env>::let_go(Record& record, Error const& error, bool forget) {
  bool free = false;
  Chain chain = nullptr;
  std::unique_ptr<Record> over;
  {
    Lock const lock(mutex_);
    if (forget) {
      record.forgotten = true;
      if (auto const known = by_name_.find(record.name); known != by_name_.end() && known->second == &record)
        by_name_.erase(known);
    }
    chain = begin_unload(record, free);
    over = take_if_over(record);
  }
  resume_all(chain, &error);
  // `unload` frees on this thread, as its caller wants the memory; `forget` must not block.
  if (free) return forget ? post_free(record) : free_payload(record);
  start_reserved();
}

template <class P, Environment Env>
void LoaderShell<P, Env>::unload(Record& record) {
  let_go(record, make_error(Code::cancelled, Reason::cancelled, "{}: unloaded while loading", record.name),
         false);
}

template <class P, Environment Env>
void LoaderShell<P, Env>::forget(Record& record) {
  let_go(record, make_error(Code::cancelled, Reason::cancelled, "{}: removed while loading", record.name),
         true);
}

template <class P, Environment Env>
Result<void> LoaderShell<P, Env>::unload(std::string_view name) {
  Record* record = nullptr;
  {
    Lock const lock(mutex_);
    auto const known = find_locked(name);
    if (!known) return tl::unexpected(known.error());
    record = *known;
  }
  unload(*record);
  return {};
}

template <class P, Environment Env>
void LoaderShell<P, Env>::stop() {
  Error const error = make_error(Code::unavailable, Reason::stopping, "the loader is stopping");
  for (std::size_t id = 0;; ++id) {
    Record* record = nullptr;
    bool free = false;
    Chain chain = nullptr;
    std::unique_ptr<Record> over;
    {
      Lock const lock(mutex_);
      stopping_ = true;
      if (id >= records_.size()) return;
      record = records_[id].get();
      if (record == nullptr) continue;
      chain = begin_unload(*record, free);
      over = take_if_over(*record);
    }
    resume_all(chain, &error);
    if (free) free_payload(*record);
  }
}

}  // namespace athanor::inline v1::loading
