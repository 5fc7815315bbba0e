/// The padded axes that a manifest declares, and the inputs along them.
#pragma once

#include <vector>

#include <athanor/manifest/manifest.hpp>

#include "core/json_text.hpp"

namespace athanor::inline v1::manifest {

/// `pad` of a model input: its fill, and the buckets of its axes, which are added to `axes`. Reports to the
/// node's reader, which keeps the first mistake.
void read_padding(json::Node const& node, ModelInput& input, std::vector<PaddedAxis>& axes);

/// Every input along a padded axis gets a fill, 0 or an empty text where it declares none; masks and lengths
/// have an axis to be made of. Reports as check_references.
void fit_padding(Manifest& manifest, json::Reader& reader);

/// True when `declared` names padded axes only where `source`, a model output, has them: these are cut back.
bool keeps_padding(Manifest const& manifest, TensorSpec const& source, TensorSpec const& declared);

/// `spec` with the largest bucket as the length of every padded axis.
TensorSpec at_its_widest(Manifest const& manifest, TensorSpec spec);

}  // namespace athanor::inline v1::manifest
