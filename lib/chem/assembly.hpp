/// The plan of a molecule that is assembled from monomers, and its SMILES.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "monomer.hpp"

namespace athanor::inline v1::chem {

/// An atom of a plan: the unit, and the index of the atom in its monomer.
struct Place {
  std::size_t unit = 0;
  std::uint32_t atom = 0;
};

struct Plan {
  struct Unit {
    Monomer const* monomer = nullptr;
    bool mirrored = false;  ///< every marked stereocentre is inverted
  };
  struct Opening {
    std::size_t unit = 0;
    Way way;
  };
  struct Link {
    Place from;
    Place to;
  };
  struct End {
    Place place;
    std::uint32_t second = nowhere;  ///< the other atom that a nitrogen_star closes the ring with
    Cap cap = Cap::star;
  };
  /// A stereocentre that the chain forms.
  struct Centre {
    Place place;
    bool clockwise = false;
  };

  std::vector<Unit> units;
  std::vector<Opening> openings;  ///< of the groups that have reacted
  std::vector<Link> links;        ///< bonds between units, in the order in which they form
  std::vector<End> ends;
  std::vector<Centre> centres;
};

struct Assembled {
  std::string smiles;
  /// Centres of the plan that are stereocentres in the result: atoms with four different neighbours.
  std::size_t centres = 0;
};

/// Assembles the molecule of a plan. Throws what RDKit throws.
Assembled assemble(Plan const& plan);

}  // namespace athanor::inline v1::chem
