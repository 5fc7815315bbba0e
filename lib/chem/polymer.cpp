#include <athanor/chem/polymer.hpp>

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <GraphMol/GraphMol.h>
#include <GraphMol/MolOps.h>

#include "molecule.hpp"

namespace athanor::inline v1::chem {

namespace {

/// Bonds from the middle unit within which an end of the chain could still be seen: a Morgan identifier reads
/// the neighbours of atoms two bonds away, and conjugation no more.
constexpr std::uint32_t sight = 4;

/// A repeat unit without its stars.
struct Unit {
  MoleculePointer molecule;
  Origin origin;
  std::uint32_t head = 0;  // the atoms that carried the stars
  std::uint32_t tail = 0;
  RDKit::Bond::BondType link = RDKit::Bond::SINGLE;
  std::uint32_t atoms = 0;
  std::uint32_t length = 1;  // bonds from a head to the next unit's head
};

template <class... Args>
tl::unexpected<Error> refuse(fmt::format_string<Args...> sentence, Args&&... args) {
  return fail(Code::invalid_argument, Reason::chemistry, "repeat unit: {}",
              fmt::format(sentence, std::forward<Args>(args)...));
}

std::uint32_t bond_order(RDKit::Bond::BondType type) {
  switch (type) {
    case RDKit::Bond::DOUBLE: return 2;
    case RDKit::Bond::TRIPLE: return 3;
    default: return 1;
  }
}

/// Units on either side of the middle one that keep the ends of the chain out of its sight. Across multiple
/// bonds a ring's aromaticity depends on the next unit too, so there the neighbours need neighbours of their
/// own.
std::uint32_t flank_of(Unit const& unit) {
  std::uint32_t const flank = (sight + unit.length - 1) / unit.length;
  return unit.link == RDKit::Bond::SINGLE ? flank : std::max(flank, 2u);
}

/// One open end: the star, the atom that it stands on, and the bond between.
struct OpenEnd {
  std::uint32_t star = 0;
  std::uint32_t atom = 0;
  RDKit::Bond::BondType link = RDKit::Bond::SINGLE;
};

Result<OpenEnd> open_end(RDKit::RWMol const& molecule, RDKit::Atom const& star) {
  if (star.getDegree() != 1) return refuse("a * must have one neighbour, this one has {}", star.getDegree());
  if (star.getFormalCharge() != 0 || star.getNumExplicitHs() != 0)
    return refuse("a * must carry neither charge nor hydrogen");
  OpenEnd end{star.getIdx(), 0, RDKit::Bond::SINGLE};
  for (RDKit::Bond const* bond : molecule.atomBonds(&star)) {
    end.atom = bond->getOtherAtomIdx(star.getIdx());
    end.link = bond->getBondType();
  }
  if (molecule.getAtomWithIdx(end.atom)->getAtomicNum() == 0)
    return refuse("the two * are bonded to each other");
  if (end.link != RDKit::Bond::SINGLE && end.link != RDKit::Bond::DOUBLE && end.link != RDKit::Bond::TRIPLE)
    return refuse("a * must have a single, double or triple bond");
  return end;
}

/// Takes the stars off a molecule as written and notes where they were.
Result<Unit> cut_stars(MoleculePointer molecule, Origin origin) {
  std::vector<OpenEnd> ends;
  for (RDKit::Atom const* atom : molecule->atoms()) {
    if (atom->getAtomicNum() != 0) {
      if (origin.known) origin.atoms.push_back(static_cast<std::int32_t>(atom->getIdx()));
      continue;
    }
    auto end = open_end(*molecule, *atom);
    if (!end) return tl::unexpected(std::move(end.error()));
    ends.push_back(*end);
  }
  OpenEnd const& first = ends.front();
  OpenEnd const& second = ends.back();
  if (first.link != second.link) return refuse("the bonds of the two * differ, so they cannot be joined");
  Unit unit{std::move(molecule), std::move(origin), second.atom, first.atom, first.link, 0, 1};
  if (first.atom != second.atom) {
    auto const path = RDKit::MolOps::getShortestPath(*unit.molecule, static_cast<int>(first.atom),
                                                     static_cast<int>(second.atom));
    if (path.empty()) return refuse("the two * are in separate fragments");
    unit.length = static_cast<std::uint32_t>(path.size());
  }
  auto without_stars = [&](std::uint32_t atom) {
    return atom - (first.star < atom ? 1u : 0u) - (second.star < atom ? 1u : 0u);
  };
  unit.head = without_stars(first.atom);
  unit.tail = without_stars(second.atom);
  unit.molecule->removeAtom(second.star);
  unit.molecule->removeAtom(first.star);
  unit.atoms = unit.molecule->getNumAtoms();
  return unit;
}

void cap(RDKit::RWMol& chain, std::uint32_t atom, std::uint32_t hydrogens) {
  RDKit::Atom& end = *chain.getAtomWithIdx(atom);
  end.setNumExplicitHs(end.getNumExplicitHs() + hydrogens);
}

/// A perceived chain of `units` units with hydrogen at both ends; its atoms are those of the units in order.
RDKit::RWMol make_chain(Unit const& unit, std::uint32_t units) {
  RDKit::RWMol chain(*unit.molecule);
  for (std::uint32_t i = 1; i < units; ++i) {
    chain.insertMol(*unit.molecule);
    chain.addBond((i - 1) * unit.atoms + unit.tail, i * unit.atoms + unit.head, unit.link);
  }
  cap(chain, unit.head, bond_order(unit.link));
  cap(chain, (units - 1) * unit.atoms + unit.tail, bond_order(unit.link));
  perceive(chain);
  return chain;
}

Result<PreparedMolecule> prepared(RDKit::ROMol const& molecule, std::uint32_t first, std::uint32_t count,
                                  PolymerOptions const& options) {
  auto graph = graph_of(molecule, first, count, options.limits);
  if (!graph) return tl::unexpected(std::move(graph.error()));
  PreparedMolecule result;
  result.graph = std::move(*graph);
  if (options.identifiers && molecule.getNumHeavyAtoms() <= static_cast<unsigned int>(morgan_heavy_atoms))
    result.identifiers = identifiers_of(molecule, first, count);
  return result;
}

Result<PreparedMolecule> prepare_unit(std::string_view smiles, SmilesFacts const& facts,
                                      PolymerOptions const& options) {
  auto molecule = parse_text(smiles);
  if (!molecule) return tl::unexpected(std::move(molecule.error()));
  if (facts.hydrogens > 0) RDKit::MolOps::removeHs(**molecule, false, true, false);
  auto unit = cut_stars(std::move(*molecule), Origin{smiles, options.limits, {}, facts.hydrogens == 0});
  if (!unit) return tl::unexpected(std::move(unit.error()));

  std::uint32_t const flank = options.units ? 0 : flank_of(*unit);
  std::uint32_t const units = options.units ? static_cast<std::uint32_t>(*options.units) : 2 * flank + 1;
  auto const heavy = std::int64_t{unit->atoms} * units;
  if (options.units && heavy > options.limits.heavy_atoms)
    return fail(Code::invalid_argument, Reason::too_large,
                "repeat unit: {} units of {} atoms are {} heavy atoms, at most {} are read", units,
                unit->atoms, heavy, options.limits.heavy_atoms);
  return guard_chemistry(unit->origin, [&]() -> Result<PreparedMolecule> {
    RDKit::RWMol const chain = make_chain(*unit, units);
    if (options.units) return prepared(chain, 0, chain.getNumAtoms(), options);
    return prepared(chain, flank * unit->atoms, unit->atoms, options);
  });
}

}  // namespace

Result<PreparedMolecule> prepare_polymer(std::string_view smiles, PolymerOptions const& options) {
  if (options.units && *options.units < 1)
    return fail(Code::invalid_argument, Reason::option, "units: at least 1, got {}", *options.units);
  auto const facts = check_smiles(smiles, options.limits);
  if (!facts) return tl::unexpected(facts.error());
  if (facts->stars != 0 && facts->stars != 2)
    return refuse("two * mark the ends of a repeat unit, this SMILES has {}", facts->stars);

  Origin const origin{smiles, options.limits, {}, facts->hydrogens == 0};
  if (facts->stars == 2) {
    auto result = guard_chemistry(origin, [&] { return prepare_unit(smiles, *facts, options); });
    if (result) result->polymer = true;
    return result;
  }
  auto const molecule = parse_molecule(smiles, *facts, options.limits);
  if (!molecule) return tl::unexpected(molecule.error());
  return guard_chemistry(origin,
                         [&] { return prepared(**molecule, 0, (*molecule)->getNumAtoms(), options); });
}

}  // namespace athanor::inline v1::chem
