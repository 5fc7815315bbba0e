// polymers info: what the model is.
#pragma once

#include <string>
#include <vector>

namespace polymers {

// Name and version of the model in `folder`.
std::string model_title(std::string const& folder);
// What it was trained on, table by table; empty when it does not say.
std::vector<std::string> data_sources(std::string const& folder);
// Its mean error and the rows that it was measured on; empty when it does not say.
std::string error_words(std::string const& folder);

// Says what the model is, how large its errors are, and where its limits are. Gives the exit status.
int print_info(std::string const& folder);

}  // namespace polymers
