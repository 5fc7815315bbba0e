/// How a call uses a cache.
#pragma once

#include <cstdint>

namespace athanor::inline v1 {

/// What one lookup may do.
enum class CacheMode : std::uint8_t {
  use,   ///< look up; on a miss, wait for an equal computation in progress, or compute and store
  skip,  ///< neither look up, nor wait for another computation, nor store
  /// Compute again and store; a computation of the key already in progress then stores nothing.
  refresh,
  only_if_cached,  ///< look up; a miss is rejected with Reason::not_cached
};

}  // namespace athanor::inline v1
