#include <athanor/batching/cost_model.hpp>

#include <algorithm>
#include <cmath>

namespace athanor::inline v1::batching {

void QuantileTracker::add(double sample) noexcept {
  bool const above = sample > value_;
  double const chance = above ? 1 - quantile_ : quantile_;
  run_probability_ = above == last_above_ ? run_probability_ * chance : chance;
  last_above_ = above;
  // One hundredth per sample forgets an outlier; the first samples move it faster, and so does a run of
  // samples on one side that chance would hardly give.
  double const share = 16 * run_probability_;
  double const haste = share >= 1 ? 1.0 : std::min(1 / share, 64.0);
  constexpr std::uint32_t first_samples = 49;  // then 1 / (1 + count) is the smaller one
  double const fastest = count_ < first_samples ? 1.0 / (1.0 + count_) : 0.0;
  double const step = value_ * std::max(0.02 * haste, fastest);
  if (count_ == 0) {
    value_ = sample;
  } else if (above) {
    value_ = std::min(sample, value_ + step * quantile_);
  } else {
    value_ = std::max(sample, value_ - step * (1 - quantile_));
  }
  if (count_ < 1000) count_ = count_ + 1;
}

void CostModel::record(std::uint32_t items, Duration run_time) noexcept {
  items = std::max(items, 1U);
  auto& size_class = classes_[class_of(items)];
  // Zero means "nothing known".
  double const time = std::max<double>(static_cast<double>(run_time.count()), 1.0);
  std::uint64_t const count = size_class.count + 1;
  double const weight = count < 128 ? 1.0 / static_cast<double>(count) : 1.0 / 128;
  size_class.mean_items = size_class.mean_items + (items - size_class.mean_items) * weight;
  size_class.mean = size_class.mean + (time - size_class.mean) * weight;
  size_class.p50.add(time);
  size_class.p95.add(time);
  size_class.count = count;
  highest_ = std::max<std::size_t>(highest_, class_of(items));
  recorded_ = recorded_ + 1;
}

template <class Value>
Duration CostModel::interpolate(std::uint32_t items, Value value) const noexcept {
  // Each field is read once: a batch may be recorded meanwhile.
  struct Point {
    double items = 0;
    double time = 0;
  };
  Point below;
  Point above;
  std::size_t const highest = highest_;
  for (std::size_t i = class_of(items) + 1; i-- > 0 && below.time == 0;)
    if (double const mean = classes_[i].mean_items; classes_[i].count != 0 && mean <= items)
      below = {mean, value(classes_[i])};
  for (std::size_t i = class_of(items); i <= highest && above.time == 0; ++i)
    if (double const mean = classes_[i].mean_items; classes_[i].count != 0 && mean > items)
      above = {mean, value(classes_[i])};
  double time = above.time;
  if (below.time != 0) {
    double const share = (items - below.items) / (above.items - below.items);
    time =
        above.time != 0 ? below.time + share * (above.time - below.time) : below.time * (items / below.items);
  }
  return Duration{static_cast<Duration::rep>(std::ceil(std::min(time, 9e18)))};
}

Duration CostModel::mean(std::uint32_t items) const noexcept {
  return interpolate(items, [](SizeClass const& size_class) { return size_class.mean; });
}
Duration CostModel::predicted_p50(std::uint32_t items) const noexcept {
  return interpolate(items, [](SizeClass const& size_class) { return size_class.p50.value(); });
}
Duration CostModel::predicted_p95(std::uint32_t items) const noexcept {
  return interpolate(items, [](SizeClass const& size_class) { return size_class.p95.value(); });
}

Duration CostModel::time_to_allow(std::uint32_t items) const noexcept {
  Duration const predicted = predicted_p95(items);
  if (predicted == Duration{}) return predicted;
  return saturating_sum(predicted, predicted / 10 + std::chrono::microseconds(50));
}

}  // namespace athanor::inline v1::batching
