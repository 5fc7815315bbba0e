#include <string>

#include <doctest/doctest.h>

#include <athanor/chem/drawing.hpp>

using namespace athanor;
using namespace athanor::chem;

// mutant: leave the XML declaration in front of the element, or draw with width and height exchanged
TEST_CASE("a molecule is drawn as an SVG element of the size asked for") {
  for (auto const* smiles : {"CCO", "*CC(*)c1ccccc1", "COC(=O)c1ccc(C(=O)O)cc1.OCCO", "C/C=C\\C", "[2H]O"}) {
    auto const svg = draw_svg(smiles, 240, 160);
    REQUIRE_MESSAGE(svg, smiles);
    CHECK(svg->starts_with("<svg"));
    CHECK(svg->find("</svg>") != std::string::npos);
    CHECK(svg->find("width='240px'") != std::string::npos);
    CHECK(svg->find("height='160px'") != std::string::npos);
    CHECK(svg->find("<path") != std::string::npos);
  }
}

// mutant: leave out the limit of drawing_heavy_atoms, or the check of the sides
TEST_CASE("what cannot be drawn is a typed error") {
  CHECK(draw_svg("C1CC", 200, 200).error().reason == Reason::syntax);
  CHECK(draw_svg("c1cccc1", 200, 200).error().reason == Reason::chemistry);
  CHECK(draw_svg(std::string(301, 'C'), 200, 200).error().reason == Reason::too_large);
  CHECK(draw_svg("CCO", 0, 200).error().reason == Reason::option);
  CHECK(draw_svg("CCO", 200, 5000).error().reason == Reason::option);
}
