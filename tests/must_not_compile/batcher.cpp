// without OUTPUTS: a Batcher's function takes (std::span<In const>, std::span<Out>)
// without RESULT: a Batcher's function takes (std::span<In const>, std::span<Out>)
// without SPAN: Batcher does not support bool inputs
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
  auto batcher = athanor::Batcher<In, int>::create({}, Function{});
  return batcher->run(In{}) ? 0 : 1;
}
