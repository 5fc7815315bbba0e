// without CACHE_BYTES: give this value a function std::size_t cache_bytes(Value const&)
// without COMPUTED_VALUE: athanor::ResponseCache: compute() must return the Value or a Result of it
#include <athanor/caching/response_cache.hpp>

#include <string>
#include <vector>

namespace picture {

struct Picture {
  std::vector<std::string> lines;
};

// Lines without a cache_bytes are a range whose elements hold memory of their own.
#ifdef WITHOUT_CACHE_BYTES
using Cached = std::vector<std::string>;
#else
using Cached = Picture;
std::size_t cache_bytes(Picture const& picture) { return picture.lines.size() * 100; }
#endif

}  // namespace picture

int main() {
  auto cache = athanor::ResponseCache<int, picture::Cached>::create();
#ifdef WITHOUT_COMPUTED_VALUE
  auto const compute = [] { return std::vector<int*>{}; };
#else
  auto const compute = [] { return picture::Cached{}; };
#endif
  return cache->get_or_compute(1, std::chrono::seconds(1), compute) ? 0 : 1;
}
