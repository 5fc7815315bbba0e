// The committed glass transition model behind an engine: what Python says, what the scenarios ask, whatever
// the company of a batch.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <athanor/chem/processor.hpp>
#include <athanor/serving/engine.hpp>
#include <athanor/torch/backend.hpp>

using namespace athanor;

namespace {

struct Oracle {
  std::string smiles;
  double mean;
  double deviation;
  double low;
  double high;
};

std::vector<Oracle> read_oracle() {
  std::ifstream file(POLYMERS_MODEL "/oracle.json");
  auto const json = nlohmann::json::parse(file);
  std::vector<Oracle> rows;
  for (auto const& row : json.at("rows"))
    rows.push_back({row.at("smiles"), row.at("mean"), row.at("std"), row.at("low"), row.at("high")});
  return rows;
}

// One engine for all tests; the cache is off, so that every answer is computed.
Model<>& model() {
  static Engine<> engine = Engine<>::create({.backends = {&athanor::libtorch::backend()},
                                             .processors = {&chem::processor()},
                                             .threads = 2,
                                             .cache_bytes = 0})
                               .value();
  static Model<> loaded = engine.load(POLYMERS_MODEL).value();
  return loaded;
}

Request request(std::string const& smiles) { return Request{{"smiles", smiles}}; }

std::vector<Request> requests(std::vector<std::string> const& texts) {
  std::vector<Request> result;
  for (auto const& text : texts) result.push_back(request(text));
  return result;
}

double number(Answer const& answer, std::string_view name) {
  return static_cast<double>(answer.outputs[name].as<float>()[0]);
}
std::int64_t count(Answer const& answer, std::string_view name) {
  return answer.outputs[name].as<std::int64_t>()[0];
}

// The spread is a difference of means, so its error is measured against the mean too.
void check_equal(Answer const& answer, double mean, double deviation) {
  CHECK(std::abs(number(answer, "tg_mean") - mean) <= 1e-5 * mean);
  CHECK(std::abs(number(answer, "tg_std") - deviation) <= 1e-5 * mean);
}

std::vector<std::string> const nine_polymers = {
    "CC",
    "CC(C)",
    "CC(c1ccccc1)",
    "CC(C)(C(=O)OC)",
    "CC(O)C(=O)",
    "CC(Cl)",
    "COC(=O)c1ccc(C(=O)O)cc1.OCCO",
    "CC(C)(c1ccc(O)cc1)c1ccc(O)cc1.O=C(Cl)Cl",
    "c1ccc2c(c1)C(=O)N(c1ccc(C(=O)c3ccc(N4C(=O)c5ccccc5C4=O)cc3)cc1)C2=O"};

// 178 nodes, hydrogens counted.
std::string large_polymer() {
  std::string const half = "CC(C)(c1ccc(C(C)(C)c2ccc(C(C)(C)c3ccc(C(C)(C)c4ccc(C(C)(C)C)cc4)cc3)cc2)cc1)";
  return half + half;
}

}  // namespace

// mutant: the deviation divides by the members that answered, less one
TEST_CASE("the engine answers every polymer of the oracle as Python does") {
  auto const oracle = read_oracle();
  REQUIRE(oracle.size() >= 30);
  for (auto const& row : oracle) {
    CAPTURE(row.smiles);
    auto const answer = model().infer(request(row.smiles));
    REQUIRE(answer);
    check_equal(*answer, row.mean, row.deviation);
    CHECK(std::abs(number(*answer, "tg_low") - row.low) <= 1e-5 * row.mean);
    CHECK(std::abs(number(*answer, "tg_high") - row.high) <= 1e-5 * row.mean);
    CHECK(answer->report.members == 5);
  }
}

// mutant: segments number the items of each request anew
TEST_CASE("a batch answers as its rows do alone, and a permuted input permutes the output") {
  auto const oracle = read_oracle();
  std::vector<std::size_t> order(oracle.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::mt19937 random(7);
  for (int round = 0; round < 3; ++round) {
    std::vector<std::string> texts;
    for (auto const place : order) texts.push_back(oracle[place].smiles);
    auto const answers = model().infer_many(requests(texts));
    REQUIRE(answers.size() == texts.size());
    std::uint32_t largest = 0;
    for (std::size_t i = 0; i < order.size(); ++i) {
      CAPTURE(texts[i]);
      REQUIRE(answers[i]);
      check_equal(*answers[i], oracle[order[i]].mean, oracle[order[i]].deviation);
      largest = std::max(largest, answers[i]->report.batch_items);
    }
    CHECK(largest > 1);
    std::shuffle(order.begin(), order.end(), random);
  }
}

// mutant: outputs come in the order of the signature
TEST_CASE("outputs come in the order that was asked for, with the values that they always have") {
  auto const oracle = read_oracle().front();
  for (auto const& names : {std::vector<std::string_view>{"tg_mean", "unknown_tokens", "tg_std"},
                            std::vector<std::string_view>{"tg_std", "repeat_unit", "tg_mean"}}) {
    auto const answer = model().infer(request(oracle.smiles), {.outputs = names});
    REQUIRE(answer);
    REQUIRE(answer->outputs.size() == names.size());
    for (std::size_t i = 0; i < names.size(); ++i) CHECK(answer->outputs.spec(i).name == names[i]);
    check_equal(*answer, oracle.mean, oracle.deviation);
  }
}

// mutant: a model that reads identifiers gets none
TEST_CASE("S0-2 a caller who has only a SMILES is answered by the model itself") {
  REQUIRE(model().signature().inputs.size() == 1);
  CHECK(model().signature().inputs[0].name == "smiles");
  auto const oracle = read_oracle().front();
  auto const answer = model().infer(Request{{"smiles", oracle.smiles}});
  REQUIRE(answer);
  check_equal(*answer, oracle.mean, oracle.deviation);
}

TEST_CASE("polymers come in the order in which textbooks have them") {
  auto const tg = [](std::string const& smiles) {
    auto const answer = model().infer(request(smiles));
    REQUIRE_MESSAGE(answer, smiles);
    return number(*answer, "tg_mean");
  };
  double const propylene = tg("*CC(*)C");
  double const vinyl_chloride = tg("*CC(*)Cl");
  CHECK(tg("*CC(*)(C)C") < propylene);  // symmetric substitution lets a chain turn
  CHECK(tg("*CC(*)(Cl)Cl") < vinyl_chloride);
  CHECK(vinyl_chloride > propylene);  // polar side groups hold it
  CHECK(tg("*[Si](C)(C)O*") < tg("*CC(*)c1ccccc1"));
  for (std::string const rigid : {"*Nc1ccc(cc1)NC(=O)c1ccc(cc1)C(*)=O",  // poly(p-phenylene terephthalamide)
                                  "*c1ccc(Oc2ccc(cc2)N2C(=O)c3cc4C(=O)N(*)C(=O)c4cc3C2=O)cc1"}) {
    CAPTURE(rigid);
    CHECK(tg(rigid) > 500);
  }
}

// mutant: an atom sees no further than its own unit
TEST_CASE("polymers have the temperatures that textbooks print, within 20 K in the mean") {
  std::ifstream file(TEXTBOOK);
  double missed = 0;
  int polymers = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with('#') || line.starts_with("name\t")) continue;
    std::size_t const smiles = line.find('\t') + 1;
    std::size_t const celsius = line.find('\t', smiles) + 1;
    auto const answer = model().infer(request(line.substr(smiles, celsius - 1 - smiles)));
    REQUIRE_MESSAGE(answer, line);
    missed += std::abs(number(*answer, "tg_mean") - 273.15 - std::stod(line.substr(celsius)));
    ++polymers;
  }
  CHECK(polymers >= 35);
  CHECK(missed / polymers <= 20);
}

// mutant: the key of a chain holds the counts as they are
TEST_CASE("a chain of the table that may be told is named as such in every spelling") {
  for (std::string const smiles : {"*CC(*)c1ccccc1", "*C(c1ccccc1)C*", "*CC*", "*CCCC*"}) {
    CAPTURE(smiles);
    CHECK(count(model().infer(request(smiles)).value(), "in_table") == 1);
  }
  for (std::string const smiles : {"*CC(*)[U]", "CC", "*CC(*)C"}) {
    CAPTURE(smiles);
    CHECK(count(model().infer(request(smiles)).value(), "in_table") == 0);
  }
}

TEST_CASE("an interval holds its value and is wider where the model knows less") {
  auto const width = [](std::string const& smiles) {
    auto const answer = model().infer(request(smiles));
    REQUIRE_MESSAGE(answer, smiles);
    CHECK(number(*answer, "tg_low") < number(*answer, "tg_mean"));
    CHECK(number(*answer, "tg_mean") < number(*answer, "tg_high"));
    return number(*answer, "tg_high") - number(*answer, "tg_low");
  };
  // At most 350 K to either side, as the model's card says.
  for (std::string const strange : {"N", "O", "[NH4+].[Cl-]", "*CC(*)[U]"}) CHECK(width(strange) <= 701);
  CHECK(number(*model().infer(request("N")), "tg_low") >= 0);
  CHECK(width("*CC(*)c1ccccc1") < width("*P(=N*)(C)[B](O)[Ge](C)(C)C"));
}

// mutant: answers of many requests come the other way round
TEST_CASE("S0-3 bad SMILES at the ends and in the middle change neither order nor neighbours") {
  std::vector<std::string> texts = {"C1CC", "*CC*", "*CC(*)Cl", "CC(", "*CC(*)C", "*CC(*)C#N", "Cx"};
  auto const answers = model().infer_many(requests(texts));
  REQUIRE(answers.size() == texts.size());
  struct Bad {
    std::size_t place;
    std::string at;
  };
  for (auto const& [place, at] : {Bad{0, "byte 1"}, Bad{3, "byte 2"}, Bad{6, "byte 1"}}) {
    CAPTURE(texts[place]);
    REQUIRE_FALSE(answers[place]);
    CHECK(answers[place].error().code == Code::invalid_argument);
    CHECK(answers[place].error().message.find(at) != std::string::npos);
  }
  for (auto const place : {1U, 2U, 4U, 5U}) {
    CAPTURE(texts[place]);
    REQUIRE(answers[place]);
    auto const alone = model().infer(request(texts[place]));
    REQUIRE(alone);
    check_equal(*answers[place], number(*alone, "tg_mean"), number(*alone, "tg_std"));
  }
}

// mutant: segments number the items of each request anew
TEST_CASE("S0-6 each of nine polymers in one batch with a graph of 178 nodes equals its answer alone") {
  for (auto const& smiles : nine_polymers) {
    CAPTURE(smiles);
    auto const alone = model().infer(request(smiles));
    REQUIRE(alone);
    // Two texts of one request always share a batch.
    std::string const large = large_polymer();
    auto const together = model().infer(
        Request{{"smiles", Tensor::copy_texts(std::vector<std::string_view>{large, smiles}).value()}});
    REQUIRE(together);
    CHECK(together->report.batch_items == 2);
    auto const mean = together->outputs["tg_mean"].as<float>();
    auto const deviation = together->outputs["tg_std"].as<float>();
    double const expected = number(*alone, "tg_mean");
    CHECK(std::abs(static_cast<double>(mean[1]) - expected) <= 1e-5 * expected);
    CHECK(std::abs(static_cast<double>(deviation[1]) - number(*alone, "tg_std")) <= 1e-5 * expected);
  }
}

// mutant: a molecule without bonds has a graph without edges
TEST_CASE(
    "S0-7 a molecule without bonds is refused, a lone atom with hydrogens is answered, never with NaN") {
  for (std::string const smiles : {"[Na+]", "[He]", "[Cl-].[Na+]"}) {
    CAPTURE(smiles);
    auto const answer = model().infer(request(smiles));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == Code::invalid_argument);
    CHECK(answer.error().message.find("no bonds") != std::string::npos);
  }
  auto const water = model().infer(request("O"));
  REQUIRE(water);
  CHECK(std::isfinite(number(*water, "tg_mean")));
  CHECK(std::isfinite(number(*water, "tg_std")));
}

// mutant: codes that a member does not know are not counted
TEST_CASE("S0-8 an element that no fold has seen is reported and still answered") {
  auto const known = model().infer(request("*CC*"));
  REQUIRE(known);
  CHECK(count(*known, "unknown_tokens") == 0);
  CHECK(count(*known, "unseen_identifiers") == 0);
  auto const strange = model().infer(request("*CC(*)[U]"));
  REQUIRE(strange);
  CHECK(count(*strange, "unknown_tokens") > 0);
  CHECK(count(*strange, "unseen_identifiers") > 0);
  CHECK(std::isfinite(number(*strange, "tg_mean")));
  // In company the count stays with its own row.
  auto const answers = model().infer_many(requests({"*CC*", "*CC(*)[U]", "*CC*"}));
  for (auto const& answer : answers) REQUIRE(answer);
  CHECK(count(*answers[0], "unknown_tokens") == 0);
  CHECK(count(*answers[1], "unknown_tokens") == count(*strange, "unknown_tokens"));
  CHECK(count(*answers[2], "unknown_tokens") == 0);
}

// mutant: a backslash is no bond
TEST_CASE("S0-9 strange texts each have a defined result") {
  for (std::string const text : {"COC(=O)c1ccc(C(=O)O)cc1.OCCO", "C\\C=C\\C", "F/C=C\\F"}) {
    CAPTURE(text);
    auto const answer = model().infer(request(text));
    REQUIRE(answer);
    CHECK(std::isfinite(number(*answer, "tg_mean")));
    CHECK(count(*answer, "repeat_unit") == 0);
  }
  struct Refused {
    std::string text;
    std::string why;
  };
  for (auto const& [text, why] :
       {Refused{"", "empty"}, Refused{" \t ", "no SMILES"}, Refused{"C<C", "byte 1"},
        Refused{std::string("CC\0C", 4), "byte 2"}, Refused{std::string(10'000'000, 'C'), "10000000"},
        Refused{"*CC", "has 1"}, Refused{"*CC(*)(*)C", "has 3"}}) {
    CAPTURE(text.substr(0, 20));
    auto const answer = model().infer(request(text));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == Code::invalid_argument);
    CHECK(answer.error().message.find(why) != std::string::npos);
    CHECK(answer.error().message.size() < 300);
  }
}
