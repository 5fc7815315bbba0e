/// Verifies that the files of a model's folder are those that its manifest describes.
#pragma once

#include <string>
#include <string_view>

#include <athanor/core/error.hpp>
#include <athanor/manifest/manifest.hpp>

namespace athanor::inline v1 {

/// Compares a file's content with `digest` (`xxh128:` and 32 hexadecimal digits). Fails with data_loss /
/// digest, naming the file and both digests, or with not_found / file when the file is missing.
Result<void> verify_digest(std::string const& path, std::string_view digest);
/// Calls verify_digest for every file that the manifest names, the processor's files first.
Result<void> verify_files(std::string const& folder, Manifest const& manifest);

}  // namespace athanor::inline v1
