/// Strict reading of SMILES text, before any chemistry: grammar, ranges and sizes. Needs no RDKit, keeps no
/// state, and costs a small part of a parse, so that hostile text never reaches the toolkit.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include <athanor/core/error.hpp>

namespace athanor::inline v1::chem {

/// The largest molecule that is read. Raise the limits only for trusted input: no time limit can interrupt a
/// parse.
struct SmilesLimits {
  std::int32_t bytes = 8192;        ///< bytes of text
  std::int32_t heavy_atoms = 2000;  ///< atoms that are not hydrogen, `*` included
  std::int32_t atoms = 6000;        ///< all atoms, hydrogens included
  std::int32_t fragments = 64;      ///< parts joined by `.`
};

/// What one pass over the text determines.
struct SmilesFacts {
  std::int32_t heavy_atoms = 0;  ///< atoms that are not hydrogen, `*` included
  std::int32_t hydrogens = 0;    ///< hydrogens written as atoms of their own, such as `[H]` and `[2H]`
  std::int32_t stars = 0;        ///< `*` atoms: the open ends of a repeat unit
  std::int32_t fragments = 0;    ///< parts joined by `.`
  std::int32_t rings = 0;        ///< ring closures
  std::int32_t charged = 0;      ///< atoms with a charge
  std::int32_t ions = 0;         ///< of the fragments, those whose charges do not cancel out
  std::int32_t begin = 0;        ///< the byte at which the SMILES begins
  std::int32_t size = 0;         ///< its bytes; what follows them in the text was set aside
};

/// A fault and its place, for programs that point at it.
struct SmilesFault {
  Error error;
  /// The byte of the text that `error` is about, counted from 0; without a value it is about the text as a
  /// whole.
  std::optional<std::int32_t> byte;
};

/// Reads `text` as one SMILES. Blanks and line breaks at its ends are trimmed. After a blank it may
/// go on with a CXSMILES extension (between two `|`) and a name, which are set aside; an extension
/// that changes the molecule is rejected. Two backslashes are read as one, as RDKit does. `~`, a
/// bond of any kind, is rejected, although RDKit reads it, because no feature describes it.
///
/// Fails with invalid_argument: `too_large` above a limit, `syntax` otherwise, and the sentence names the
/// byte, counted from 0, or what was written in place of a SMILES. Accepts text that later chemistry checks
/// may still reject. Thread-safe.
Result<SmilesFacts> check_smiles(std::string_view text, SmilesLimits const& limits = {});

}  // namespace athanor::inline v1::chem
