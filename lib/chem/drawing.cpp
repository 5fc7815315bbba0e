#include <athanor/chem/drawing.hpp>

#include <GraphMol/GraphMol.h>
#include <GraphMol/MolDraw2D/MolDraw2DSVG.h>
#include <GraphMol/MolDraw2D/MolDraw2DUtils.h>

#include "molecule.hpp"

namespace athanor::inline v1::chem {

Result<std::string> draw_svg(std::string_view smiles, std::int32_t width, std::int32_t height) {
  for (std::int32_t const side : {width, height})
    if (side < 16 || side > 4096)
      return fail(Code::invalid_argument, Reason::option, "drawing: a side of 16 to 4096 pixels, got {}",
                  side);
  SmilesLimits const limits;
  auto source = read_source(smiles, limits);
  if (!source) return tl::unexpected(std::move(source.error()));
  if (source->facts.heavy_atoms > drawing_heavy_atoms)
    return fail(Code::invalid_argument, Reason::too_large, "drawing: {} heavy atoms, at most {} are drawn",
                source->facts.heavy_atoms, drawing_heavy_atoms);
  auto const molecule = parse_molecule(*source);
  if (!molecule) return tl::unexpected(molecule.error());
  return guard_chemistry(*source, [&]() -> Result<std::string> {
    RDKit::MolDraw2DUtils::prepareMolForDrawing(**molecule, true, false);
    RDKit::MolDraw2DSVG drawer(width, height);
    drawer.drawOptions().clearBackground = false;
    drawer.drawMolecule(**molecule);
    drawer.finishDrawing();
    std::string svg = drawer.getDrawingText();
    // The XML declaration belongs to a file of its own, not to an element inside a page.
    if (auto const element = svg.find("<svg"); element != std::string::npos) svg.erase(0, element);
    return svg;
  });
}

}  // namespace athanor::inline v1::chem
