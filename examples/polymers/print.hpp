// What the program says of predictions.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "handbook.hpp"
#include "predict.hpp"

namespace polymers {

// How predictions are shown.
struct View {
  bool celsius = false;
  bool explain = false;              // with what the engine did
  std::optional<double> coverage{};  // of the intervals, where it is known
  // For the place of an error: as in Settings, and whose SMILES they are.
  std::optional<std::int32_t> units{};
  std::string column{};
};

// How an interval of that coverage is called: `90 % interval`, or `interval` when the coverage is not known.
std::string interval_name(std::optional<double> coverage);
// `in`, or what of the polymer the training lacked.
std::string domain_words(Prediction const& prediction);

// A table that grows. Its first rows decide on its width.
class Table {
 public:
  explicit Table(View view) : view_(view) {}
  void print(std::span<Prediction const> predictions);

 private:
  void print_header(std::span<Prediction const> predictions);
  View view_;
  std::size_t width_ = 0;  // of the first column; 0 before the first rows
};

// The SMILES of a row that was refused and a mark under the place, in lines
// of at most `widest` characters; none where the reason has no place.
std::vector<std::string> place_of_fault(Prediction const& prediction, View const& view, std::size_t widest);
// Why a row was refused, with the place in its SMILES where there is one.
void print_refusal(Prediction const& prediction, View const& view);

// Predicted beside known values; row i of both is the same polymer.
void print_comparison(std::span<Prediction const> predictions, std::vector<Handbook> const& handbook,
                      View const& view);
void print_engine(Summary const& summary);

}  // namespace polymers
