// without OUTPUTS: a Batcher's function takes (std::span<In const>, std::span<Out>)
// without RESULT: a Batcher's function takes (std::span<In const>, std::span<Out>)
// without SPAN: an input of a Batcher is no bool
#include <athanor/batching/batcher.hpp>

namespace {

#ifdef WITHOUT_SPAN
using In = bool;
#else
using In = int;
#endif

struct Function {
#ifdef WITHOUT_OUTPUTS
  void operator()(std::span<In const>) const {}
#elif defined(WITHOUT_RESULT)
  int operator()(std::span<In const>, std::span<int>) const { return 0; }
#else
  void operator()(std::span<In const>, std::span<int>) const {}
#endif
};

}  // namespace

int main() {
  athanor::Batcher<In, int> batcher{{}, Function{}};
  return batcher.run(In{}) ? 0 : 1;
}
