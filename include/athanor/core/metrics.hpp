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

namespace athanor::inline v1 {

namespace detail {

/// The number of this thread, counted from 0 in the order of first calls; spreads the writes of different
/// threads.
inline std::size_t thread_number() noexcept {
  static constinit std::atomic<std::size_t> next{0};
  thread_local std::size_t const number = next.fetch_add(1, std::memory_order_relaxed);
  return number;
}

}  // namespace detail

/// A monotonic counter. Thread-safe; concurrent adders rarely share a cache line.
class Counter {
 public:
  void add(std::uint64_t count = 1) noexcept {
    cells_[detail::thread_number() % cell_count].value.fetch_add(count, std::memory_order_relaxed);
  }
  /// At least what was added before the call; exact if no add() runs concurrently.
  std::uint64_t value() const noexcept {
    std::uint64_t sum = 0;
    for (auto const& cell : cells_) sum += cell.value.load(std::memory_order_relaxed);
    return sum;
  }

 private:
  static constexpr std::size_t cell_count = 8;
  struct alignas(64) Cell {
    std::atomic<std::uint64_t> value{0};
  };
  std::array<Cell, cell_count> cells_{};
};

/// A histogram of whole numbers in log-linear buckets, 16 per octave: quantiles are at most 6.25 % too high.
/// Values above 2^44 are counted in the last bucket. Thread-safe; recording takes two relaxed additions.
class Histogram {
 public:
  static constexpr std::size_t sub_buckets = 16;
  static constexpr int octaves = 44;
  static constexpr std::size_t bucket_count = (octaves - 3) * sub_buckets;

  /// `value` in the unit of the histogram: nanoseconds for times, plain numbers for counts.
  void record(std::uint64_t value) noexcept {
    buckets_[bucket_of(value)].fetch_add(1, std::memory_order_relaxed);
    sum_.add(value);
  }
  std::uint64_t count() const noexcept;
  std::uint64_t sum() const noexcept { return sum_.value(); }
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
  std::array<std::atomic<std::uint64_t>, bucket_count> buckets_{};
  Counter sum_;
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
