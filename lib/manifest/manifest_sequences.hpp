/// State between calls, as a manifest declares it.
#pragma once

#include <athanor/manifest/manifest.hpp>

#include "core/json_text.hpp"

namespace athanor::inline v1::manifest {

/// A model input with `"from": "state:NAME"`. Reports to the node's reader, which keeps the first mistake.
void take_from_state(ModelInput& input, json::Node const& node);

/// Adds the next values of states to the model's outputs, unless they are there.
void name_next_states(Manifest& manifest);

/// The section `sequences`, and what state asks of the sections read before: one member, one instance, no
/// cache.
void read_sequences(json::Node const& root, Manifest& manifest);

/// Each state has a next value of its type and shape, and there are slots for every item of a self-test or a
/// warm-up batch. Where the engine steps, what ends a call is there; a parameter that does gives the most
/// steps. Reports to `reader`.
void check_sequences(Manifest& manifest, json::Reader& reader);

}  // namespace athanor::inline v1::manifest
