// The self-contained HTML page of a run.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "predict.hpp"
#include "rows.hpp"

namespace polymers {

// One page without outside references: each molecule drawn, its prediction with an interval bar and the
// handbook value where there is one, the parity plot of the cross-validation, and the latency histogram of
// every answer of the run. Of a long run only the first rows are drawn, and the page says so.
// `coverage` is that of the intervals, where it is known. `cross_validation` is the path of the JSON that
// training wrote; the plot is left out, and says so, when it is not there.
std::string report_page(std::vector<Prediction> const& predictions, Summary const& summary,
                        std::vector<Handbook> const& handbook, std::optional<double> coverage,
                        std::string const& cross_validation);

}  // namespace polymers
