#pragma once

#include <athanor/core/detail/noexcept_error.hpp>
#include <athanor/loading/detail/loader_shell.hpp>

namespace athanor::inline v1::loading {

template <class P, Environment Env>
struct LoaderShell<P, Env>::Waiter : loading::Slot<P> {
  typename Env::Word word{};
  std::optional<Error> failure{};

  struct Client {
    void resume(loading::Slot<P>& slot, Error const* error) noexcept {
      auto& waiter = static_cast<Waiter&>(slot);
      if (error != nullptr) detail::copy_error(waiter.failure.emplace(), *error);
      waiter.word.store(1);
      waiter.word.wake_all();
    }
  };
};

template <class P, Environment Env>
LoaderShell<P, Env>::LoaderShell(ModelLoaderOptions const& options, LoadFunctions<P> functions,
                                 ChooseVictims choose_victims, typename Env::Executor* timekeeper)
    : options_(options),
      functions_(std::move(functions)),
      load_threads_(options.load_threads, load_thread_lingers),
      unload_threads_(options.load_threads, load_thread_lingers),
      timekeeper_(timekeeper != nullptr ? *timekeeper : load_threads_),
      machine_(options, std::move(choose_victims)) {}

template <class P, Environment Env>
LoaderShell<P, Env>::~LoaderShell() {
  if (Env::forks() != forks_) return;  // a thread of the parent may hold the lock for ever
  stop();
  join(no_deadline);
}

template <class P, Environment Env>
auto LoaderShell<P, Env>::declare(std::string_view name) -> Result<Record*> {
  {
    Lock const lock(mutex_);
    if (auto const known = by_name_.find(name); known != by_name_.end()) return known->second;
  }
  return ask_expected_bytes({name}).and_then([&](auto bytes) -> Result<Record*> {
    Lock const lock(mutex_);
    if (auto const known = by_name_.find(name); known != by_name_.end()) return known->second;
    auto record = make_record(name, bytes.value_or(0), nullptr);
    if (record) by_name_.emplace((*record)->name, *record);
    return record;
  });
}

template <class P, Environment Env>
auto LoaderShell<P, Env>::add(std::string_view name, std::uint64_t expected_bytes,
                              std::shared_ptr<void> context) -> Result<Record*> {
  Lock const lock(mutex_);
  return make_record(name, expected_bytes, std::move(context));
}

template <class P, Environment Env>
Result<std::optional<std::uint64_t>> LoaderShell<P, Env>::ask_expected_bytes(LoadTarget const& target) const {
  if (!functions_.expected_bytes) return std::nullopt;
  try {
    return functions_.expected_bytes(target);
  } catch (...) {
    return tl::unexpected(detail::caught(Code::internal, Reason::model_load,
                                         detail::format("{}: expected_bytes threw", target.name)));
  }
}

template <class P, Environment Env>
auto LoaderShell<P, Env>::make_record(std::string_view name, std::uint64_t expected_bytes,
                                      std::shared_ptr<void> context) -> Result<Record*> {
  if (known_ >= options_.max_models)
    return fail(Code::resource_exhausted, Reason::option,
                "{}: expected at most {} models (max_models), got one more", name, known_);
  std::size_t const id = machine_.add(std::string(name), expected_bytes);
  if (id >= records_.size()) records_.resize(id + 1);
  records_[id] = std::make_unique<Record>(*this, name, id, next_serial_++, std::move(context));
  ++known_;
  return records_[id].get();
}

template <class P, Environment Env>
auto LoaderShell<P, Env>::take_if_over(Record& record) noexcept -> std::unique_ptr<Record> {
  bool const over = record.forgotten && record.armed == 0 && machine_.is_removable(record.id);
  if (!over) return nullptr;
  machine_.remove(record.id);
  --known_;
  return std::move(records_[record.id]);
}

// Pins.

template <class P, Environment Env>
bool LoaderShell<P, Env>::try_pin(Slot& slot, Record& record, TimePoint now) noexcept {
  // Closed concurrently, it may have hidden the last release: the slow path, which every caller takes next,
  // looks again (finish_drain).
  if (!record.pins.take(now)) return false;
  slot.payload = record.payload.get();
  slot.wanted = &record;
  return true;
}

template <class P, Environment Env>
void LoaderShell<P, Env>::drop_pin(Record& record) noexcept {
  // Another thread's look at the drained pins may end the record before this one gets to it.
  LoaderShell& loader = record.loader;
  std::size_t const id = record.id;
  std::uint64_t const serial = record.serial;
  if (!record.pins.release()) loader.finish_drain(id, serial);
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
    if (record != nullptr) machine_.observe(record->id, record->pins.held() != 0, record->pins.last_used());
}

/// Closes all victims to new pins, or none when one of them has just been pinned.
template <class P, Environment Env>
bool LoaderShell<P, Env>::close_to_pins(std::vector<std::size_t> const& victims) noexcept {
  for (std::size_t i = 0; i < victims.size(); ++i) {
    records_[victims[i]]->pins.close();
    if (records_[victims[i]]->pins.held() == 0) continue;
    for (std::size_t back = 0; back <= i; ++back) records_[victims[back]]->pins.reopen();
    return false;
  }
  return true;
}

template <class P, Environment Env>
Result<loading::PinResult> LoaderShell<P, Env>::pin_or_park(Slot& slot, Record& record,
                                                            TimePoint now) noexcept try {
  finish_drain(record.id, record.serial);
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
    auto const victims = records_of(plan.victims);  // from here on nothing is allocated
    if (plan.want != LoaderMachine::Want::load || !close_to_pins(plan.victims)) continue;
    machine_.reserve(record.id, plan.victims, now);
    bool const timed = arm_deadline(record);
    if (timed) {
      park(slot, record);
    } else {
      machine_.unload(record.id);
    }
    lock.unlock();
    for (Record* victim : victims) post_free(*victim);
    start_reserved();
    if (timed) return PinResult::parked;
    return fail(Code::resource_exhausted, Reason::none,
                "{}: no thread can be started to keep the load deadline", record.name);
  }
} catch (...) {
  return tl::unexpected(detail::caught(Code::resource_exhausted, Reason::out_of_memory, record.name));
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
      return fail(Code::deadline_exceeded, Reason::deadline_waiting, "{}: not loaded within {:.3f} ms",
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
  if (record.pins.is_open()) return {};
  auto expected = ask_expected_bytes(record.target());
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

// Looking.

template <class P, Environment Env>
auto LoaderShell<P, Env>::find_locked(std::string_view name) const -> Result<Record*> {
  if (auto const known = by_name_.find(name); known != by_name_.end()) return known->second;
  return fail(Code::not_found, Reason::model_missing,
              "{}: unknown model: expected a name that was declared or acquired before", name);
}

template <class P, Environment Env>
ModelStatus LoaderShell<P, Env>::status_locked(Record const& record) const {
  ModelStatus status{record.name,
                     machine_.state(record.id),
                     machine_.bytes(record.id),
                     static_cast<std::uint32_t>(record.pins.held()),
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
  auto const known = find_locked(name);
  if (!known) return tl::unexpected(known.error());
  return status_locked(**known);
}

template <class P, Environment Env>
std::vector<ModelStatus> LoaderShell<P, Env>::list() const {
  Lock const lock(mutex_);
  std::vector<ModelStatus> all;
  for (auto const& record : records_)
    if (record != nullptr) all.push_back(status_locked(*record));
  return all;
}

template <class P, Environment Env>
ModelLoaderStatistics LoaderShell<P, Env>::statistics() const {
  Lock const lock(mutex_);
  return machine_.statistics();
}

}  // namespace athanor::inline v1::loading
