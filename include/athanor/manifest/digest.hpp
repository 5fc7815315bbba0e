/// Whether the files of a model's folder are those that its manifest was written for.
#pragma once

#include <string>
#include <string_view>

#include <athanor/core/error.hpp>
#include <athanor/manifest/manifest.hpp>

namespace athanor::inline v1 {

/// Compares a file's content with `digest` (`xxh128:` and 32 hexadecimal digits). data_loss / digest names
/// file, expected and got; not_found / file when the file is missing.
Result<void> verify_digest(std::string const& path, std::string_view digest);
/// verify_digest of every file that the manifest names, the processor's first.
Result<void> verify_files(std::string const& folder, Manifest const& manifest);

}  // namespace athanor::inline v1
