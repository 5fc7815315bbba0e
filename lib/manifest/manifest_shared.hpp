/// Inputs of which a request has one tensor for all its items, and a batch one for all its requests.
#pragma once

#include <string>

#include <athanor/manifest/manifest.hpp>

#include "core/json_text.hpp"

namespace athanor::inline v1::manifest {

/// `shared` of an entry of `inputs`. Reports to the node's reader, which keeps the first mistake.
void read_shared(json::Node const& node, TensorSpec& spec);

/// Makes an entry of `model_inputs` the shared input of the request that has its name.
void take_shared(ModelInput& input, json::Node const& node);

/// Of a model input that is shared: it is as the request's input of its name, and no axis of it is one along
/// which items differ. Reports as check_references.
void check_shared_input(Manifest const& manifest, ModelInput const& input, std::string const& path,
                        json::Reader& reader);

/// Of an input that is shared: the model reads it, as no processor does. Reports as check_references.
void check_shared_is_read(Manifest const& manifest, TensorSpec const& input, std::string const& path,
                          json::Reader& reader);

}  // namespace athanor::inline v1::manifest
