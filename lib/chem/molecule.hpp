/// The only door to RDKit's parser: text that the lexer accepted goes in, a molecule or an Error comes out.
///
/// RDKit reports through four channels (a null pointer, three families of exceptions); here they become one.
#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include <GraphMol/RWMol.h>

#include <athanor/chem/domain.hpp>
#include <athanor/chem/graph.hpp>
#include <athanor/chem/smiles.hpp>
#include <athanor/core/error.hpp>

namespace athanor::inline v1::chem {

using MoleculePointer = std::unique_ptr<RDKit::RWMol>;

/// A text that the lexer accepted, kept for sentences about its molecule.
struct Source {
  std::string_view text;
  SmilesLimits limits;
  SmilesFacts facts;
  /// Receives the position of the byte that an error is about; may be null.
  std::optional<std::int32_t>* place = nullptr;
  /// Atom numbers of the text by atom of the molecule, or of the first unit of a chain; empty when they are
  /// the same.
  std::vector<std::int32_t> atoms;

  /// The SMILES without what was set aside.
  std::string_view smiles() const {
    return text.substr(static_cast<std::size_t>(facts.begin), static_cast<std::size_t>(facts.size));
  }
};

/// Reads a text as check_smiles does.
Result<Source> read_source(std::string_view text, SmilesLimits const& limits,
                           std::optional<std::int32_t>* place = nullptr);

/// The byte at which the atom `atom` of the molecule stands in the text; it is noted as the place of a
/// refusal.
std::optional<std::int32_t> locate(Source const& source, std::uint32_t atom);

/// Runs `body`, which returns a Result, and turns what RDKit throws into an Error that names the byte in
/// question.
template <class Body>
auto guard_chemistry(Source const& source, Body&& body) -> decltype(body());
/// The Error for the exception that is being handled.
Error chemistry_error(Source const& source) noexcept;

/// The molecule as written: no chemistry yet, hydrogens where the text has them.
Result<MoleculePointer> parse_text(std::string_view smiles);

/// parse_text, and hydrogens written as atoms become counts; `source.atoms` then says which atoms are left.
Result<MoleculePointer> parse_heavy(Source& source);

/// Rings, aromaticity, conjugation and hydrogen counts, but no stereo perception: its cost grows with the
/// cube of the chain, and none of the features reads it. Throws what RDKit throws.
void perceive(RDKit::RWMol& molecule);

/// parse_heavy, then perceive.
Result<MoleculePointer> parse_molecule(Source& source);

/// The molecule as RDKit's SmilesToMol gives it, with hybridisation and stereo. Refuses marks of stereo above
/// chemprop_stereo_heavy_atoms.
Result<MoleculePointer> parse_with_stereo(Source& source);

/// The graph of atoms [first, first + count) of a perceived molecule. An edge that leaves this window leads
/// to the atom of the same place in it, so the window must be a unit of a chain of equal units, or the whole.
Result<MolecularGraph> graph_of(RDKit::ROMol const& molecule, std::uint32_t first, std::uint32_t count,
                                SmilesLimits const& limits);

/// Morgan identifiers of atoms [first, first + count) of a perceived molecule. Throws what RDKit throws.
std::vector<MorganCount> identifiers_of(RDKit::ROMol const& molecule, std::uint32_t first,
                                        std::uint32_t count);

template <class Body>
auto guard_chemistry(Source const& source, Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (...) {
    return tl::unexpected<Error>(chemistry_error(source));
  }
}

}  // namespace athanor::inline v1::chem
