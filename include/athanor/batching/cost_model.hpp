/// What a batch of a given size costs in time, learned from the batches that ran.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include <athanor/core/time.hpp>

namespace athanor::inline v1::batching {

/// Follows one quantile of a stream in constant space: every sample moves the estimate by a share of itself,
/// up with weight `quantile` and down with weight `1 - quantile`, so that it rests where that share of the
/// samples lies below.
class QuantileTracker {
 public:
  constexpr explicit QuantileTracker(double quantile) noexcept : quantile_(quantile) {}
  void add(double sample) noexcept;
  double value() const noexcept { return value_; }

 private:
  double quantile_;
  double value_ = 0;
  double run_probability_ = 1;  // of as many samples on one side as came last
  bool last_above_ = false;
  std::uint32_t count_ = 0;
};

/// Run times by power-of-two size class. A value without a clock or lock: copy it to look at it.
class CostModel {
 public:
  /// A prediction with fewer samples in its size class is a guess, not yet a promise.
  static constexpr std::uint64_t trusted_samples = 8;

  /// A batch of `items`, at least 1, took `run_time`.
  void record(std::uint32_t items, Duration run_time) noexcept;
  /// Samples in the size class of `items`.
  std::uint64_t samples(std::uint32_t items) const noexcept { return classes_[class_of(items)].count; }
  bool trusts(std::uint32_t items) const noexcept { return samples(items) >= trusted_samples; }

  /// Predicted run time of `items`: between two known classes by interpolation, below the smallest known as
  /// that one, above the largest in proportion. Zero when nothing is known.
  Duration mean(std::uint32_t items) const noexcept;
  Duration predicted_p50(std::uint32_t items) const noexcept;
  Duration predicted_p95(std::uint32_t items) const noexcept;

 private:
  struct SizeClass {
    std::uint64_t count = 0;
    double mean_items = 0;
    double mean = 0;  // ns
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
  std::size_t highest_ = 0;  // class with samples
};

}  // namespace athanor::inline v1::batching
