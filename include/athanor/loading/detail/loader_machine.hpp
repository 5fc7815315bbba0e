/// The loader as a pure state machine: events and the time in, decisions out. No thread, lock, clock or
/// payload here; LoaderShell carries the decisions out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <athanor/core/error.hpp>
#include <athanor/core/time.hpp>
#include <athanor/loading/options.hpp>
#include <athanor/loading/policy.hpp>

namespace athanor::inline v1::loading {

/// Not thread-safe: the shell's lock guards it. Models are numbered from 0; the number of one that was
/// removed is given to a later one.
///
/// Invariants: committed() <= budget: what is promised fits. occupied() <= budget: what lies in memory, is
/// being loaded, or is being freed fits too. A model has at most one load in progress.
class LoaderMachine {
 public:
  using Id = std::size_t;

  explicit LoaderMachine(ModelLoaderOptions const& options,
                         ChooseVictims choose_victims = choose_by(LeastRecentlyUsed{}));

  Id add(std::string name, std::uint64_t expected_bytes);
  /// True if nothing of the model is loaded, being loaded or being freed.
  bool is_removable(Id id) const noexcept;
  /// Forgets a removable model.
  void remove(Id id) noexcept;
  /// What the shell sees of a ready model right now; refreshed before want and measured.
  void observe(Id id, bool pinned, TimePoint last_used) noexcept;

  enum class Want : std::uint8_t { ready, join, load, refuse };
  struct Plan {
    Want want = Want::refuse;
    std::vector<Id> victims;  ///< idle models that must be freed first, in the policy's order
    Error error;              ///< of `refuse`
  };
  /// What a call for the model gets now. Decides only; `reserve` carries out a `load`.
  Plan want(Id id, TimePoint now) const;
  /// Evicts the victims (their memory is freed later: `freed`) and reserves memory for the load.
  void reserve(Id id, std::vector<Id> const& victims, TimePoint now);
  void join() noexcept { ++statistics_.joined; }
  void refuse() noexcept { ++statistics_.refused; }

  /// A reserved model that may begin to load now, marked as loading; `none` when there is none.
  static constexpr Id none = static_cast<Id>(-1);
  Id next_start() noexcept;

  /// A load has its payload, which holds `bytes`. Plans what must go when that is more than was reserved:
  /// `load`, or `refuse` when it cannot fit.
  Plan measured(Id id, std::uint64_t bytes) const;
  /// Later loads of the model reserve `bytes`.
  void expect(Id id, std::uint64_t bytes) noexcept { models_[id].expected = bytes; }
  /// Reserves the difference and evicts the victims; once they are freed, `charge_measured` charges it.
  void reserve_growth(Id id, std::uint64_t bytes, std::vector<Id> const& victims);
  /// Charges what was measured; the model is warming from here.
  void charge_measured(Id id, std::uint64_t bytes) noexcept;
  /// True once the load was given up: it ended, or will end, as `late`.
  bool is_late(Id id) const noexcept { return models_[id].late; }
  void mark_ready(Id id, TimePoint now) noexcept;
  /// A load ended without a payload that stays; anything it held has been freed. Returns the error that
  /// callers get.
  Error failed(Id id, Error const& error, TimePoint now, std::uint64_t random);
  void late_finish(Id id) noexcept;
  /// The load deadline passed: true when a load was running or waiting, which then has failed.
  bool overdue(Id id, TimePoint now, std::uint64_t random);

  enum class Unload : std::uint8_t { nothing, drain, abandon };
  /// `drain`: wait for the pins, then `retire`. `abandon`: a load in progress is of no use any more; its
  /// callers fail.
  Unload unload(Id id) noexcept;
  /// A draining model has no pin left: its memory is freed next.
  void retire(Id id) noexcept;
  /// The memory of a model taken out is free.
  void freed(Id id) noexcept;
  /// Forgets a remembered failure, so that the next call loads again. A model that turned out larger than the
  /// budget is expected anew at `expected_bytes`, or at what `add` was told: it may have been replaced.
  void retry_now(Id id, std::optional<std::uint64_t> expected_bytes) noexcept;

  ModelState state(Id id) const noexcept { return models_[id].state; }
  std::uint64_t bytes(Id id) const noexcept { return models_[id].charge; }
  TimePoint deadline(Id id) const noexcept { return models_[id].deadline; }
  std::string const& name(Id id) const noexcept { return models_[id].name; }
  /// Of the last load, while it is remembered; otherwise nullptr.
  Error const* failure(Id id) const noexcept {
    return models_[id].state == ModelState::failed ? &models_[id].failure : nullptr;
  }
  /// Why the next load cannot end well: the last one failed and that is remembered, or the model needs more
  /// than the whole budget.
  std::optional<Error> obstacle(Id id) const;
  std::uint64_t committed() const noexcept { return committed_; }
  std::uint64_t occupied() const noexcept { return occupied_; }
  ModelLoaderStatistics statistics() const noexcept;

 private:
  struct Model {
    std::string name;
    ModelState state = ModelState::unloaded;
    bool late = false;     // a load that was given up still runs and holds `charge`
    bool pinned = false;   // as last observed
    bool freeing = false;  // taken out, not yet freed
    bool vacant = false;   // removed: the number is free
    TimePoint last_used{};
    TimePoint deadline = no_deadline;
    TimePoint retry_at{};
    std::uint64_t declared = 0;
    std::uint64_t expected = 0;  // declared, then measured
    std::uint64_t charge = 0;    // reserved or held
    std::uint64_t growth = 0;    // promised beyond what is held
    std::uint64_t leaving = 0;   // what `freeing` gives back
    std::uint64_t ticket = 0;    // order of reservations
    std::uint32_t failures = 0;
    Error failure{};
  };
  bool find_victims(std::uint64_t needed, std::vector<Id>& victims) const;
  void evict(Id id) noexcept;
  void return_charge(Model& model) noexcept;
  void record_failure(Model& model, Error error, TimePoint now, std::uint64_t random) noexcept;
  Error larger_than_budget(Model const& model) const;
  Error backoff_error(Model const& model, TimePoint now) const;

  ModelLoaderOptions options_;
  ChooseVictims choose_victims_;
  std::uint64_t budget_;
  std::vector<Model> models_;
  std::size_t vacant_ = 0;            // of models_
  std::uint64_t committed_ = 0;       // charges and growths of all states
  std::uint64_t occupied_ = 0;        // charges of begun loads and of payloads, and what is leaving
  std::uint64_t pending_growth_ = 0;  // promised, not yet in occupied_
  std::uint64_t next_ticket_ = 0;
  ModelLoaderStatistics statistics_;
};

}  // namespace athanor::inline v1::loading
