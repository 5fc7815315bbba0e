// The plots of the page.
#pragma once

#include <string>

#include "predict.hpp"

namespace polymers {

// Predicted against measured values of the cross-validation in `path`, in
// kelvin. The plot is left out, and says so, when the file is not there.
std::string parity_plot(std::string const& path);
std::string latency_histogram(LatencyHistogram const& latencies);

}  // namespace polymers
