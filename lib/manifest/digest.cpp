#include <athanor/core/hash.hpp>
#include <athanor/manifest/digest.hpp>

namespace athanor::inline v1 {

Result<void> verify_digest(std::string const& path, std::string_view digest) {
  return hash_file(path).and_then([&](Hash128 hash) -> Result<void> {
    std::string const got = "xxh128:" + to_hex(hash);
    if (got == digest) return {};
    return fail(Code::data_loss, Reason::digest, "{}: expected content with digest {}, got {}", path, digest,
                got);
  });
}

Result<void> verify_files(std::string const& folder, Manifest const& manifest) {
  if (manifest.processor)
    for (auto const& [file, digest] : manifest.processor->digests)
      if (auto verified = verify_digest(folder + "/" + file, digest); !verified) return verified;
  for (auto const& member : manifest.members)
    if (auto verified = verify_digest(folder + "/" + member.file.file, member.file.digest); !verified)
      return verified;
  return {};
}

}  // namespace athanor::inline v1
