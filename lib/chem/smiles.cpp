#include <athanor/chem/smiles.hpp>

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "elements.hpp"
#include "letters.hpp"
#include "lexer.hpp"
#include "mistakes.hpp"

namespace athanor::inline v1::chem {

namespace {

constexpr std::int32_t max_isotope = 999;
constexpr std::int32_t max_charge = 15;
constexpr std::int32_t max_map = 9999;
constexpr std::int32_t max_ring_digits = 5;

/// Atomic numbers by first letter and second letter (0 for none); 0 where no element is spelled so.
constexpr auto bracket_elements = [] {
  std::array<std::array<std::uint8_t, 27>, 26> table{};
  for (std::size_t number = 1; number < element_symbols.size(); ++number) {
    std::string_view const symbol = element_symbols[number];
    auto const second = symbol.size() > 1 ? static_cast<std::size_t>(symbol[1] - 'a' + 1) : 0;
    table[static_cast<std::size_t>(symbol[0] - 'A')][second] = static_cast<std::uint8_t>(number);
  }
  return table;
}();

/// A ring number that was opened and not yet closed.
struct OpenRing {
  std::int32_t atom = -1;  // -1: not open
  std::int32_t parent = -1;
  std::int32_t byte = 0;
  char bond = 0;
};

/// Ring numbers of the `%(n)` form above 99, rare and few.
struct LargeRing {
  std::int32_t number = 0;
  OpenRing ring;
};

struct ClosedRing {
  std::int32_t low = 0;  // its two atoms
  std::int32_t high = 0;
  std::int32_t byte = 0;
  std::int32_t number = 0;
};

struct OpenBranch {
  std::int32_t atom = -1;
  std::int32_t parent = -1;
  std::int32_t byte = 0;
};

enum class After { nothing, atom, bond, open, close, dot };

class Lexer {
 public:
  Lexer(std::string_view text, SmilesLimits const& limits, std::vector<std::int32_t>* positions,
        std::optional<std::int32_t>* place) noexcept
      : text_(text), limits_(limits), positions_(positions), place_(place) {}

  Result<SmilesFacts> run() {
    if (static_cast<std::int64_t>(text_.size()) > limits_.bytes)
      return fail(Code::invalid_argument, Reason::too_large, "smiles: expected at most {} bytes, got {}",
                  limits_.bytes, text_.size());
    std::size_t const begin = text_.find_first_not_of(blanks);
    if (begin == std::string_view::npos)
      return fail(Code::invalid_argument, Reason::syntax, "smiles: no SMILES: the text is {}",
                  text_.empty() ? "empty" : "blank");
    std::size_t const last = text_.find_last_not_of(blanks);
    at_ = begin;
    end_ = last + 1;
    while (at_ < end_)
      if (!step()) return refused(begin, last);
    if (!finish()) return refused(begin, last);
    facts_.fragments += 1;
    end_fragment();
    facts_.begin = static_cast<std::int32_t>(begin);
    facts_.size = static_cast<std::int32_t>(end_ - begin);
    return facts_;
  }

 private:
  static constexpr std::string_view blanks = " \t\r\n";
  static constexpr auto twice_bonded = "ring {1} at byte {0} joins two atoms that are bonded already";
  static constexpr auto never_closed = "ring {1} opened at byte {0} is never closed";

  /// The refusal of the text from `begin` to `last`, which may be no SMILES with a mistake but something
  /// else.
  tl::unexpected<Error> refused(std::size_t begin, std::size_t last) {
    auto const other = error_.reason == Reason::syntax ? other_text(text_.substr(begin, last + 1 - begin))
                                                       : std::optional<std::string>();
    if (other) return fail(Code::invalid_argument, Reason::syntax, "smiles: {}", *other);
    if (place_ != nullptr) *place_ = static_cast<std::int32_t>(byte_);
    return tl::unexpected(std::move(error_));
  }

  bool refuse_with(Refusal const& refusal) {
    byte_ = refusal.byte;
    error_ = make_error(Code::invalid_argument, Reason::syntax, "smiles: {}", refusal.sentence);
    return false;
  }
  /// Argument 0 of `sentence` is `byte`.
  template <class Byte, class... Args>
  bool refuse(Byte byte, fmt::format_string<Byte&, Args...> sentence, Args&&... args) {
    return refuse_with(
        {static_cast<std::size_t>(byte), fmt::format(sentence, byte, std::forward<Args>(args)...)});
  }
  bool refuse_size(fmt::format_string<std::size_t&, std::int32_t const&> sentence,
                   std::int32_t const& limit) {
    refuse_with({at_, fmt::format(sentence, at_, limit)});
    error_.reason = Reason::too_large;
    return false;
  }
  bool unexpected() { return refuse_with(unexpected_byte(text_, at_)); }

  char peek(std::size_t ahead = 0) const noexcept { return at_ + ahead < end_ ? text_[at_ + ahead] : '\0'; }

  bool step() {
    char const letter = text_[at_];
    switch (letter) {
      case 'C': return atom(peek(1) == 'l' ? 2 : 1, 6);
      case 'B': return atom(peek(1) == 'r' ? 2 : 1, 6);
      case 'N':
      case 'O':
      case 'P':
      case 'S':
      case 'F':
      case 'I':
      case 'b':
      case 'c':
      case 'n':
      case 'o':
      case 'p':
      case 's': return atom(1, 6);
      case '*': return atom(1, 0);
      case '[': return bracket();
      case '(': return open_branch();
      case ')': return close_branch();
      case '.': return dot();
      case '-': return bond(peek(1) == '>' ? 2 : 1);
      case '<':
        if (peek(1) == '-') return bond(2);
        return unexpected();
      case '\\': return bond(peek(1) == '\\' ? 2 : 1);  // what two levels of escapes made of one
      case ' ':
      case '\t': return rest();
      case '=':
      case '#':
      case '$':
      case ':':
      case '/': return bond(1);
      case '%': return percent_ring();
      default:
        if (is_digit(letter)) return ring(letter - '0', 1);
        return unexpected();
    }
  }

  /// A blank ends the SMILES; a name or an extension may follow.
  bool rest() {
    if (auto const refusal = check_rest(text_.substr(0, end_), at_)) return refuse_with(*refusal);
    end_ = at_;
    return true;
  }

  /// An atom of `length` bytes starts here; `number` 0 is a star, 1 hydrogen, anything else another element.
  bool atom(std::size_t length, std::int32_t number) {
    if (number == 1) {
      facts_.hydrogens += 1;
    } else {
      if (++facts_.heavy_atoms > limits_.heavy_atoms)
        return refuse_size("more than {1} heavy atoms, the limit, from byte {0} on", limits_.heavy_atoms);
      if (number == 0) facts_.stars += 1;
    }
    if (facts_.heavy_atoms + facts_.hydrogens > limits_.atoms)
      return refuse_size("more than {1} atoms, the limit, from byte {0} on", limits_.atoms);
    if (positions_ != nullptr) positions_->push_back(static_cast<std::int32_t>(at_));
    parent_ = after_ == After::dot ? -1 : atom_;
    atom_ = next_atom_++;
    after_ = After::atom;
    bond_ = 0;
    at_ += length;
    return true;
  }

  bool bracket() {
    std::size_t const open = at_;
    std::size_t cursor = open + 1;
    auto look = [&](std::size_t ahead = 0) { return cursor + ahead < end_ ? text_[cursor + ahead] : '\0'; };
    auto number = [&](std::int32_t most) {  // -1: above `most`
      std::int32_t value = 0;
      while (is_digit(look())) {
        value = value < 0 ? value : value * 10 + (look() - '0');
        if (value > most) value = -1;
        ++cursor;
      }
      return value;
    };
    if (is_digit(look()) && number(max_isotope) < 0)
      return refuse(open + 1, "isotope at byte {} is above {}", max_isotope);
    std::int32_t const element = bracket_symbol(cursor);
    if (element < 0) return false;
    if (look() == '@' && !chirality(cursor)) return false;
    if (look() == 'H') {
      ++cursor;
      if (is_digit(look()) && is_digit(look(1)))
        return refuse(cursor, "hydrogen count at byte {} is above 9");
      if (is_digit(look())) ++cursor;
    }
    if (look() == '+' || look() == '-') {
      char const sign = look();
      std::size_t const from = cursor++;
      std::int32_t charge = 1;
      if (is_digit(look())) {
        charge = number(max_charge);
      } else {
        for (; look() == sign; ++cursor) ++charge;
      }
      if (charge != 0) facts_.charged += 1;
      if (charge < 0 || charge > max_charge) return refuse(from, "charge at byte {} is above {}", max_charge);
      charge_ += sign == '-' ? -charge : charge;
    }
    if (look() == ':') {
      ++cursor;
      if (!is_digit(look())) return refuse(cursor - 1, "atom map without a number at byte {}");
      std::size_t const from = cursor;
      if (number(max_map) < 0) return refuse(from, "atom map at byte {} is above {}", max_map);
    }
    if (cursor >= end_) return refuse(open, "bracket opened at byte {} is never closed");
    if (look() != ']') {
      at_ = cursor;
      if (look() > ' ' && look() < 0x7f)
        return refuse(cursor, "unexpected {1} at byte {0} inside the bracket opened at byte {2}", look(),
                      open);
      return unexpected();
    }
    return atom(cursor + 1 - open, element);
  }

  /// The element at `cursor` inside a bracket, moving `cursor` past it; -1 with the error set.
  std::int32_t bracket_symbol(std::size_t& cursor) {
    char const first = cursor < end_ ? text_[cursor] : '\0';
    char const second = cursor + 1 < end_ ? text_[cursor + 1] : '\0';
    if (first == '*') {
      ++cursor;
      return 0;
    }
    if (is_upper(first)) {
      auto const& row = bracket_elements[static_cast<std::size_t>(first - 'A')];
      if (is_lower(second)) {
        if (std::int32_t const element = row[static_cast<std::size_t>(second - 'a') + 1]; element > 0) {
          cursor += 2;
          return element;
        }
      } else if (row[0] > 0) {
        ++cursor;
        return row[0];
      }
    } else if (is_lower(first)) {
      bool const two = (first == 's' && (second == 'e' || second == 'i')) ||
                       (first == 'a' && second == 's') || (first == 't' && second == 'e');
      bool const one = std::string_view("bcnops").find(first) != std::string_view::npos;
      if (two || one) {
        cursor += two ? 2 : 1;
        return 6;
      }
    }
    refuse_with(unknown_element(text_.substr(0, end_), at_, cursor));
    return -1;
  }

  /// `@`, `@@`, or `@` with a class and a number such as `@TB12`.
  bool chirality(std::size_t& cursor) {
    std::size_t const from = cursor++;
    if (cursor < text_.size() && text_[cursor] == '@') {
      ++cursor;
      return true;
    }
    struct Class {
      std::string_view name;
      std::int32_t most;
    };
    constexpr std::array<Class, 5> classes = {{{"TH", 2}, {"AL", 2}, {"SP", 3}, {"TB", 20}, {"OH", 30}}};
    for (auto const& [name, most] : classes) {
      if (text_.substr(cursor, 2) != name) continue;
      cursor += 2;
      std::int32_t value = 0;
      for (int digits = 0; cursor < text_.size() && is_digit(text_[cursor]) && digits < 3; ++digits)
        value = value * 10 + (text_[cursor++] - '0');
      if (value < 1 || value > most)
        return refuse(from, "chirality at byte {} is not {}1 to {}{}", name, name, most);
      return true;
    }
    return true;
  }

  bool bond(std::size_t length) {
    if (after_ == After::bond) return refuse(at_, "two bonds in a row at byte {}");
    if (after_ == After::nothing) return refuse(at_, "bond before any atom at byte {}");
    if (after_ == After::dot) return refuse(at_, "bond after . at byte {}");
    bond_ = length == 2 && text_[at_] != '\\' ? '>' : text_[at_];
    ring_allowed_ = after_ != After::open;
    after_ = After::bond;
    at_ += length;
    return true;
  }

  bool dot() {
    if (after_ == After::bond) return refuse(at_, "bond before . at byte {}");
    if (after_ != After::atom && after_ != After::close) return refuse(at_, "no atom before . at byte {}");
    if (++facts_.fragments >= limits_.fragments)
      return refuse_size("more than {1} fragments, the limit, from byte {0} on", limits_.fragments);
    end_fragment();
    after_ = After::dot;
    ++at_;
    return true;
  }

  void end_fragment() {
    if (charge_ != 0) facts_.ions += 1;
    charge_ = 0;
  }

  bool open_branch() {
    if (after_ != After::atom && after_ != After::close)
      return refuse(at_, "branch without an atom before it at byte {}");
    branches_.push_back({atom_, parent_, static_cast<std::int32_t>(at_)});
    after_ = After::open;
    ++at_;
    return true;
  }

  bool close_branch() {
    if (branches_.empty()) return refuse(at_, ") at byte {} closes nothing");
    if (after_ == After::open) return refuse(branches_.back().byte, "empty branch at byte {}");
    if (after_ != After::atom && after_ != After::close) return refuse(at_, "no atom before ) at byte {}");
    atom_ = branches_.back().atom;
    parent_ = branches_.back().parent;
    branches_.pop_back();
    after_ = After::close;
    ++at_;
    return true;
  }

  bool percent_ring() {
    if (peek(1) == '(') {
      std::int32_t number = 0;
      std::size_t length = 2;
      for (; is_digit(peek(length)); ++length) {
        if (length - 2 >= max_ring_digits)
          return refuse(at_, "ring number at byte {} has more than 5 digits");
        number = number * 10 + (peek(length) - '0');
      }
      if (length == 2 || peek(length) != ')') return refuse(at_, "ring number at byte {} is not %(n)");
      return ring(number, length + 1);
    }
    if (!is_digit(peek(1)) || !is_digit(peek(2)))
      return refuse(at_, "% at byte {} is not followed by two digits");
    return ring((peek(1) - '0') * 10 + (peek(2) - '0'), 3);
  }

  OpenRing& ring_slot(std::int32_t number) {
    if (number < static_cast<std::int32_t>(rings_.size())) return rings_[static_cast<std::size_t>(number)];
    for (auto& large : large_rings_)
      if (large.number == number) return large.ring;
    return large_rings_.emplace_back(LargeRing{number, {}}).ring;
  }

  bool ring(std::int32_t number, std::size_t length) {
    bool const after_atom = after_ == After::atom || after_ == After::close;
    if (!after_atom && !(after_ == After::bond && ring_allowed_))
      return refuse(at_, "ring number without an atom before it at byte {}");
    OpenRing& slot = ring_slot(number);
    if (slot.atom < 0) {
      slot = {atom_, parent_, static_cast<std::int32_t>(at_), bond_};
      ++open_rings_;
    } else {
      if (slot.atom == atom_)
        return refuse(at_, "ring {1} at byte {0} closes on the atom that opened it", number);
      if (slot.atom == parent_ || slot.parent == atom_) return refuse(at_, twice_bonded, number);
      if (!bonds_agree(slot.bond, bond_))
        return refuse(at_, "ring {1} is opened with {2} at byte {3} and closed with {4} at byte {0}", number,
                      slot.bond, slot.byte, bond_);
      closed_.push_back(
          {std::min(slot.atom, atom_), std::max(slot.atom, atom_), static_cast<std::int32_t>(at_), number});
      slot.atom = -1;
      --open_rings_;
      facts_.rings += 1;
    }
    bond_ = 0;
    after_ = After::atom;
    at_ += length;
    return true;
  }

  static bool bonds_agree(char opened, char closed) noexcept {
    auto plain = [](char bond) { return bond == '/' || bond == '\\' ? '-' : bond; };
    return opened == 0 || closed == 0 || plain(opened) == plain(closed);
  }

  bool finish() {
    if (after_ == After::bond) return refuse(at_, "bond without an atom after it at the end, byte {}");
    if (after_ == After::dot) return refuse(at_, "no atom after . at the end, byte {}");
    if (!branches_.empty()) return refuse(branches_.back().byte, "branch opened at byte {} is never closed");
    if (open_rings_ == 0) return check_closed();
    for (std::size_t number = 0; number < rings_.size(); ++number)
      if (rings_[number].atom >= 0) return refuse(rings_[number].byte, never_closed, number);
    for (auto const& large : large_rings_)
      if (large.ring.atom >= 0) return refuse(large.ring.byte, never_closed, large.number);
    return true;
  }

  /// Two rings may not join the same two atoms.
  bool check_closed() {
    if (closed_.size() < 2) return true;
    auto const ends = [](ClosedRing const& ring) { return std::tuple(ring.low, ring.high, ring.byte); };
    std::ranges::sort(closed_, {}, ends);
    auto const same = [](ClosedRing const& one, ClosedRing const& other) {
      return one.low == other.low && one.high == other.high;
    };
    auto const twice = std::ranges::adjacent_find(closed_, same);
    return twice == closed_.end() || refuse(twice[1].byte, twice_bonded, twice[1].number);
  }

  std::string_view text_;
  SmilesLimits const& limits_;
  std::vector<std::int32_t>* positions_;
  std::optional<std::int32_t>* place_;
  std::size_t at_ = 0;
  std::size_t end_ = 0;   // where the SMILES ends
  std::size_t byte_ = 0;  // the byte that error_ is about
  After after_ = After::nothing;
  bool ring_allowed_ = false;  // a ring number may follow the bond just read
  char bond_ = 0;              // the bond just read; `>` for both dative ones
  std::int32_t atom_ = -1;     // the atom that the next one is bonded to
  std::int32_t parent_ = -1;   // the atom that `atom_` was bonded to when it was read
  std::int32_t next_atom_ = 0;
  std::int32_t open_rings_ = 0;
  std::array<OpenRing, 100> rings_{};
  std::vector<LargeRing> large_rings_;
  std::vector<ClosedRing> closed_;
  std::vector<OpenBranch> branches_;
  SmilesFacts facts_;
  std::int32_t charge_ = 0;  // of the fragment that is read
  Error error_;
};

}  // namespace

Result<SmilesFacts> check_smiles(std::string_view text, SmilesLimits const& limits) {
  return Lexer(text, limits, nullptr, nullptr).run();
}

Result<SmilesFacts> check_smiles(std::string_view text, SmilesLimits const& limits,
                                 std::optional<std::int32_t>* place) {
  return Lexer(text, limits, nullptr, place).run();
}

std::vector<std::int32_t> atom_positions(std::string_view text, SmilesLimits const& limits) {
  std::vector<std::int32_t> positions;
  if (auto const facts = Lexer(text, limits, &positions, nullptr).run(); !facts) positions.clear();
  return positions;
}

}  // namespace athanor::inline v1::chem
