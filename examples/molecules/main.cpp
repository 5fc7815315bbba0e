/// athanor-molecules MODEL_FOLDER: a JSON object for each line of standard
/// input, which is a SMILES: what the model answers, or the error.
#include <iostream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <athanor/chem/chemprop_processor.hpp>
#include <athanor/serving/engine.hpp>
#include <athanor/torch/backend.hpp>

namespace {

using namespace athanor;

constexpr std::size_t window = 512;

std::string describe(std::string const& smiles, Result<Answer> const& answer) {
  nlohmann::ordered_json row = {{"smiles", smiles}};
  if (!answer) {
    row["error"] = answer.error().message;
  } else {
    for (std::size_t i = 0; i < answer->outputs.size(); ++i) {
      auto const values = answer->outputs[i].as<float>();
      row[answer->outputs.spec(i).name] = std::vector<float>(values.begin(), values.end());
    }
  }
  return row.dump(-1, ' ', true, nlohmann::ordered_json::error_handler_t::replace);
}

int answer_lines(Model<>& model) {
  std::string line;
  while (std::cin) {
    std::vector<std::string> lines;
    while (lines.size() < window && std::getline(std::cin, line)) lines.push_back(line);
    std::vector<Request> requests;
    for (auto const& smiles : lines) requests.push_back(Request{{"smiles", smiles}});
    auto const answers = model.infer_many(requests);
    for (std::size_t i = 0; i < lines.size(); ++i) std::cout << describe(lines[i], answers[i]) << '\n';
  }
  std::cout.flush();
  return std::cout ? 0 : 1;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::cerr << "usage: " << arguments[0] << " MODEL_FOLDER < SMILES\n";
    return 2;
  }
  auto engine =
      Engine<>::create({.backends = {&libtorch::backend()}, .processors = {&chem::chemprop_processor()}});
  auto model = engine ? engine->load(arguments[1]) : tl::unexpected(engine.error());
  if (!model) {
    std::cerr << model.error().message << '\n';
    return 1;
  }
  return answer_lines(*model);
}
