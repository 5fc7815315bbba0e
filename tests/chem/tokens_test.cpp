#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <athanor/chem/tokens.hpp>

using namespace athanor;
using namespace athanor::chem;

namespace {

TokenTable trained(std::vector<std::string> const& smiles) {
  TokenTable table;
  for (auto const& text : smiles) table.learn(molecular_graph(text).value());
  return table;
}

using Tokens = std::vector<std::int32_t>;

}  // namespace

// mutant: the first kind has the number of unknown ones
TEST_CASE("a table trained on ethanol numbers kinds in the order seen") {
  auto const tokens = trained({"CCO"}).tokenise(molecular_graph("CCO").value());
  CHECK(tokens.atom == Tokens{2, 2, 3, 4, 4, 4, 4, 4, 4});
  CHECK(tokens.bond == Tokens{2, 3, 3, 3, 2, 4, 3, 3, 4, 5, 3, 3, 3, 3, 3, 5});
  CHECK(tokens.unknown_atoms == 0);
  CHECK(tokens.unknown_bonds == 0);
}

// mutant: unknown tokens are not counted
TEST_CASE("kinds that training lacked become unknown") {
  TokenTable const table = trained({"CC", "CCC", "C(C)C", "C"});
  auto const tokens = table.tokenise(molecular_graph("CCO").value());
  CHECK(tokens.atom == Tokens{2, 2, 1, 3, 3, 3, 3, 3, 3});
  CHECK(tokens.bond == Tokens{2, 3, 3, 3, 2, 1, 3, 3, 1, 1, 3, 3, 3, 3, 3, 1});
  CHECK(tokens.unknown_atoms == 1);
  CHECK(tokens.unknown_bonds == 4);
  CHECK(table.atom_classes() == 4);
  CHECK(table.bond_classes() == 4);
}

// mutant: unknown tokens are not counted
TEST_CASE("S0-8 a million unknown kinds are reported and leave the table as it was") {
  TokenTable const table = trained({"CCO"});
  auto const before = table.tokenise(molecular_graph("CCO").value());
  std::int64_t unknown = 0;
  for (std::int32_t code = 1'000'000; code < 2'000'000; ++code)
    unknown += table.atom_token(code) == TokenTable::unknown && table.bond_token(code) == TokenTable::unknown;
  CHECK(unknown == 1'000'000);
  CHECK(table.atom_classes() == 5);
  CHECK(table.bond_classes() == 6);
  CHECK(table.tokenise(molecular_graph("CCO").value()).bond == before.bond);
  auto const tokens = table.tokenise(molecular_graph("C[Si](C)(C)Cl").value());
  CHECK(tokens.unknown_atoms == 2);
  CHECK(tokens.unknown_bonds == 8);
}

// mutant: the number of classes is the largest token
TEST_CASE("a table written by nfp is read as it is") {
  auto const table = TokenTable::from_nfp_json(R"json({"output_dtype": "int32",
      "atom_tokenizer": {"_data": {"unk": 1, "('C', 4, 0, 0, False)": 2, "('O', 2, 0, 0, False)": 3,
                                   "('N', 3, 0, 0, False)": 4, "('N', 2, 0, 0, False)": 5,
                                   "('H', 1, 0, 0, False)": 6},
                         "num_classes": 6, "train": false, "unknown": []},
      "bond_tokenizer": {"_data": {"unk": 1,
                                   "(rdkit.Chem.rdchem.BondType.SINGLE, False, False, ['C', 'C'])": 2,
                                   "(rdkit.Chem.rdchem.BondType.SINGLE, False, False, ['C', 'H'])": 3,
                                   "(rdkit.Chem.rdchem.BondType.SINGLE, False, False, ['C', 'O'])": 4,
                                   "(rdkit.Chem.rdchem.BondType.SINGLE, False, False, ['H', 'O'])": 5},
                         "num_classes": 5, "train": false, "unknown": []},
      "explicit_hs": true})json");
  REQUIRE(table);
  auto const tokens = table->tokenise(molecular_graph("CCO").value());
  CHECK(tokens.atom == Tokens{2, 2, 3, 6, 6, 6, 6, 6, 6});
  CHECK(tokens.bond == Tokens{2, 3, 3, 3, 2, 4, 3, 3, 4, 5, 3, 3, 3, 3, 3, 5});
  CHECK(table->atom_classes() == 7);
}

// mutant: a token table without hydrogens as atoms is read
TEST_CASE("a table that cannot fit the graphs is refused by name") {
  auto message = [](std::string const& text) {
    auto const table = TokenTable::from_nfp_json(text);
    return table ? std::string("accepted") : table.error().message;
  };
  CHECK(message("[]") == "token table: expected a JSON object, got []");
  CHECK(message("{") == "token table: expected JSON, got something else at byte 1 (line 1)");
  CHECK(message(R"json({"explicit_hs": false})json") ==
        "token table: explicit_hs: expected true, since graphs have all hydrogens as atoms; got false");
  CHECK(message(R"json({"explicit_hs": true})json") ==
        "token table: atom_tokenizer: expected an object, got nothing");
  CHECK(message(R"json({"explicit_hs": true, "atom_tokenizer": {}})json") ==
        "token table: atom_tokenizer._data: expected an object, got nothing");
  CHECK(message(R"json({"explicit_hs": true, "atom_tokenizer": {"_data": {"unk": 2}}})json") ==
        "token table: atom_tokenizer: the token of unk is 2, expected 1");
  CHECK(
      message(
          R"json({"explicit_hs": true, "atom_tokenizer": {"_data": {"('C', 4, 0, 0, False)": "x"}}})json") ==
      "token table: atom_tokenizer: the token of ('C', 4, 0, 0, False) is \"x\", expected a number from 1 "
      "on");
  CHECK(message(R"json({"explicit_hs": true, "atom_tokenizer": {"_data": {"('C', 4, 3, 0, False)": 2}}})json")
            .starts_with("token table: atom_tokenizer: atom key: expected the form"));
}

// mutant: of a key that is given twice the last value counts
// mutant: nesting has no limit
TEST_CASE("a token table with a repeated key or too many levels is refused") {
  auto const repeated =
      TokenTable::from_nfp_json(R"json({"atom_tokenizer": {"_data": {"unk": 1, "unk": 2}}})json");
  REQUIRE_FALSE(repeated);
  CHECK(repeated.error().reason == Reason::syntax);
  CHECK(repeated.error().message == "token table: expected every key of an object once, got 'unk' again");
  auto const deep =
      TokenTable::from_nfp_json(R"({"extra": )" + std::string(65, '[') + std::string(65, ']') + "}");
  REQUIRE_FALSE(deep);
  CHECK(deep.error().message == "token table: expected at most 64 levels of nesting, got more");
}
