#include <athanor/serving/engine.hpp>

namespace athanor::inline v1 {

template class Engine<DefaultServing>;
template class Model<DefaultServing>;

}  // namespace athanor::inline v1
