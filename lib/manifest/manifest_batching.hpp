/// How a model is run in batches: the section `batching`, and the batches that are run before it is used.
#pragma once

#include <cstdint>
#include <vector>

#include <athanor/manifest/manifest.hpp>

#include "core/json_text.hpp"

namespace athanor::inline v1::manifest {

/// Reports to the node's reader, which keeps the first mistake.
BatchingSection read_batching(json::Node const& node);

/// The section `warm_up` of a manifest. Reports as read_batching.
std::vector<std::int64_t> read_warm_up(json::Node const& root, BatchingSection const& batching);

/// One batch holds that many items, which `node` asks for. Reports as read_batching.
void check_batch(BatchingSection const& batching, std::int64_t items, json::Node const& node);

}  // namespace athanor::inline v1::manifest
