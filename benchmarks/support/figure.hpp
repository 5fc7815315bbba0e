/// Figures: what a benchmark says. One benchmark executable reports any number of named figures, each as one
/// line of JSON on standard output: {"name", "value", "unit", "spread", "aim", "met"}. `scripts/bench` turns
/// them into a table.
///
/// A benchmark's main, its arguments being globs of figure names, reads:
///
///     int main(int argc, char** argv) {
///       using namespace athanor::benchmarks;
///       Figures figures(argc, argv);
///       if (figures.wants("engine.idle-latency")) {
///         auto const sample = repeat(21, [&] { return one_measurement(); });
///         figures.report({.name = "engine.idle-latency", .value = sample.median, .unit = "us",
///                         .spread = sample.spread, .aim = at_most(1.0)});
///       }
///       return figures.exit_code();
///     }
#pragma once

#include <fnmatch.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

namespace athanor::benchmarks {

/// A bound that a figure should keep.
struct Aim {
  enum class Side { at_most, at_least };
  Side side;
  double bound;

  bool met_by(double value) const { return side == Side::at_most ? value <= bound : value >= bound; }
  std::string text() const { return fmt::format("{} {:g}", side == Side::at_most ? "<=" : ">=", bound); }
};

inline Aim at_most(double bound) { return {Aim::Side::at_most, bound}; }
inline Aim at_least(double bound) { return {Aim::Side::at_least, bound}; }

/// One measured quantity. `name` is "room.measure"; `spread` is in the same unit as `value`. A figure without
/// an aim is a record only.
struct Figure {
  std::string name;
  double value = 0;
  std::string unit;
  double spread = 0;
  std::optional<Aim> aim = std::nullopt;
};

/// The middle of several measurements of the same quantity, and their interquartile range.
struct Sample {
  double median = 0;
  double spread = 0;
};

/// The value that `fraction` (0 to 1) of `values` does not exceed, interpolated. `values` must not be empty.
inline double quantile(std::vector<double> values, double fraction) {
  std::sort(values.begin(), values.end());
  double const position = fraction * static_cast<double>(values.size() - 1);
  auto const below = static_cast<std::size_t>(position);
  std::size_t const above = std::min(below + 1, values.size() - 1);
  return std::lerp(values[below], values[above], position - static_cast<double>(below));
}

inline Sample summarise(std::vector<double> const& values) {
  return {quantile(values, 0.5), quantile(values, 0.75) - quantile(values, 0.25)};
}

/// Calls `measure`, which returns one measurement as a double, `times` times.
template <class Measure>
Sample repeat(int times, Measure&& measure) {
  std::vector<double> values;
  values.reserve(static_cast<std::size_t>(times));
  for (int i = 0; i < times; ++i) values.push_back(measure());
  return summarise(values);
}

/// Wall time in seconds that `body` takes.
template <class Body>
double seconds_of(Body&& body) {
  auto const start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Wall times in microseconds of so many calls; none when
/// a call was wrong. `call()` says whether it was right.
template <class Call>
std::vector<double> microseconds_of_each(int calls, Call&& call) {
  std::vector<double> times;
  times.reserve(static_cast<std::size_t>(calls));
  for (int i = 0; i < calls; ++i) {
    auto const start = std::chrono::steady_clock::now();
    bool const right = call();
    auto const end = std::chrono::steady_clock::now();
    if (!right) return {};
    times.push_back(std::chrono::duration<double, std::micro>(end - start).count());
  }
  return times;
}

/// The median of such times, nine times over after a round that warms up; nothing when a call was wrong.
template <class Call>
std::optional<Sample> median_microseconds(int calls, Call&& call) {
  std::vector<double> medians;
  for (int round = -1; round < 9; ++round) {
    auto const times = microseconds_of_each(calls, call);
    if (times.empty()) return std::nullopt;
    if (round >= 0) medians.push_back(quantile(times, 0.5));
  }
  return summarise(medians);
}

/// The figures of one executable: which are asked for, and whether any could not be measured.
class Figures {
 public:
  /// The arguments are globs of figure names; none means every figure. `--list` only names the figures.
  Figures(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
      if (std::string_view(argv[i]) == "--list") {
        list_only_ = true;
      } else {
        globs_.emplace_back(argv[i]);
      }
    }
  }

  /// Whether to measure `name`. Ask before the work, with the name that report() will get.
  bool wants(std::string_view name) {
    bool const chosen =
        globs_.empty() || std::any_of(globs_.begin(), globs_.end(), [&](std::string const& glob) {
          return fnmatch(glob.c_str(), std::string(name).c_str(), 0) == 0;
        });
    if (chosen && list_only_) fmt::print("{{\"name\":\"{}\"}}\n", name);
    return chosen && !list_only_;
  }

  /// Prints the figure's line.
  void report(Figure const& figure) {
    fmt::print(
        "{{\"name\":\"{}\",\"value\":{:.6g},\"unit\":\"{}\",\"spread\":{:.3g},\"aim\":{},\"met\":{}}}\n",
        figure.name, figure.value, figure.unit, figure.spread,
        figure.aim ? fmt::format("\"{}\"", figure.aim->text()) : "null",
        figure.aim ? (figure.aim->met_by(figure.value) ? "true" : "false") : "null");
    std::fflush(stdout);
  }

  /// Says why a figure could not be measured, or that an answer it timed was wrong. The run then ends with 1.
  void fail(std::string_view name, std::string_view why) {
    fmt::print(stderr, "{}: {}\n", name, why);
    failed_ = true;
  }

  int exit_code() const { return failed_ ? 1 : 0; }

 private:
  std::vector<std::string> globs_;
  bool list_only_ = false;
  bool failed_ = false;
};

}  // namespace athanor::benchmarks
