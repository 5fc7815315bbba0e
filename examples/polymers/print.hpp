// What the program shows on a terminal and writes to a file.
#pragma once

#include <chrono>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "predict.hpp"
#include "rows.hpp"

namespace polymers {

// Where `say` speaks: standard output, until that is asked to hold a file.
inline std::FILE* voice = stdout;

// To a stream that remembers what it could not write until somebody asks at the end. fmt::print would throw,
// and its exception looks like that of a thread that cannot start.
template <class... Args>
void say(fmt::format_string<Args...> sentence, Args&&... args) {
  std::string const text = fmt::format(sentence, std::forward<Args>(args)...);
  std::fwrite(text.data(), 1, text.size(), voice);
}

// Rows done, rows per second and the time that is left, in one line of standard error; silent unless that is
// a terminal.
class Progress {
 public:
  explicit Progress(std::size_t rows);
  void show(std::size_t done);
  void clear();

 private:
  std::size_t rows_;
  bool terminal_;
  std::chrono::steady_clock::time_point start_;
};

// How an interval of that coverage is called: `90 % interval`, or `interval` when the coverage is not known.
std::string interval_name(std::optional<double> coverage);
void print_table(std::vector<Prediction> const& predictions, std::optional<double> coverage, bool explain);
// Predicted beside known values; row i of both is the same polymer.
void print_comparison(std::vector<Prediction> const& predictions, std::vector<Handbook> const& handbook);
void print_summary(Summary const& summary);

// CSV, or one JSON object per line when the path ends in .jsonl.
athanor::Result<void> write_predictions(std::string const& path, std::vector<Prediction> const& predictions);

// `text` into the file, or to standard output for a path of -; an error when the disk is full or the place
// cannot be written.
athanor::Result<void> write_file(std::string const& path, std::string const& text);

}  // namespace polymers
