// Files that tests write, and what the program reads of them.
#pragma once

#include <zlib.h>

#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <support/folder.hpp>

#include "rows.hpp"

namespace polymers {

// A folder of this test alone.
struct Folder : athanor_tests::Folder {
  std::string at(std::string const& name) const { return (*this / name).string(); }
  std::string compress(std::string const& name, std::string const& text) const {
    gzFile const file = gzopen(at(name).c_str(), "wb");
    REQUIRE(gzwrite(file, text.data(), static_cast<unsigned>(text.size())) == static_cast<int>(text.size()));
    gzclose(file);
    return at(name);
  }
};

// What was read until the end, or until a failure.
struct Read {
  std::vector<Row> rows;
  std::string failure;  // of opening, or of reading on
};

inline Read read(Input const& input, std::size_t window = 256) {
  Read read;
  auto rows = open_rows(input);
  if (!rows) {
    read.failure = rows.error().message;
    return read;
  }
  for (;;) {
    auto part = (*rows)->next(window);
    if (!part) read.failure = part.error().message;
    if (!part || part->empty()) return read;
    for (auto& row : *part) read.rows.push_back(std::move(row));
  }
}

inline std::vector<std::string> smiles_of(Read const& read) {
  std::vector<std::string> smiles;
  for (auto const& row : read.rows) smiles.push_back(row.smiles);
  return smiles;
}

}  // namespace polymers
