/// Pictures of molecules.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <athanor/core/error.hpp>

namespace athanor::inline v1::chem {

/// The most heavy atoms that are drawn: layout time grows quickly, and larger drawings are unreadable.
inline constexpr std::int32_t drawing_heavy_atoms = 300;
/// The length of a bond in a drawing, in pixels.
inline constexpr std::int32_t drawing_bond = 27;

/// A picture and its size in pixels.
struct Drawing {
  std::string svg;  ///< one self-contained SVG element
  std::int32_t width = 0;
  std::int32_t height = 0;
};

/// `smiles` as a picture, all molecules at one scale: a bond has about drawing_bond pixels, and the picture
/// the size that this takes. Open ends (`*`) are wavy lines, stereo marks are left out. Fails as
/// molecular_graph does, with `too_large` above drawing_heavy_atoms. Thread-safe.
Result<Drawing> draw_svg(std::string_view smiles);

}  // namespace athanor::inline v1::chem
