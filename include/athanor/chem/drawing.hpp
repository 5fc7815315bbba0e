/// Pictures of molecules.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <athanor/core/error.hpp>

namespace athanor::inline v1::chem {

/// The most heavy atoms that are drawn: layout time grows quickly, and larger drawings are unreadable.
inline constexpr std::int32_t drawing_heavy_atoms = 300;

/// `smiles` as a self-contained SVG element of `width` by `height` pixels; `*` are drawn as open ends, stereo
/// marks are left out. Fails as molecular_graph does, with `too_large` above drawing_heavy_atoms, and with
/// `option` for a size outside 16 to 4096. Thread-safe.
Result<std::string> draw_svg(std::string_view smiles, std::int32_t width, std::int32_t height);

}  // namespace athanor::inline v1::chem
