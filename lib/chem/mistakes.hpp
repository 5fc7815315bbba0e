/// What people write where a SMILES is expected, recognised by name so that the refusal leads to the mend.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace athanor::inline v1::chem {

/// A byte of a text, and a sentence about it that names it.
struct Refusal {
  std::size_t byte = 0;
  std::string sentence;
};

/// Why no SMILES goes on with the byte `at` of `text`.
Refusal unexpected_byte(std::string_view text, std::size_t at);

/// The refusal of what stands in the brackets that `open` opens in place of an element, which begins at `at`.
Refusal unknown_element(std::string_view text, std::size_t open, std::size_t at);

/// Why what follows a SMILES, from the blank at `at` on, cannot be set aside. A name can, and so can a
/// CXSMILES extension (between two `|`) unless it changes the molecule: repeat units, link nodes, radicals
/// and bonds of its own.
std::optional<Refusal> check_rest(std::string_view text, std::size_t at);

/// Why a refused `text`, which has no blanks at its ends, is no SMILES as a whole: a word for a missing
/// value, or another notation. Without a value it may be a SMILES with a mistake.
std::optional<std::string> other_text(std::string_view text);

/// The element whose symbol stands at `at` and the byte before, `Si` for the `i` of `CSi`; empty when there
/// is none.
std::string_view split_element(std::string_view text, std::size_t at);

}  // namespace athanor::inline v1::chem
