#include <athanor/core/metrics.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <new>

#include <fmt/format.h>

namespace athanor::inline v1 {

namespace {

struct BucketRange {
  int first_exponent;
  int last_exponent;
  double scale;
};

constexpr BucketRange range_of(HistogramUnit unit) noexcept {
  return unit == HistogramUnit::nanoseconds ? BucketRange{10, 36, 1e-9} : BucketRange{0, 16, 1.0};
}

/// Backslash, line feed and, in label values, the quote.
void append_escaped(std::string& out, std::string_view text, bool quotes) {
  for (char const letter : text) {
    if (letter == '\\') {
      out += "\\\\";
    } else if (letter == '\n') {
      out += "\\n";
    } else if (letter == '"' && quotes) {
      out += "\\\"";
    } else {
      out += letter;
    }
  }
}

/// `{a="x",le="8"}`, or nothing when there are no labels.
void append_labels(std::string& out, Labels labels, std::string_view le = {}) {
  if (labels.size() == 0 && le.empty()) return;
  char separator = '{';
  auto const append = [&](std::string_view name, std::string_view value) {
    out += separator;
    separator = ',';
    out.append(name).append("=\"");
    append_escaped(out, value, true);
    out += '"';
  };
  for (auto const& label : labels) append(label.name, label.value);
  if (!le.empty()) append("le", le);
  out += '}';
}

std::string number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return fmt::format("{}", value);
}

}  // namespace

std::size_t detail::number_this_thread() noexcept {
  static constinit std::atomic<std::uint64_t> taken{0};  // a bit for each number below 64
  static constinit std::atomic<std::size_t> next{64};    // these are not given again
  struct Return {
    std::uint64_t bit = 0;
    ~Return() {
      number_and_one += own_numbers;
      taken.fetch_and(~bit, std::memory_order_release);
    }
  };
  std::uint64_t seen = taken.load(std::memory_order_relaxed);
  std::uint64_t free = 0;
  do {
    free = ~seen & (seen + 1);
  } while (free != 0 && !taken.compare_exchange_weak(seen, seen | free, std::memory_order_acquire));
  if (free != 0) {
    thread_local Return at_exit;
    at_exit.bit = free;
    number_and_one = static_cast<std::size_t>(std::countr_zero(free)) + 1;
  } else {
    number_and_one = next.fetch_add(1, std::memory_order_relaxed) + 1;
  }
  return number_and_one - 1;
}

Histogram::~Histogram() {
  for (auto const& own : own_) delete own.load(std::memory_order_acquire);
}

auto Histogram::make_own_buckets(std::size_t thread) noexcept -> Buckets* {
  auto* const made = new (std::nothrow) Buckets;
  own_[thread].store(made, std::memory_order_release);
  return made;
}

template <class Visit>
void Histogram::for_each_buckets(Visit visit) const noexcept {
  visit(shared_);
  for (auto const& own : own_)
    if (Buckets const* const buckets = own.load(std::memory_order_acquire)) visit(*buckets);
}

std::uint64_t Histogram::count_below(std::size_t bucket) const noexcept {
  std::uint64_t total = 0;
  for_each_buckets([&](Buckets const& buckets) {
    for (std::size_t i = 0; i < bucket; ++i) total += buckets.counts[i].load(std::memory_order_relaxed);
  });
  return total;
}

std::uint64_t Histogram::count() const noexcept { return count_below(bucket_count); }

std::uint64_t Histogram::sum() const noexcept {
  std::uint64_t total = 0;
  for_each_buckets([&](Buckets const& buckets) { total += buckets.sum.load(std::memory_order_relaxed); });
  return total;
}

std::uint64_t Histogram::count_up_to_power(int exponent) const noexcept {
  return count_below(bucket_of((std::uint64_t{1} << exponent) + 1));
}

std::uint64_t Histogram::quantile(double fraction) const noexcept {
  std::array<std::uint64_t, bucket_count> counts{};
  std::uint64_t total = 0;
  for_each_buckets([&](Buckets const& buckets) {
    for (std::size_t i = 0; i < bucket_count; ++i) {
      std::uint64_t const here = buckets.counts[i].load(std::memory_order_relaxed);
      counts[i] += here;
      total += here;
    }
  });
  auto const wanted =
      static_cast<std::uint64_t>(std::ceil(std::clamp(fraction, 0.0, 1.0) * static_cast<double>(total)));
  std::uint64_t seen = 0;
  std::size_t last = 0;
  for (std::size_t i = 0; i < bucket_count && total != 0; ++i) {
    if (counts[i] == 0) continue;
    seen += counts[i];
    last = i;
    if (seen >= std::max<std::uint64_t>(wanted, 1)) break;
  }
  return total == 0 ? 0 : upper_edge(last);
}

MetricsText::Family& MetricsText::family(std::string_view name, std::string_view help,
                                         std::string_view type) {
  auto const known = std::ranges::find(families_, name, &Family::name);
  if (known != families_.end()) return *known;
  std::string header = fmt::format("# HELP {} ", name);
  append_escaped(header, help, false);
  header += fmt::format("\n# TYPE {} {}\n", name, type);
  return families_.emplace_back(Family{std::string(name), std::move(header), {}});
}

void MetricsText::counter(std::string_view name, std::string_view help, Labels labels, std::uint64_t value) {
  auto& samples = family(name, help, "counter").samples;
  samples.append(name);
  append_labels(samples, labels);
  samples += fmt::format(" {}\n", value);
}

void MetricsText::counter_of(std::string_view name, std::string_view help, Labels labels, double value) {
  auto& samples = family(name, help, "counter").samples;
  samples.append(name);
  append_labels(samples, labels);
  samples += fmt::format(" {}\n", number(value));
}

void MetricsText::gauge(std::string_view name, std::string_view help, Labels labels, double value) {
  auto& samples = family(name, help, "gauge").samples;
  samples.append(name);
  append_labels(samples, labels);
  samples += fmt::format(" {}\n", number(value));
}

void MetricsText::histogram(std::string_view name, std::string_view help, Labels labels,
                            Histogram const& histogram, HistogramUnit unit) {
  auto& samples = family(name, help, "histogram").samples;
  BucketRange const range = range_of(unit);
  auto const line = [&](std::string_view suffix, std::string_view le, std::string const& value) {
    samples.append(name).append(suffix);
    append_labels(samples, labels, le);
    samples.append(" ").append(value).append("\n");
  };
  // The count is read first and bounds what the buckets show, so that a scrape amid recording stays
  // cumulative.
  std::uint64_t const count = histogram.count();
  for (int exponent = range.first_exponent; exponent <= range.last_exponent; ++exponent) {
    auto const below = std::min(histogram.count_up_to_power(exponent), count);
    line("_bucket", number(std::ldexp(1.0, exponent) * range.scale), std::to_string(below));
  }
  line("_bucket", "+Inf", std::to_string(count));
  line("_sum", {}, number(static_cast<double>(histogram.sum()) * range.scale));
  line("_count", {}, std::to_string(count));
}

std::string MetricsText::text() const {
  std::string out;
  for (auto const& family : families_) out.append(family.header).append(family.samples);
  return out;
}

}  // namespace athanor::inline v1
