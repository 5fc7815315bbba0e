#include <athanor/serving/engine.hpp>
#include <athanor/serving/stream.hpp>

namespace athanor::inline v1 {

template class batching::Lane<SystemEnv, batching::ShippedPolicy, serving::ServedModel<DefaultServing>>;
template class serving::ServedModel<DefaultServing>;
template class serving::EngineState<DefaultServing>;
template class Engine<DefaultServing>;
template class Model<DefaultServing>;
template class Sequence<DefaultServing>;
template class Stream<DefaultServing>;

}  // namespace athanor::inline v1
