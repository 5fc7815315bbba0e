// The records of a CSV text, quoted as in RFC 4180.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <athanor/core/error.hpp>

#include "input.hpp"

namespace polymers {

// A record or line that takes more memory than this is rejected, and reading continues after it.
inline constexpr std::size_t longest_record = 1 << 20;

// Where in the file something starts that is not what was
// expected; `got` is shown up to its first 40 characters.
athanor::Error misread(std::size_t line, std::size_t byte, std::string_view expected, std::string_view got);

// Moves to the next line; false at the end of the text.
athanor::Result<bool> skip_line(Text& text);

struct Record {
  std::vector<std::string> fields;
  std::size_t line = 0;  // where it starts
  std::size_t byte = 0;
  std::string text;  // its beginning, as it was written
  std::optional<athanor::Error> fault{};
};

class CsvRecords {
 public:
  CsvRecords(Text text, char separator) : text_(std::move(text)), separator_(separator) {}

  // The next record; no value at the end. A record that cannot be read has a
  // fault, and reading continues at the line after the unclosed quote, so
  // that it costs one row and not all that follow. An error ends the reading.
  athanor::Result<std::optional<Record>> next();

  Text const& text() const { return text_; }

 private:
  Text text_;
  char separator_;
  bool inside_line_ = false;  // reading stands inside a line of which nothing more is wanted
};

// What separates the fields of the record that `text` begins with: of comma, tab
// and semicolon the one between which a column of SMILES is found (find_smiles,
// with `wanted`), else the one that occurs most often outside quotes.
char separator_of(std::string_view text, std::string_view wanted = {});

// `cell` for a CSV file: quoted where that is needed, and never a formula. A spreadsheet computes
// what starts with one of = + - @, so such a cell gets an apostrophe in front unless it is a number.
std::string csv_cell(std::string_view cell, char separator);

}  // namespace polymers
