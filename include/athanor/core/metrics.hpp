/// Metric primitives: lock-free to record, read only when somebody scrapes, written as Prometheus text.
///
/// Labels come from closed sets (model names, versions, reasons, states): nothing that a request carries may
/// become one.
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

/// A small number of this thread, for spreading its writes; threads share numbers when there are many.
inline std::size_t thread_number() noexcept {
  static constinit std::atomic<std::size_t> next{0};
  thread_local std::size_t const number = next.fetch_add(1, std::memory_order_relaxed);
  return number;
}

}  // namespace detail

/// A count that only grows. Any thread adds; concurrent adders rarely share a cache line.
class Counter {
 public:
  void add(std::uint64_t count = 1) noexcept {
    cells_[detail::thread_number() % cell_count].value.fetch_add(count, std::memory_order_relaxed);
  }
  /// Exact once the adders are done; never less than what was added before the call.
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

/// Counts of whole numbers in log-linear buckets: 16 to an octave, so that a quantile is at most 6.25 % too
/// high. Values above 2^44 fall into the last bucket. Recording is one relaxed add to a bucket and one to the
/// sum.
class Histogram {
 public:
  static constexpr std::size_t sub_buckets = 16;
  static constexpr int octaves = 44;
  static constexpr std::size_t bucket_count = (octaves - 3) * sub_buckets;

  /// Nanoseconds for times, plain numbers for counts: the same unit for every value of one histogram.
  void record(std::uint64_t value) noexcept {
    buckets_[bucket_of(value)].fetch_add(1, std::memory_order_relaxed);
    sum_.add(value);
  }
  std::uint64_t count() const noexcept;
  std::uint64_t sum() const noexcept { return sum_.value(); }
  /// How many recorded values are at most `2^exponent`; exact. `exponent` is 0 to 43.
  std::uint64_t count_up_to_power(int exponent) const noexcept;
  /// The upper edge of the bucket that holds the value at `fraction` (0 to 1) of all; 0 when nothing was
  /// recorded.
  std::uint64_t quantile(double fraction) const noexcept;

  /// Bucket `b` holds the values in (lower edge, upper edge]: so powers of two close a bucket, and a classic
  /// bucket `le="8"` is exact.
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

/// One label of a sample; its texts live for the call.
struct Label {
  std::string_view name;
  std::string_view value;
};
using Labels = std::initializer_list<Label>;

/// Unit of a histogram's values, which decides its classic buckets: nanoseconds are exported as seconds at
/// powers of two from 1.024 us to 68.7 s, counts at powers of two from 1 to 65536.
enum class HistogramUnit : std::uint8_t { nanoseconds, count };

/// Writes the Prometheus text format. Samples of one name may come in any order: they are kept together under
/// one HELP and TYPE, as the format demands. Names are `athanor_…`; counters end in `_total`, times in
/// `_seconds`. Not thread-safe.
class MetricsText {
 public:
  void counter(std::string_view name, std::string_view help, Labels labels, std::uint64_t value);
  /// A counter in a base unit that is not whole, such as seconds.
  void counter_of(std::string_view name, std::string_view help, Labels labels, double value);
  void gauge(std::string_view name, std::string_view help, Labels labels, double value);
  void histogram(std::string_view name, std::string_view help, Labels labels, Histogram const& histogram,
                 HistogramUnit unit);
  /// Everything so far, in the order in which names first appeared.
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
