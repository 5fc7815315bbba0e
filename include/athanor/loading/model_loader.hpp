/// Loads large objects within a memory budget; concurrent requests for one name share one load. Payloads can
/// be anything:
///
///     auto indices = athanor::ModelLoader<Index>::create({.budget_bytes = 8ull << 30}, {.load = load_index});
///     auto index = indices->acquire("places@2", 2s);  // pinned while held; others are evicted if necessary
///
/// Loads run on threads of the loader's own, never on a caller's thread. A failed load is remembered and not
/// retried before its back-off ends. Payloads are never freed while they are pinned, and on further threads
/// of the loader's own, unless `unload`, a load that needs the memory, or the loader's end frees them.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include <athanor/core/detail/validated.hpp>
#include <athanor/loading/detail/loader_shell.hpp>
#include <athanor/loading/policy.hpp>

namespace athanor::inline v1 {

/// Thread-safe, except that moving it needs exclusive use; records, slots and pins stay valid across a move.
/// See the head of this file.
template <class P, Environment Env = SystemEnv>
class ModelLoader {
 public:
  using Record = loading::ModelRecord<P, Env>;
  using Slot = loading::Slot<P>;
  using Pin = loading::Pin<P, Env>;

  /// Loads and warms up models on at most `options.load_threads` threads of its own, and frees them on at
  /// most as many others. The threads end when there is nothing to do. Rejects invalid options with
  /// invalid_argument / option. Destroying the loader stops it and waits for loads in progress; no pin may
  /// exist by then. In a child of a fork it waits for nothing. `policy` chooses the models that are unloaded
  /// when a load needs memory.
  template <class L = loading::LeastRecentlyUsed>
    requires(loading::check_loading_policy<L>())
  static Result<ModelLoader> create(ModelLoaderOptions const& options, LoadFunctions<P> functions,
                                    L policy = {}) {
    return checked(options, functions).map([&] {
      return ModelLoader(std::make_unique<Shell>(options, std::move(functions), loading::choose_by(policy)));
    });
  }
  /// The same, for options that are valid by construction. Load deadlines are timers of `timekeeper`, which
  /// must outlive the loader.
  ModelLoader(detail::Validated, ModelLoaderOptions const& options, LoadFunctions<P> functions,
              typename Env::Executor& timekeeper,
              loading::ChooseVictims choose_victims = loading::choose_by(loading::LeastRecentlyUsed{}))
      : shell_(
            std::make_unique<Shell>(options, std::move(functions), std::move(choose_victims), &timekeeper)) {}

  /// Returns the record of a name, and creates it if the name is new. Does not load the model. Fails with
  /// resource_exhausted when `max_models` records exist. A record stays where it is until the loader is
  /// destroyed or the record is forgotten.
  Result<Record*> declare(std::string_view name) { return shell_->declare(name); }
  /// Adds a record. Its name serves error messages only: it need not be unique, and functions that take a
  /// name do not find the record. `context` is passed to the load functions and lives as long as the record.
  /// Reserves `expected_bytes` for the first load. Errors as for `declare`.
  Result<Record*> add(std::string_view name, std::uint64_t expected_bytes,
                      std::shared_ptr<void> context = {}) {
    return shell_->add(name, expected_bytes, std::move(context));
  }
  /// Unloads the model as `unload` does, but never on this thread, and destroys its record and releases its
  /// context as soon as the last pin is gone and any load in progress has ended. After this call the record
  /// must not be used, except that parked slots may be withdrawn and pinned slots unpinned.
  void forget(Record& record) { shell_->forget(record); }

  /// Requests a model without blocking. For a ready model: one atomic addition, no lock, no allocation.
  /// Errors: the remembered failure of the last load, `budget` (can never fit), `memory_full` (everything
  /// that could be evicted is in use), each with its retry_after; `stopping` while draining or after stop.
  template <loading::LoaderClient<P> H>
  Result<loading::PinResult> pin(Slot& slot, Record& record, TimePoint now, H& client) {
    return shell_->pin(slot, record, now, client);
  }
  /// Releases the pin of a pinned slot.
  void unpin(Slot& slot) noexcept { Shell::unpin(slot); }
  /// Withdraws a parked slot: returns true if it was parked, in which case it will not be resumed. The load
  /// continues.
  bool withdraw(Slot& slot) noexcept { return shell_->withdraw(slot); }

  /// Requests a model and blocks until it is loaded, at most for `wait`: then fails with deadline_exceeded,
  /// and the load continues. Must not be called from a function of the loader.
  Result<Pin> acquire(std::string_view name, Duration wait) { return shell_->acquire(name, wait); }
  /// Loads a model now, even when a failure is remembered or it was too large for the budget, and waits for
  /// it. A no-op when it is ready.
  Result<void> load(std::string_view name, Duration wait) { return shell_->load(name, wait); }
  Result<void> load(Record& record, Duration wait) { return shell_->load(record, wait); }
  /// Frees a model: at once and on this thread if it is not pinned, so that its memory is free when this
  /// returns; else after the last pin; until then new requests for it are rejected. A load in progress is
  /// abandoned; until it has ended, requests are rejected with a retry_after. A later acquire loads the model
  /// again. Fails with not_found if the name is unknown.
  Result<void> unload(std::string_view name) { return shell_->unload(name); }
  void unload(Record& record) { shell_->unload(record); }

  /// The status of one model, of all models, and the statistics of the loader. Fails with not_found for an
  /// unknown name.
  Result<ModelStatus> status(std::string_view name) const { return shell_->status(name); }
  ModelStatus status(Record const& record) const { return shell_->status(record); }
  std::vector<ModelStatus> list() const { return shell_->list(); }
  ModelLoaderStatistics statistics() const { return shell_->statistics(); }

  /// Fails parked slots, rejects new requests, and frees every model as soon as it is not pinned.
  void stop() { shell_->stop(); }
  /// After `stop`: waits for the load threads. One that is still inside a function of the loader at
  /// `deadline` is abandoned. Returns the number of abandoned threads. Called once.
  std::size_t join(TimePoint deadline) noexcept { return shell_->join(deadline); }
  /// Every load thread that starts after this call shares ownership of `owner` until the thread ends.
  void keep_alive_with(std::weak_ptr<void> owner) noexcept { shell_->keep_alive_with(std::move(owner)); }

 private:
  using Shell = loading::LoaderShell<P, Env>;

  explicit ModelLoader(std::unique_ptr<Shell> shell) noexcept : shell_(std::move(shell)) {}
  static Result<void> checked(ModelLoaderOptions const& options, LoadFunctions<P> const& functions) {
    return validate(options, functions.load != nullptr);
  }

  std::unique_ptr<Shell> shell_;
};

}  // namespace athanor::inline v1
