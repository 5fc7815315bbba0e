#include <athanor/serving/engine.hpp>

namespace athanor::inline v1 {

template class batching::Lane<SystemEnv, batching::SizeOrDelay, serving::Entry<DefaultServing>>;
template class serving::Entry<DefaultServing>;
template class serving::Core<DefaultServing>;
template class Engine<DefaultServing>;
template class Model<DefaultServing>;

}  // namespace athanor::inline v1
