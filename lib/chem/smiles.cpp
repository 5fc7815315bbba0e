#include <athanor/chem/smiles.hpp>

#include <array>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "elements.hpp"
#include "lexer.hpp"

namespace athanor::inline v1::chem {

namespace {

constexpr bool is_digit(char letter) noexcept { return letter >= '0' && letter <= '9'; }
constexpr bool is_upper(char letter) noexcept { return letter >= 'A' && letter <= 'Z'; }
constexpr bool is_lower(char letter) noexcept { return letter >= 'a' && letter <= 'z'; }

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

struct OpenBranch {
  std::int32_t atom = -1;
  std::int32_t parent = -1;
  std::int32_t byte = 0;
};

enum class After { nothing, atom, bond, open, close, dot };

class Lexer {
 public:
  Lexer(std::string_view text, SmilesLimits const& limits, std::vector<std::int32_t>* positions) noexcept
      : text_(text), limits_(limits), positions_(positions) {}

  Result<SmilesFacts> run() {
    if (static_cast<std::int64_t>(text_.size()) > limits_.bytes)
      return fail(Code::invalid_argument, Reason::too_large, "smiles: {} bytes, at most {} are read",
                  text_.size(), limits_.bytes);
    if (text_.empty()) return fail(Code::invalid_argument, Reason::syntax, "smiles: the text is empty");
    while (at_ < text_.size())
      if (!step()) return tl::unexpected(std::move(error_));
    if (!finish()) return tl::unexpected(std::move(error_));
    facts_.fragments += 1;
    return facts_;
  }

 private:
  template <class... Args>
  bool refuse(fmt::format_string<Args...> sentence, Args&&... args) {
    error_ = make_error(Code::invalid_argument, Reason::syntax, "smiles: {}",
                        fmt::format(sentence, std::forward<Args>(args)...));
    return false;
  }
  template <class... Args>
  bool refuse_size(fmt::format_string<Args...> sentence, Args&&... args) {
    refuse(sentence, std::forward<Args>(args)...);
    error_.reason = Reason::too_large;
    return false;
  }

  char peek(std::size_t ahead = 0) const noexcept {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }

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
        return unexpected(letter);
      case '=':
      case '#':
      case '$':
      case ':':
      case '/':
      case '\\': return bond(1);
      case '%': return percent_ring();
      default:
        if (is_digit(letter)) return ring(letter - '0', 1);
        return unexpected(letter);
    }
  }

  bool unexpected(char letter) {
    auto const byte = static_cast<unsigned char>(letter);
    if (letter == '\0') return refuse("NUL at byte {}", at_);
    if (letter == '\n' || letter == '\r') return refuse("line break at byte {}", at_);
    if (letter == ' ' || letter == '\t') {
      std::size_t const rest = text_.find_first_not_of(" \t", at_);
      if (rest == std::string_view::npos) return refuse("white space at byte {}", at_);
      if (text_[rest] == '|')
        return refuse("an extension starts at byte {}; only plain SMILES is read", rest);
      return refuse("white space at byte {}; a name or other text after a SMILES is not read", at_);
    }
    if (byte >= 0x80) return refuse("byte {} is 0x{:02x}; SMILES is ASCII", at_, byte);
    if (is_upper(letter) || is_lower(letter)) {
      std::size_t const length = is_upper(letter) && is_lower(peek(1)) ? 2 : 1;
      std::string_view const symbol = text_.substr(at_, length);
      if (atomic_number(symbol) > 0)
        return refuse("element {} at byte {} must be written in brackets", symbol, at_);
      return refuse("unknown element {} at byte {}", symbol.substr(0, 1), at_);
    }
    if (byte < 0x20 || byte == 0x7f) return refuse("byte {} is the control character 0x{:02x}", at_, byte);
    return refuse("unexpected {} at byte {}", letter, at_);
  }

  /// An atom of `length` bytes starts here; `number` 0 is a star, 1 hydrogen, anything else another element.
  bool atom(std::size_t length, std::int32_t number) {
    if (number == 1) {
      facts_.hydrogens += 1;
    } else {
      if (++facts_.heavy_atoms > limits_.heavy_atoms)
        return refuse_size("more than {} heavy atoms, the limit, from byte {} on", limits_.heavy_atoms, at_);
      if (number == 0) facts_.stars += 1;
    }
    if (facts_.heavy_atoms + facts_.hydrogens > limits_.atoms)
      return refuse_size("more than {} atoms, the limit, from byte {} on", limits_.atoms, at_);
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
    auto look = [&](std::size_t ahead = 0) {
      return cursor + ahead < text_.size() ? text_[cursor + ahead] : '\0';
    };
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
      return refuse("isotope at byte {} is above {}", open + 1, max_isotope);
    std::int32_t const element = bracket_symbol(cursor);
    if (element < 0) return false;
    if (look() == '@' && !chirality(cursor)) return false;
    if (look() == 'H') {
      ++cursor;
      if (is_digit(look()) && is_digit(look(1)))
        return refuse("hydrogen count at byte {} is above 9", cursor);
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
      if (charge < 0 || charge > max_charge) return refuse("charge at byte {} is above {}", from, max_charge);
    }
    if (look() == ':') {
      ++cursor;
      if (!is_digit(look())) return refuse("atom map without a number at byte {}", cursor - 1);
      std::size_t const from = cursor;
      if (number(max_map) < 0) return refuse("atom map at byte {} is above {}", from, max_map);
    }
    if (cursor >= text_.size()) return refuse("bracket opened at byte {} is never closed", open);
    if (look() != ']') {
      at_ = cursor;
      if (look() > ' ' && look() < 0x7f)
        return refuse("unexpected {} at byte {} inside the bracket opened at byte {}", look(), cursor, open);
      return unexpected(look());
    }
    return atom(cursor + 1 - open, element);
  }

  /// The element at `cursor` inside a bracket, moving `cursor` past it; -1 with the error set.
  std::int32_t bracket_symbol(std::size_t& cursor) {
    char const first = cursor < text_.size() ? text_[cursor] : '\0';
    char const second = cursor + 1 < text_.size() ? text_[cursor + 1] : '\0';
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
      refuse("unknown element {} at byte {}", text_.substr(cursor, is_lower(second) ? 2 : 1), cursor);
      return -1;
    }
    if (is_lower(first)) {
      bool const two = (first == 's' && (second == 'e' || second == 'i')) ||
                       (first == 'a' && second == 's') || (first == 't' && second == 'e');
      bool const one = std::string_view("bcnops").find(first) != std::string_view::npos;
      if (two || one) {
        cursor += two ? 2 : 1;
        return 6;
      }
      refuse("unknown aromatic element {} at byte {}", first, cursor);
      return -1;
    }
    if (cursor >= text_.size()) {
      refuse("bracket opened at byte {} is never closed", at_);
    } else {
      refuse("no element at byte {} inside the bracket opened at byte {}", cursor, at_);
    }
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
        return refuse("chirality at byte {} is not {}1 to {}{}", from, name, name, most);
      return true;
    }
    return true;
  }

  bool bond(std::size_t length) {
    if (after_ == After::bond) return refuse("two bonds in a row at byte {}", at_);
    if (after_ == After::nothing) return refuse("bond before any atom at byte {}", at_);
    if (after_ == After::dot) return refuse("bond after . at byte {}", at_);
    bond_ = length == 2 ? '>' : text_[at_];
    ring_allowed_ = after_ != After::open;
    after_ = After::bond;
    at_ += length;
    return true;
  }

  bool dot() {
    if (after_ == After::bond) return refuse("bond before . at byte {}", at_);
    if (after_ != After::atom && after_ != After::close) return refuse("no atom before . at byte {}", at_);
    if (++facts_.fragments >= limits_.fragments)
      return refuse_size("more than {} fragments, the limit, from byte {} on", limits_.fragments, at_);
    after_ = After::dot;
    ++at_;
    return true;
  }

  bool open_branch() {
    if (after_ != After::atom && after_ != After::close)
      return refuse("branch without an atom before it at byte {}", at_);
    branches_.push_back({atom_, parent_, static_cast<std::int32_t>(at_)});
    after_ = After::open;
    ++at_;
    return true;
  }

  bool close_branch() {
    if (branches_.empty()) return refuse(") at byte {} closes nothing", at_);
    if (after_ == After::open) return refuse("empty branch at byte {}", branches_.back().byte);
    if (after_ != After::atom && after_ != After::close) return refuse("no atom before ) at byte {}", at_);
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
          return refuse("ring number at byte {} has more than 5 digits", at_);
        number = number * 10 + (peek(length) - '0');
      }
      if (length == 2 || peek(length) != ')') return refuse("ring number at byte {} is not %(n)", at_);
      return ring(number, length + 1);
    }
    if (!is_digit(peek(1)) || !is_digit(peek(2)))
      return refuse("% at byte {} is not followed by two digits", at_);
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
      return refuse("ring number without an atom before it at byte {}", at_);
    OpenRing& slot = ring_slot(number);
    if (slot.atom < 0) {
      slot = {atom_, parent_, static_cast<std::int32_t>(at_), bond_};
      ++open_rings_;
    } else {
      if (slot.atom == atom_)
        return refuse("ring {} at byte {} closes on the atom that opened it", number, at_);
      if (slot.atom == parent_ || slot.parent == atom_)
        return refuse("ring {} at byte {} joins two atoms that are bonded already", number, at_);
      if (!bonds_agree(slot.bond, bond_))
        return refuse("ring {} is opened with {} at byte {} and closed with {} at byte {}", number, slot.bond,
                      slot.byte, bond_, at_);
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
    if (after_ == After::bond) return refuse("bond without an atom after it at the end, byte {}", at_);
    if (after_ == After::dot) return refuse("no atom after . at the end, byte {}", at_);
    if (!branches_.empty()) return refuse("branch opened at byte {} is never closed", branches_.back().byte);
    if (open_rings_ == 0) return true;
    for (std::size_t number = 0; number < rings_.size(); ++number)
      if (rings_[number].atom >= 0)
        return refuse("ring {} opened at byte {} is never closed", number, rings_[number].byte);
    for (auto const& large : large_rings_)
      if (large.ring.atom >= 0)
        return refuse("ring {} opened at byte {} is never closed", large.number, large.ring.byte);
    return true;
  }

  std::string_view text_;
  SmilesLimits const& limits_;
  std::vector<std::int32_t>* positions_;
  std::size_t at_ = 0;
  After after_ = After::nothing;
  bool ring_allowed_ = false;  // a ring number may follow the bond just read
  char bond_ = 0;              // the bond just read; `>` for both dative ones
  std::int32_t atom_ = -1;     // the atom that the next one is bonded to
  std::int32_t parent_ = -1;   // the atom that `atom_` was bonded to when it was read
  std::int32_t next_atom_ = 0;
  std::int32_t open_rings_ = 0;
  std::array<OpenRing, 100> rings_{};
  std::vector<LargeRing> large_rings_;
  std::vector<OpenBranch> branches_;
  SmilesFacts facts_;
  Error error_;
};

}  // namespace

Result<SmilesFacts> check_smiles(std::string_view text, SmilesLimits const& limits) {
  return Lexer(text, limits, nullptr).run();
}

std::vector<std::int32_t> atom_positions(std::string_view text, SmilesLimits const& limits) {
  std::vector<std::int32_t> positions;
  if (auto const facts = Lexer(text, limits, &positions).run(); !facts) positions.clear();
  return positions;
}

}  // namespace athanor::inline v1::chem
