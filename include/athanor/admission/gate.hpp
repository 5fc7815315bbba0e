/// Admission: rejects at once what exceeds a limit, with a reason and a retry_after. Never waits for capacity
/// and starts no thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <athanor/admission/options.hpp>
#include <athanor/core/detail/validated.hpp>
#include <athanor/core/env.hpp>
#include <athanor/core/error.hpp>
#include <athanor/core/metrics.hpp>
#include <athanor/core/time.hpp>

namespace athanor::inline v1 {

namespace admission {

/// The share of the gate's limits that one call holds; used as a base class of the call, or as a local
/// variable. Zero before `admit_caller` and after `release_quota`.
struct Slot {
  std::int64_t held_items = 0;
  std::int64_t held_bytes = 0;
  std::uint32_t cell = 0;  ///< index of the gate's cell to which the credit is returned
};

/// Shortest and longest `retry_after` that a rejection names.
inline constexpr Duration shortest_retry = std::chrono::milliseconds(1);
inline constexpr Duration longest_retry = std::chrono::seconds(30);

/// Rejects work that cannot end in time: `resource_exhausted` / `expected_wait` when `predicted_completion`
/// is after `latest_deadline`, with the excess, clamped to `shortest_retry` and `longest_retry`, as
/// `retry_after`; `deadline_exceeded` when the deadline has passed already.
Result<void> admit_work(TimePoint predicted_completion, TimePoint latest_deadline, TimePoint now);

/// How long `excess` units take to drain at `rate_per_second`, lengthened at random by up to half, so that
/// rejected callers do not retry simultaneously, and clamped to the shortest and the longest retry. An
/// unknown rate (0) counts as 100 ms.
Duration retry_estimate(std::int64_t excess, double rate_per_second, std::uint64_t random) noexcept;

}  // namespace admission

/// What is held now, and counts since construction. Fields are read one by one and may be mutually
/// inconsistent.
struct GateStatistics {
  std::int64_t held_items = 0;
  std::int64_t held_bytes = 0;
  std::uint64_t admitted = 0;
  std::uint64_t refused_queue_full = 0;
  std::uint64_t refused_memory_full = 0;
  std::uint64_t refused_too_large = 0;
};

/// Bounds what all callers together hold: a request is rejected if and only if it would exceed a limit
/// together with what is held at that moment. Thread-safe. A rejected call holds nothing.
template <Environment Env = SystemEnv>
class Gate {
 public:
  /// Rejects with invalid_argument / option what `admission::validate` rejects.
  static Result<Gate> create(GateOptions const& options = {});
  /// The same in place, for options that are valid by construction.
  Gate(detail::Validated, GateOptions const& options) noexcept;
  /// Only for a gate that has not been used yet: what it holds and its counts are not moved.
  Gate(Gate&& unused) noexcept : Gate(detail::Validated{}, unused.options_) {}
  Gate& operator=(Gate&&) = delete;

  /// Counts `items` (at least 1) and `bytes` (at least 0) as held by `slot`, which holds nothing yet, until
  /// `release_quota`. Rejects with resource_exhausted: `queue_full` or `memory_full` with `retry_after`;
  /// `too_large`, without one, for a request that can never fit; and with invalid_argument / value_range for
  /// negative sizes, which would raise the limits for other callers.
  Result<void> admit_caller(admission::Slot& slot, std::int64_t items, std::int64_t bytes, TimePoint now);
  /// Counts `bytes`, at least 0, as held by `slot`, too, which holds something already. Rejects with
  /// resource_exhausted: `memory_full` with `retry_after`; `too_large`, without one, if all that it holds can
  /// never fit.
  Result<void> admit_more(admission::Slot& slot, std::int64_t bytes, TimePoint now);
  /// The same as admit_caller without an error, for callers that poll: returns false when the request does
  /// not fit now. Rejections are not counted. Precondition: neither size is negative.
  bool try_admit(admission::Slot& slot, std::int64_t items, std::int64_t bytes) noexcept;
  /// Transfers `items` and `bytes` of what `from` holds to `to`. Both slots must belong to the same gate;
  /// nothing is released.
  static void move(admission::Slot& from, admission::Slot& to, std::int64_t items,
                   std::int64_t bytes) noexcept {
    from.held_items -= items;
    from.held_bytes -= bytes;
    to.held_items += items;
    to.held_bytes += bytes;
  }
  /// Releases what `slot` holds; a no-op when it holds nothing. Must be called on the gate that admitted the
  /// slot.
  void release_quota(admission::Slot& slot) noexcept;

  /// Thread-safe.
  GateStatistics statistics() const noexcept;
  GateOptions const& options() const noexcept { return options_; }

 private:
  // Capacity is handed out in two ways. Threads have cells with a credit each, a sixteenth of the limits,
  // from which calls are admitted, and to which they give back, by one operation on that cell's line: below
  // half of the limits two threads with cells of their own write no common word. What a cell does not cover
  // is counted in held_, under the mutex. held_ is at any moment what all slots hold and all cells have for
  // credit. Before a call is rejected, the cells are closed and their credit is taken back: then everything
  // is counted in held_, exactly, until a quarter of the limits or less is held.
  static constexpr std::size_t cell_count = 8;
  struct alignas(64) Cell {
    typename Env::template Atomic<std::uint64_t> credit{0};
  };
  struct Amount {
    std::int64_t items = 0;
    std::int64_t bytes = 0;
  };
  struct Refusal {
    Reason reason = Reason::none;  ///< none: admitted
    std::int64_t held = 0;
    double drained_per_second = 0;
  };
  using Lock = detail::Lock<typename Env::Mutex>;

  // A credit as one word: a bit for a closed cell, 20 bits of items, 40 of bytes.
  static constexpr std::uint64_t closed = std::uint64_t{1} << 63U;
  static constexpr std::int64_t most_items = (std::int64_t{1} << 20U) - 1;
  static constexpr std::int64_t most_bytes = (std::int64_t{1} << 40U) - 1;
  static std::uint64_t packed(Amount amount) noexcept {
    return static_cast<std::uint64_t>(amount.items) << 40U | static_cast<std::uint64_t>(amount.bytes);
  }
  static Amount unpacked(std::uint64_t credit) noexcept {
    return {static_cast<std::int64_t>(credit >> 40U) & most_items,
            static_cast<std::int64_t>(credit) & most_bytes};
  }

  static bool take_credit(Cell& cell, Amount amount) noexcept;
  bool give_credit(Cell& cell, Amount amount) noexcept;
  bool take_from_cell(admission::Slot& slot, std::int64_t items, std::int64_t bytes) noexcept;
  void note_admitted(admission::Slot& slot, std::int64_t items, std::int64_t bytes) noexcept;
  /// Admits from held_. A `now` of nothing counts no rejection.
  Refusal take_shared(Cell& cell, Amount const& amount, std::optional<TimePoint> const& now) noexcept;
  Reason excess(Amount amount) const noexcept ATH_REQUIRES(mutex_);
  void refill(Cell& cell, Amount taken) noexcept ATH_REQUIRES(mutex_);
  void close_cells() noexcept ATH_REQUIRES(mutex_);
  void open_cells() noexcept ATH_REQUIRES(mutex_);
  void watch_drain(TimePoint now) noexcept ATH_REQUIRES(mutex_);
  tl::unexpected<Error> refuse_full(Refusal const& refusal, Amount wanted);
  tl::unexpected<Error> refuse_large(std::int64_t limit, char const* unit, std::int64_t got);

  GateOptions options_;
  Amount share_;  ///< the credit of a full cell; zero: the limits are too low to be divided
  std::array<Cell, cell_count> cells_{};
  mutable typename Env::Mutex mutex_;
  Amount held_ ATH_GUARDED_BY(mutex_);
  bool open_ ATH_GUARDED_BY(mutex_) = false;  ///< the cells may have credit
  // How fast what is held is given back while the cells are closed, for retry_after.
  std::optional<TimePoint> window_start_ ATH_GUARDED_BY(mutex_);
  Amount given_back_ ATH_GUARDED_BY(mutex_);  ///< since then
  double items_per_second_ ATH_GUARDED_BY(mutex_) = 0;
  double bytes_per_second_ ATH_GUARDED_BY(mutex_) = 0;
  enum Count : std::size_t { admitted, queue_full, memory_full, too_large, count_count };
  Counters<count_count> counts_;
};

}  // namespace athanor::inline v1

#include <athanor/admission/detail/gate.ipp>

namespace athanor::inline v1 {

extern template class Gate<SystemEnv>;

}  // namespace athanor::inline v1
