// Includes nothing that defines an inline function with external linkage: the linker might keep this file's
// copy, and processors without AVX2 would run it.
#include "hash_avx2.hpp"

#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

namespace athanor::inline v1 {

void detail::update_with_avx2(void* state, void const* data, std::size_t bytes) noexcept {
  XXH3_128bits_update(static_cast<XXH3_state_t*>(state), data, bytes);
}

void detail::hash_with_avx2(void const* data, std::size_t bytes, std::uint64_t& low,
                            std::uint64_t& high) noexcept {
  XXH128_hash_t const hash = XXH3_128bits(data, bytes);
  low = hash.low64;
  high = hash.high64;
}

}  // namespace athanor::inline v1
