/// Metric primitives with lock-free recording, and their export in the Prometheus text format.
///
/// Label values come from closed sets (model names, versions, reasons, states), never from a request.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <athanor/core/detail/recorded.hpp>
#include <athanor/core/detail/thread_number.hpp>

namespace athanor::inline v1 {

namespace detail {

/// Adds to what no other thread writes, without a locked instruction.
inline void add_as_only_writer(std::atomic<std::uint64_t>& to, std::uint64_t count) noexcept {
  record_write(&to);
  to.store(to.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
}

/// Adds to what several threads write.
inline void add_beside_others(std::atomic<std::uint64_t>& to, std::uint64_t count) noexcept {
  record_write(&to);
  to.fetch_add(count, std::memory_order_relaxed);
}

}  // namespace detail

/// `size` monotonic counters. Thread-safe. Those of one thread lie together, and threads rarely share a cache
/// line: the first ones have cells of their own, to which they add without a locked instruction; others
/// share.
template <std::size_t size>
class Counters {
 public:
  void add(std::size_t which, std::uint64_t count = 1) noexcept {
    std::size_t const thread = detail::thread_number();
    if (thread < detail::own_numbers) return detail::add_as_only_writer(cells_[thread].values[which], count);
    detail::add_beside_others(cells_[detail::own_numbers + thread % shared_cells].values[which], count);
  }
  /// At least what was added before the call; exact if no add() runs concurrently.
  std::uint64_t value(std::size_t which) const noexcept {
    std::uint64_t sum = 0;
    for (auto const& cell : cells_) sum += cell.values[which].load(std::memory_order_relaxed);
    return sum;
  }

 private:
  static constexpr std::size_t shared_cells = 8;
  struct alignas(64) Cell {
    std::array<std::atomic<std::uint64_t>, size> values{};
  };
  std::array<Cell, detail::own_numbers + shared_cells> cells_{};
};

/// A monotonic counter: one of Counters.
class Counter {
 public:
  void add(std::uint64_t count = 1) noexcept { counters_.add(0, count); }
  std::uint64_t value() const noexcept { return counters_.value(0); }

 private:
  Counters<1> counters_;
};

/// A histogram of whole numbers in log-linear buckets, 16 per octave: quantiles are at most 6.25 % too high.
/// Values above 2^44 are counted in the last bucket. Thread-safe. The first threads that record have buckets
/// of their own, which their first record allocates; others, and those that find no memory, share some.
class Histogram {
 public:
  static constexpr std::size_t sub_buckets = 16;
  static constexpr int octaves = 44;
  static constexpr std::size_t bucket_count = (octaves - 3) * sub_buckets;

  Histogram() = default;
  ~Histogram();
  Histogram(Histogram const&) = delete;
  Histogram& operator=(Histogram const&) = delete;

  /// `value` in the unit of the histogram: nanoseconds for times, plain numbers for counts.
  void record(std::uint64_t value) noexcept {
    std::size_t const bucket = bucket_of(value);
    if (Buckets* const own = own_buckets()) {
      detail::add_as_only_writer(own->counts[bucket], 1);
      detail::add_as_only_writer(own->sum, value);
    } else {
      detail::add_beside_others(shared_.counts[bucket], 1);
      detail::add_beside_others(shared_.sum, value);
    }
  }
  /// How many values were recorded, and their sum. At least what was recorded before the call; exact if
  /// nothing is recorded concurrently.
  std::uint64_t count() const noexcept;
  std::uint64_t sum() const noexcept;
  /// The exact number of recorded values up to `2^exponent`. Precondition: `exponent` is 0 to 43.
  std::uint64_t count_up_to_power(int exponent) const noexcept;
  /// The upper edge of the bucket that holds the quantile `fraction` (0 to 1); 0 if nothing was recorded.
  std::uint64_t quantile(double fraction) const noexcept;

  /// A bucket holds the values in (lower edge, upper edge]. Powers of two are upper edges, so that a classic
  /// bucket such as `le="8"` is exact.
  static constexpr std::size_t bucket_of(std::uint64_t value) noexcept {
    std::uint64_t const below = value == 0 ? 0 : value - 1;
    if (below < sub_buckets) return static_cast<std::size_t>(below);
    int const octave = static_cast<int>(std::bit_width(below)) - 1;
    if (octave >= octaves) return bucket_count - 1;
    return static_cast<std::size_t>(octave - 3) * sub_buckets +
           static_cast<std::size_t>((below >> (octave - 4)) & (sub_buckets - 1));
  }
  static constexpr std::uint64_t upper_edge(std::size_t bucket) noexcept {
    if (bucket < sub_buckets) return bucket + 1;
    std::uint64_t const octave = bucket / sub_buckets + 3;
    return ((sub_buckets + bucket % sub_buckets + 1) << (octave - 4));
  }

 private:
  struct alignas(64) Buckets {
    std::array<std::atomic<std::uint64_t>, bucket_count> counts{};
    std::atomic<std::uint64_t> sum{0};
  };

  /// Those of this thread; null: it shares.
  Buckets* own_buckets() noexcept {
    std::size_t const thread = detail::thread_number();
    if (thread >= detail::own_numbers) return nullptr;
    Buckets* const own = own_[thread].load(std::memory_order_relaxed);
    return own != nullptr ? own : make_own_buckets(thread);
  }
  Buckets* make_own_buckets(std::size_t thread) noexcept;
  template <class Visit>
  void for_each_buckets(Visit visit) const noexcept;
  std::uint64_t count_below(std::size_t bucket) const noexcept;

  Buckets shared_;
  std::array<std::atomic<Buckets*>, detail::own_numbers> own_{};
};

/// One label of a sample. Borrows its texts.
struct Label {
  std::string_view name;
  std::string_view value;
};
using Labels = std::initializer_list<Label>;

/// The unit of a histogram's values selects its classic buckets: nanoseconds are exported as seconds with
/// buckets at powers of two from 1.024 us to 68.7 s, counts with buckets at powers of two from 1 to 65536.
enum class HistogramUnit : std::uint8_t { nanoseconds, count };

/// Writes the Prometheus text format. Samples of one name may be added in any order: they are grouped under
/// one HELP and TYPE, as the format requires. Names are `athanor_…`; counters end in `_total`, times in
/// `_seconds`. Not thread-safe.
class MetricsText {
 public:
  void counter(std::string_view name, std::string_view help, Labels labels, std::uint64_t value);
  /// A counter of a fractional quantity, such as seconds.
  void counter_of(std::string_view name, std::string_view help, Labels labels, double value);
  void gauge(std::string_view name, std::string_view help, Labels labels, double value);
  void histogram(std::string_view name, std::string_view help, Labels labels, Histogram const& histogram,
                 HistogramUnit unit);
  /// Everything added so far, in the order in which names were first added.
  std::string text() const;

 private:
  struct Family {
    std::string name;
    std::string header;
    std::string samples;
  };
  Family& family(std::string_view name, std::string_view help, std::string_view type);
  std::vector<Family> families_;
};

}  // namespace athanor::inline v1
