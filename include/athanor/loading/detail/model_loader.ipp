#pragma once

#include <algorithm>
#include <exception>

namespace athanor::inline v1 {

namespace loading {

/// One name that a loader knows. Entries never move and live as long as the loader; their fields are the
/// loader's.
template <class P, class Env>
struct Entry {
  using Loader = ModelLoader<P, Env>;
  struct Work : Task {
    Entry* entry;
  };
  struct Deadline : Timer {
    Entry* entry;
  };

  Entry(Loader& owner, std::string_view model, std::size_t number) : loader(owner), name(model), id(number) {
    load_task.run = [](Task& task) noexcept {
      Entry& entry = *static_cast<Work&>(task).entry;
      entry.loader.run_load(entry);
    };
    free_task.run = [](Task& task) noexcept {
      Entry& entry = *static_cast<Work&>(task).entry;
      entry.loader.free_payload(entry);
    };
    deadline.fire = [](Timer& timer) noexcept {
      Entry& entry = *static_cast<Deadline&>(timer).entry;
      entry.loader.on_deadline(entry);
    };
    load_task.entry = free_task.entry = deadline.entry = this;
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

}  // namespace loading

template <class P, Environment Env>
struct ModelLoader<P, Env>::Waiter : loading::Slot<P> {
  typename Env::Word word{};
  std::optional<Error> failure{};

  struct Host {
    void resume(loading::Slot<P>& slot, Error const* error) noexcept {
      auto& waiter = static_cast<Waiter&>(slot);
      if (error != nullptr) waiter.failure = *error;
      waiter.word.store(1);
      waiter.word.wake_all();
    }
  };
};

template <class P, Environment Env>
ModelLoader<P, Env>::ModelLoader(loading::LoaderOptions const& options, LoadFunctions<P> functions)
    : options_(options),
      functions_(std::move(functions)),
      own_executor_(std::in_place, options.load_threads == 0 ? 1 : options.load_threads),
      executor_(*own_executor_),
      machine_(options) {}

template <class P, Environment Env>
ModelLoader<P, Env>::ModelLoader(loading::LoaderOptions const& options, LoadFunctions<P> functions,
                                 typename Env::Executor& executor)
    : options_(options), functions_(std::move(functions)), executor_(executor), machine_(options) {}

template <class P, Environment Env>
ModelLoader<P, Env>::~ModelLoader() {
  stop();
  if (own_executor_) own_executor_->stop(no_deadline);
}

template <class P, Environment Env>
auto ModelLoader<P, Env>::declare(std::string_view name) -> Result<Entry*> {
  {
    std::lock_guard const lock(mutex_);
    if (auto const known = by_name_.find(name); known != by_name_.end()) return known->second;
  }
  return ask_expected_bytes(name).and_then([&](auto bytes) { return declare(name, bytes.value_or(0)); });
}

template <class P, Environment Env>
Result<std::optional<std::uint64_t>> ModelLoader<P, Env>::ask_expected_bytes(std::string_view name) const {
  if (!functions_.expected_bytes) return std::nullopt;
  try {
    return functions_.expected_bytes(name);
  } catch (std::exception const& exception) {
    return fail(Code::internal, Reason::model_load, "{}: the function for its expected bytes threw: {}", name,
                exception.what());
  } catch (...) {
    return fail(Code::internal, Reason::model_load, "{}: the function for its expected bytes threw", name);
  }
}

template <class P, Environment Env>
auto ModelLoader<P, Env>::declare(std::string_view name, std::uint64_t expected_bytes) -> Result<Entry*> {
  std::lock_guard const lock(mutex_);
  if (auto const known = by_name_.find(name); known != by_name_.end()) return known->second;
  if (entries_.size() >= std::max(options_.max_models, 1U))
    return fail(Code::resource_exhausted, Reason::option,
                "{}: the loader knows {} models, which is its limit", name, entries_.size());
  std::size_t const id = machine_.add(std::string(name), expected_bytes);
  Entry& entry = *entries_.emplace_back(std::make_unique<Entry>(*this, name, id));
  by_name_.emplace(entry.name, &entry);
  return &entry;
}

// Pins.

template <class P, Environment Env>
bool ModelLoader<P, Env>::try_pin(Slot& slot, Entry& entry, TimePoint now) noexcept {
  if ((entry.word.load(std::memory_order_relaxed) & Entry::ready) == 0) return false;
  if ((entry.word.fetch_add(Entry::pin, std::memory_order_acquire) & Entry::ready) == 0) {
    // It went meanwhile. This pin of a moment may have hidden the last real one: the slow path settles that.
    entry.word.fetch_sub(Entry::pin, std::memory_order_release);
    return false;
  }
  entry.last_used.store(now.time_since_epoch().count(), std::memory_order_relaxed);
  slot.payload = entry.payload.get();
  slot.wanted = &entry;
  return true;
}

template <class P, Environment Env>
void ModelLoader<P, Env>::unpin(Entry& entry) noexcept {
  if (entry.word.fetch_sub(Entry::pin, std::memory_order_acq_rel) == Entry::pin) finish_drain(entry);
}

template <class P, Environment Env>
void ModelLoader<P, Env>::release(Slot& slot) noexcept {
  Entry& entry = *static_cast<Entry*>(slot.wanted);
  slot.wanted = nullptr;
  slot.payload = nullptr;
  unpin(entry);
}

// Parked slots.

template <class P, Environment Env>
void ModelLoader<P, Env>::park(Slot& slot, Entry& entry) noexcept {
  slot.wanted = &entry;
  slot.parked = true;
  slot.previous = nullptr;
  slot.next = entry.first_parked;
  if (slot.next != nullptr) slot.next->previous = &slot;
  entry.first_parked = &slot;
}

template <class P, Environment Env>
bool ModelLoader<P, Env>::withdraw(Slot& slot) noexcept {
  std::lock_guard const lock(mutex_);
  if (!slot.parked) return false;
  Entry& entry = *static_cast<Entry*>(slot.wanted);
  (slot.previous != nullptr ? slot.previous->next : entry.first_parked) = slot.next;
  if (slot.next != nullptr) slot.next->previous = slot.previous;
  slot.parked = false;
  slot.wanted = nullptr;
  return true;
}

template <class P, Environment Env>
auto ModelLoader<P, Env>::take_parked(Entry& entry) noexcept -> Chain {
  Chain const chain = std::exchange(entry.first_parked, nullptr);
  for (Slot* slot = chain; slot != nullptr; slot = slot->next) {
    slot->parked = false;
    slot->wanted = nullptr;
  }
  return chain;
}

template <class P, Environment Env>
void ModelLoader<P, Env>::resume_all(Chain chain, Error const* error) noexcept {
  while (chain != nullptr) {
    Slot& slot = *chain;
    chain = slot.next;  // before the slot is its owner's again
    slot.resume(slot.host, slot, error);
  }
}

// Acquiring.

template <class P, Environment Env>
template <loading::Host<P> H>
Result<loading::Acquire> ModelLoader<P, Env>::acquire(Slot& slot, Entry& entry, TimePoint now, H& host) {
  if (try_pin(slot, entry, now)) return Acquire::ready;
  slot.host = &host;
  slot.resume = [](void* context, Slot& resumed, Error const* error) noexcept {
    static_cast<H*>(context)->resume(resumed, error);
  };
  return acquire_slowly(slot, entry, now);
}

template <class P, Environment Env>
void ModelLoader<P, Env>::observe_all() noexcept {
  for (auto const& entry : entries_)
    machine_.observe(entry->id, entry->word.load(std::memory_order_relaxed) >= Entry::pin,
                     TimePoint(Duration(entry->last_used.load(std::memory_order_relaxed))));
}

/// Closes all victims to new pins, or none when one of them has just been pinned.
template <class P, Environment Env>
bool ModelLoader<P, Env>::retire_all(std::vector<std::size_t> const& victims) noexcept {
  for (std::size_t i = 0; i < victims.size(); ++i) {
    std::uint64_t idle = Entry::ready;
    if (entries_[victims[i]]->word.compare_exchange_strong(idle, 0, std::memory_order_acq_rel)) continue;
    while (i > 0) entries_[victims[--i]]->word.fetch_or(Entry::ready, std::memory_order_release);
    return false;
  }
  return true;
}

template <class P, Environment Env>
Result<loading::Acquire> ModelLoader<P, Env>::acquire_slowly(Slot& slot, Entry& entry, TimePoint now) {
  finish_drain(entry);
  std::unique_lock lock(mutex_);
  if (stopping_) return fail(Code::unavailable, Reason::stopping, "{}: the loader is stopping", entry.name);
  for (;;) {
    if (try_pin(slot, entry, now)) return Acquire::ready;
    observe_all();
    auto plan = machine_.want(entry.id, now);
    if (plan.want == LoaderMachine::Want::refuse) {
      machine_.refuse();
      return tl::unexpected(std::move(plan.error));
    }
    if (plan.want == LoaderMachine::Want::join) {
      machine_.join();
      park(slot, entry);
      return Acquire::parked;
    }
    if (plan.want != LoaderMachine::Want::load || !retire_all(plan.victims)) continue;
    machine_.reserve(entry.id, plan.victims, now);
    executor_.arm(entry.deadline, machine_.deadline(entry.id));
    park(slot, entry);
    lock.unlock();
    for (auto const victim : plan.victims) post_free(*entries_[victim]);
    start_waiting();
    return Acquire::parked;
  }
}

template <class P, Environment Env>
auto ModelLoader<P, Env>::wait_for(Entry& entry, Duration wait) -> Result<Pin> {
  Waiter waiter;
  typename Waiter::Host host;
  TimePoint const now = Env::now();
  waiter.host = &host;
  waiter.resume = [](void* context, Slot& slot, Error const* error) noexcept {
    static_cast<typename Waiter::Host*>(context)->resume(slot, error);
  };
  if (!try_pin(waiter, entry, now)) {
    auto const acquired = acquire_slowly(waiter, entry, now);
    if (!acquired) return tl::unexpected(acquired.error());
    TimePoint deadline = *acquired == Acquire::parked ? after(now, wait) : now;
    while (*acquired == Acquire::parked && waiter.word.load() == 0) {
      if (waiter.word.wait_until(0, deadline)) continue;
      if (withdraw(waiter))
        return fail(Code::deadline_exceeded, Reason::deadline_waiting,
                    "{}: it was not loaded within {:.3f} ms", entry.name,
                    static_cast<double>(wait.count()) * 1e-6);
      deadline = no_deadline;  // it is being resumed
    }
    if (waiter.failure) return tl::unexpected(std::move(*waiter.failure));
  }
  return Pin(*this, entry, *waiter.payload);
}

template <class P, Environment Env>
auto ModelLoader<P, Env>::acquire(std::string_view name, Duration wait) -> Result<Pin> {
  return declare(name).and_then([&](Entry* entry) { return wait_for(*entry, wait); });
}

template <class P, Environment Env>
Result<void> ModelLoader<P, Env>::forgive(Entry& entry) {
  if ((entry.word.load(std::memory_order_acquire) & Entry::ready) != 0) return {};
  auto expected = ask_expected_bytes(entry.name);
  if (!expected) return tl::unexpected(std::move(expected.error()));
  std::lock_guard const lock(mutex_);
  machine_.forgive(entry.id, *expected);
  return {};
}

template <class P, Environment Env>
Result<void> ModelLoader<P, Env>::load(Entry& entry, Duration wait) {
  return forgive(entry).and_then([&] { return wait_for(entry, wait); }).map([](Pin&&) {});
}

template <class P, Environment Env>
Result<void> ModelLoader<P, Env>::load(std::string_view name, Duration wait) {
  return declare(name).and_then([&](Entry* entry) { return load(*entry, wait); });
}

// Loading, on the executor.

template <class P, Environment Env>
void ModelLoader<P, Env>::start_waiting() noexcept {
  for (;;) {
    Entry* entry = nullptr;
    {
      std::lock_guard const lock(mutex_);
      auto const id = machine_.next_start();
      if (id == LoaderMachine::none) return;
      entry = entries_[id].get();
    }
    if (!executor_.post(entry->load_task))
      end_load(*entry, fail(Code::unavailable, Reason::stopping, "the executor is stopping"));
  }
}

template <class P, Environment Env>
Result<Loaded<P>> ModelLoader<P, Env>::call_load(Entry& entry) noexcept {
  try {
    auto loaded = functions_.load(entry.name);
    if (loaded && loaded->payload == nullptr)
      return fail(Code::internal, Reason::model_load, "the load function gave no payload and no error");
    return loaded;
  } catch (std::exception const& exception) {
    return fail(Code::internal, Reason::model_load, "the load function threw: {}", exception.what());
  } catch (...) {
    return fail(Code::internal, Reason::model_load, "the load function threw");
  }
}

template <class P, Environment Env>
Result<void> ModelLoader<P, Env>::call_warm_up(Entry& entry, P& payload) noexcept {
  if (!functions_.warm_up) return {};
  try {
    return functions_.warm_up(entry.name, payload);
  } catch (std::exception const& exception) {
    return fail(Code::internal, Reason::model_load, "the warm-up function threw: {}", exception.what());
  } catch (...) {
    return fail(Code::internal, Reason::model_load, "the warm-up function threw");
  }
}

template <class P, Environment Env>
Result<void> ModelLoader<P, Env>::make_room(Entry& entry, std::uint64_t bytes) {
  std::unique_lock lock(mutex_);
  machine_.learn(entry.id, bytes);
  for (;;) {
    if (machine_.is_late(entry.id))
      return fail(Code::deadline_exceeded, Reason::model_load, "nobody waits for this load any more");
    observe_all();
    auto plan = machine_.measured(entry.id, bytes);
    if (plan.want == LoaderMachine::Want::refuse) return tl::unexpected(std::move(plan.error));
    if (!retire_all(plan.victims)) continue;
    machine_.promise(entry.id, bytes, plan.victims);
    if (!plan.victims.empty()) {
      lock.unlock();
      for (auto const victim : plan.victims) destroy_payload(*entries_[victim]);
      lock.lock();
      for (auto const victim : plan.victims) machine_.freed(victim);
    }
    machine_.adjust(entry.id, bytes);
    lock.unlock();
    start_waiting();
    return {};
  }
}

template <class P, Environment Env>
void ModelLoader<P, Env>::run_load(Entry& entry) noexcept {
  {
    std::unique_lock lock(mutex_);
    if (machine_.is_late(entry.id)) {
      machine_.late_finish(entry.id);
      lock.unlock();
      return start_waiting();
    }
  }
  auto loaded = call_load(entry);
  if (!loaded) return end_load(entry, tl::unexpected(std::move(loaded.error())));
  auto fit = make_room(entry, loaded->bytes).and_then([&] { return call_warm_up(entry, *loaded->payload); });
  if (fit) return end_load(entry, std::move(loaded->payload));
  tell_released(entry, *loaded->payload);
  loaded->payload.reset();
  end_load(entry, tl::unexpected(std::move(fit.error())));
}

/// The one end of every load: publishes the payload, or frees it first and then tells why not.
template <class P, Environment Env>
void ModelLoader<P, Env>::end_load(Entry& entry, Result<std::shared_ptr<P>> outcome) noexcept {
  std::unique_lock lock(mutex_);
  executor_.disarm(entry.deadline);
  Chain chain = nullptr;
  std::optional<Error> error;
  if (machine_.is_late(entry.id)) {
    if (outcome) {
      lock.unlock();
      tell_released(entry, **outcome);
      outcome->reset();
      lock.lock();
    }
    machine_.late_finish(entry.id);
  } else if (!outcome) {
    error = machine_.failed(entry.id, outcome.error(), Env::now(), Env::random());
    chain = take_parked(entry);
  } else {
    TimePoint const now = Env::now();
    entry.payload = std::move(*outcome);
    entry.last_used.store(now.time_since_epoch().count(), std::memory_order_relaxed);
    machine_.publish(entry.id, now);
    chain = take_parked(entry);
    std::uint64_t pins = 0;
    for (Slot* slot = chain; slot != nullptr; slot = slot->next) {
      slot->payload = entry.payload.get();
      slot->wanted = &entry;
      pins += Entry::pin;
    }
    entry.word.fetch_add(Entry::ready + pins, std::memory_order_release);
  }
  lock.unlock();
  resume_all(chain, error ? &*error : nullptr);
  start_waiting();
}

template <class P, Environment Env>
void ModelLoader<P, Env>::on_deadline(Entry& entry) noexcept {
  Chain chain = nullptr;
  Error error;
  {
    std::lock_guard const lock(mutex_);
    if (!machine_.overdue(entry.id, Env::now(), Env::random())) return;
    error = *machine_.failure(entry.id);
    chain = take_parked(entry);
  }
  resume_all(chain, &error);
  start_waiting();
}

// Letting go.

template <class P, Environment Env>
void ModelLoader<P, Env>::tell_released(Entry& entry, P& payload) noexcept {
  if (functions_.released) functions_.released(entry.name, payload);
}

template <class P, Environment Env>
void ModelLoader<P, Env>::destroy_payload(Entry& entry) noexcept {
  tell_released(entry, *entry.payload);
  entry.payload.reset();
}

template <class P, Environment Env>
void ModelLoader<P, Env>::free_payload(Entry& entry) noexcept {
  destroy_payload(entry);
  {
    std::lock_guard const lock(mutex_);
    machine_.freed(entry.id);
  }
  start_waiting();
}

template <class P, Environment Env>
void ModelLoader<P, Env>::post_free(Entry& entry) noexcept {
  if (!executor_.post(entry.free_task)) free_payload(entry);
}

/// Called with the lock held: true when the entry was draining and its last pin is gone; the caller then
/// frees it.
template <class P, Environment Env>
bool ModelLoader<P, Env>::retire_drained(Entry& entry) noexcept {
  if (machine_.state(entry.id) != loading::ModelState::draining) return false;
  if (entry.word.load(std::memory_order_acquire) != 0) return false;
  machine_.retire(entry.id);
  return true;
}

template <class P, Environment Env>
void ModelLoader<P, Env>::finish_drain(Entry& entry) noexcept {
  {
    std::lock_guard const lock(mutex_);
    if (!retire_drained(entry)) return;
  }
  post_free(entry);
}

/// Called with the lock held. Returns the slots that waited for a load given up; sets `free` when the payload
/// can go now.
template <class P, Environment Env>
auto ModelLoader<P, Env>::begin_unload(Entry& entry, bool& free) noexcept -> Chain {
  switch (machine_.unload(entry.id)) {
    case LoaderMachine::Unload::nothing: break;
    case LoaderMachine::Unload::drain:
      entry.word.fetch_and(~Entry::ready, std::memory_order_acq_rel);
      free = retire_drained(entry);
      break;
    case LoaderMachine::Unload::abandon: executor_.disarm(entry.deadline); return take_parked(entry);
  }
  return nullptr;
}

template <class P, Environment Env>
void ModelLoader<P, Env>::unload(Entry& entry) {
  bool free = false;
  Chain chain = nullptr;
  {
    std::lock_guard const lock(mutex_);
    chain = begin_unload(entry, free);
  }
  Error const error{Code::cancelled, Reason::cancelled, entry.name + ": it was unloaded while it loaded", {}};
  resume_all(chain, &error);
  if (free) return free_payload(entry);
  start_waiting();
}

template <class P, Environment Env>
Result<void> ModelLoader<P, Env>::unload(std::string_view name) {
  Entry* entry = nullptr;
  {
    std::lock_guard const lock(mutex_);
    auto const known = by_name_.find(name);
    if (known == by_name_.end())
      return fail(Code::not_found, Reason::model_missing, "{}: no model of that name is known", name);
    entry = known->second;
  }
  unload(*entry);
  return {};
}

template <class P, Environment Env>
void ModelLoader<P, Env>::stop() {
  std::vector<Chain> chains;
  std::vector<Entry*> idle;
  {
    std::lock_guard const lock(mutex_);
    stopping_ = true;
    for (auto const& entry : entries_) {
      bool free = false;
      chains.push_back(begin_unload(*entry, free));
      if (free) idle.push_back(entry.get());
    }
  }
  Error const error{Code::unavailable, Reason::stopping, "the loader is stopping", {}};
  for (Chain const chain : chains) resume_all(chain, &error);
  for (Entry* entry : idle) free_payload(*entry);
}

// Looking.

template <class P, Environment Env>
ModelStatus ModelLoader<P, Env>::status_locked(Entry const& entry) const {
  ModelStatus status{entry.name,
                     machine_.state(entry.id),
                     machine_.bytes(entry.id),
                     static_cast<std::uint32_t>(entry.word.load(std::memory_order_relaxed) / Entry::pin),
                     {}};
  status.failure = machine_.obstacle(entry.id);
  return status;
}

template <class P, Environment Env>
ModelStatus ModelLoader<P, Env>::status(Entry const& entry) const {
  std::lock_guard const lock(mutex_);
  return status_locked(entry);
}

template <class P, Environment Env>
Result<ModelStatus> ModelLoader<P, Env>::status(std::string_view name) const {
  std::lock_guard const lock(mutex_);
  auto const known = by_name_.find(name);
  if (known == by_name_.end())
    return fail(Code::not_found, Reason::model_missing, "{}: no model of that name is known", name);
  return status_locked(*known->second);
}

template <class P, Environment Env>
std::vector<ModelStatus> ModelLoader<P, Env>::list() const {
  std::lock_guard const lock(mutex_);
  std::vector<ModelStatus> all;
  for (auto const& entry : entries_) all.push_back(status_locked(*entry));
  return all;
}

template <class P, Environment Env>
loading::LoaderStatistics ModelLoader<P, Env>::statistics() const {
  std::lock_guard const lock(mutex_);
  return machine_.statistics();
}

}  // namespace athanor::inline v1
