/// Loads things that are large and slow to load, once however many ask, inside a budget of bytes. Payloads
/// can be anything:
///
///     athanor::ModelLoader<Index> indices{{.budget_bytes = 8ull << 30}, load_index};
///     auto index = indices.acquire("places@2", 2s);   // pinned while held; others are evicted if they must be
///
/// Loads run on an executor, never on a thread that asked without blocking. A failed load is remembered and
/// not retried before its back-off ends. Payloads are never freed while somebody holds a pin.
#pragma once

#include <concepts>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include <athanor/core/env.hpp>
#include <athanor/core/error.hpp>
#include <athanor/core/time.hpp>
#include <athanor/loading/loader_machine.hpp>

namespace athanor::inline v1 {

template <class P, Environment Env>
class ModelLoader;

/// What a load gives: the payload and the bytes that it holds, measured. The loader is its only owner: who
/// keeps a copy of the pointer keeps memory that the loader counts as free.
template <class P>
struct Loaded {
  std::shared_ptr<P> payload;
  std::uint64_t bytes = 0;
};

/// What a loader calls: copyable functions. All run without a lock held, on the executor unless said
/// otherwise, for several models at once. What they throw becomes an `internal` error, but `released` must
/// not throw.
template <class P>
struct LoadFunctions {
  /// Loads the model of that name. Nothing stays behind on failure. Required.
  std::function<Result<Loaded<P>>(std::string_view name)> load;
  /// Makes a loaded payload fit for use; a failure fails the load. Optional.
  std::function<Result<void>(std::string_view name, P& payload)> warm_up{};
  /// Bytes to reserve before the first load, asked on the thread that first names the model; later loads
  /// reserve what was last measured. Asked again by `load`, on its thread, in case the model was replaced by
  /// one that fits the budget. Optional: nothing is reserved without it.
  std::function<std::uint64_t(std::string_view name)> expected_bytes{};
  /// Told after the last pin is gone and before the payload is destroyed, on the thread that does it: the
  /// executor's, or that of `unload`, `stop` or the destructor. Optional.
  std::function<void(std::string_view name, P& payload)> released{};
};

/// The size of the file, and a fifth more for what loading adds to it; 0 when it cannot be read. For
/// `expected_bytes`.
std::uint64_t expected_bytes_of_file(std::string const& path) noexcept;

namespace loading {

/// What asking for a model came to.
enum class Acquire : std::uint8_t {
  ready,   ///< the slot holds a pin: `release` it
  parked,  ///< the slot will be resumed, or can be withdrawn
};

template <class P, class Env>
struct Entry;

/// What a caller keeps while it waits for a model or holds it: a base of the call, or a plain local. Not to
/// be moved or destroyed while parked or pinned.
template <class P>
struct Slot {
  P* payload = nullptr;    ///< the model, while the slot holds a pin
  void* wanted = nullptr;  ///< the entry asked for, while parked or pinned
  Slot* next = nullptr;
  Slot* previous = nullptr;
  bool parked = false;  ///< guarded by the loader's lock
  void* host = nullptr;
  void (*resume)(void* host, Slot& slot, Error const* error) noexcept = nullptr;
};

/// Who takes parked slots back. `resume` is called exactly once for every slot that was parked and not
/// withdrawn, without a lock: `error == nullptr` means that the slot holds a pin. It runs on the thread that
/// loaded; for a failure also on that of a passed load deadline, of `unload` or of `stop`; and inside
/// `acquire` only when the executor takes no work any more. It may acquire and release.
template <class H, class P>
concept Host = requires(H& host, Slot<P>& slot, Error const* error) {
  { host.resume(slot, error) } noexcept;
};

}  // namespace loading

/// One model as it is now.
struct ModelStatus {
  std::string name;
  loading::ModelState state = loading::ModelState::unloaded;
  std::uint64_t bytes = 0;  ///< held or reserved
  std::uint32_t pins = 0;
  std::optional<Error> failure;  ///< of the last load while it is remembered, or why none can be begun
};

/// Thread-safe. See the head of this file.
template <class P, Environment Env = SystemEnv>
class ModelLoader {
 public:
  using Entry = loading::Entry<P, Env>;
  using Slot = loading::Slot<P>;

  /// A model held: it stays loaded until this is destroyed. Outlived by its loader.
  class Pin {
   public:
    Pin(Pin&& other) noexcept
        : loader_(std::exchange(other.loader_, nullptr)), entry_(other.entry_), payload_(other.payload_) {}
    Pin& operator=(Pin&& other) noexcept {
      std::swap(loader_, other.loader_);
      std::swap(entry_, other.entry_);
      std::swap(payload_, other.payload_);
      return *this;
    }
    ~Pin() {
      if (loader_ != nullptr) loader_->unpin(*entry_);
    }
    P& operator*() const noexcept { return *payload_; }
    P* operator->() const noexcept { return payload_; }

   private:
    friend class ModelLoader;
    Pin(ModelLoader& loader, Entry& entry, P& payload) noexcept
        : loader_(&loader), entry_(&entry), payload_(&payload) {}
    ModelLoader* loader_;
    Entry* entry_;
    P* payload_;
  };

  /// With an executor of its own, of `options.load_threads` threads.
  ModelLoader(loading::LoaderOptions const& options, LoadFunctions<P> functions);
  /// The same with a load function alone.
  template <class F>
    requires std::is_invocable_r_v<Result<Loaded<P>>, F&, std::string_view>
  ModelLoader(loading::LoaderOptions const& options, F function)
      : ModelLoader(options, LoadFunctions<P>{.load = std::move(function)}) {}
  /// On the host's executor, which must be stopped, or have nothing of this loader left to run, before the
  /// loader goes.
  ModelLoader(loading::LoaderOptions const& options, LoadFunctions<P> functions,
              typename Env::Executor& executor);
  /// Stops; waits for loads in progress when the executor is its own. No pin may be left.
  ~ModelLoader();
  ModelLoader(ModelLoader const&) = delete;
  ModelLoader& operator=(ModelLoader const&) = delete;

  /// The entry of a name, made when it is new: stable for the life of the loader. Loads nothing, and changes
  /// nothing for a known name. resource_exhausted when `max_models` names are known.
  Result<Entry*> declare(std::string_view name);
  Result<Entry*> declare(std::string_view name, std::uint64_t expected_bytes);

  /// Asks for a model without blocking. Ready: one atomic addition, no lock, no allocation. Errors: the
  /// remembered failure of the last load, `budget` (can never fit), `memory_full` (everything that could go
  /// is in use), each with its retry_after; `stopping` while draining or after stop.
  template <loading::Host<P> H>
  Result<loading::Acquire> acquire(Slot& slot, Entry& entry, TimePoint now, H& host);
  /// Lets go of a pinned slot.
  void release(Slot& slot) noexcept;
  /// Takes a parked slot back: true when it was parked, and then it will not be resumed. The load goes on.
  bool withdraw(Slot& slot) noexcept;

  /// Asks for a model and waits for it, at most `wait`: then deadline_exceeded, and the load goes on. Not
  /// from a thread of the executor.
  Result<Pin> acquire(std::string_view name, Duration wait);
  /// Loads a model now, even when a failure is remembered or it was too large for the budget, and waits for
  /// it. Does nothing when it is ready.
  Result<void> load(std::string_view name, Duration wait);
  Result<void> load(Entry& entry, Duration wait);
  /// Lets a model go: at once when nobody holds it, else after the last pin; until then it is refused to new
  /// callers. A load in progress is given up; until it has ended the model is refused, with a retry_after. A
  /// later acquire loads it anew. not_found when the name is unknown.
  Result<void> unload(std::string_view name);
  void unload(Entry& entry);

  Result<ModelStatus> status(std::string_view name) const;
  ModelStatus status(Entry const& entry) const;
  std::vector<ModelStatus> list() const;
  loading::LoaderStatistics statistics() const;

  /// Fails everything parked, refuses everything new, and lets every model go as soon as it is not held.
  void stop();

 private:
  friend Entry;
  using Acquire = loading::Acquire;
  using LoaderMachine = loading::LoaderMachine;
  struct Waiter;
  using Chain = Slot*;  // singly linked by next; owned by whoever took it off an entry

  bool try_pin(Slot& slot, Entry& entry, TimePoint now) noexcept;
  void unpin(Entry& entry) noexcept;
  Result<std::optional<std::uint64_t>> ask_expected_bytes(std::string_view name) const;
  Result<Acquire> acquire_slowly(Slot& slot, Entry& entry, TimePoint now);
  Result<void> forgive(Entry& entry);
  Result<Pin> wait_for(Entry& entry, Duration wait);
  void park(Slot& slot, Entry& entry) noexcept;
  Chain take_parked(Entry& entry) noexcept;
  static void resume_all(Chain chain, Error const* error) noexcept;

  void observe_all() noexcept;
  bool retire_all(std::vector<std::size_t> const& victims) noexcept;

  void start_waiting() noexcept;
  void run_load(Entry& entry) noexcept;
  Result<Loaded<P>> call_load(Entry& entry) noexcept;
  Result<void> call_warm_up(Entry& entry, P& payload) noexcept;
  Result<void> make_room(Entry& entry, std::uint64_t bytes);
  void end_load(Entry& entry, Result<std::shared_ptr<P>> outcome) noexcept;
  void on_deadline(Entry& entry) noexcept;

  void tell_released(Entry& entry, P& payload) noexcept;
  void destroy_payload(Entry& entry) noexcept;
  void free_payload(Entry& entry) noexcept;
  void post_free(Entry& entry) noexcept;
  bool retire_drained(Entry& entry) noexcept;
  void finish_drain(Entry& entry) noexcept;
  Chain begin_unload(Entry& entry, bool& free) noexcept;
  ModelStatus status_locked(Entry const& entry) const;

  loading::LoaderOptions options_;
  LoadFunctions<P> functions_;
  std::optional<typename Env::Executor> own_executor_;
  typename Env::Executor& executor_;

  mutable typename Env::Mutex mutex_;
  // Guarded by mutex_.
  LoaderMachine machine_;
  std::deque<std::unique_ptr<Entry>> entries_;  // entries_[id]
  std::unordered_map<std::string_view, Entry*> by_name_;
  bool stopping_ = false;
};

}  // namespace athanor::inline v1

#include <athanor/loading/detail/model_loader.ipp>
