#include <athanor/chem/tokens.hpp>

#include <algorithm>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "json_object.hpp"

namespace athanor::inline v1::chem {

namespace {

template <class... Args>
tl::unexpected<Error> refuse(fmt::format_string<Args...> sentence, Args&&... args) {
  return fail(Code::invalid_argument, Reason::syntax, "token table: {}",
              fmt::format(sentence, std::forward<Args>(args)...));
}

/// The `_data` of one of nfp's tokenizers: key text to token.
Result<std::vector<std::pair<std::string, std::int32_t>>> read_tokens(json::Json const& document,
                                                                      std::string_view name) {
  auto const tokenizer = document.find(name);
  if (tokenizer == document.end() || !tokenizer->is_object())
    return refuse("{}: expected an object, got {}", name, describe_member(document, name));
  auto const data = tokenizer->find("_data");
  if (data == tokenizer->end() || !data->is_object())
    return refuse("{}._data: expected an object, got {}", name, describe_member(*tokenizer, "_data"));
  std::vector<std::pair<std::string, std::int32_t>> tokens;
  for (auto const& [key, token] : data->items()) {
    if (!token.is_number_integer() || token < TokenTable::unknown || token > 1'000'000)
      return refuse("{}: the token of {} is {}, expected a number from 1 on", name, key, token.dump());
    tokens.emplace_back(key, token.get<std::int32_t>());
  }
  return tokens;
}

}  // namespace

Result<TokenTable> TokenTable::from_nfp_json(std::string_view text) {
  auto const document = parse_object(text, "token table", Reason::syntax);
  if (!document) return tl::unexpected(document.error());
  auto const explicit_hydrogens = document->find("explicit_hs");
  if (explicit_hydrogens == document->end() || *explicit_hydrogens != true)
    return refuse("explicit_hs: expected true, since graphs have all hydrogens as atoms; got {}",
                  describe_member(*document, "explicit_hs"));

  TokenTable table;
  auto fill = [&](std::string_view name, Vocabulary& vocabulary, auto&& code_of) -> Result<void> {
    auto const tokens = read_tokens(*document, name);
    if (!tokens) return tl::unexpected(tokens.error());
    for (auto const& [key, token] : *tokens) {
      vocabulary.largest = std::max(vocabulary.largest, token);
      if (key == "unk") {
        if (token != unknown) return refuse("{}: the token of unk is {}, expected {}", name, token, unknown);
        continue;
      }
      auto const code = code_of(key);
      if (!code) return refuse("{}: {}", name, code.error().message);
      vocabulary.tokens.emplace(*code, token);
    }
    return {};
  };
  if (auto const filled = fill("atom_tokenizer", table.atoms_, atom_code); !filled)
    return tl::unexpected(filled.error());
  if (auto const filled = fill("bond_tokenizer", table.bonds_, bond_code); !filled)
    return tl::unexpected(filled.error());
  return table;
}

void TokenTable::learn(Vocabulary& vocabulary, std::span<std::int32_t const> codes) {
  for (std::int32_t const code : codes)
    if (vocabulary.tokens.emplace(code, vocabulary.largest + 1).second) ++vocabulary.largest;
}

void TokenTable::learn(MolecularGraph const& graph) {
  learn(atoms_, graph.atom);
  learn(bonds_, graph.bond);
}

TokenisedGraph TokenTable::tokenise(MolecularGraph const& graph) const {
  TokenisedGraph result;
  auto map = [](std::vector<std::int32_t> const& codes, Vocabulary const& vocabulary,
                std::int32_t& unknowns) {
    std::vector<std::int32_t> tokens(codes.size());
    std::transform(codes.begin(), codes.end(), tokens.begin(),
                   [&](std::int32_t code) { return find(vocabulary, code); });
    unknowns = static_cast<std::int32_t>(std::count(tokens.begin(), tokens.end(), unknown));
    return tokens;
  };
  result.atom = map(graph.atom, atoms_, result.unknown_atoms);
  result.bond = map(graph.bond, bonds_, result.unknown_bonds);
  return result;
}

}  // namespace athanor::inline v1::chem
