// The self-contained HTML page of a run.
#pragma once

#include <string>
#include <vector>

#include "handbook.hpp"
#include "predict.hpp"
#include "print.hpp"

namespace polymers {

// A browser is at ease with a table of so many rows; one of more is a file of predictions.
inline constexpr std::size_t most_rows_of_a_page = 10'000;

struct Page {
  std::vector<Prediction> const& predictions;  // the first most_rows_of_a_page of the run
  Summary const& summary;
  std::vector<Handbook> const& handbook;
  View const& view;
  std::string model_folder;  // for the name, and for the cross-validation that training wrote, if it is there
  std::string command;
};

// One page without outside references: each molecule drawn, its prediction
// with an interval bar and the handbook value where there is one, a table of
// all rows, the parity plot of the cross-validation, and what the engine did.
std::string report_page(Page const& page);

}  // namespace polymers
