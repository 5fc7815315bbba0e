// Files of predictions, and files in general.
#pragma once

#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <athanor/core/error.hpp>

#include "predict.hpp"

namespace polymers {

// Why a file of that name cannot be one of predictions; empty for one that can be.
std::string unfit_output(std::string_view path);

// A table of predictions that grows row by row: JSON lines for .jsonl and .ndjson, a JSON array for
// .json, separated by tabs for .tsv and .tab, else CSV. Each row has what the input has in its columns,
// and the prediction behind that. What has been written stands in the file whatever happens afterwards.
class Output {
 public:
  // A path of - is standard output. `columns` are those of the input.
  static athanor::Result<Output> open(std::string const& path, std::vector<std::string> const& columns,
                                      bool celsius);

  // Fails when they cannot all be written, as on a full disk. The file then ends
  // with the last row of an earlier call, and the error says how many rows that are.
  athanor::Result<void> write(std::span<Prediction const> predictions);
  athanor::Result<void> finish();
  // Whether its rows are cells under names, not objects.
  bool is_table() const { return format_ == Format::csv; }

 private:
  enum class Format : std::uint8_t { csv, lines, array };
  struct Close {
    void operator()(std::FILE* file) const;
  };
  Output(std::unique_ptr<std::FILE, Close> file, std::string name)
      : file_(std::move(file)), name_(std::move(name)) {}

  athanor::Result<void> append(std::string const& text);
  athanor::Error unwritable(int reason);
  std::string csv_row(Prediction const& prediction) const;
  std::string json_row(Prediction const& prediction) const;

  std::unique_ptr<std::FILE, Close> file_;
  std::string name_;
  Format format_ = Format::csv;
  char separator_ = ',';
  bool celsius_ = false;
  std::vector<std::string> columns_;  // of the input
  std::vector<std::string> added_;    // names of the columns behind them
  std::size_t rows_ = 0;              // that stand in the file
};

// Finds out before a long run what `write_file` would say
// behind it: a folder that is not there, or may not be written.
athanor::Result<void> check_writable(std::string const& path);

// `text` into the file, or to standard output for a path of -; an error when the disk is full or the place
// cannot be written.
athanor::Result<void> write_file(std::string const& path, std::string const& text);

}  // namespace polymers
