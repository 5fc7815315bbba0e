/// The circuit breaker as a state machine without clock, lock or thread: it takes events and the time, and
/// returns decisions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include <athanor/breaking/options.hpp>
#include <athanor/core/error.hpp>
#include <athanor/core/time.hpp>

namespace athanor::inline v1::breaking {

/// Closed lets everything through, open nothing, half-open a few probes.
enum class State : std::uint8_t { closed, open, half_open };
/// `closed`, `open` or `half_open`.
std::string_view to_string(State state) noexcept;

/// The outcome of an execution.
enum class Outcome : std::uint8_t {
  success,
  failure,
  ignored,  ///< the caller's fault, a cancel, a rejection: says nothing about what is guarded, never counts
};

/// How an Error counts. By its reason: failures of a backend, of its device or memory, of a member, and
/// running past the deadline are failures. Without a reason, or with `file`, by its code: internal,
/// unavailable, data_loss, unknown, aborted and deadline_exceeded are failures. Everything else is caused by
/// a caller or a queue, and is ignored.
Outcome outcome_of(Error const& error) noexcept;

/// Permission to execute once, valid in one generation: settling or abandoning it in a later generation has
/// no effect. A plain value.
struct Lease {
  std::uint32_t generation = 0;
  std::uint32_t ticket = 0;  ///< tells this probe from an earlier one in the same place
  std::int16_t probe = -1;   ///< place among the probes; -1 outside half-open
  bool taken = false;        ///< false: no lease; settling or abandoning it does nothing
};

/// A call's place in the breaker; a base of the call.
struct Slot {
  Lease lease;
};

/// Whether an execution may begin, and if not, when to try again.
struct Decision {
  bool admitted = false;
  Lease lease;  ///< if admitted
  State state = State::closed;
  Duration retry_after{0};
};

/// Counts since construction, and the present state.
struct BreakerStatistics {
  State state = State::closed;
  std::uint32_t generation = 0;
  std::uint64_t successes = 0;
  std::uint64_t failures = 0;
  std::uint64_t ignored = 0;
  std::uint64_t refused = 0;
  std::uint64_t stale = 0;  ///< outcomes of another generation: no effect
  std::uint64_t opened = 0;
  std::uint64_t expired_probes = 0;
  std::uint32_t probes_out = 0;    ///< probes reserved or begun now
  std::uint32_t window_calls = 0;  ///< executions in the window now
  std::uint32_t window_failures = 0;
};

/// Closed, open, half-open. Not thread-safe: the caller serialises calls and passes monotonic time. A batch
/// takes one lease and settles it once: a failed batch of 32 counts once.
///
/// - closed: every execution is admitted; outcomes fill the count window, and a failure may open it.
/// - open: executions are rejected until the open time is over; the next one makes it half-open.
/// - half-open: `probes` executions at a time. `successes_to_close` successes close it;
///   a failure or an expired lease reopens it for longer.
///   An abandoned or ignored probe frees its place and counts nothing.
///
/// The lease of a probe covers its execution, not the wait before it: a caller that must first wait, for a
/// load or in a queue, reserves a place, which does not expire and is freed with `abandon` if nothing is
/// executed.
class BreakerMachine {
 public:
  /// `options` must be valid (`validate`); `seed` seeds the jitter of the open time. Throws std::bad_alloc.
  BreakerMachine(CircuitBreakerOptions const& options, std::uint64_t seed);

  /// Admits an execution that begins now, or rejects it.
  Decision acquire(TimePoint now) noexcept;
  /// Admits an execution that begins later, or rejects it.
  Decision reserve(TimePoint now) noexcept;
  /// Begins the execution now, with the lease that was reserved for it. If the state has changed since,
  /// behaves as `acquire`: with another lease, or rejected.
  Decision begin(Lease const& reserved, TimePoint now) noexcept;
  /// How the leased execution ended.
  void settle(Lease const& lease, Outcome outcome, TimePoint now) noexcept;
  /// Settles `count` executions of the present generation with success, if it is closed; otherwise they are
  /// stale.
  void settle_successes(std::uint64_t count) noexcept;
  /// The execution did not take place: frees a probe's place and counts nothing.
  void abandon(Lease const& lease, TimePoint now) noexcept;

  /// Refuses everything until reset or force_closed.
  void force_open() noexcept;
  /// Admits everything, and does not open, until reset or force_open.
  void force_closed() noexcept;
  /// Closed, with an empty window and the first open time.
  void reset() noexcept;

  /// As of the last event; the passing of time alone is noticed by acquire and reserve.
  State state() const noexcept { return state_; }
  std::uint32_t generation() const noexcept { return generation_; }
  CircuitBreakerOptions const& options() const noexcept { return options_; }
  BreakerStatistics statistics() const noexcept;

 private:
  struct Probe {
    bool taken = false;
    std::uint32_t ticket = 0;
    TimePoint expires = no_deadline;  ///< never while it is only reserved
  };

  void advance(TimePoint now) noexcept;
  Decision refuse(TimePoint now) noexcept;
  Probe* probe_of(Lease const& lease) noexcept;
  void enter(State state) noexcept;
  void open(TimePoint now) noexcept;
  void record_failure(TimePoint now) noexcept;
  void record_successes(std::uint64_t count) noexcept;
  void push(bool failed) noexcept;
  void note_healthy(std::uint64_t executions) noexcept;
  Duration open_time() noexcept;

  CircuitBreakerOptions options_;
  State state_ = State::closed;
  bool forced_ = false;
  std::uint32_t generation_ = 0;
  std::uint32_t tickets_ = 0;
  std::uint32_t reopened_ = 0;  ///< exponent of the open time
  TimePoint open_until_ = no_deadline;
  std::vector<Probe> probes_;
  std::uint32_t probe_successes_ = 0;
  std::vector<bool> failed_;  ///< ring: the last `window` executions
  std::uint32_t next_ = 0;
  std::uint32_t calls_ = 0;
  std::uint32_t failures_ = 0;
  std::uint32_t in_a_row_ = 0;
  std::uint64_t since_healthy_ = 0;  ///< executions since the exponent last fell
  std::uint64_t random_;
  BreakerStatistics counts_;
};

}  // namespace athanor::inline v1::breaking
