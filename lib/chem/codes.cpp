#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include <fmt/format.h>

#include <athanor/chem/graph.hpp>

#include "elements.hpp"

namespace athanor::inline v1::chem {

namespace {

/// RDKit's bond types by number, spelled as its Python module prints them.
constexpr std::array<std::string_view, 22> bond_names = {
    "UNSPECIFIED", "SINGLE",      "DOUBLE",      "TRIPLE",        "QUADRUPLE",    "QUINTUPLE",
    "HEXTUPLE",    "ONEANDAHALF", "TWOANDAHALF", "THREEANDAHALF", "FOURANDAHALF", "FIVEANDAHALF",
    "AROMATIC",    "IONIC",       "HYDROGEN",    "THREECENTER",   "DATIVEONE",    "DATIVE",
    "DATIVEL",     "DATIVER",     "OTHER",       "ZERO"};

std::string_view boolean(bool value) noexcept { return value ? "True" : "False"; }

std::string_view symbol(std::int32_t number) noexcept {
  auto const index = static_cast<std::size_t>(number);
  return index < element_symbols.size() ? element_symbols[index] : "?";
}

/// Reads a key from left to right; every member returns false or nothing where the text is not what it
/// expects.
class KeyReader {
 public:
  explicit KeyReader(std::string_view text) noexcept : rest_(text) {}

  bool skip(std::string_view expected) noexcept {
    if (!rest_.starts_with(expected)) return false;
    rest_.remove_prefix(expected.size());
    return true;
  }
  std::string_view until(std::string_view stop) noexcept {
    std::string_view const head = rest_.substr(0, rest_.find(stop));
    rest_.remove_prefix(head.size());
    return head;
  }
  std::optional<std::int32_t> number() noexcept {
    std::int32_t value = 0;
    auto const [end, failure] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    if (failure != std::errc{}) return std::nullopt;
    rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    return value;
  }
  std::optional<bool> truth() noexcept {
    if (skip("True")) return true;
    if (skip("False")) return false;
    return std::nullopt;
  }
  std::optional<std::int32_t> element() noexcept {
    if (!skip("'")) return std::nullopt;
    std::int32_t const found = atomic_number(until("'"));
    if (found < 0 || !skip("'")) return std::nullopt;
    return found;
  }
  bool finished() const noexcept { return rest_.empty(); }

 private:
  std::string_view rest_;
};

std::optional<AtomKind> read_atom(std::string_view key) {
  KeyReader reader(key);
  if (!reader.skip("(")) return std::nullopt;
  auto const element = reader.element();
  if (!element || !reader.skip(", ")) return std::nullopt;
  auto const degree = reader.number();
  if (!degree || *degree < 0 || *degree > 255 || !reader.skip(", 0, 0, ")) return std::nullopt;
  auto const aromatic = reader.truth();
  if (!aromatic || !reader.skip(")") || !reader.finished()) return std::nullopt;
  return AtomKind{*element, *degree, *aromatic};
}

std::optional<BondKind> read_bond(std::string_view key) {
  KeyReader reader(key);
  if (!reader.skip("(rdkit.Chem.rdchem.BondType.")) return std::nullopt;
  auto const name = std::find(bond_names.begin(), bond_names.end(), reader.until(", "));
  if (name == bond_names.end() || !reader.skip(", ")) return std::nullopt;
  auto const conjugated = reader.truth();
  if (!conjugated || !reader.skip(", ")) return std::nullopt;
  auto const in_ring = reader.truth();
  if (!in_ring || !reader.skip(", [")) return std::nullopt;
  auto const first = reader.element();
  if (!first || !reader.skip(", ")) return std::nullopt;
  auto const second = reader.element();
  if (!second || !reader.skip("])") || !reader.finished()) return std::nullopt;
  if (symbol(*first) > symbol(*second)) return std::nullopt;
  return BondKind{static_cast<std::int32_t>(name - bond_names.begin()), *conjugated, *in_ring,
                  std::min(*first, *second), std::max(*first, *second)};
}

}  // namespace

std::string atom_key(std::int32_t code) {
  AtomKind const kind = unpack_atom(code);
  return fmt::format("('{}', {}, 0, 0, {})", symbol(kind.atomic_number), kind.degree, boolean(kind.aromatic));
}

std::string bond_key(std::int32_t code) {
  BondKind const kind = unpack_bond(code);
  std::string_view const low = symbol(kind.low);
  std::string_view const high = symbol(kind.high);
  auto const type = static_cast<std::size_t>(kind.type);
  return fmt::format("(rdkit.Chem.rdchem.BondType.{}, {}, {}, ['{}', '{}'])",
                     type < bond_names.size() ? bond_names[type] : "OTHER", boolean(kind.conjugated),
                     boolean(kind.in_ring), std::min(low, high), std::max(low, high));
}

Result<std::int32_t> atom_code(std::string_view key) {
  if (auto const kind = read_atom(key)) return pack(*kind);
  return fail(Code::invalid_argument, Reason::syntax,
              "atom key: expected the form ('C', 4, 0, 0, False) with no implicit hydrogen, got {}", key);
}

Result<std::int32_t> bond_code(std::string_view key) {
  if (auto const kind = read_bond(key)) return pack(*kind);
  return fail(
      Code::invalid_argument, Reason::syntax,
      "bond key: expected the form (rdkit.Chem.rdchem.BondType.SINGLE, False, False, ['C', 'H']), got {}",
      key);
}

}  // namespace athanor::inline v1::chem
