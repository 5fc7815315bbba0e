/// The table of mechanisms: the patterns of the groups that react, and how their atoms and bonds change.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <athanor/chem/polymerise.hpp>

namespace athanor::inline v1::chem {

/// A change of the order of a bond between two atoms; 0 breaks it.
struct BondChange {
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
  std::uint32_t order = 0;
};

/// No atom.
inline constexpr std::uint32_t nowhere = 0xffffffff;

/// One way in which a group reacts. Atoms are indices into the pattern in a GroupRule, into the monomer in a
/// Group.
struct Way {
  std::uint32_t entry = 0;  ///< gets the bond to the unit before it (chain growth), or to the other group
  std::uint32_t second = nowhere;  ///< gets a bond to the same atom as `entry`
  std::uint32_t exit = nowhere;    ///< gets the bond to the next unit; chain growth only
  /// Leaves, with all atoms that are connected to the rest only through it.
  std::uint32_t leaving = nowhere;
  std::vector<BondChange> changes = {};
};

/// What ends a chain at an atom without a next unit.
enum class Cap : std::uint8_t {
  hydrogen,
  hydroxyl,
  star,           // the open end of a repeat unit
  nitrogen_star,  // an open end at the nitrogen that closes an imide ring
};

struct GroupRule {
  std::string_view name;    ///< in the singular, for error messages
  std::string_view smarts;  ///< in RDKit's dialect
  /// Alternatives, of which a group uses one; with `each`, every one is a group of its own.
  std::vector<Way> ways;
  bool each = false;
  /// The end of a chain that begins at `entry`; chain growth only.
  Cap first = Cap::hydrogen;
  /// The end of a repeat unit, in place of the next unit.
  Cap open = Cap::star;
  /// How the group becomes the open end of a repeat unit, if by none of `ways`.
  std::optional<Way> open_way = {};
};

/// A row of the table. In chain growth a monomer reacts by the first group of `chain` that it has. In step
/// growth a `first` group reacts with a `second` one; a monomer that has both joins a chain that has both by
/// its second.
struct MechanismRow {
  Mechanism mechanism;
  std::string_view name;
  std::vector<GroupRule const*> chain;
  GroupRule const* first = nullptr;
  GroupRule const* second = nullptr;

  bool step() const { return first != nullptr; }
};

MechanismRow const& row_of(Mechanism mechanism);

}  // namespace athanor::inline v1::chem
