// What the program is asked to predict: one row per polymer, from arguments, a file or standard input.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <athanor/core/error.hpp>

namespace polymers {

struct Row {
  std::size_t number = 0;          // from 1, among the rows of the input
  std::size_t line = 0;            // from 1, of the file; 0 for an argument
  std::string smiles;              // without the blanks around it
  std::string name;                // from the input, may be empty
  std::vector<std::string> cells;  // what the input has in its columns, `smiles` and `name` among them
  std::string object;              // the JSON object that it is, where the input is JSON
  // Why no polymer could be read there, with its line, its byte in the file and what was got. Such a row
  // keeps its place, and the rows around it are read as if it were a good one.
  std::optional<athanor::Error> error{};
};

// Where the rows come from, and how they are read.
struct Input {
  enum class Format : std::uint8_t { csv, json, lines };
  std::string path;  // - is standard input
  Format format = Format::lines;
  // The column or the JSON member with the SMILES, by name or, for a column, by number from
  // 1. Empty: smiles_polymer, psmiles, smiles or canonical_smiles, the first that is there.
  std::string smiles_column{};
  bool header = true;  // the first line of a CSV file has names
};

// The format that a name stands for, .gz left aside; no value for a name that stands for none.
std::optional<Input::Format> format_of(std::string_view path);

// Rows in their order, a number of them at a time, so that a long file needs no more memory than a short one.
class Rows {
 public:
  virtual ~Rows() = default;

  // The next `count` rows, fewer at the end only. What could not be read
  // any further is an error after the rows before it have been given.
  athanor::Result<std::vector<Row>> next(std::size_t count);
  // How much of the input has been read, 0 to 1; negative where that is not known.
  virtual double fraction() const = 0;

  // Names of the cells, for the output to repeat.
  std::vector<std::string> const& columns() const { return columns_; }
  // The name of the column of SMILES; empty where there was no choice.
  std::string const& smiles_column() const { return smiles_column_; }
  // Names of what rows so far had beside the columns, which a table has no place for; the first of them.
  std::vector<std::string> const& left_out() const { return left_out_; }

 protected:
  Rows(std::vector<std::string> columns, std::string smiles_column)
      : columns_(std::move(columns)), smiles_column_(std::move(smiles_column)) {}
  virtual athanor::Result<std::optional<Row>> one() = 0;
  void leave_out(std::string const& name);

 private:
  std::vector<std::string> columns_;
  std::string smiles_column_;
  std::vector<std::string> left_out_;
  std::size_t count_ = 0;
  std::optional<athanor::Error> failure_;
};

// CSV (also separated by tabs or semicolons, which it notices), JSON (one
// value per line, or one array) or lines of a SMILES and, after a blank,
// a name. Fails when the file cannot be read or has no column of SMILES.
athanor::Result<std::unique_ptr<Rows>> open_rows(Input const& input);
// One row per argument.
std::unique_ptr<Rows> rows_of(std::vector<std::string> smiles);

}  // namespace polymers
