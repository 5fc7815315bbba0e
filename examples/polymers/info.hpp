// polymers info: what the model is.
#pragma once

#include <string>

namespace polymers {

// Name and version of the model in `folder`.
std::string model_title(std::string const& folder);
// Where the polymers of its cross-validation come from; empty when it does not say.
std::string data_source(std::string const& folder);

// Says what the model is, how large its errors are, and where its limits. Gives the exit status.
int print_info(std::string const& folder);

}  // namespace polymers
