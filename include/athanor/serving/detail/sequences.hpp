/// The sequences of one model: which slot of state is whose, which call may use it, and whether the state is
/// still what the calls of its sequence have left there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <athanor/core/detail/lock.hpp>
#include <athanor/core/error.hpp>
#include <athanor/core/time.hpp>

namespace athanor::inline v1::serving {

/// An open sequence: its slot, and a number that no other sequence of the model has. 0: none.
struct SequenceId {
  std::uint64_t number = 0;
  std::uint32_t slot = 0;
};

/// What a call of a sequence holds of it; number 0: it is a call of none. `row` and `fresh` are set by
/// `enter`.
struct SequenceTicket {
  std::uint64_t number = 0;
  std::uint32_t slot = 0;
  std::uint32_t row = 0;  ///< of carried state, the one that holds the present value
  /// No call has stepped it since it was opened or reset: it begins with the initial state.
  bool fresh = true;
};

/// Decides about the sequences of one model, without time or threads. One call of a sequence at a time has a
/// ticket, from `begin` to `settle`; whoever presents another one is too late, and changes nothing.
///
/// A call that was answered with a value has stepped the state once. One that was answered with an error has
/// not, or the state is lost: then every call fails with aborted / sequence_lost, until the sequence is
/// reset.
class SequencePlaces {
 public:
  /// `slots`: sequences that may be open at once. After `idle` without a call a sequence loses its state, and
  /// its slot may be given to another one. `held`: the state is stepped where it lies, so that a failed run
  /// leaves nothing to go on from; otherwise the next value replaces the present one only in `settle`.
  SequencePlaces(std::size_t slots, Duration idle, bool held) : places_(slots), idle_(idle), held_(held) {}

  bool held() const noexcept { return held_; }
  /// resource_exhausted / sequences_full, with the time until the next one is idle for too long, when there
  /// is no slot.
  Result<SequenceId> open(TimePoint now) noexcept;
  /// Back to the initial state. failed_precondition / sequence_busy while a call has the ticket; aborted /
  /// sequence_lost when the sequence has no slot any more.
  Result<void> reset(SequenceId id, TimePoint now) noexcept;
  /// Gives the slot back, once no call has the ticket. failed_precondition / sequence_lost when it has none
  /// any more.
  Result<void> close(SequenceId id) noexcept;

  /// The ticket for one call. Errors as `reset`, and aborted / sequence_lost when the state is lost.
  Result<SequenceTicket> begin(SequenceId id, TimePoint now) noexcept;
  /// The call holds the model, which is the `load`-th that was loaded. aborted / sequence_lost when the state
  /// was in an earlier one; cancelled for a ticket that has been settled.
  Result<void> enter(SequenceTicket& ticket, std::uint64_t load) noexcept;
  /// A batch with the call is about to run, perhaps not for the first time. False: the call was given up, and
  /// must not be in the batch.
  bool take(SequenceTicket const& ticket) noexcept;
  /// The work of the call has ended. True when it failed and the state is lost with it.
  bool end_work(SequenceTicket const& ticket, bool failed) noexcept;
  /// The caller has been answered, with a value or an error. Other calls may follow.
  void settle(SequenceTicket const& ticket, bool answered, TimePoint now) noexcept;

  /// A sequence that the engine steps: its place and its ticket, from here to `end_steps`. Errors as `open`.
  Result<SequenceTicket> begin_steps(TimePoint now) noexcept;
  /// A step of it ended with a value, and another one follows. False, and nothing has happened, when the call
  /// was given up.
  bool step(SequenceTicket& ticket) noexcept;
  /// The caller has been answered: the place is free.
  void end_steps(SequenceTicket const& ticket) noexcept;

  /// Sequences that are open.
  std::size_t open_count() const noexcept;

 private:
  enum class Loss : std::uint8_t { none, idle, unloaded, failed, abandoned };
  struct Place {
    std::uint64_t sequence = 0;  // its number; 0: none
    std::uint64_t call = 0;      // number of the ticket that is out; 0: none
    std::uint64_t load = 0;      // the model that holds the state; 0: none, it is fresh
    std::uint64_t entered = 0;   // the model that the call holds
    TimePoint used{};            // when it was opened or reset, or its last call was answered
    std::uint32_t row = 0;
    bool running = false;  // a batch has read the state for the call
    Loss loss = Loss::none;
  };
  Place* find(SequenceId id) noexcept;
  Place* find(SequenceTicket const& ticket) noexcept;
  bool is_idle(Place const& place, TimePoint now) const noexcept {
    return place.call == 0 && after(place.used, idle_) <= now;
  }
  Error lost(Loss loss) const noexcept;

  std::vector<Place> places_;
  Duration idle_;
  bool held_;
  std::uint64_t last_number_ = 0;  // of sequences and of tickets
};

/// The same for many threads. A model without state has none.
template <class Env>
class Sequences {
 public:
  explicit Sequences(SequencePlaces places) : held_(places.held()), places_(std::move(places)) {}

  bool held() const noexcept { return held_; }
  /// Calls `function` with the places, while no other thread has them.
  template <class Function>
  auto with(Function&& function) noexcept {
    detail::Lock const lock(mutex_);
    return function(places_);
  }

 private:
  bool const held_;
  typename Env::Mutex mutex_;
  SequencePlaces places_ ATH_GUARDED_BY(mutex_);
};

}  // namespace athanor::inline v1::serving
