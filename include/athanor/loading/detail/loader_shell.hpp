/// ModelLoader's shell: the lock, the executor and the payloads around a LoaderMachine. ModelLoader holds
/// one; its functions are described there.
#pragma once

#include <memory>
#include <new>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <athanor/core/detail/leave_to_idle.hpp>
#include <athanor/core/detail/park.hpp>
#include <athanor/core/env.hpp>
#include <athanor/core/error.hpp>
#include <athanor/core/time.hpp>
#include <athanor/loading/detail/loader_machine.hpp>
#include <athanor/loading/detail/model_record.hpp>
#include <athanor/loading/load_functions.hpp>
#include <athanor/loading/options.hpp>
#include <athanor/loading/policy.hpp>
#include <athanor/loading/slot.hpp>

namespace athanor::inline v1::loading {

/// How long a load thread, or one that frees, lingers without work before it ends.
inline constexpr Duration load_thread_lingers = std::chrono::seconds(2);

/// To tell so many callers takes longer than to wake a thread.
inline constexpr std::size_t callers_worth_a_thread = 16;

template <class P, Environment Env>
class LoaderShell {
 public:
  using Record = ModelRecord<P, Env>;
  using Slot = loading::Slot<P>;
  using Pin = loading::Pin<P, Env>;

  /// For options that `validate` accepts. Loads run on threads of its own, and models are freed on others of
  /// its own, so that neither waits for the other. Load deadlines are kept by `timekeeper`, or by the load
  /// threads if it is null.
  LoaderShell(ModelLoaderOptions const& options, LoadFunctions<P> functions, ChooseVictims choose_victims,
              typename Env::Executor* timekeeper = nullptr);
  ~LoaderShell();
  LoaderShell(LoaderShell const&) = delete;
  LoaderShell& operator=(LoaderShell const&) = delete;

  Result<Record*> declare(std::string_view name);
  Result<Record*> add(std::string_view name, std::uint64_t expected_bytes, std::shared_ptr<void> context);
  template <LoaderClient<P> H>
  Result<PinResult> pin(Slot& slot, Record& record, TimePoint now, H& client);
  static void unpin(Slot& slot) noexcept;
  bool withdraw(Slot& slot) noexcept;
  Result<Pin> acquire(std::string_view name, Duration wait);
  Result<void> load(std::string_view name, Duration wait);
  Result<void> load(Record& record, Duration wait);
  Result<void> unload(std::string_view name);
  void unload(Record& record);
  void forget(Record& record);
  Result<ModelStatus> status(std::string_view name) const;
  ModelStatus status(Record const& record) const;
  std::vector<ModelStatus> list() const;
  ModelLoaderStatistics statistics() const;
  void stop();
  std::size_t join(TimePoint deadline) noexcept {
    std::size_t const loading = load_threads_.stop(deadline);  // first: a load may have something freed
    return loading + unload_threads_.stop(deadline);
  }
  void keep_alive_with(std::weak_ptr<void> owner) noexcept {
    load_threads_.keep_alive_with(owner);
    unload_threads_.keep_alive_with(std::move(owner));
  }

 private:
  friend Pin;
  friend Record;
  using Lock = detail::Lock<typename Env::Mutex>;
  struct Waiter;
  struct LateCallers;
  using Chain = Slot*;  // singly linked by next; owned by the thread that took it off a record

  static bool try_pin(Slot& slot, Record& record, TimePoint now) noexcept;
  static void drop_pin(Record& record) noexcept;
  Result<std::optional<std::uint64_t>> ask_expected_bytes(LoadTarget const& target) const;
  Result<Record*> make_record(std::string_view name, std::uint64_t expected_bytes,
                              std::shared_ptr<void> context) ATH_REQUIRES(mutex_);
  /// The record, taken out for destruction without the lock, if it was forgotten and nothing of it is left.
  std::unique_ptr<Record> take_if_over(Record& record) noexcept ATH_REQUIRES(mutex_);
  Result<PinResult> pin_or_park(Slot& slot, Record& record, TimePoint now) noexcept;
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
  Result<void> evict_for(Record& record, std::uint64_t bytes) noexcept;
  void end_load(Record& record, Result<std::shared_ptr<P>> outcome) noexcept;
  void on_deadline(Record& record) noexcept;
  void tell_late(LateCallers late) noexcept;

  void call_released(Record& record, P& payload) noexcept;
  void free_evicted(Record& record) noexcept;
  void free_payload(Record& record) noexcept;
  void post_free(Record& record) noexcept;
  bool retire_drained(Record& record) noexcept ATH_REQUIRES(mutex_);
  void finish_drain(std::size_t id, std::uint64_t serial) noexcept;
  bool arm_deadline(Record& record) noexcept ATH_REQUIRES(mutex_);
  void disarm_deadline(Record& record) noexcept ATH_REQUIRES(mutex_);
  Chain begin_unload(Record& record, bool& free) noexcept ATH_REQUIRES(mutex_);
  void let_go(Record& record, Error const& error, bool forget);
  Result<Record*> find_locked(std::string_view name) const ATH_REQUIRES(mutex_);
  ModelStatus status_locked(Record const& record) const ATH_REQUIRES(mutex_);

  std::uint64_t const forks_ = Env::forks();
  ModelLoaderOptions options_;
  LoadFunctions<P> functions_;
  typename Env::Executor load_threads_;
  typename Env::Executor unload_threads_;
  typename Env::Executor& timekeeper_;

  mutable typename Env::Mutex mutex_;
  LoaderMachine machine_ ATH_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<Record>> records_ ATH_GUARDED_BY(mutex_);  // records_[id]; null when gone
  std::size_t known_ ATH_GUARDED_BY(mutex_) = 0;                         // of records_
  std::uint64_t next_serial_ ATH_GUARDED_BY(mutex_) = 0;
  std::unordered_map<std::string_view, Record*> by_name_ ATH_GUARDED_BY(mutex_);  // the declared ones
  bool stopping_ ATH_GUARDED_BY(mutex_) = false;
};

}  // namespace athanor::inline v1::loading

#include <athanor/loading/detail/loader_loads.ipp>
#include <athanor/loading/detail/loader_shell.ipp>
