#include "assembly.hpp"

#include <GraphMol/GraphMol.h>
#include <GraphMol/MolOps.h>
#include <GraphMol/SmilesParse/SmilesWrite.h>

namespace athanor::inline v1::chem {

namespace {

RDKit::Bond::BondType bond_type(std::uint32_t order) {
  if (order == 2) return RDKit::Bond::DOUBLE;
  return order == 3 ? RDKit::Bond::TRIPLE : RDKit::Bond::SINGLE;
}

class Assembly {
 public:
  explicit Assembly(Plan const& plan) : plan_(plan) {}

  Assembled run() {
    for (auto const& unit : plan_.units) add(unit);
    for (auto const& opening : plan_.openings) open(opening);
    for (auto const& [from, to] : plan_.links)
      polymer_.addBond(index(from.unit, from.atom), index(to.unit, to.atom), RDKit::Bond::SINGLE);
    for (auto const& end : plan_.ends) close(end);
    for (auto const& centre : plan_.centres) mark(centre);
    remove_leaving();
    perceive(polymer_);
    return write();
  }

 private:
  std::uint32_t index(std::size_t unit, std::uint32_t atom) const { return offsets_[unit] + atom; }
  RDKit::Atom& atom(std::uint32_t index) { return *polymer_.getAtomWithIdx(index); }

  void add(Plan::Unit const& unit) {
    offsets_.push_back(polymer_.getNumAtoms());
    polymer_.insertMol(*unit.monomer->skeleton);
    isomeric_ = isomeric_ || unit.monomer->isomeric;
    if (unit.mirrored)
      for (std::uint32_t index = offsets_.back(); index < polymer_.getNumAtoms(); ++index)
        atom(index).invertChirality();
  }

  /// Prepares an atom for other bonds: its hydrogens are counted again, and its stereo marks no longer apply.
  void loosen(std::uint32_t index) {
    atom(index).setNumExplicitHs(0);
    atom(index).setNoImplicit(false);
    atom(index).setChiralTag(RDKit::Atom::CHI_UNSPECIFIED);
  }

  void change(std::uint32_t begin, std::uint32_t end, std::uint32_t order) {
    if (order == 0) {
      polymer_.removeBond(begin, end);
    } else {
      RDKit::Bond& bond = *polymer_.getBondBetweenAtoms(begin, end);
      bond.setBondType(bond_type(order));
      bond.getStereoAtoms().clear();
      bond.setStereo(RDKit::Bond::STEREONONE);
      for (std::uint32_t const side : {begin, end})
        for (RDKit::Bond* beside : polymer_.atomBonds(&atom(side))) beside->setBondDir(RDKit::Bond::NONE);
    }
    loosen(begin);
    loosen(end);
  }

  /// Removes a bond of `centre`, whose position another bond will take.
  void vacate(std::uint32_t centre, std::uint32_t leaving) {
    int position = 0;
    int taken = 0;
    for (RDKit::Bond const* bond : polymer_.atomBonds(&atom(centre))) {
      if (bond->getOtherAtomIdx(centre) == leaving) taken = position;
      ++position;
    }
    // The new bond comes last, which changes the order of bonds that the mark refers to.
    if ((position - 1 - taken) % 2 != 0) atom(centre).invertChirality();
    polymer_.removeBond(centre, leaving);
  }

  void open(Plan::Opening const& opening) {
    auto const& [unit, way] = opening;
    for (auto const& [begin, end, order] : way.changes) change(index(unit, begin), index(unit, end), order);
    if (way.leaving != nowhere) {
      leaving_.push_back(index(unit, way.leaving));
      for (auto const side : {way.entry, way.second})
        if (side != nowhere) vacate(index(unit, side), leaving_.back());
    }
    std::uint32_t const entry = index(unit, way.entry);
    if (atom(entry).getChiralTag() == RDKit::Atom::CHI_UNSPECIFIED) loosen(entry);
  }

  std::uint32_t attach(std::uint32_t to, int atomic_number) {
    std::uint32_t const added =
        polymer_.addAtom(new RDKit::Atom(static_cast<unsigned>(atomic_number)), false, true);
    polymer_.addBond(added, to, RDKit::Bond::SINGLE);
    return added;
  }

  void close(Plan::End const& end) {
    std::uint32_t const place = index(end.place.unit, end.place.atom);
    if (end.cap == Cap::hydroxyl) attach(place, 8);
    if (end.cap == Cap::star) attach(place, 0);
    if (end.cap != Cap::nitrogen_star) return;
    std::uint32_t const nitrogen = attach(place, 7);
    polymer_.addBond(nitrogen, index(end.place.unit, end.second), RDKit::Bond::SINGLE);
    attach(nitrogen, 0);
  }

  void mark(Plan::Centre const& centre) {
    auto const tag = centre.clockwise ? RDKit::Atom::CHI_TETRAHEDRAL_CW : RDKit::Atom::CHI_TETRAHEDRAL_CCW;
    atom(index(centre.place.unit, centre.place.atom)).setChiralTag(tag);
    isomeric_ = true;
  }

  /// Atoms that are connected only through a leaving atom leave with it.
  void remove_leaving() {
    std::vector<bool> gone(polymer_.getNumAtoms());
    while (!leaving_.empty()) {
      std::uint32_t const next = leaving_.back();
      leaving_.pop_back();
      if (gone[next]) continue;
      gone[next] = true;
      for (RDKit::Atom const* neighbour : polymer_.atomNeighbors(&atom(next)))
        leaving_.push_back(neighbour->getIdx());
    }
    polymer_.beginBatchEdit();
    for (std::uint32_t index = 0; index < gone.size(); ++index)
      if (gone[index]) polymer_.removeAtom(index);
    polymer_.commitBatchEdit();
  }

  Assembled write() {
    if (isomeric_) RDKit::MolOps::assignStereochemistry(polymer_, true, true);
    Assembled result;
    for (RDKit::Atom const* atom : polymer_.atoms())
      result.centres += atom->getChiralTag() != RDKit::Atom::CHI_UNSPECIFIED ? 1 : 0;
    result.smiles = RDKit::MolToSmiles(polymer_, isomeric_);
    return result;
  }

  Plan const& plan_;
  RDKit::RWMol polymer_;
  std::vector<std::uint32_t> offsets_;
  std::vector<std::uint32_t> leaving_;
  bool isomeric_ = false;
};

}  // namespace

Assembled assemble(Plan const& plan) { return Assembly(plan).run(); }

}  // namespace athanor::inline v1::chem
