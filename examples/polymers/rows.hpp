// What the program is asked to predict: one row per polymer, from arguments, a file or standard input.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <athanor/core/error.hpp>

namespace polymers {

struct Row {
  std::string smiles;
  std::string name;  // from the input, may be empty
};

// CSV with a header line and a column `smiles` (or `smiles_polymer`), quoted as in RFC 4180; a column `name`
// is kept.
athanor::Result<std::vector<Row>> read_csv(std::string const& path);
// One JSON value per line: a text, or an object with `smiles` and, if it likes, `name`.
athanor::Result<std::vector<Row>> read_jsonl(std::string const& path);
// One SMILES per line of standard input; empty lines are skipped.
std::vector<Row> read_lines();

// A polymer with a known glass transition temperature.
struct Handbook {
  std::string smiles;
  std::string name;
  double tg_k;
  std::string source;
};
athanor::Result<std::vector<Handbook>> read_handbook(std::string const& path);

}  // namespace polymers
