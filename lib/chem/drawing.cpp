#include <athanor/chem/drawing.hpp>

#include <GraphMol/GraphMol.h>
#include <GraphMol/MolDraw2D/MolDraw2DSVG.h>
#include <GraphMol/MolDraw2D/MolDraw2DUtils.h>

#include "molecule.hpp"

namespace athanor::inline v1::chem {

Result<Drawing> draw_svg(std::string_view smiles) {
  SmilesLimits const limits;
  auto source = read_source(smiles, limits);
  if (!source) return tl::unexpected(std::move(source.error()));
  if (source->facts.heavy_atoms > drawing_heavy_atoms)
    return fail(Code::invalid_argument, Reason::too_large, "drawing: expected at most {} heavy atoms, got {}",
                drawing_heavy_atoms, source->facts.heavy_atoms);
  auto const molecule = parse_molecule(*source);
  if (!molecule) return tl::unexpected(molecule.error());
  return guard_chemistry(*source, [&]() -> Result<Drawing> {
    constexpr double angstroms_per_bond = 1.5;  // of RDKit's layout
    RDKit::MolDraw2DUtils::prepareMolForDrawing(**molecule, true, false);
    RDKit::MolDraw2DSVG drawer(-1, -1);  // as large as it has to be
    auto& options = drawer.drawOptions();
    options.clearBackground = false;
    options.dummiesAreAttachments = true;
    options.scalingFactor = drawing_bond / angstroms_per_bond;
    options.fixedFontSize = 12;
    options.padding = 0.02;  // by which RDKit enlarges the scale, too
    drawer.drawMolecule(**molecule);
    drawer.finishDrawing();
    Drawing drawing{drawer.getDrawingText(), drawer.width(), drawer.height()};
    // The XML declaration belongs to a file of its own, not to an element inside a page.
    if (auto const element = drawing.svg.find("<svg"); element != std::string::npos)
      drawing.svg.erase(0, element);
    return drawing;
  });
}

}  // namespace athanor::inline v1::chem
