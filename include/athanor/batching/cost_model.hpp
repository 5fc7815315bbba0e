/// The run time of a batch of a given size, estimated from the batches that ran.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include <athanor/batching/detail/relaxed.hpp>
#include <athanor/core/time.hpp>

namespace athanor::inline v1::batching {

/// Follows one quantile of a stream in constant space: every sample moves the estimate by a share of itself,
/// up with weight `quantile` and down with weight `1 - quantile`, so that it settles where that share of the
/// samples lies below it. One thread at a time may add; any thread may read the value concurrently.
class QuantileTracker {
 public:
  constexpr explicit QuantileTracker(double quantile) noexcept : quantile_(quantile) {}
  void add(double sample) noexcept;
  double value() const noexcept { return value_; }

 private:
  double quantile_;
  Relaxed<double> value_ = 0.0;
  Relaxed<double> run_probability_ = 1.0;  // of as many samples on one side as came last
  Relaxed<bool> last_above_ = false;
  Relaxed<std::uint32_t> count_ = 0U;
};

/// Run times by power-of-two size class, without a clock or lock. One thread at a time may record; any thread
/// may read or copy concurrently.
class CostModel {
 public:
  /// A prediction with fewer samples in its size class is a guess, not yet a promise.
  static constexpr std::uint64_t trusted_samples = 8;

  /// A batch of `items`, at least 1, took `run_time`.
  void record(std::uint32_t items, Duration run_time) noexcept;
  /// Samples in the size class of `items`.
  std::uint64_t samples(std::uint32_t items) const noexcept { return classes_[class_of(items)].count; }
  bool trusts(std::uint32_t items) const noexcept { return samples(items) >= trusted_samples; }
  /// Samples in all size classes.
  std::uint64_t recorded() const noexcept { return recorded_; }

  /// Predicted run time of `items`: interpolated between two known classes, equal to the smallest known class
  /// below it, and proportional above the largest. Zero when nothing is known.
  Duration mean(std::uint32_t items) const noexcept;
  Duration predicted_p50(std::uint32_t items) const noexcept;
  Duration predicted_p95(std::uint32_t items) const noexcept;
  /// The time to reserve for a batch that must end before a deadline: p95 plus a tenth and 50 us. Zero when
  /// nothing is known.
  Duration time_to_allow(std::uint32_t items) const noexcept;

 private:
  struct SizeClass {
    Relaxed<std::uint64_t> count = std::uint64_t{0};
    Relaxed<double> mean_items = 0.0;
    Relaxed<double> mean = 0.0;  // ns
    QuantileTracker p50{0.5};
    QuantileTracker p95{0.95};
  };
  static constexpr std::size_t class_count = 33;
  static constexpr std::size_t class_of(std::uint32_t items) noexcept {
    return static_cast<std::size_t>(std::bit_width(items));
  }
  template <class Value>
  Duration interpolate(std::uint32_t items, Value value) const noexcept;

  std::array<SizeClass, class_count> classes_{};
  Relaxed<std::size_t> highest_ = std::size_t{0};  // class with samples
  Relaxed<std::uint64_t> recorded_ = std::uint64_t{0};
};

}  // namespace athanor::inline v1::batching
