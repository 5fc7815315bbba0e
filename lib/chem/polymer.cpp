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
  Source source;
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

Result<OpenEnd> open_end(Source const& source, RDKit::RWMol const& molecule, RDKit::Atom const& star) {
  auto const refuse_star = [&](std::string_view sentence) {
    auto const byte = locate(source, star.getIdx());
    return refuse("the *{} {}", byte ? fmt::format(" at byte {}", *byte) : std::string(), sentence);
  };
  if (star.getDegree() != 1)
    return refuse_star(fmt::format("must have one neighbour, it has {}", star.getDegree()));
  if (star.getFormalCharge() != 0 || star.getNumExplicitHs() != 0)
    return refuse_star("must carry neither charge nor hydrogen");
  OpenEnd end{star.getIdx(), 0, RDKit::Bond::SINGLE};
  for (RDKit::Bond const* bond : molecule.atomBonds(&star)) {
    end.atom = bond->getOtherAtomIdx(star.getIdx());
    end.link = bond->getBondType();
  }
  if (molecule.getAtomWithIdx(end.atom)->getAtomicNum() == 0)
    return refuse("the two * are bonded to each other");
  if (end.link != RDKit::Bond::SINGLE && end.link != RDKit::Bond::DOUBLE && end.link != RDKit::Bond::TRIPLE)
    return refuse_star("must have a single, double or triple bond");
  return end;
}

/// Takes the stars off a molecule as written and notes where they were.
Result<Unit> cut_stars(MoleculePointer molecule, Source source) {
  std::vector<OpenEnd> ends;
  std::vector<std::int32_t> kept;
  for (RDKit::Atom const* atom : molecule->atoms()) {
    if (atom->getAtomicNum() != 0) {
      auto const index = static_cast<std::int32_t>(atom->getIdx());
      kept.push_back(source.atoms.empty() ? index : source.atoms[atom->getIdx()]);
      continue;
    }
    auto end = open_end(source, *molecule, *atom);
    if (!end) return tl::unexpected(std::move(end.error()));
    ends.push_back(*end);
  }
  OpenEnd const& first = ends.front();
  OpenEnd const& second = ends.back();
  if (first.link != second.link) {
    locate(source, second.star);
    return refuse("the bonds of the two * differ, so they cannot be joined");
  }
  source.atoms = std::move(kept);
  Unit unit{std::move(molecule), std::move(source), second.atom, first.atom, first.link, 0, 1};
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

Result<PreparedMolecule> prepare_unit(Source source, PolymerOptions const& options) {
  auto molecule = parse_heavy(source);
  if (!molecule) return tl::unexpected(std::move(molecule.error()));
  auto unit = cut_stars(std::move(*molecule), std::move(source));
  if (!unit) return tl::unexpected(std::move(unit.error()));

  std::uint32_t const flank = options.units ? 0 : flank_of(*unit);
  std::uint32_t const units = options.units ? static_cast<std::uint32_t>(*options.units) : 2 * flank + 1;
  auto const heavy = std::int64_t{unit->atoms} * units;
  if (options.units && heavy > options.limits.heavy_atoms)
    return fail(Code::invalid_argument, Reason::too_large,
                "repeat unit: expected at most {} heavy atoms, got {} units of {} atoms",
                options.limits.heavy_atoms, units, unit->atoms);
  return guard_chemistry(unit->source, [&]() -> Result<PreparedMolecule> {
    RDKit::RWMol const chain = make_chain(*unit, units);
    if (options.units) return prepared(chain, 0, chain.getNumAtoms(), options);
    return prepared(chain, flank * unit->atoms, unit->atoms, options);
  });
}

/// Why a SMILES with neither two `*` nor none is not read.
tl::unexpected<Error> refuse_stars(Source const& source) {
  std::string_view const smiles = source.smiles();
  std::int32_t const stars = source.facts.stars;
  std::int32_t units = 0;  // fragments with two stars
  for (std::size_t first = 0; first <= smiles.size();) {
    std::size_t const dot = std::min(smiles.find('.', first), smiles.size());
    units += std::ranges::count(smiles.substr(first, dot - first), '*') == 2 ? 1 : 0;
    first = dot + 1;
  }
  std::string_view const kind = units > 1    ? ": copolymers are not read"
                                : stars == 4 ? ": ladder polymers and networks are not read"
                                : stars > 2  ? ": networks are not read"
                                             : "";
  std::size_t const end = static_cast<std::size_t>(source.facts.begin + source.facts.size);
  if (stars < 2 && source.text.find('*', end) != std::string_view::npos)
    return refuse("two * mark the ends of a repeat unit, this SMILES has {}: it ends at the blank at byte {}",
                  stars, end);
  if (stars > 2 && source.place != nullptr) {
    std::size_t third = source.text.find('*');
    for (int i = 0; i < 2; ++i) third = source.text.find('*', third + 1);
    *source.place = static_cast<std::int32_t>(third);
  }
  return refuse("two * mark the ends of a repeat unit, this SMILES has {}{}", stars, kind);
}

Result<PreparedMolecule> prepare(std::string_view text, PolymerOptions const& options,
                                 std::optional<std::int32_t>* place) {
  if (options.units && *options.units < 1)
    return fail(Code::invalid_argument, Reason::option, "units: expected at least 1, got {}", *options.units);
  auto source = read_source(text, options.limits, place);
  if (!source) return tl::unexpected(std::move(source.error()));
  std::int32_t const stars = source->facts.stars;
  if (stars != 0 && stars != 2) return refuse_stars(*source);
  if (stars == 2) {
    auto result = guard_chemistry(*source, [&] { return prepare_unit(*source, options); });
    if (result) result->polymer = true;
    return result;
  }
  auto const molecule = parse_molecule(*source);
  if (!molecule) return tl::unexpected(molecule.error());
  return guard_chemistry(*source,
                         [&] { return prepared(**molecule, 0, (*molecule)->getNumAtoms(), options); });
}

}  // namespace

Result<PreparedMolecule> prepare_polymer(std::string_view smiles, PolymerOptions const& options) {
  return prepare(smiles, options, nullptr);
}

std::optional<SmilesFault> find_fault(std::string_view smiles, PolymerOptions const& options) {
  std::optional<std::int32_t> byte;
  auto prepared = prepare(smiles, options, &byte);
  if (prepared) return std::nullopt;
  return SmilesFault{std::move(prepared.error()), byte};
}

std::string no_polymer(SmilesFacts const& facts) {
  if (facts.stars > 0 && facts.fragments > 1 && facts.ions == 0)
    return fmt::format(
        "a repeat unit and {} without a charge beside it, a mixture",
        facts.fragments == 2 ? "a molecule" : fmt::format("{} molecules", facts.fragments - 1));
  if (facts.stars > 0) return {};
  if (facts.fragments > 1)
    return fmt::format("{} molecules side by side{}", facts.fragments,
                       facts.charged > 1 ? ", with charges: a salt" : "");
  if (facts.heavy_atoms == 1) return "one heavy atom";
  if (facts.heavy_atoms < smallest_oligomer)
    return fmt::format("a molecule of {} heavy atoms", facts.heavy_atoms);
  return {};
}

}  // namespace athanor::inline v1::chem
