#pragma once

#include <algorithm>

#include <athanor/core/detail/noexcept_error.hpp>

namespace athanor::inline v1::loading {

/// One name that a loader knows. Records never move and live as long as the loader; their fields are the
/// loader's.
template <class P, Environment Env>
struct ModelRecord {
  using Loader = LoaderShell<P, Env>;
  struct Work : Task {
    ModelRecord* record;
  };
  struct Deadline : Timer {
    ModelRecord* record;
  };

  ModelRecord(Loader& owner, std::string_view model, std::size_t number)
      : loader(owner), name(model), id(number) {
    load_task.run = [](Task& task) noexcept {
      ModelRecord& record = *static_cast<Work&>(task).record;
      record.loader.run_load(record);
    };
    free_task.run = [](Task& task) noexcept {
      ModelRecord& record = *static_cast<Work&>(task).record;
      record.loader.free_payload(record);
    };
    deadline.fire = [](Timer& timer) noexcept {
      ModelRecord& record = *static_cast<Deadline&>(timer).record;
      record.loader.on_deadline(record);
    };
    load_task.record = free_task.record = deadline.record = this;
  }

  Loader& loader;
  std::string const name;
  std::size_t const id;

  static constexpr std::uint64_t ready = 1;  // bit 0 of word: may be pinned
  static constexpr std::uint64_t pin = 2;    // pins are counted in twos
  alignas(64) typename Env::template Atomic<std::uint64_t> word{0};
  typename Env::template Atomic<std::int64_t> last_used{0};
  // Written only while the ready bit is clear and no pin is held.
  std::shared_ptr<P> payload{};

  Slot<P>* first_parked = nullptr;  // guarded by the loader's lock
  Work load_task{};
  Work free_task{};
  Deadline deadline{};
};

template <class P, Environment Env>
struct LoaderShell<P, Env>::Waiter : loading::Slot<P> {
  typename Env::Word word{};
  std::optional<Error> failure{};

  struct Client {
    void resume(loading::Slot<P>& slot, Error const* error) noexcept {
      auto& waiter = static_cast<Waiter&>(slot);
      if (error != nullptr) waiter.failure = *error;
      waiter.word.store(1);
      waiter.word.wake_all();
    }
  };
};

template <class P, Environment Env>
LoaderShell<P, Env>::LoaderShell(ModelLoaderOptions const& options, LoadFunctions<P> functions)
    : options_(options),
      functions_(std::move(functions)),
      own_executor_(std::in_place, options.load_threads),
      executor_(*own_executor_),
      machine_(options) {}

template <class P, Environment Env>
LoaderShell<P, Env>::LoaderShell(ModelLoaderOptions const& options, LoadFunctions<P> functions,
                                 typename Env::Executor& executor)
    : options_(options), functions_(std::move(functions)), executor_(executor), machine_(options) {}

template <class P, Environment Env>
LoaderShell<P, Env>::~LoaderShell() {
  stop();
  if (own_executor_) own_executor_->stop(no_deadline);
}

template <class P, Environment Env>
auto LoaderShell<P, Env>::declare(std::string_view name) -> Result<Record*> {
  {
    Lock const lock(mutex_);
    if (auto const known = by_name_.find(name); known != by_name_.end()) return known->second;
  }
  return ask_expected_bytes(name).and_then([&](auto bytes) { return declare(name, bytes.value_or(0)); });
}

template <class P, Environment Env>
Result<std::optional<std::uint64_t>> LoaderShell<P, Env>::ask_expected_bytes(std::string_view name) const {
  if (!functions_.expected_bytes) return std::nullopt;
  try {
    return functions_.expected_bytes(name);
  } catch (...) {
    return tl::unexpected(
        detail::caught(Code::internal, Reason::model_load,
                       detail::format("{}: the function for its expected bytes threw", name)));
  }
}

template <class P, Environment Env>
auto LoaderShell<P, Env>::declare(std::string_view name, std::uint64_t expected_bytes) -> Result<Record*> {
  Lock const lock(mutex_);
  if (auto const known = by_name_.find(name); known != by_name_.end()) return known->second;
  if (records_.size() >= options_.max_models)
    return fail(Code::resource_exhausted, Reason::option,
                "{}: the loader knows {} models, which is its limit", name, records_.size());
  std::size_t const id = machine_.add(std::string(name), expected_bytes);
  Record& record = *records_.emplace_back(std::make_unique<Record>(*this, name, id));
  by_name_.emplace(record.name, &record);
  return &record;
}

// Pins.

template <class P, Environment Env>
bool LoaderShell<P, Env>::try_pin(Slot& slot, Record& record, TimePoint now) noexcept {
  if ((record.word.load(std::memory_order_relaxed) & Record::ready) == 0) return false;
  if ((record.word.fetch_add(Record::pin, std::memory_order_acquire) & Record::ready) == 0) {
    // Retired concurrently. This transient pin may have masked the last real unpin; the slow path, which
    // every caller takes next, looks again (finish_drain).
    record.word.fetch_sub(Record::pin, std::memory_order_release);
    return false;
  }
  record.last_used.store(now.time_since_epoch().count(), std::memory_order_relaxed);
  slot.payload = record.payload.get();
  slot.wanted = &record;
  return true;
}

template <class P, Environment Env>
void LoaderShell<P, Env>::drop_pin(Record& record) noexcept {
  if (record.word.fetch_sub(Record::pin, std::memory_order_acq_rel) == Record::pin)
    record.loader.finish_drain(record);
}

template <class P, Environment Env>
void LoaderShell<P, Env>::unpin(Slot& slot) noexcept {
  Record& record = *static_cast<Record*>(slot.wanted);
  slot.wanted = nullptr;
  slot.payload = nullptr;
  drop_pin(record);
}

// Parked slots.

template <class P, Environment Env>
void LoaderShell<P, Env>::park(Slot& slot, Record& record) noexcept {
  slot.wanted = &record;
  slot.parked = true;
  slot.previous = nullptr;
  slot.next = record.first_parked;
  if (slot.next != nullptr) slot.next->previous = &slot;
  record.first_parked = &slot;
}

template <class P, Environment Env>
bool LoaderShell<P, Env>::withdraw(Slot& slot) noexcept {
  Lock const lock(mutex_);
  if (!slot.parked) return false;
  Record& record = *static_cast<Record*>(slot.wanted);
  (slot.previous != nullptr ? slot.previous->next : record.first_parked) = slot.next;
  if (slot.next != nullptr) slot.next->previous = slot.previous;
  slot.parked = false;
  slot.wanted = nullptr;
  return true;
}

template <class P, Environment Env>
auto LoaderShell<P, Env>::take_parked(Record& record) noexcept -> Chain {
  Chain const chain = std::exchange(record.first_parked, nullptr);
  for (Slot* slot = chain; slot != nullptr; slot = slot->next) {
    slot->parked = false;
    slot->wanted = nullptr;
  }
  return chain;
}

template <class P, Environment Env>
void LoaderShell<P, Env>::resume_all(Chain chain, Error const* error) noexcept {
  while (chain != nullptr) {
    Slot& slot = *chain;
    chain = slot.next;  // before the slot is its owner's again
    slot.resume(slot.client, slot, error);
  }
}

// Acquiring.

template <class P, Environment Env>
template <loading::LoaderClient<P> H>
Result<loading::PinResult> LoaderShell<P, Env>::pin(Slot& slot, Record& record, TimePoint now, H& client) {
  if (try_pin(slot, record, now)) return PinResult::ready;
  slot.client = &client;
  slot.resume = [](void* context, Slot& resumed, Error const* error) noexcept {
    static_cast<H*>(context)->resume(resumed, error);
  };
  return pin_or_park(slot, record, now);
}

/// For use after an unlock: a record never moves, but the list of them grows.
template <class P, Environment Env>
auto LoaderShell<P, Env>::records_of(std::vector<std::size_t> const& ids) const -> std::vector<Record*> {
  std::vector<Record*> records;
  for (auto const id : ids) records.push_back(records_[id].get());
  return records;
}

template <class P, Environment Env>
void LoaderShell<P, Env>::observe_all() noexcept {
  for (auto const& record : records_)
    machine_.observe(record->id, record->word.load(std::memory_order_relaxed) >= Record::pin,
                     TimePoint(Duration(record->last_used.load(std::memory_order_relaxed))));
}

/// Closes all victims to new pins, or none when one of them has just been pinned.
template <class P, Environment Env>
bool LoaderShell<P, Env>::close_to_pins(std::vector<std::size_t> const& victims) noexcept {
  for (std::size_t i = 0; i < victims.size(); ++i) {
    std::uint64_t idle = Record::ready;
    if (records_[victims[i]]->word.compare_exchange_strong(idle, 0, std::memory_order_acq_rel)) continue;
    while (i > 0) records_[victims[--i]]->word.fetch_or(Record::ready, std::memory_order_release);
    return false;
  }
  return true;
}

template <class P, Environment Env>
Result<loading::PinResult> LoaderShell<P, Env>::pin_or_park(Slot& slot, Record& record, TimePoint now) {
  finish_drain(record);
  Lock lock(mutex_);
  if (stopping_) return fail(Code::unavailable, Reason::stopping, "{}: the loader is stopping", record.name);
  for (;;) {
    if (try_pin(slot, record, now)) return PinResult::ready;
    observe_all();
    auto plan = machine_.want(record.id, now);
    if (plan.want == LoaderMachine::Want::refuse) {
      machine_.refuse();
      return tl::unexpected(std::move(plan.error));
    }
    if (plan.want == LoaderMachine::Want::join) {
      machine_.join();
      park(slot, record);
      return PinResult::parked;
    }
    auto const victims = records_of(plan.victims);
    if (plan.want != LoaderMachine::Want::load || !close_to_pins(plan.victims)) continue;
    machine_.reserve(record.id, plan.victims, now);
    executor_.arm(record.deadline, machine_.deadline(record.id));
    park(slot, record);
    lock.unlock();
    for (Record* victim : victims) post_free(*victim);
    start_reserved();
    return PinResult::parked;
  }
}

template <class P, Environment Env>
auto LoaderShell<P, Env>::wait_for(Record& record, Duration wait) -> Result<Pin> {
  Waiter waiter;
  typename Waiter::Client client;
  TimePoint const now = Env::now();
  waiter.client = &client;
  waiter.resume = [](void* context, Slot& slot, Error const* error) noexcept {
    static_cast<typename Waiter::Client*>(context)->resume(slot, error);
  };
  if (!try_pin(waiter, record, now)) {
    auto const acquired = pin_or_park(waiter, record, now);
    if (!acquired) return tl::unexpected(acquired.error());
    if (*acquired == PinResult::parked && !detail::park_until(
                                              waiter.word, [](std::uint32_t word) { return word != 0; },
                                              after(now, wait), [&] { return withdraw(waiter); }))
      return fail(Code::deadline_exceeded, Reason::deadline_waiting, "{}: it was not loaded within {:.3f} ms",
                  record.name, static_cast<double>(wait.count()) * 1e-6);
    if (waiter.failure) return tl::unexpected(std::move(*waiter.failure));
  }
  return Pin(record, *waiter.payload);
}

template <class P, Environment Env>
auto LoaderShell<P, Env>::acquire(std::string_view name, Duration wait) -> Result<Pin> {
  return declare(name).and_then([&](Record* record) { return wait_for(*record, wait); });
}

template <class P, Environment Env>
Result<void> LoaderShell<P, Env>::retry_now(Record& record) {
  if ((record.word.load(std::memory_order_acquire) & Record::ready) != 0) return {};
  auto expected = ask_expected_bytes(record.name);
  if (!expected) return tl::unexpected(std::move(expected.error()));
  Lock const lock(mutex_);
  machine_.retry_now(record.id, *expected);
  return {};
}

template <class P, Environment Env>
Result<void> LoaderShell<P, Env>::load(Record& record, Duration wait) {
  return retry_now(record).and_then([&] { return wait_for(record, wait); }).map([](Pin&&) {});
}

template <class P, Environment Env>
Result<void> LoaderShell<P, Env>::load(std::string_view name, Duration wait) {
  return declare(name).and_then([&](Record* record) { return load(*record, wait); });
}

// Loading, on the executor.

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
    if (!executor_.post(record->load_task))
      end_load(*record, fail(Code::unavailable, Reason::stopping, "the executor is stopping"));
  }
}

template <class P, Environment Env>
Result<Loaded<P>> LoaderShell<P, Env>::call_load(Record& record) noexcept {
  try {
    auto loaded = functions_.load(record.name);
    if (loaded && loaded->payload == nullptr)
      return fail(Code::internal, Reason::model_load, "the load function gave no payload and no error");
    return loaded;
  } catch (...) {
    return tl::unexpected(detail::caught(Code::internal, Reason::model_load, "the load function threw"));
  }
}

template <class P, Environment Env>
Result<void> LoaderShell<P, Env>::call_warm_up(Record& record, P& payload) noexcept {
  if (!functions_.warm_up) return {};
  try {
    return functions_.warm_up(record.name, payload);
  } catch (...) {
    return tl::unexpected(detail::caught(Code::internal, Reason::model_load, "the warm-up function threw"));
  }
}

template <class P, Environment Env>
Result<void> LoaderShell<P, Env>::evict_for(Record& record, std::uint64_t bytes) {
  Lock lock(mutex_);
  machine_.expect(record.id, bytes);
  for (;;) {
    if (machine_.is_late(record.id))
      return fail(Code::deadline_exceeded, Reason::model_load, "nobody waits for this load any more");
    observe_all();
    auto plan = machine_.measured(record.id, bytes);
    if (plan.want == LoaderMachine::Want::refuse) return tl::unexpected(std::move(plan.error));
    if (!close_to_pins(plan.victims)) continue;
    machine_.reserve_growth(record.id, bytes, plan.victims);
    if (!plan.victims.empty()) {
      auto const victims = records_of(plan.victims);
      lock.unlock();
      for (Record* victim : victims) destroy_payload(*victim);
      lock.lock();
      for (auto const victim : plan.victims) machine_.freed(victim);
    }
    machine_.charge_measured(record.id, bytes);
    lock.unlock();
    start_reserved();
    return {};
  }
}

template <class P, Environment Env>
void LoaderShell<P, Env>::run_load(Record& record) noexcept {
  {
    Lock lock(mutex_);
    if (machine_.is_late(record.id)) {
      machine_.late_finish(record.id);
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
  executor_.disarm(record.deadline);
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
    record.last_used.store(now.time_since_epoch().count(), std::memory_order_relaxed);
    machine_.publish(record.id, now);
    chain = take_parked(record);
    std::uint64_t pins = 0;
    for (Slot* slot = chain; slot != nullptr; slot = slot->next) {
      slot->payload = record.payload.get();
      slot->wanted = &record;
      pins += Record::pin;
    }
    record.word.fetch_add(Record::ready + pins, std::memory_order_release);
  }
  lock.unlock();
  resume_all(chain, error ? &*error : nullptr);
  start_reserved();
}

template <class P, Environment Env>
void LoaderShell<P, Env>::on_deadline(Record& record) noexcept {
  Chain chain = nullptr;
  Error error;
  {
    Lock const lock(mutex_);
    if (!machine_.overdue(record.id, Env::now(), Env::random())) return;
    error = *machine_.failure(record.id);
    chain = take_parked(record);
  }
  resume_all(chain, &error);
  start_reserved();
}

// Letting go.

template <class P, Environment Env>
void LoaderShell<P, Env>::call_released(Record& record, P& payload) noexcept {
  if (functions_.released) functions_.released(record.name, payload);
}

template <class P, Environment Env>
void LoaderShell<P, Env>::destroy_payload(Record& record) noexcept {
  call_released(record, *record.payload);
  record.payload.reset();
}

template <class P, Environment Env>
void LoaderShell<P, Env>::free_payload(Record& record) noexcept {
  destroy_payload(record);
  {
    Lock const lock(mutex_);
    machine_.freed(record.id);
  }
  start_reserved();
}

template <class P, Environment Env>
void LoaderShell<P, Env>::post_free(Record& record) noexcept {
  if (!executor_.post(record.free_task)) free_payload(record);
}

/// True if the record was draining and its last pin is gone; the caller then frees it.
template <class P, Environment Env>
bool LoaderShell<P, Env>::retire_drained(Record& record) noexcept {
  if (machine_.state(record.id) != ModelState::draining) return false;
  if (record.word.load(std::memory_order_acquire) != 0) return false;
  machine_.retire(record.id);
  return true;
}

template <class P, Environment Env>
void LoaderShell<P, Env>::finish_drain(Record& record) noexcept {
  {
    Lock const lock(mutex_);
    if (!retire_drained(record)) return;
  }
  post_free(record);
}

/// Returns the slots that waited for a load given up; sets `free` when the payload can go now.
template <class P, Environment Env>
auto LoaderShell<P, Env>::begin_unload(Record& record, bool& free) noexcept -> Chain {
  switch (machine_.unload(record.id)) {
    case LoaderMachine::Unload::nothing: break;
    case LoaderMachine::Unload::drain:
      record.word.fetch_and(~Record::ready, std::memory_order_acq_rel);
      free = retire_drained(record);
      break;
    case LoaderMachine::Unload::abandon: executor_.disarm(record.deadline); return take_parked(record);
  }
  return nullptr;
}

template <class P, Environment Env>
void LoaderShell<P, Env>::unload(Record& record) {
  bool free = false;
  Chain chain = nullptr;
  {
    Lock const lock(mutex_);
    chain = begin_unload(record, free);
  }
  Error const error{
      Code::cancelled, Reason::cancelled, record.name + ": it was unloaded while it loaded", {}};
  resume_all(chain, &error);
  if (free) return free_payload(record);
  start_reserved();
}

template <class P, Environment Env>
Result<void> LoaderShell<P, Env>::unload(std::string_view name) {
  Record* record = nullptr;
  {
    Lock const lock(mutex_);
    auto const known = by_name_.find(name);
    if (known == by_name_.end())
      return fail(Code::not_found, Reason::model_missing, "{}: no model of that name is known", name);
    record = known->second;
  }
  unload(*record);
  return {};
}

template <class P, Environment Env>
void LoaderShell<P, Env>::stop() {
  std::vector<Chain> chains;
  std::vector<Record*> idle;
  {
    Lock const lock(mutex_);
    stopping_ = true;
    for (auto const& record : records_) {
      bool free = false;
      chains.push_back(begin_unload(*record, free));
      if (free) idle.push_back(record.get());
    }
  }
  Error const error{Code::unavailable, Reason::stopping, "the loader is stopping", {}};
  for (Chain const chain : chains) resume_all(chain, &error);
  for (Record* record : idle) free_payload(*record);
}

// Looking.

template <class P, Environment Env>
ModelStatus LoaderShell<P, Env>::status_locked(Record const& record) const {
  ModelStatus status{record.name,
                     machine_.state(record.id),
                     machine_.bytes(record.id),
                     static_cast<std::uint32_t>(record.word.load(std::memory_order_relaxed) / Record::pin),
                     {}};
  status.failure = machine_.obstacle(record.id);
  return status;
}

template <class P, Environment Env>
ModelStatus LoaderShell<P, Env>::status(Record const& record) const {
  Lock const lock(mutex_);
  return status_locked(record);
}

template <class P, Environment Env>
Result<ModelStatus> LoaderShell<P, Env>::status(std::string_view name) const {
  Lock const lock(mutex_);
  auto const known = by_name_.find(name);
  if (known == by_name_.end())
    return fail(Code::not_found, Reason::model_missing, "{}: no model of that name is known", name);
  return status_locked(*known->second);
}

template <class P, Environment Env>
std::vector<ModelStatus> LoaderShell<P, Env>::list() const {
  Lock const lock(mutex_);
  std::vector<ModelStatus> all;
  for (auto const& record : records_) all.push_back(status_locked(*record));
  return all;
}

template <class P, Environment Env>
ModelLoaderStatistics LoaderShell<P, Env>::statistics() const {
  Lock const lock(mutex_);
  return machine_.statistics();
}

}  // namespace athanor::inline v1::loading
