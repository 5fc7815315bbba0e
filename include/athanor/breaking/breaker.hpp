/// CircuitBreaker: rejects calls to something that keeps failing, and probes it to find out when it works
/// again. Usable alone:
///
///     auto breaker = athanor::CircuitBreaker<>::create({.failure_rate = 0.5, .open_for = 1s});
///     if (!breaker) return breaker.error();
///     if (auto permit = breaker->acquire(); !permit) return permit.error();   // unavailable, with retry_after
///     else permit->record(call_remote());
#pragma once

#include <cstdint>
#include <utility>

#include <athanor/breaking/machine.hpp>
#include <athanor/core/detail/validated.hpp>
#include <athanor/core/env.hpp>
#include <athanor/core/metrics.hpp>

namespace athanor::inline v1 {

namespace breaking {
/// The error of a rejected execution: unavailable (Reason::breaker_open) with retry_after.
Error refusal_error(Decision const& decision);
}  // namespace breaking

/// A BreakerMachine under a lock. Thread-safe. While it is closed, `acquire` is one atomic load and recording
/// a success is one addition to a per-thread counter.
template <Environment Env = SystemEnv>
class CircuitBreaker {
 public:
  using Outcome = breaking::Outcome;
  using Lease = breaking::Lease;
  using State = breaking::State;

  class Permit;

  /// Rejects with invalid_argument / option what `breaking::validate` rejects. Throws std::bad_alloc.
  static Result<CircuitBreaker> create(CircuitBreakerOptions const& options = {}) {
    if (auto valid = breaking::validate(options); !valid) return tl::unexpected(std::move(valid.error()));
    return CircuitBreaker(detail::Validated{}, options);
  }
  /// The same in place, for options that are valid by construction.
  CircuitBreaker(detail::Validated, CircuitBreakerOptions const& options) : machine_(options, Env::random()) {
    mirror();
  }
  /// Needs exclusive use of `other`, and no Permit of it may exist; its leases are valid for the new breaker.
  CircuitBreaker(CircuitBreaker&& other) noexcept : machine_(other.take_machine()) { mirror(); }
  CircuitBreaker& operator=(CircuitBreaker&&) = delete;

  /// A lease to execute once, now, or unavailable (Reason::breaker_open) with retry_after. Every lease must
  /// be settled with `record`, or abandoned.
  Result<Lease> acquire(TimePoint now);
  /// The same for an execution that begins later. While half-open, it reserves the place of a probe; the
  /// lease expires only after `begin`.
  Result<Lease> reserve(TimePoint now);
  /// Begins the reserved execution and returns the lease to settle. Refused if the breaker has opened since;
  /// nothing is then left to settle.
  Result<Lease> begin(Lease const& reserved, TimePoint now);
  /// Records how the leased execution ended. While half-open only the first `record` or `abandon` of a lease
  /// counts; while closed every one does, so call exactly one of them, once.
  void record(Lease const& lease, Outcome outcome, TimePoint now) noexcept;
  /// Gives up the lease of an execution that did not take place.
  void abandon(Lease const& lease, TimePoint now) noexcept;

  /// Like `acquire(now)`, but reads the clock, and returns a guard that abandons an unsettled lease.
  Result<Permit> acquire();

  /// Refuses everything until reset or force_closed.
  void force_open() noexcept;
  /// Admits everything, and does not open, until reset or force_open.
  void force_closed() noexcept;
  /// Closed, with an empty window and the first open time.
  void reset() noexcept;

  /// As of the last event: the end of the open time is noticed only by the next acquire or reserve.
  State state() const noexcept { return static_cast<State>(word_.load(std::memory_order_acquire) & 3U); }
  /// Counts changes of state; leases of an earlier generation have no effect.
  std::uint32_t generation() const noexcept {
    return static_cast<std::uint32_t>(word_.load(std::memory_order_acquire) >> 2U);
  }
  breaking::BreakerStatistics statistics() const noexcept;

 private:
  using Lock = detail::Lock<typename Env::Mutex>;

  /// Passes successes that were counted beside the machine on to it; before every event of the machine.
  void fold() const noexcept ATH_REQUIRES(mutex_);
  /// Copies generation and state to word_; after every event of the machine.
  void mirror() noexcept ATH_REQUIRES(mutex_);
  breaking::BreakerMachine take_machine() noexcept;
  template <class Event>
  Result<Lease> decide(Event event);
  static bool closed(std::uint64_t word) noexcept {
    return (word & 3U) == static_cast<std::uint64_t>(State::closed);
  }

  // While the breaker is closed, a success only increments successes_, without the lock. A thread that takes
  // the lock, for a failure or to read, first folds the new successes into the window, so that a failure sees
  // every success before it. Successes counted while the breaker opens are folded afterwards, as stale.
  typename Env::template Atomic<std::uint64_t> word_{0};  // generation << 2 | state, of the machine
  Counter successes_;
  mutable typename Env::Mutex mutex_;
  mutable breaking::BreakerMachine machine_ ATH_GUARDED_BY(mutex_);    // reading folds
  mutable std::uint64_t folded_successes_ ATH_GUARDED_BY(mutex_) = 0;  // of successes_
};

/// A lease that is abandoned when it goes unsettled. Must not outlive its breaker.
template <Environment Env>
class [[nodiscard]] CircuitBreaker<Env>::Permit {
 public:
  Permit(CircuitBreaker& breaker, Lease const& lease) noexcept : breaker_(&breaker), lease_(lease) {}
  Permit(Permit&& other) noexcept : breaker_(other.breaker_), lease_(std::exchange(other.lease_, Lease{})) {}
  Permit& operator=(Permit&& other) noexcept {
    std::swap(breaker_, other.breaker_);
    std::swap(lease_, other.lease_);
    return *this;
  }
  ~Permit() {
    if (lease_.taken) breaker_->abandon(lease_, Env::now());
  }

  /// Reports how the permitted call ended; a permit counts once.
  void record(Outcome outcome) noexcept {
    breaker_->record(std::exchange(lease_, Lease{}), outcome, Env::now());
  }
  /// A value is a success; an error counts as `outcome_of` says.
  template <class T>
  void record(Result<T> const& result) noexcept {
    record(result.has_value() ? Outcome::success : breaking::outcome_of(result.error()));
  }

 private:
  CircuitBreaker* breaker_;
  Lease lease_;
};

}  // namespace athanor::inline v1

#include <athanor/breaking/detail/breaker.ipp>

namespace athanor::inline v1 {

extern template class CircuitBreaker<SystemEnv>;

}  // namespace athanor::inline v1
