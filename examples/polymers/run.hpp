// polymers predict: rows in, predictions out.
#pragma once

#include <string>
#include <vector>

#include "predict.hpp"
#include "print.hpp"
#include "rows.hpp"

namespace polymers {

struct RunSettings {
  std::vector<std::string> smiles;
  Input input;  // without a path, `smiles` are predicted, or without those the demonstration's
  std::string out;
  std::string html;
  std::string command;  // as it was typed, for the page
  View view{};
  Settings predictor{};
};

// The folder of the model that comes with the program.
std::string shipped_model();
// Whether a path names it, however that is written.
bool is_shipped(std::string const& model_folder);

constexpr int exit_nothing = 1;  // nothing could be predicted, or a file could not be read or written

// Says `error` on standard error, and gives exit_nothing.
int complain(athanor::Error const& error);

// 0, or exit_nothing when standard output did not take what was said, which is complained of.
int check_said();

// Gives the exit status: 0, exit_nothing, or 128 and the number of the signal that interrupted it.
int run(RunSettings const& settings);

}  // namespace polymers
