/// What a model must show before it serves: the known answers of its manifest, and rows that do not depend on their
/// company.
#pragma once

#include <string>

#include <athanor/core/error.hpp>
#include <athanor/serving/detail/model_description.hpp>

namespace athanor::inline v1::serving {

struct TrialTime;
struct Worker;

/// Checks the outputs that come from the processor against their specs, with the first self-test as the
/// sample: a processor declares element types, not shapes. Without a self-test nothing is checked.
Result<void> check_processor_rows(ModelDescription const& description);

/// Runs the self-test vectors, each alone, then the first of them repeated to every warm-up batch size, and
/// compares every row with the known answers.
Result<void> prove(ModelDescription const& description, Worker& worker);

/// The dry run: items of the self-tests, half of the first of them where their answers do not differ, or made-up ones; alone,
/// then in batches of two and of as many as the manifest allows; where that is one, the first item twice. Fails with failed_precondition / model_load when a row
/// is not the row alone, when a batch fails whose items succeed alone, when outputs are not what the manifest
/// declares, and when the model writes to its inputs. Returns why nothing was
/// shown when the model refuses the items alone, gives all of them the same answer, or there is no memory; empty otherwise.
///
/// Two items alone and together are always tried, and what would end after `time.most` by how long the items alone took is
/// not: that is returned, too.
Result<std::string> try_company(ModelDescription const& description, Worker& worker, TrialTime const& time);

}  // namespace athanor::inline v1::serving
