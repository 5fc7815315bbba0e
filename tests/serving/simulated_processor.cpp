#include <serving/simulated_processor.hpp>

namespace athanor::inline v1 {

template class batching::Lane<SimulatedEnv, batching::SizeOrDelay,
                              serving::Entry<athanor_tests::SimulatedServing>>;
template class serving::Entry<athanor_tests::SimulatedServing>;
template class serving::Core<athanor_tests::SimulatedServing>;
template class Engine<athanor_tests::SimulatedServing>;
template class Model<athanor_tests::SimulatedServing>;

}  // namespace athanor::inline v1
