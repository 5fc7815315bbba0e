#include <athanor/batching/cost_model.hpp>

#include <algorithm>
#include <cmath>

namespace athanor::inline v1::batching {

void QuantileTracker::add(double sample) noexcept {
  bool const above = sample > value_;
  run_probability_ = above == last_above_ ? run_probability_ * (above ? 1 - quantile_ : quantile_)
                                          : (above ? 1 - quantile_ : quantile_);
  last_above_ = above;
  // One hundredth per sample forgets an outlier; the first samples move it faster, and so does a run of
  // samples on one side that chance would hardly give.
  double const haste = std::clamp(1 / (16 * run_probability_), 1.0, 64.0);
  double const step = value_ * std::max(0.02 * haste, 1.0 / (1.0 + count_));
  if (count_ == 0) {
    value_ = sample;
  } else if (above) {
    value_ = std::min(sample, value_ + step * quantile_);
  } else {
    value_ = std::max(sample, value_ - step * (1 - quantile_));
  }
  if (count_ < 1000) ++count_;
}

void CostModel::record(std::uint32_t items, Duration run_time) noexcept {
  items = std::max(items, 1U);
  auto& size_class = classes_[class_of(items)];
  // Zero means "nothing known".
  double const time = std::max<double>(static_cast<double>(run_time.count()), 1.0);
  ++size_class.count;
  highest_ = std::max(highest_, class_of(items));
  double const weight = 1.0 / static_cast<double>(std::min<std::uint64_t>(size_class.count, 128));
  size_class.mean_items += (items - size_class.mean_items) * weight;
  size_class.mean += (time - size_class.mean) * weight;
  size_class.p50.add(time);
  size_class.p95.add(time);
}

template <class Value>
Duration CostModel::interpolate(std::uint32_t items, Value value) const noexcept {
  SizeClass const* below = nullptr;
  SizeClass const* above = nullptr;
  for (std::size_t i = class_of(items) + 1; i-- > 0 && below == nullptr;)
    if (classes_[i].count != 0 && classes_[i].mean_items <= items) below = &classes_[i];
  for (std::size_t i = class_of(items); i <= highest_ && above == nullptr; ++i)
    if (classes_[i].count != 0 && classes_[i].mean_items > items) above = &classes_[i];
  double time = 0;
  if (below != nullptr && above != nullptr) {
    double const share = (items - below->mean_items) / (above->mean_items - below->mean_items);
    time = value(*below) + share * (value(*above) - value(*below));
  } else if (below != nullptr) {
    time = value(*below) * (items / below->mean_items);
  } else if (above != nullptr) {
    time = value(*above);
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

}  // namespace athanor::inline v1::batching
