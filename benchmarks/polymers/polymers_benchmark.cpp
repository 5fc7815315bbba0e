/// Rows per second of the demonstration's model: 200 distinct repeat units through infer_many on two workers,
/// every one computed, and every one answered from the cache. The computed answers of the oracle's polymers
/// are held against Python's, all others against what they were the first time.
#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <athanor/chem/processor.hpp>
#include <athanor/serving/engine.hpp>
#include <athanor/torch/backend.hpp>
#include <support/figure.hpp>

using namespace athanor;
using namespace athanor::benchmarks;

namespace {

struct Polymers {
  std::vector<std::string> smiles;
  std::vector<double> expected;  // by row [K]; NaN until it was answered once
  std::vector<Request> requests;

  Polymers() {
    std::ifstream file(POLYMERS_MODEL "/oracle.json");
    for (auto const& row : nlohmann::json::parse(file).at("rows")) {
      smiles.push_back(row.at("smiles"));
      expected.push_back(row.at("mean"));
    }
    // Vinyl, ether, ester and aryl chains with side chains of growing length.
    for (std::string side = "C"; smiles.size() < 200; side += 'C') {
      for (auto const& unit :
           {"*CC(*)" + side + "F", "*CC(*)C(=O)O" + side + "Cl", "*OC(" + side + "N)C(*)=O",
            "*Oc1ccc(" + side + "S)c(*)c1", "*NC(=O)c1ccc(C" + side + "(*)=O)cc1"})
        if (smiles.size() < 200) smiles.push_back(unit);
    }
    expected.resize(smiles.size(), NAN);
    for (auto const& text : smiles) requests.push_back({{"smiles", text}});
  }

  /// Whether every row was answered as expected; learns the rows that it sees first.
  bool check(std::vector<Result<Answer>> const& answers) {
    for (std::size_t i = 0; i < smiles.size(); ++i) {
      if (!answers[i]) return false;
      double const tg = static_cast<double>(answers[i]->outputs["tg_mean"].as<float>()[0]);
      if (std::isnan(expected[i])) expected[i] = tg;
      if (!(std::abs(tg - expected[i]) <= 1e-5 * std::abs(expected[i]))) return false;
    }
    return true;
  }
};

void measure(Figures& figures, std::string const& name, Model<>& model, Polymers& polymers, CacheMode cache,
             int passes) {
  if (!figures.wants(name)) return;
  bool right = polymers.check(model.infer_many(polymers.requests, {.cache = cache}));
  auto const sample = repeat(15, [&] {
    double const seconds = seconds_of([&] {
      for (int pass = 0; pass < passes; ++pass)
        right = polymers.check(model.infer_many(polymers.requests, {.cache = cache})) && right;
    });
    return passes * static_cast<double>(polymers.smiles.size()) / seconds;
  });
  if (!right) return figures.fail(name, "a wrong answer");
  figures.report({.name = name, .value = sample.median, .unit = "rows/s", .spread = sample.spread});
}

}  // namespace

int main(int argc, char** argv) {
  Figures figures(argc, argv);
  auto engine = Engine<>::create(
      {.backends = {&athanor::libtorch::backend()}, .processors = {&chem::processor()}, .threads = 2});
  auto model = engine->load(POLYMERS_MODEL);
  if (!model) {
    figures.fail("polymers.rate", model.error().message);
    return figures.exit_code();
  }
  Polymers polymers;
  measure(figures, "polymers.rate-uncached", *model, polymers, CacheMode::skip, 1);
  measure(figures, "polymers.rate-cached", *model, polymers, CacheMode::use, 50);
  return figures.exit_code();
}
