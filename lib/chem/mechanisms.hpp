/// What each mechanism joins, as a table: patterns of groups, and what becomes of their atoms.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <athanor/chem/polymerise.hpp>

namespace athanor::inline v1::chem {

/// A bond between two atoms that gets another order; 0: it breaks.
struct BondChange {
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
  std::uint32_t order = 0;
};

/// No atom.
inline constexpr std::uint32_t nowhere = 0xffffffff;

/// One way in which a group reacts. In a GroupRule atoms are those of its pattern, in a Group those of the monomer.
struct Way {
  std::uint32_t entry = 0;  ///< gets the bond to the unit before it (chain growth), or to the other group
  std::uint32_t second = nowhere;  ///< gets a bond to the same atom as `entry`
  std::uint32_t exit = nowhere;    ///< gets the bond to the next unit; chain growth only
  /// Leaves, with everything that hangs on it alone.
  std::uint32_t leaving = nowhere;
  std::vector<BondChange> changes = {};
};

/// What stands at a bond that has no other unit.
enum class Cap : std::uint8_t {
  hydrogen,
  hydroxyl,
  star,           // the open end of a repeat unit
  nitrogen_star,  // an open end behind the nitrogen that closes an imide ring
};

struct GroupRule {
  std::string_view name;    ///< in the singular, for sentences
  std::string_view smarts;  ///< RDKit's dialect
  /// Alternatives, of which a group uses one; with `each`, groups of their own.
  std::vector<Way> ways;
  bool each = false;
  /// Where the chain begins at `entry`; chain growth only.
  Cap first = Cap::hydrogen;
  /// What stands for the next unit in a repeat unit, and where.
  Cap open = Cap::star;
  /// The way in which the group becomes the open end of a repeat unit, where that is none of `ways`.
  std::optional<Way> open_way = {};
};

/// A row of the table. Chain growth has one list: of the groups in it, the first that a monomer has. Step growth has two
/// groups, and a monomer that has both joins a chain that has both with its second.
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
