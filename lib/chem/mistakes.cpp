#include "mistakes.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "elements.hpp"
#include "letters.hpp"

namespace athanor::inline v1::chem {

namespace {

constexpr std::string_view how_to_end = "write a repeat unit with its two open ends as *";

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(), to_lower);
  return result;
}

/// The letters without a break around `at`.
std::string_view word_at(std::string_view text, std::size_t at) {
  std::size_t first = at;
  while (first > 0 && is_letter(text[first - 1])) --first;
  std::size_t last = at;
  while (last < text.size() && is_letter(text[last])) ++last;
  return text.substr(first, last - first);
}

/// Four small letters in a row, not all of them aromatic atoms, are a word and no chain of atoms.
bool is_name(std::string_view word) {
  if (lower(word) == "poly") return true;
  std::size_t run = 0;
  bool other = false;  // a letter of the run is no aromatic atom
  for (char const letter : word) {
    run = is_lower(letter) ? run + 1 : 0;
    other = run > 0 && (other || std::string_view("bcnops").find(letter) == std::string_view::npos);
    if (run >= 4 && other) return true;
  }
  return false;
}

/// Two capitals or more up to the first blank, not all of them atoms: PVC, PA-6.
bool is_abbreviation(std::string_view text) {
  constexpr std::size_t longest = 20;
  std::string_view const word = text.substr(0, text.find_first_of(" \t"));
  if (word.size() > longest) return false;
  auto const capital_or_number = [](char c) { return is_upper(c) || is_digit(c) || c == '-'; };
  auto const atom = [](char c) {
    return !is_upper(c) || std::string_view("BCFHINOPS").find(c) != std::string_view::npos;
  };
  return std::ranges::count_if(word, is_upper) > 1 && std::ranges::all_of(word, capital_or_number) &&
         !std::ranges::all_of(word, atom);
}

/// What a letter that no SMILES has is often meant for: the rest of the sentence, and the byte where that
/// begins.
std::optional<Refusal> meant(std::string_view text, std::size_t at) {
  for (std::string_view const group : {"Me", "Et", "Ph", "Bu"})
    for (std::size_t const first : {at, at - std::min<std::size_t>(at, 1)})
      if (text.substr(first, 2) == group)
        return Refusal{first,
                       fmt::format("{} at byte {} is the name of a group; write its atoms", group, first)};
  std::string_view const last = at == 0 ? std::string_view() : text.substr(at - 1, 2);
  for (std::string_view const element : {"Cl", "Br"})
    if (lower(last) == lower(element))
      return Refusal{at - 1, fmt::format("{} at byte {}: the element is written {}", last, at - 1, element)};
  if (text[at] == 'R')
    return Refusal{at, fmt::format("R at byte {} is no element; write an open end as *", at)};
  return std::nullopt;
}

Refusal unexpected_letter(std::string_view text, std::size_t at) {
  std::string_view const word = word_at(text, at);
  if (is_name(word))
    return {at, fmt::format("unknown element {} at byte {}; '{}' reads like a name", text[at], at, word)};
  // PCL is polycaprolactone; CCCL and C1CCCCC1BR are not.
  std::string_view const pair = text.substr(at - std::min<std::size_t>(at, 1), 2);
  bool const halogen =
      at > 1 && (pair == "CL" || pair == "BR") && (text[at - 2] == 'C' || is_digit(text[at - 2]));
  if (!halogen && is_abbreviation(text))
    return {at, fmt::format("unknown element {} at byte {}; '{}' reads like an abbreviation", text[at], at,
                            text.substr(0, text.find_first_of(" \t")))};
  if (std::string_view const split = split_element(text, at); !split.empty())
    return {at - 1,
            fmt::format("element {} at byte {} must be written in brackets, [{}]", split, at - 1, split)};
  for (std::size_t const length : {std::size_t{2}, std::size_t{1}})
    if (std::string_view const symbol = text.substr(at, length);
        symbol.size() == length && atomic_number(symbol) > 0)
      return {at, fmt::format("element {} at byte {} must be written in brackets, [{}]", symbol, at, symbol)};
  if (auto refusal = meant(text, at)) return *std::move(refusal);
  return {at, fmt::format("unknown element {} at byte {}", text[at], at)};
}

/// The parts of an extension that make another molecule of the atoms and bonds before it.
constexpr std::array<std::string_view, 8> changing = {"Sg:", "LN:", "m:", "RG:", "LOG:", "C:", "H:", "^"};

std::optional<Refusal> check_extension(std::string_view text, std::size_t open, std::size_t close) {
  bool label = false;  // inside $...$, where commas and colons are text
  bool start = true;   // at the first byte of a part
  for (std::size_t at = open + 1; at < close; ++at) {
    if (text[at] == '$') label = !label;
    if (label) continue;
    if (start)
      for (std::string_view const part : changing)
        if (text.substr(at, close - at).starts_with(part))
          return Refusal{
              at, fmt::format(
                      "the extension at byte {} has a part {} at byte {} that changes the molecule; {}", open,
                      part, at, part == "Sg:" ? how_to_end : "write the molecule itself as SMILES")};
    start = text[at] == ',';
  }
  return std::nullopt;
}

bool is_registry_number(std::string_view text) {
  auto digits = [&](std::string_view part, std::size_t least, std::size_t most) {
    return part.size() >= least && part.size() <= most && std::ranges::all_of(part, is_digit);
  };
  std::size_t const first = text.find('-');
  if (first == std::string_view::npos) return false;
  std::size_t const second = text.find('-', first + 1);
  return second != std::string_view::npos && digits(text.substr(0, first), 2, 7) &&
         digits(text.substr(first + 1, second - first - 1), 2, 2) && digits(text.substr(second + 1), 1, 1);
}

/// Element symbols and numbers, hydrogen and at least one number among them: C8H8, CH3OH.
bool is_formula(std::string_view text) {
  bool hydrogen = false;
  bool number = false;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t const length = at + 1 < text.size() && is_lower(text[at + 1]) ? 2 : 1;
    std::string_view const symbol = text.substr(at, length);
    if (!is_upper(text[at]) || atomic_number(symbol) <= 0) return false;
    hydrogen = hydrogen || symbol == "H";
    for (at += length; at < text.size() && is_digit(text[at]); ++at) number = true;
  }
  return hydrogen && number;
}

/// The hash of an InChI: 14, 10 and 1 capitals.
bool is_key(std::string_view text) {
  if (text.size() != 27) return false;
  for (std::size_t at = 0; at < text.size(); ++at)
    if (at == 14 || at == 25 ? text[at] != '-' : !is_upper(text[at])) return false;
  return true;
}

/// Digits first, and no letter up to a blank: 373 K, -12,5.
bool is_number(std::string_view text) {
  std::string_view const word = text.substr(0, text.find_first_of(" \t"));
  std::string_view const digits = word.substr(word.starts_with('-') || word.starts_with('+') ? 1 : 0);
  return !digits.empty() && is_digit(digits.front()) &&
         std::ranges::all_of(digits, [](char c) { return is_digit(c) || c == '.' || c == ','; });
}

/// A formula of a chain: (C2H4)n, -[CH2-CH2]-.
bool is_chain_formula(std::string_view text) {
  if (text.find('*') != std::string_view::npos) return false;  // a repeat unit with a mistake
  if (text.starts_with('-')) return text.ends_with('-') || text.ends_with("-n");
  return (text.starts_with('(') || text.starts_with('[')) && (text.ends_with(")n") || text.ends_with("]n"));
}

/// Letters beyond ASCII that are seen as blanks, stars and bonds, or not at all.
constexpr std::array<std::pair<std::string_view, std::string_view>, 9> look_alikes = {{
    {"\xC2\xA0", "a no-break space"},
    {"\xE2\x80\x8B", "a zero-width space"},
    {"\xEF\xBB\xBF", "a byte order mark"},
    {"\xE2\x88\x97", "a star other than *"},
    {"\xEF\xBC\x8A", "a star other than *"},
    {"\xE2\x80\x93", "a dash other than -"},
    {"\xE2\x88\x92", "a minus sign other than -"},
    {"\xE2\x80\x9C", "a quotation mark"},
    {"\xE2\x80\x9D", "a quotation mark"},
}};

}  // namespace

std::string_view split_element(std::string_view text, std::size_t at) {
  if (at == 0 || !is_lower(text[at]) || !is_upper(text[at - 1])) return {};
  std::string_view const symbol = text.substr(at - 1, 2);
  return atomic_number(symbol) > 0 ? symbol : std::string_view{};
}

Refusal unexpected_byte(std::string_view text, std::size_t at) {
  char const letter = text[at];
  auto const byte = static_cast<unsigned char>(letter);
  if (letter == '\0') return {at, fmt::format("NUL at byte {}", at)};
  if (letter == '\n' || letter == '\r') return {at, fmt::format("line break at byte {}", at)};
  if (letter == ' ' || letter == '\t') return {at, fmt::format("white space at byte {}", at)};
  for (auto const& [letters, name] : look_alikes)
    if (text.substr(at).starts_with(letters))
      return {at, fmt::format("{} at byte {}; SMILES is ASCII", name, at)};
  if (byte >= 0x80) return {at, fmt::format("byte {} is 0x{:02x}; SMILES is ASCII", at, byte)};
  if (byte < 0x20 || byte == 0x7f)
    return {at, fmt::format("byte {} is the control character 0x{:02x}", at, byte)};
  if (is_letter(letter)) return unexpected_letter(text, at);
  switch (letter) {
    case '~': return {at, fmt::format("~ at byte {} is any bond; write the bond that is meant", at)};
    case '>': return {at, fmt::format("> at byte {} belongs to a reaction; reactions are not read", at)};
    case '{':
    case '}':
      return {at, fmt::format("{} at byte {} belongs to BigSMILES, which is not read; {}", letter, at,
                              how_to_end)};
    default: return {at, fmt::format("unexpected {} at byte {}", letter, at)};
  }
}

Refusal unknown_element(std::string_view text, std::size_t open, std::size_t at) {
  if (at >= text.size()) return {open, fmt::format("bracket opened at byte {} is never closed", open)};
  char const first = text[at];
  char const second = at + 1 < text.size() ? text[at + 1] : '\0';
  if (first == '$' || first == '<' || first == '>')
    return {at, fmt::format("[{} at byte {} belongs to BigSMILES, which is not read; {}", first, open,
                            how_to_end)};
  if (first == '#' || first == '!')
    return {at, fmt::format("[{} at byte {} belongs to SMARTS; only SMILES is read", first, open)};
  if (first == 'R' && !is_lower(second))
    return {at, fmt::format("R at byte {} is no element; write an open end as *", at)};
  if ((first == 'D' || first == 'T') && second == ']')
    return {at, fmt::format("[{}] at byte {} is written [{}H]", first, open, first == 'D' ? 2 : 3)};
  if (is_upper(first))
    if (auto group = meant(text, at)) return *std::move(group);
  if (std::string_view("edtg").find(first) != std::string_view::npos && second == ']')
    return {at, fmt::format("[{}] at byte {} marks an end of a ladder polymer; ladder polymers are not read",
                            first, open)};
  if (is_upper(first))
    return {at, fmt::format("unknown element {} at byte {}", text.substr(at, is_lower(second) ? 2 : 1), at)};
  if (is_lower(first)) return {at, fmt::format("unknown aromatic element {} at byte {}", first, at)};
  return {at, fmt::format("no element at byte {} inside the bracket opened at byte {}", at, open)};
}

std::optional<Refusal> check_rest(std::string_view text, std::size_t at) {
  std::size_t name = text.find_first_not_of(" \t", at);
  if (name < text.size() && text[name] == '|') {
    std::size_t const close = text.find('|', name + 1);
    if (close == std::string_view::npos)
      return Refusal{name, fmt::format("the extension opened at byte {} is never closed by |", name)};
    if (auto changes = check_extension(text, name, close)) return changes;
    name = close + 1;
  }
  std::size_t const line_break = text.find_first_of(std::string_view("\0\n\r", 3), at);
  if (line_break == std::string_view::npos) return std::nullopt;
  return unexpected_byte(text, line_break);
}

std::optional<std::string> other_text(std::string_view text) {
  constexpr std::array<std::string_view, 21> missing = {
      "nan", "none", "null", "nil",  "na",      "n/a",   "n.a.",   "nd",    "n.d.",    "-",   "--",
      "---", "?",    ".",    "#n/a", "#value!", "#ref!", "#name?", "#num!", "#div/0!", "<na>"};
  std::string const small = lower(text);
  // Na is sodium without its brackets.
  if (text != "Na" && std::ranges::find(missing, small) != missing.end())
    return fmt::format("no SMILES: '{}' stands for a missing value", text);
  if (small.starts_with("inchi=")) return "an InChI, and only SMILES is read";
  if (text.starts_with("{\"") || text.starts_with("[\"") || text.starts_with("[{\""))
    return "JSON, and only SMILES is read here";
  // A sentence repeats the text, so it must be short and legible.
  if (text.size() > 80 || !std::ranges::all_of(text, [](char c) { return c >= ' ' && c < 0x7f; }))
    return std::nullopt;
  if (is_key(text)) return fmt::format("'{}' is an InChIKey, and only SMILES is read", text);
  if (is_registry_number(text)) return fmt::format("'{}' is a CAS number, and only SMILES is read", text);
  if (is_formula(text)) return fmt::format("'{}' reads like a formula, and only SMILES is read", text);
  if (is_number(text)) return fmt::format("'{}' reads like a number, and only SMILES is read", text);
  if (is_chain_formula(text))
    return fmt::format("'{}' reads like the formula of a chain; {}", text, how_to_end);
  return std::nullopt;
}

}  // namespace athanor::inline v1::chem
