#include <serving/hooked_engine.hpp>

namespace athanor::inline v1 {

template class batching::Lane<athanor_tests::HookedEnv, batching::ShippedPolicy,
                              serving::ServedModel<athanor_tests::HookedServing>>;
template class serving::ServedModel<athanor_tests::HookedServing>;
template class serving::EngineState<athanor_tests::HookedServing>;
template class Engine<athanor_tests::HookedServing>;
template class Model<athanor_tests::HookedServing>;

}  // namespace athanor::inline v1
