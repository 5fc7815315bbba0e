// polymers build: makes a polymer from monomers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <athanor/chem/polymerise.hpp>
#include <athanor/core/error.hpp>

namespace polymers {

struct BuildSettings {
  std::vector<std::string> monomers;  // several may be joined by dots, as in PolyID's files
  std::string mechanism;              // empty: the one that fits
  athanor::chem::PolymeriseOptions options{};
  std::int32_t count = 1;  // polymers, of consecutive seeds
};

// Prints what was built. Returns the SMILES to predict: the repeat unit, or the oligomers if there is none.
athanor::Result<std::vector<std::string>> build(BuildSettings const& settings);

}  // namespace polymers
