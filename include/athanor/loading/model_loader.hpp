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
#include <athanor/loading/detail/loader_machine.hpp>
#include <athanor/loading/options.hpp>

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

/// How a request for a pin ended.
enum class PinResult : std::uint8_t {
  ready,   ///< the slot holds a pin: `unpin` it
  parked,  ///< the slot will be resumed, or can be withdrawn
};

template <class P, class Env>
struct ModelRecord;

/// What a caller keeps while it waits for a model or holds it: a base of the call, or a plain local. Not to
/// be moved or destroyed while parked or pinned.
template <class P>
struct Slot {
  P* payload = nullptr;    ///< the model, while the slot holds a pin
  void* wanted = nullptr;  ///< the record asked for, while parked or pinned
  Slot* next = nullptr;
  Slot* previous = nullptr;
  bool parked = false;  ///< guarded by the loader's lock
  void* client = nullptr;
  void (*resume)(void* client, Slot& slot, Error const* error) noexcept = nullptr;
};

/// Takes parked slots back. `resume` is called exactly once for every slot that was parked and not
/// withdrawn, without a lock: `error == nullptr` means that the slot holds a pin. It runs on the thread that
/// loaded; for a failure also on that of a passed load deadline, of `unload` or of `stop`; and inside
/// `pin` only when the executor takes no work any more. It may pin and unpin.
template <class H, class P>
concept LoaderClient = requires(H& client, Slot<P>& slot, Error const* error) {
  { client.resume(slot, error) } noexcept;
};

}  // namespace loading

/// Thread-safe. See the head of this file.
template <class P, Environment Env = SystemEnv>
class ModelLoader {
 public:
  using Record = loading::ModelRecord<P, Env>;
  using Slot = loading::Slot<P>;

  /// A model held: it stays loaded until this is destroyed. Outlived by its loader.
  class Pin {
   public:
    Pin(Pin&& other) noexcept
        : loader_(std::exchange(other.loader_, nullptr)), record_(other.record_), payload_(other.payload_) {}
    Pin& operator=(Pin&& other) noexcept {
      std::swap(loader_, other.loader_);
      std::swap(record_, other.record_);
      std::swap(payload_, other.payload_);
      return *this;
    }
    ~Pin() {
      if (loader_ != nullptr) loader_->drop_pin(*record_);
    }
    P& operator*() const noexcept { return *payload_; }
    P* operator->() const noexcept { return payload_; }

   private:
    friend class ModelLoader;
    Pin(ModelLoader& loader, Record& record, P& payload) noexcept
        : loader_(&loader), record_(&record), payload_(&payload) {}
    ModelLoader* loader_;
    Record* record_;
    P* payload_;
  };

  /// With an executor of its own, of `options.load_threads` threads.
  ModelLoader(ModelLoaderOptions const& options, LoadFunctions<P> functions);
  /// The same with a load function alone.
  template <class F>
    requires std::is_invocable_r_v<Result<Loaded<P>>, F&, std::string_view>
  ModelLoader(ModelLoaderOptions const& options, F function)
      : ModelLoader(options, LoadFunctions<P>{.load = std::move(function)}) {}
  /// On the host's executor, which must be stopped, or have nothing of this loader left to run, before the
  /// loader goes.
  ModelLoader(ModelLoaderOptions const& options, LoadFunctions<P> functions,
              typename Env::Executor& executor);
  /// Stops; waits for loads in progress when the executor is its own. No pin may be left.
  ~ModelLoader();
  ModelLoader(ModelLoader const&) = delete;
  ModelLoader& operator=(ModelLoader const&) = delete;

  /// The record of a name, made when it is new: stable for the life of the loader. Loads nothing, and changes
  /// nothing for a known name. resource_exhausted when `max_models` names are known.
  Result<Record*> declare(std::string_view name);
  Result<Record*> declare(std::string_view name, std::uint64_t expected_bytes);

  /// Asks for a model without blocking. Ready: one atomic addition, no lock, no allocation. Errors: the
  /// remembered failure of the last load, `budget` (can never fit), `memory_full` (everything that could go
  /// is in use), each with its retry_after; `stopping` while draining or after stop.
  template <loading::LoaderClient<P> H>
  Result<loading::PinResult> pin(Slot& slot, Record& record, TimePoint now, H& client);
  /// Returns the pin of a pinned slot.
  void unpin(Slot& slot) noexcept;
  /// Takes a parked slot back: true when it was parked, and then it will not be resumed. The load goes on.
  bool withdraw(Slot& slot) noexcept;

  /// Asks for a model and waits for it, at most `wait`: then deadline_exceeded, and the load goes on. Not
  /// from a thread of the executor.
  Result<Pin> acquire(std::string_view name, Duration wait);
  /// Loads a model now, even when a failure is remembered or it was too large for the budget, and waits for
  /// it. Does nothing when it is ready.
  Result<void> load(std::string_view name, Duration wait);
  Result<void> load(Record& record, Duration wait);
  /// Lets a model go: at once when nobody holds it, else after the last pin; until then it is refused to new
  /// callers. A load in progress is given up; until it has ended the model is refused, with a retry_after. A
  /// later acquire loads it anew. not_found when the name is unknown.
  Result<void> unload(std::string_view name);
  void unload(Record& record);

  Result<ModelStatus> status(std::string_view name) const;
  ModelStatus status(Record const& record) const;
  std::vector<ModelStatus> list() const;
  ModelLoaderStatistics statistics() const;

  /// Fails everything parked, refuses everything new, and lets every model go as soon as it is not held.
  void stop();

 private:
  friend Record;
  using PinResult = loading::PinResult;
  using LoaderMachine = loading::LoaderMachine;
  using Lock = detail::Lock<typename Env::Mutex>;
  struct Waiter;
  using Chain = Slot*;  // singly linked by next; owned by whoever took it off an record

  bool try_pin(Slot& slot, Record& record, TimePoint now) noexcept;
  void drop_pin(Record& record) noexcept;
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

}  // namespace athanor::inline v1

#include <athanor/loading/detail/model_loader.ipp>
