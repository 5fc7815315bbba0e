/// What a model must show before it serves: the known answers of its manifest, and rows that do not depend on
/// their company.
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

/// The dry run: items of the self-tests, half of the first of them where their answers do not differ, or
/// made-up items; alone, then in batches of two and of as many as the manifest allows; where that is one, the
/// first item twice. Fails with failed_precondition / model_load if a row differs from that of the item
/// alone, if a batch fails whose items succeed alone, if outputs are not what the manifest declares, or if
/// the model writes to its inputs. Returns why nothing was verified if the model rejects the items alone,
/// gives all of them the same answer, or there is no memory; empty otherwise.
///
/// Two items alone and together are always tried; larger batches that, by the time of the items alone, would
/// end after `time.most` are not, and the result says so.
Result<std::string> try_company(ModelDescription const& description, Worker& worker, TrialTime const& time);

}  // namespace athanor::inline v1::serving
