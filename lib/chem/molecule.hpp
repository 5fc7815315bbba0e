/// The only door to RDKit's parser: text that the lexer accepted goes in, a molecule or an Error comes out.
///
/// RDKit reports through four channels (a null pointer, three families of exceptions); here they become one.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include <GraphMol/RWMol.h>

#include <athanor/chem/domain.hpp>
#include <athanor/chem/graph.hpp>
#include <athanor/chem/smiles.hpp>
#include <athanor/core/error.hpp>

namespace athanor::inline v1::chem {

using MoleculePointer = std::unique_ptr<RDKit::RWMol>;

/// Which atom of the text an atom of a molecule came from: `atom % unit` when nothing was reordered.
struct Origin {
  std::string_view smiles;
  SmilesLimits const& limits;
  /// Atom numbers of the text by atom of the (first unit of the) molecule; empty when they are the same.
  std::vector<std::int32_t> atoms;
  /// False when hydrogens were removed, after which numbers say nothing.
  bool known = true;
};

/// Runs `body`, which returns a Result, and turns what RDKit throws into an Error that names the byte in
/// question.
template <class Body>
auto guard_chemistry(Origin const& origin, Body&& body) -> decltype(body());
/// The Error for the exception that is being handled.
Error chemistry_error(Origin const& origin) noexcept;

/// The molecule as written: no chemistry yet, hydrogens where the text has them.
Result<MoleculePointer> parse_text(std::string_view smiles);

/// Rings, aromaticity, conjugation and hydrogen counts, but no stereo perception: its cost grows with the
/// cube of the chain, and none of the features reads it. Throws what RDKit throws.
void perceive(RDKit::RWMol& molecule);

/// Text to molecule: parse, then hydrogens written as atoms become counts, then perceive.
Result<MoleculePointer> parse_molecule(std::string_view smiles, SmilesFacts const& facts,
                                       SmilesLimits const& limits);

/// The graph of atoms [first, first + count) of a perceived molecule. An edge that leaves this window leads
/// to the atom of the same place in it, so the window must be a unit of a chain of equal units, or the whole.
Result<MolecularGraph> graph_of(RDKit::ROMol const& molecule, std::uint32_t first, std::uint32_t count,
                                SmilesLimits const& limits);

/// Morgan identifiers of atoms [first, first + count) of a perceived molecule. Throws what RDKit throws.
std::vector<MorganCount> identifiers_of(RDKit::ROMol const& molecule, std::uint32_t first,
                                        std::uint32_t count);

template <class Body>
auto guard_chemistry(Origin const& origin, Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (...) {
    return tl::unexpected<Error>(chemistry_error(origin));
  }
}

}  // namespace athanor::inline v1::chem
