/// Admission: what is refused, is refused at once, with a reason and a time to come back. Holds nobody up and
/// starts no thread.
#pragma once

#include <cstdint>

#include <athanor/admission/options.hpp>
#include <athanor/core/detail/validated.hpp>
#include <athanor/core/env.hpp>
#include <athanor/core/error.hpp>
#include <athanor/core/metrics.hpp>
#include <athanor/core/time.hpp>

namespace athanor::inline v1 {

namespace admission {

/// What one call holds of the gate's limits: a base of the call, or a plain local. Zero before `admit_caller`
/// and after `release_quota`.
struct Slot {
  std::int64_t held_items = 0;
  std::int64_t held_bytes = 0;
};

/// Shortest and longest `retry_after` that a refusal names.
inline constexpr Duration shortest_retry = std::chrono::milliseconds(1);
inline constexpr Duration longest_retry = std::chrono::seconds(30);

/// Refuses work that cannot end in time: `resource_exhausted` / `expected_wait` when `predicted_completion`
/// is after `latest_deadline`, with the excess as `retry_after`; `deadline_exceeded` when the deadline has
/// passed already.
Result<void> admit_work(TimePoint predicted_completion, TimePoint latest_deadline, TimePoint now);

/// When `excess` units will have left at `rate_per_second`, between the shortest and the longest retry,
/// stretched by up to half at random so that the refused do not come back together. An unknown rate (0)
/// counts as 100 ms.
Duration retry_estimate(std::int64_t excess, double rate_per_second, std::uint64_t random) noexcept;

}  // namespace admission

/// What is held now, and counts since construction; fields may be of different moments.
struct GateStatistics {
  std::int64_t held_items = 0;
  std::int64_t held_bytes = 0;
  std::uint64_t admitted = 0;
  std::uint64_t refused_queue_full = 0;
  std::uint64_t refused_memory_full = 0;
  std::uint64_t refused_too_large = 0;
};

/// Bounds what all callers together hold. Lock-free; any thread. A refused call holds nothing.
template <Environment Env = SystemEnv>
class Gate {
 public:
  /// Refuses with invalid_argument / option what `admission::validate` refuses.
  static Result<Gate> create(GateOptions const& options = {});
  /// The same in place, for options that are valid by construction.
  Gate(detail::Validated, GateOptions const& options) noexcept : options_(options) {}
  /// Only for a gate that nobody has used yet: what it holds and has counted is not taken along.
  Gate(Gate&& unused) noexcept : options_(unused.options_) {}
  Gate& operator=(Gate&&) = delete;

  /// Counts `items` (at least 1) and `bytes` (at least 0) as held by `slot`, which holds nothing yet, until
  /// `release_quota`. Refuses with resource_exhausted: `queue_full` or `memory_full` with `retry_after`; `too_large`,
  /// without one, for a request that can never fit; and with invalid_argument / value_range what is less than
  /// nothing, which would let others in above the limits.
  Result<void> admit_caller(admission::Slot& slot, std::int64_t items, std::int64_t bytes, TimePoint now);
  /// The same without an error, for who asks again and again: false when it does not fit now. Refusals are not
  /// counted.
  bool try_admit(admission::Slot& slot, std::int64_t items, std::int64_t bytes) noexcept;
  /// Makes `to` hold so much of what `from` holds. Both are of one gate; nothing is given back.
  static void move(admission::Slot& from, admission::Slot& to, std::int64_t items,
                   std::int64_t bytes) noexcept {
    from.held_items -= items;
    from.held_bytes -= bytes;
    to.held_items += items;
    to.held_bytes += bytes;
  }
  /// Gives back what `slot` holds, to the gate that admitted it; nothing happens when it holds nothing.
  void release_quota(admission::Slot& slot) noexcept;

  /// Thread-safe.
  GateStatistics statistics() const noexcept;
  GateOptions const& options() const noexcept { return options_; }

 private:
  /// How fast one resource is given back, measured over windows that the admitting callers close.
  struct Drain {
    typename Env::template Atomic<std::int64_t> given_back{0};
    typename Env::template Atomic<std::int64_t> at_window_start{0};
    typename Env::template Atomic<double> per_second{0.0};
    void close_window(double seconds) noexcept;
  };
  using Level = typename Env::template Atomic<std::int64_t>;
  static bool take(Level& level, std::int64_t amount, std::int64_t limit) noexcept;
  void watch_drain(TimePoint now) noexcept;
  tl::unexpected<Error> refuse_full(Reason reason, std::int64_t held, std::int64_t wanted);

  GateOptions options_;
  alignas(64) Level items_{0};
  Level bytes_{0};
  Drain item_drain_;
  Drain byte_drain_;
  // Nanoseconds of the clock; 0 before the first call.
  typename Env::template Atomic<std::int64_t> window_start_{0};
  Counter admitted_;
  Counter queue_full_;
  Counter memory_full_;
  Counter too_large_;
};

extern template class Gate<SystemEnv>;

}  // namespace athanor::inline v1

#include <athanor/admission/detail/gate.ipp>
