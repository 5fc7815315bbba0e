/// How a caller wants a cache to be used.
#pragma once

#include <cstdint>

namespace athanor::inline v1 {

/// What one lookup may do.
enum class CacheMode : std::uint8_t {
  use,   ///< look up; on a miss wait for an equal computation that runs, or compute and store
  skip,  ///< neither look up, nor wait for others, nor store
  /// Compute anew and store; takes over from a running computation of the key, which then stores nothing.
  refresh,
  only_if_cached,  ///< look up; a miss is refused with Reason::not_cached
};

}  // namespace athanor::inline v1
