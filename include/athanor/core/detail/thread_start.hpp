/// Whether SystemExecutor may start threads.
#pragma once

#include <atomic>

namespace athanor::inline v1::detail {

/// While true, SystemExecutor finds that the system has no thread to give. For tests.
inline std::atomic<bool> refuse_threads{false};

}  // namespace athanor::inline v1::detail
