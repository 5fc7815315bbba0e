/// What the parts of a manifest owe each other.
#pragma once

#include <athanor/manifest/manifest.hpp>

#include "core/json_text.hpp"

namespace athanor::inline v1::manifest {

using json::Json;
using json::Node;
using json::Reader;

/// Each parameter has a reader, and those that a model input reads have values that fit into its type: bounds
/// that are not declared become those of the type. Reports as check_references.
void fit_parameters(Manifest& manifest, Reader& reader);

/// Each model input that is not generated is an input of the request, of the same type and shape.
void check_given_inputs(Manifest const& manifest, Reader& reader);

/// Names once, references that lead somewhere, types that fit. Reports to `reader`, which keeps the first
/// mistake.
void check_references(Manifest const& manifest, Reader& reader);

}  // namespace athanor::inline v1::manifest
