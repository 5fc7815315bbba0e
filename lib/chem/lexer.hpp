/// What the parser asks the lexer for beyond its public face.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include <athanor/chem/smiles.hpp>

namespace athanor::inline v1::chem {

/// check_smiles, which puts the byte that a refusal is about into `place`.
Result<SmilesFacts> check_smiles(std::string_view text, SmilesLimits const& limits,
                                 std::optional<std::int32_t>* place);

/// The byte at which each atom of a valid SMILES starts, in the order of the text; empty when it is not
/// valid. For error sentences: it costs an allocation that the good path does not pay.
std::vector<std::int32_t> atom_positions(std::string_view text, SmilesLimits const& limits);

}  // namespace athanor::inline v1::chem
