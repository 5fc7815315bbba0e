// Polymers with known glass transition temperatures.
#pragma once

#include <string>
#include <vector>

#include <athanor/core/error.hpp>

namespace polymers {

struct Handbook {
  std::string smiles;
  std::string name;
  double tg_k = 0;
  std::string source;
  // In the table of the shipped model's training that may be told. What is not may be in the larger one.
  bool trained_on = false;
  std::string chain{};  // chem::chain_key
};

athanor::Result<std::vector<Handbook>> read_handbook(std::string const& path);

// The entry of the same endless chain, however either is written; null when there is none.
Handbook const* find_entry(std::vector<Handbook> const& handbook, std::string const& smiles);

}  // namespace polymers
