/// The self-tests of a manifest: known answers that a model must give before it serves.
#pragma once

#include <athanor/core/error.hpp>
#include <athanor/serving/detail/model_description.hpp>

namespace athanor::inline v1::serving {

struct Worker;

/// Checks the outputs that come from the processor against their specs, with the first self-test as the
/// sample: a processor declares element types, not shapes. Without a self-test nothing is checked.
Result<void> check_processor_rows(ModelDescription const& description);

/// Runs the self-test vectors, each alone, then the first of them repeated to every warm-up batch size.
Result<void> prove(ModelDescription const& description, Worker& worker);

}  // namespace athanor::inline v1::serving
