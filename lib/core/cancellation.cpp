#include <athanor/core/cancellation.hpp>

namespace athanor::inline v1 {

template class BasicCancellation<SystemEnv>;

}  // namespace athanor::inline v1
