#include <support/simulated_serving.hpp>

namespace athanor::inline v1 {

template class batching::Lane<SimulatedEnv, batching::ShippedPolicy,
                              serving::ServedModel<athanor_tests::SimulatedServing>>;
template class serving::ServedModel<athanor_tests::SimulatedServing>;
template class serving::EngineState<athanor_tests::SimulatedServing>;
template class Engine<athanor_tests::SimulatedServing>;
template class Model<athanor_tests::SimulatedServing>;
template class Sequence<athanor_tests::SimulatedServing>;
template class Stream<athanor_tests::SimulatedServing>;
template class serving::JobTable<athanor_tests::SimulatedServing>;
template class Jobs<athanor_tests::SimulatedServing>;

}  // namespace athanor::inline v1
