#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <athanor/chem/domain.hpp>

using namespace athanor;
using namespace athanor::chem;

// mutant: identifiers are computed with radius 3
TEST_CASE("identifiers are PolyID's, number by number") {
  auto const found = morgan_identifiers("C=CCC(O)CCC(O)CC");
  REQUIRE(found);
  CHECK(*found == std::vector<MorganCount>{
                      {535847852, 1},  {864662311, 2},  {1506563592, 1}, {1506997381, 1}, {1542633699, 2},
                      {1583799011, 2}, {1674219510, 2}, {2245273601, 2}, {2245384272, 4}, {2246703798, 1},
                      {2246728737, 1}, {2246997334, 1}, {2380228464, 1}, {2690477299, 1}, {2879529074, 2},
                      {2928069067, 1}, {3321103681, 1}, {3337365384, 1}, {3542456614, 1}, {3696402029, 1}});
}

// mutant: the score counts atoms instead of identifiers
TEST_CASE("the score is the number of distinct identifiers that training lacked") {
  std::vector<std::uint32_t> seen;
  auto const training = morgan_identifiers("CCCCO");
  for (auto const& [identifier, times] : *training) seen.push_back(identifier);
  DomainOfValidity const domain(seen);
  CHECK(domain.size() == seen.size());
  CHECK(domain.unseen(*morgan_identifiers("CCCCO")) == 0);
  CHECK(domain.unseen(*morgan_identifiers("CCCCCO")) == 2);
  CHECK(domain.unseen(*morgan_identifiers("ClC(Cl)(Cl)Cl")) == 4);
  CHECK(domain.unseen({}) == 0);
}

// mutant: identifiers depend on chirality
TEST_CASE("stereo marks do not change identifiers") {
  CHECK(*morgan_identifiers("F/C=C/[C@H](Cl)Br") == *morgan_identifiers("FC=CC(Cl)Br"));
}

// mutant: identifiers are refused at the limit itself
TEST_CASE("identifiers are refused above the limit") {
  CHECK(morgan_identifiers(std::string(1000, 'C')));
  auto const refused = morgan_identifiers(std::string(1001, 'C'));
  REQUIRE(!refused);
  CHECK(refused.error().reason == Reason::too_large);
}

// mutant: the identifiers of a domain stay in the order of its file
// mutant: a domain file may have keys that mean nothing
TEST_CASE("a domain file is read, and refused by the name of the key") {
  auto const domain = DomainOfValidity::from_json(
      R"({"rdkit": "2022.09.3", "radius": 2, "identifiers": [3, 1, 3, 4294967295]})");
  REQUIRE(domain);
  CHECK(domain->size() == 3);
  CHECK(domain->unseen(std::vector<MorganCount>{{1, 5}, {2, 1}, {4294967295u, 1}}) == 1);

  auto message = [](char const* text) {
    auto const read = DomainOfValidity::from_json(text);
    return read ? std::string("accepted") : read.error().message;
  };
  CHECK(message("[") == "domain of validity: expected JSON, got something else at byte 1 (line 1)");
  CHECK(message("[]") == "domain of validity: expected a JSON object, got []");
  CHECK(message(R"({"rdkit": "x", "radius": 2, "identifiers": [], "extra": 1})") ==
        "domain of validity: unknown key 'extra'; known: rdkit, radius, identifiers, chains");
  CHECK(message(R"({"radius": 2, "identifiers": []})") ==
        "domain of validity: rdkit: expected the version that made the list, as text; got nothing");
  CHECK(message(R"({"rdkit": "x", "radius": 3, "identifiers": []})") ==
        "domain of validity: radius: expected 2, got 3");
  CHECK(message(R"({"rdkit": "x", "identifiers": []})") ==
        "domain of validity: radius: expected 2, got nothing");
  CHECK(message(R"({"rdkit": "x", "radius": 2})") ==
        "domain of validity: identifiers: expected a list, got nothing");
  CHECK(message(R"({"rdkit": "x", "radius": 2, "identifiers": 1})") ==
        "domain of validity: identifiers: expected a list, got 1");
  CHECK(message(R"({"rdkit": "x", "radius": 2, "identifiers": [1, -2]})") ==
        "domain of validity: identifiers: entry 1 is -2, expected a whole number of 32 bits");
  CHECK(message(R"({"rdkit": "x", "radius": 2, "identifiers": [4294967296]})") ==
        "domain of validity: identifiers: entry 0 is 4294967296, expected a whole number of 32 bits");
}

// mutant: the key of a chain holds the counts as they are
// mutant: the key of a chain is half of its digest
TEST_CASE("the key of a chain is the digest of its identifiers in their proportion") {
  std::string const digest = "bbc4372ff45ca00aa8c818be743c99e4";
  CHECK(chain_key(std::vector<MorganCount>{{3, 4}, {17, 2}}) == digest);
  CHECK(chain_key(std::vector<MorganCount>{{3, 2}, {17, 1}}) == digest);
  auto const listed = DomainOfValidity::from_json(
      R"({"rdkit": "x", "radius": 2, "identifiers": [], "chains": [")" + digest + "\"]}");
  REQUIRE(listed);
  CHECK(listed->lists(std::vector<MorganCount>{{3, 6}, {17, 3}}));
  CHECK_FALSE(listed->lists(std::vector<MorganCount>{{3, 1}, {17, 1}}));
  for (std::string const wrong : {"7", "[7]", R"(["abc"])"}) {
    auto const refused = DomainOfValidity::from_json(
        R"({"rdkit": "x", "radius": 2, "identifiers": [], "chains": )" + wrong + "}");
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message.starts_with("domain of validity: chains: "));
    if (wrong == "7") CHECK(refused.error().message.ends_with("expected a list, got 7"));
  }
}

// mutant: of a key that is given twice the last value counts
// mutant: nesting has no limit
TEST_CASE("a domain file with a repeated key or too many levels is refused") {
  auto const repeated =
      DomainOfValidity::from_json(R"({"rdkit": "x", "radius": 2, "identifiers": [1], "identifiers": [2]})");
  REQUIRE_FALSE(repeated);
  CHECK(repeated.error().reason == Reason::syntax);
  CHECK(repeated.error().message ==
        "domain of validity: expected every key of an object once, got 'identifiers' again");
  auto const deep =
      DomainOfValidity::from_json(R"({"rdkit": )" + std::string(65, '[') + std::string(65, ']') + "}");
  REQUIRE_FALSE(deep);
  CHECK(deep.error().message == "domain of validity: expected at most 64 levels of nesting, got more");
}
