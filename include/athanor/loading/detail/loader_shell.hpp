/// ModelLoader's shell: the lock, the executor and the payloads around a LoaderMachine. ModelLoader holds one;
/// its functions are described there.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <athanor/core/detail/park.hpp>
#include <athanor/core/env.hpp>
#include <athanor/core/error.hpp>
#include <athanor/core/time.hpp>
#include <athanor/loading/detail/loader_machine.hpp>
#include <athanor/loading/load_functions.hpp>
#include <athanor/loading/options.hpp>
#include <athanor/loading/slot.hpp>

namespace athanor::inline v1::loading {

/// A pinned model: it stays loaded until this is destroyed. Must not outlive its loader.
template <class P, Environment Env>
class Pin {
 public:
  Pin(ModelRecord<P, Env>& record, P& payload) noexcept : record_(&record), payload_(&payload) {}
  Pin(Pin&& other) noexcept : record_(std::exchange(other.record_, nullptr)), payload_(other.payload_) {}
  Pin& operator=(Pin&& other) noexcept {
    std::swap(record_, other.record_);
    std::swap(payload_, other.payload_);
    return *this;
  }
  ~Pin() {
    if (record_ != nullptr) record_->loader.drop_pin(*record_);
  }
  P& operator*() const noexcept { return *payload_; }
  P* operator->() const noexcept { return payload_; }

 private:
  ModelRecord<P, Env>* record_;
  P* payload_;
};

template <class P, Environment Env>
class LoaderShell {
 public:
  using Record = ModelRecord<P, Env>;
  using Slot = loading::Slot<P>;
  using Pin = loading::Pin<P, Env>;

  /// For options that `validate` accepts. With an executor of its own, or on the host's.
  LoaderShell(ModelLoaderOptions const& options, LoadFunctions<P> functions);
  LoaderShell(ModelLoaderOptions const& options, LoadFunctions<P> functions,
              typename Env::Executor& executor);
  ~LoaderShell();
  LoaderShell(LoaderShell const&) = delete;
  LoaderShell& operator=(LoaderShell const&) = delete;

  Result<Record*> declare(std::string_view name);
  Result<Record*> declare(std::string_view name, std::uint64_t expected_bytes);
  template <LoaderClient<P> H>
  Result<PinResult> pin(Slot& slot, Record& record, TimePoint now, H& client);
  static void unpin(Slot& slot) noexcept;
  bool withdraw(Slot& slot) noexcept;
  Result<Pin> acquire(std::string_view name, Duration wait);
  Result<void> load(std::string_view name, Duration wait);
  Result<void> load(Record& record, Duration wait);
  Result<void> unload(std::string_view name);
  void unload(Record& record);
  Result<ModelStatus> status(std::string_view name) const;
  ModelStatus status(Record const& record) const;
  std::vector<ModelStatus> list() const;
  ModelLoaderStatistics statistics() const;
  void stop();

 private:
  friend Pin;
  friend Record;
  using Lock = detail::Lock<typename Env::Mutex>;
  struct Waiter;
  using Chain = Slot*;  // singly linked by next; owned by whoever took it off an record

  static bool try_pin(Slot& slot, Record& record, TimePoint now) noexcept;
  static void drop_pin(Record& record) noexcept;
  Result<std::optional<std::uint64_t>> ask_expected_bytes(std::string_view name) const;
  Result<PinResult> pin_or_park(Slot& slot, Record& record, TimePoint now);
  Result<void> retry_now(Record& record);
  Result<Pin> wait_for(Record& record, Duration wait);
  void park(Slot& slot, Record& record) noexcept ATH_REQUIRES(mutex_);
  Chain take_parked(Record& record) noexcept ATH_REQUIRES(mutex_);
  static void resume_all(Chain chain, Error const* error) noexcept;

  std::vector<Record*> records_of(std::vector<std::size_t> const& ids) const ATH_REQUIRES(mutex_);
  void observe_all() noexcept ATH_REQUIRES(mutex_);
  bool close_to_pins(std::vector<std::size_t> const& victims) noexcept ATH_REQUIRES(mutex_);

  void start_reserved() noexcept;
  void run_load(Record& record) noexcept;
  Result<Loaded<P>> call_load(Record& record) noexcept;
  Result<void> call_warm_up(Record& record, P& payload) noexcept;
  Result<void> evict_for(Record& record, std::uint64_t bytes);
  void end_load(Record& record, Result<std::shared_ptr<P>> outcome) noexcept;
  void on_deadline(Record& record) noexcept;

  void call_released(Record& record, P& payload) noexcept;
  void destroy_payload(Record& record) noexcept;
  void free_payload(Record& record) noexcept;
  void post_free(Record& record) noexcept;
  bool retire_drained(Record& record) noexcept ATH_REQUIRES(mutex_);
  void finish_drain(Record& record) noexcept;
  Chain begin_unload(Record& record, bool& free) noexcept ATH_REQUIRES(mutex_);
  ModelStatus status_locked(Record const& record) const ATH_REQUIRES(mutex_);

  ModelLoaderOptions options_;
  LoadFunctions<P> functions_;
  std::optional<typename Env::Executor> own_executor_;
  typename Env::Executor& executor_;

  mutable typename Env::Mutex mutex_;
  LoaderMachine machine_ ATH_GUARDED_BY(mutex_);
  std::deque<std::unique_ptr<Record>> records_ ATH_GUARDED_BY(mutex_);  // records_[id]
  std::unordered_map<std::string_view, Record*> by_name_ ATH_GUARDED_BY(mutex_);
  bool stopping_ ATH_GUARDED_BY(mutex_) = false;
};

}  // namespace athanor::inline v1::loading

#include <athanor/loading/detail/loader_shell.ipp>
