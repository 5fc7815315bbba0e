// The real engine in a simulated environment; compiled once, in simulated_serving.cpp.
#pragma once

#include <athanor/core/cancellation.hpp>
#include <athanor/core/simulation.hpp>
#include <athanor/serving/engine.hpp>
#include <athanor/serving/jobs.hpp>
#include <athanor/serving/stream.hpp>

namespace athanor_tests {

using namespace athanor;

struct SimulatedServing : DefaultServing {
  using Env = SimulatedEnv;
};
using Token = BasicCancellation<SimulatedEnv>;

}  // namespace athanor_tests

namespace athanor::inline v1 {
extern template class batching::Lane<SimulatedEnv, batching::ShippedPolicy,
                                     serving::ServedModel<athanor_tests::SimulatedServing>>;
extern template class serving::ServedModel<athanor_tests::SimulatedServing>;
extern template class serving::EngineState<athanor_tests::SimulatedServing>;
extern template class Engine<athanor_tests::SimulatedServing>;
extern template class Model<athanor_tests::SimulatedServing>;
extern template class Sequence<athanor_tests::SimulatedServing>;
extern template class Stream<athanor_tests::SimulatedServing>;
extern template class serving::JobTable<athanor_tests::SimulatedServing>;
extern template class Jobs<athanor_tests::SimulatedServing>;
}  // namespace athanor::inline v1
