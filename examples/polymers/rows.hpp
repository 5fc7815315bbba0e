// What the program is asked to predict: one row per polymer, from arguments, a file or standard input.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <athanor/core/error.hpp>

namespace polymers {

struct Row {
  std::string smiles;
  std::string name;  // from the input, may be empty
  // Why no polymer could be read there, with its line, its byte in the file and what was got. Such a row
  // keeps its place, and the rows around it are read as if it were a good one.
  std::optional<athanor::Error> error{};
};

// A path of - is standard input.

// How a CSV file is read.
struct CsvOptions {
  std::string
      smiles_column;   // empty: smiles_polymer, psmiles, smiles or canonical_smiles, the first that is there
  bool header = true;  // without one, the SMILES are the first field
};
struct Table {
  std::vector<Row> rows;
  std::string column;  // whose SMILES they are; empty without a header
};
// CSV, quoted as in RFC 4180; a column `name` is kept. Names of columns are compared without case and without
// blanks around them. A quote elsewhere than at the start of a field is a character like any other. A record
// with more fields than the header is a row with an error: who knows which of them the SMILES is.
athanor::Result<Table> read_csv(std::string const& path, CsvOptions const& options);
// One JSON value per line: a text, or an object with `smiles` and, if it likes, `name`.
athanor::Result<std::vector<Row>> read_jsonl(std::string const& path);
// One SMILES per line of standard input; empty lines are skipped.
athanor::Result<std::vector<Row>> read_lines();

// A polymer with a known glass transition temperature. The source says too when the model that comes with the
// program was trained on that value, so that nobody takes the comparison for a test.
struct Handbook {
  std::string smiles;
  std::string name;
  double tg_k;
  std::string source;
};
athanor::Result<std::vector<Handbook>> read_handbook(std::string const& path);

}  // namespace polymers
