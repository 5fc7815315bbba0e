#include <cmath>
#include <cstdio>
#include <string>

#include <doctest/doctest.h>

#include <athanor/chem/drawing.hpp>

using namespace athanor;
using namespace athanor::chem;

// mutant: the XML declaration stays in front of a drawing
// mutant: a drawing says that it is as wide as it is high
TEST_CASE("a molecule is drawn as an SVG element of the size that it says") {
  for (auto const* smiles : {"CCO", "*CC(*)c1ccccc1", "COC(=O)c1ccc(C(=O)O)cc1.OCCO", "C/C=C\\C", "[2H]O"}) {
    auto const drawing = draw_svg(smiles);
    REQUIRE_MESSAGE(drawing, smiles);
    auto const& svg = drawing->svg;
    CHECK(svg.starts_with("<svg"));
    CHECK(svg.find("</svg>") != std::string::npos);
    CHECK(svg.find("width='" + std::to_string(drawing->width) + "px'") != std::string::npos);
    CHECK(svg.find("height='" + std::to_string(drawing->height) + "px'") != std::string::npos);
    CHECK(svg.find("<path") != std::string::npos);
  }
}

// mutant: drawings have the scale that RDKit gives them
TEST_CASE("drawings have one scale, and open ends are no atoms") {
  for (std::size_t const carbons : {2U, 8U, 60U}) {
    auto const svg = draw_svg(std::string(carbons, 'C'))->svg;
    double x1 = 0;
    double y1 = 0;
    double x2 = 0;
    double y2 = 0;
    std::string const bond = svg.substr(svg.find("d='M "));
    REQUIRE(std::sscanf(bond.c_str(), "d='M %lf,%lf L %lf,%lf", &x1, &y1, &x2, &y2) == 4);
    CHECK(std::hypot(x2 - x1, y2 - y1) == doctest::Approx(drawing_bond).epsilon(0.05));
  }
  CHECK(draw_svg("*CC*")->svg.find("<text") == std::string::npos);
}

// mutant: molecules of any size are drawn
TEST_CASE("what cannot be drawn is a typed error") {
  CHECK(draw_svg("C1CC").error().reason == Reason::syntax);
  CHECK(draw_svg("c1cccc1").error().reason == Reason::chemistry);
  CHECK(draw_svg(std::string(301, 'C')).error().reason == Reason::too_large);
}
